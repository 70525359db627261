# SPDX-License-Identifier: Apache-2.0
"""Broken JPEGs and an engine that raises, once or for ever: a node on compressed images."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from failing_model import write_failing_model
from ros_harness import HEIGHT, WIDTH
from sensor_msgs.msg import CameraInfo, CompressedImage
from watched_node import ERROR, WARN, Ear, WatchedNode, served

# The model fails on it, inside ONNX Runtime.
WHITE = 255


@pytest.fixture(scope='module')
def compressed(ear: Ear, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedNode]:
    """A node on JPEGs, whose engine fails on a white picture."""
    folder = tmp_path_factory.mktemp('compressed')
    model = write_failing_model(folder / 'failing.onnx')
    settings = {'image_transport': 'compressed', 'max_engine_failures': 12}
    yield from served(ear, folder, model=model, compressed=True, **settings)


def cut(jpeg: bytes) -> bytes:
    return jpeg[: len(jpeg) // 3]


def zeros(jpeg: bytes) -> bytes:
    return bytes(len(jpeg))


def nothing(jpeg: bytes) -> bytes:
    return b''


def other_size(jpeg: bytes) -> bytes:
    return cv2.imencode('.png', np.zeros((10, 20, 3), np.uint8))[1].tobytes()


def bomb(jpeg: bytes) -> bytes:
    """The header says 60000x60000: 10 GB of pixels."""
    at = jpeg.index(b'\xff\xc0') + 5
    return jpeg[:at] + b'\xea\x60\xea\x60' + jpeg[at + 4 :]


def chunk_bomb(jpeg: bytes) -> bytes:
    """A PNG of the right size that claims to hold 2 GB of pixels."""
    png = cv2.imencode('.png', np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    at = png.index(b'IDAT') - 4
    return png[:at] + b'\x7f\xff\xff\xff' + png[at + 4 :]


@pytest.mark.parametrize('harm', [cut, zeros, nothing, other_size, bomb, chunk_bomb])
def test_a_jpeg_is_broken(compressed: WatchedNode, harm: Callable[[bytes], bytes]) -> None:
    def spoil(image: CompressedImage, info: CameraInfo) -> None:
        image.data = array.array('B', harm(bytes(image.data)))

    before, rejected = compressed.memory_kb(), compressed.number('camera left', 'rejected')
    compressed.rig.cameras['left'].spoils(spoil)
    compressed.serves('front', 'right')
    compressed.says('camera left', WARN, 'camera left: image rejected: ')
    compressed.counts('camera left', 'rejected', rejected + 3)
    assert 'camera left (frame compressed_left_optical): image rejected' in compressed.log()
    compressed.rig.recovers()
    compressed.is_well()
    assert compressed.memory_kb() < before + 60_000


def test_the_engine_raises_once(compressed: WatchedNode) -> None:
    errors, wiped = compressed.number('sets', 'dropped: error'), compressed.number('engine', 'memory resets')
    camera = compressed.rig.cameras['front']
    camera.shows_only(WHITE)
    compressed.says('sets', ERROR, 'Gather')
    camera.recovers()
    compressed.is_well()
    assert errors < compressed.number('sets', 'dropped: error') < errors + 12
    assert compressed.number('engine', 'memory resets') > wiped


def test_the_engine_raises_for_ever(compressed: WatchedNode) -> None:
    compressed.rig.cameras['front'].shows_only(WHITE)
    compressed.says('node', ERROR, '12 sets in a row have failed')
    compressed.is_silent()
    assert 'Gather' in compressed.status('node').message
    assert compressed.values('node')['state'] == 'unconfigured'
    # Somebody mends it, and asks the node to go on.
    compressed.rig.recovers()
    compressed.becomes('configure')
    compressed.becomes('activate')
    compressed.is_well()
    assert 'Traceback' not in compressed.log()
