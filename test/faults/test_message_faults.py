# SPDX-License-Identifier: Apache-2.0
"""Messages that change under way: size, encoding, frame, CameraInfo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ros_harness import HEIGHT, WIDTH, raw_image
from sensor_msgs.msg import CameraInfo, Image
from watched_node import ERROR, OK, WARN, WatchedNode


def becomes(image: Image, pixels: np.ndarray, encoding: str) -> None:
    """Give a message other pixels."""
    made = raw_image(pixels.view(np.uint8), encoding)
    image.height, image.width, image.encoding, image.step = *pixels.shape[:2], encoding, made.step
    image.data = made.data


def as_encoding(encoding: str) -> Any:
    """A fault: the driver sends the same picture in another encoding."""
    made_of = {
        'rgb8': lambda grey: np.full((HEIGHT, WIDTH, 3), grey, np.uint8),
        'bgra8': lambda grey: np.full((HEIGHT, WIDTH, 4), grey, np.uint8),
        'mono8': lambda grey: np.full((HEIGHT, WIDTH), grey, np.uint8),
        'mono16': lambda grey: np.full((HEIGHT, WIDTH), grey << 8, np.uint16),
        'bayer_grbg8': lambda grey: np.full((HEIGHT, WIDTH), grey, np.uint8),
        '32FC1': lambda grey: np.full((HEIGHT, WIDTH), np.nan, np.float32),
        'secret': lambda grey: np.full((HEIGHT, WIDTH), grey, np.uint8),
    }
    return lambda image, info: becomes(image, made_of[encoding](image.data[0]), encoding)


def test_the_resolution_changes_with_its_calibration(node: WatchedNode) -> None:
    changes = node.number('camera left', 'calibration changes')
    wiped = node.number('engine', 'memory reset: rig changed')
    node.rig.cameras['left'].resizes(0.5, info=True)
    node.counts('camera left', 'calibration changes', changes + 1)
    node.serves('front', 'left', 'right')
    node.counts('engine', 'memory reset: rig changed', wiped + 1)
    node.says('camera left', OK, 'images arrive')
    assert node.sizes['left'] == (80, 48)
    assert 'camera left (frame serving_left_optical): its CameraInfo has changed: 80x48' in node.log()


def test_the_resolution_changes_without_its_calibration(node: WatchedNode) -> None:
    rejected = node.number('camera left', 'rejected: size')
    node.rig.cameras['left'].resizes(0.5, info=False)
    node.says('camera left', WARN, 'image is 80x48; its CameraInfo says 160x96')
    node.serves('front', 'right')
    node.counts('camera left', 'rejected: size', rejected + 3)
    node.says('sets', OK, 'sets published')


def test_the_encoding_changes_to_others_that_are_known(node: WatchedNode) -> None:
    for encoding in ('rgb8', 'mono8', 'bgra8', 'mono16', 'bayer_grbg8'):
        node.rig.cameras['right'].spoils(as_encoding(encoding))
        node.serves('front', 'left', 'right')
    node.says('camera right', OK, 'images arrive')


@pytest.mark.parametrize('encoding', ['32FC1', 'secret'], ids=['NaN', 'unknown'])
def test_the_encoding_changes_to_one_that_is_no_picture(node: WatchedNode, encoding: str) -> None:
    node.rig.cameras['right'].spoils(as_encoding(encoding))
    node.says('camera right', WARN, f'encoding {encoding!r} is not supported')
    node.serves('front', 'left')


def test_images_name_another_frame(node: WatchedNode) -> None:
    def misname(image: Image, info: CameraInfo) -> None:
        # Both share one header.
        info.header.frame_id, stamp = node.rig.cameras['left'].frame, info.header.stamp
        image.header = type(image.header)(stamp=stamp, frame_id='elsewhere')

    node.rig.cameras['left'].spoils(misname)
    node.says('camera left', WARN, 'images are in frame elsewhere, its calibration is for frame serving_left_optical')
    node.serves('front', 'left', 'right')
    assert node.frames['left'] == 'elsewhere'


def test_a_calibration_names_a_frame_that_nobody_places(node: WatchedNode) -> None:
    def misname(image: Image, info: CameraInfo) -> None:
        info.header.frame_id = 'nowhere_optical'

    node.rig.cameras['left'].spoils(misname)
    node.says('camera left', ERROR, 'waiting for the transform from base_link to nowhere_optical')
    node.says('sets', ERROR, 'nowhere_optical')
    node.serves('front', 'right')
    assert node.values('camera left')['tf'] == 'missing'


def test_a_calibration_turns_to_nonsense(node: WatchedNode) -> None:
    def nonsense(image: Image, info: CameraInfo) -> None:
        info.k[4] = np.nan

    node.rig.cameras['left'].spoils(nonsense)
    node.says('camera left', ERROR, 'its CameraInfo cannot be used: K is')
    node.serves('front', 'right')
    assert node.values('camera left')['calibration'] == 'missing'
