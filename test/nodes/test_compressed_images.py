# SPDX-License-Identifier: Apache-2.0
"""Compressed images and ego masks are judged by their headers before they are decoded; odd pictures are noticed."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring
from sensor_msgs.msg import CompressedImage

from semi_smd_ros.datasets.recording import write_recording
from semi_smd_ros.datasets.replay import frames
from semi_smd_ros.datasets.rosbag import SurroundBag
from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.evaluation.prediction import FrameMaker
from semi_smd_ros.nodes.ego_masks import load_ego_mask
from semi_smd_ros.nodes.images import ImageDecoder, receive_compressed
from semi_smd_ros.nodes.picture_watch import PictureWatch
from semi_smd_ros.nodes.resources import package_path, share_path
from semi_smd_ros.rig import CameraModel, RigError
from semi_smd_ros.runtime import InputError, load_engine
from semi_smd_ros.runtime.compressed_size import compressed_size

SECOND = 10**9
MODEL = CameraModel(64, 48, np.diag([50.0, 50.0, 1.0]), np.zeros(0))


def encoded(kind: str, width: int = 64, height: int = 48, flags: tuple[int, ...] = ()) -> bytes:
    rng = np.random.default_rng(0)
    return cv2.imencode(kind, rng.integers(0, 255, (height, width, 3), np.uint8), list(flags))[1].tobytes()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims another size, with the checksum that belongs to it."""
    import zlib

    data = bytearray(encoded('.png'))
    data[16:24] = struct.pack('>II', width, height)
    data[29:33] = struct.pack('>I', zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def decode(data: bytes) -> np.ndarray:
    message = CompressedImage(format='jpeg', data=data)
    message.header.stamp.sec = 1
    return ImageDecoder()(receive_compressed(message), MODEL).pixels


@pytest.mark.parametrize(
    'data',
    [
        encoded('.png'),
        encoded('.jpg'),
        encoded('.jpg', flags=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        encoded('.jpg', flags=(cv2.IMWRITE_JPEG_RST_INTERVAL, 4)),
        # A comment and fill bytes before the frame header.
        b'\xff\xd8\xff\xff\xfe\x00\x06\xff\xc0\x00\x00' + encoded('.jpg')[2:],
    ],
    ids=['png', 'jpeg', 'progressive', 'restarts', 'comment'],
)
def test_the_header_tells_the_size(data: bytes) -> None:
    assert compressed_size(memoryview(data)) == (64, 48)
    assert decode(data).shape == (48, 64, 3)


@pytest.mark.parametrize('data', [png_claiming(60_000, 60_000), encoded('.jpg', 640, 480)], ids=['bomb', 'other size'])
def test_another_size_is_refused_before_it_is_decoded(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError('decoded')

    monkeypatch.setattr(cv2, 'imdecode', never)
    with pytest.raises(InputError, match='its CameraInfo says 64x48') as caught:
        decode(data)
    assert caught.value.reason == 'size'


@pytest.mark.parametrize(
    'data',
    [b'', b'\xff\xd8', b'\xff\xd8\xff\xd9', encoded('.jpg')[:100], encoded('.png')[:20], encoded('.bmp'), b'\0' * 99],
    ids=['nothing', 'start', 'start and end', 'cut jpeg', 'cut png', 'bmp', 'zeros'],
)
def test_what_has_no_whole_header_is_refused(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        decode(data)
    assert caught.value.reason == 'compressed'


def test_node_replay_and_evaluation_decode_the_same_pixels(tmp_path: Path, tiny_model: Path) -> None:
    rig = ring(2)
    pictures = [EncodedImage(encoded('.jpg', 160, 96), 'jpeg'), EncodedImage(encoded('.png', 160, 96), 'png')]
    sample = SurroundSample(rig, tuple(pictures), (SECOND, SECOND + 1))
    write_recording([sample], tmp_path / 'drive')
    with SurroundBag(tmp_path / 'drive') as bag:
        (replayed,) = frames(bag, rig, 0.05, (80, 48))
    evaluated = FrameMaker(True, [load_engine(tiny_model).spec])(sample)
    live = ImageDecoder((80, 48))
    for i, (picture, reduction) in enumerate(zip(pictures, (2, 1), strict=True)):
        message = CompressedImage(format=picture.format, data=picture.data)
        message.header.stamp.sec = 1
        expected = live(receive_compressed(message), rig.cameras[i].model)
        assert (expected.reduction, expected.size) == (reduction, (160, 96))
        for frame in (replayed, evaluated):
            image = frame.images[i]
            assert image is not None
            assert image.reduction == reduction
            np.testing.assert_array_equal(image.pixels, expected.pixels)


def test_no_header_of_noise_or_of_a_damaged_picture_is_trouble() -> None:
    rng = np.random.default_rng(1)
    jpeg = np.frombuffer(encoded('.jpg'), np.uint8)
    for _ in range(2000):
        data = jpeg.copy()
        data[rng.integers(2, 700, 6)] = rng.integers(0, 256, 6)
        try:
            compressed_size(memoryview(data[: rng.integers(2, data.size)]))
        except InputError:
            continue


def write_mask(folder: Path, pixels: np.ndarray) -> str:
    path = folder / 'mask.png'
    path.write_bytes(cv2.imencode('.png', pixels)[1].tobytes())
    return str(path)


def test_an_ego_mask_is_true_where_it_is_white(tmp_path: Path) -> None:
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[40:] = 255
    loaded = load_ego_mask('front', write_mask(tmp_path, mask))
    assert loaded.dtype == bool
    assert np.array_equal(loaded, mask[..., 0] > 0)


def test_an_ego_mask_that_cannot_be_names_camera_and_file(tmp_path: Path) -> None:
    with pytest.raises(RigError, match=r'ego_mask\.front: .*gone\.png: cannot be read'):
        load_ego_mask('front', str(tmp_path / 'gone.png'))
    white = write_mask(tmp_path, np.full((4, 4), 255, np.uint8))
    with pytest.raises(RigError, match='white everywhere'):
        load_ego_mask('front', white)
    Path(white).write_bytes(encoded('.jpg'))
    with pytest.raises(RigError, match='not a PNG'):
        load_ego_mask('front', white)
    Path(white).write_bytes(png_claiming(60_000, 60_000))
    with pytest.raises(RigError, match='60000x60000 pixels'):
        load_ego_mask('front', white)
    Path(white).write_bytes(encoded('.png')[:60])
    with pytest.raises(RigError, match='a damaged PNG'):
        load_ego_mask('front', white)


def test_files_of_packages(tmp_path: Path) -> None:
    assert package_path('package://semi_smd_ros/masks/front.png') == share_path('masks', 'front.png')
    assert package_path(str(tmp_path)) == tmp_path
    for bad in ('package://semi_smd_ros/', 'package://semi_smd_ros/../../secret', 'package://no_such_package/x.png'):
        with pytest.raises(RigError):
            package_path(bad)


def test_pictures_that_repeat_and_black_ones() -> None:
    watch = PictureWatch(2)
    rng = np.random.default_rng(0)

    def look(second: float, *pictures: np.ndarray | None) -> list[str]:
        images = np.stack([np.zeros((48, 80, 3), np.uint8) if p is None else p for p in pictures])
        return watch(images, [None if p is None else round(second * SECOND) for p in pictures])

    def noise() -> np.ndarray:
        return rng.integers(0, 255, (48, 80, 3)).astype(np.uint8)

    still = noise()
    assert look(0.0, still, noise()) == ['', '']
    assert look(0.9, still, noise()) == ['', '']
    assert look(2.0, still, noise()) == ['the picture has not changed for 2.0 s', '']
    assert look(2.1, noise(), np.zeros((48, 80, 3), np.uint8)) == ['', 'the picture is black']
    assert look(2.2, None, noise()) == ['', '']
    assert look(-3600.0, still, noise()) == ['', '']
    assert look(-3598.0, still, noise()) == ['the picture has not changed for 2.0 s', '']
