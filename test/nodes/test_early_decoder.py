# SPDX-License-Identifier: Apache-2.0
"""Compressed images are decoded when they come: the same pictures, the same refusals, nothing kept for nothing."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from semi_smd_ros.nodes.early_decoder import EarlyDecoder
from semi_smd_ros.nodes.images import ImageDecoder, ReceivedImage, receive_compressed, receive_raw
from semi_smd_ros.rig import CameraModel, RectifyMap
from semi_smd_ros.runtime import InputError
from semi_smd_ros.runtime.preprocess import rectified

MODEL = CameraModel(64, 48, np.diag([50.0, 50.0, 1.0]), np.zeros(0))
LARGE = CameraModel(128, 96, np.diag([50.0, 50.0, 1.0]), np.zeros(0))


def jpeg(seed: int = 0, width: int = 64, height: int = 48) -> bytes:
    rng = np.random.default_rng(seed)
    return cv2.imencode('.jpg', rng.integers(0, 255, (height, width, 3), np.uint8))[1].tobytes()


def received(data: bytes) -> ReceivedImage:
    message = CompressedImage(format='jpeg', data=data)
    message.header.stamp.sec = 1
    return receive_compressed(message)


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> Iterator[EarlyDecoder]:
    """With one thread."""
    monkeypatch.setattr('os.cpu_count', lambda: 1)
    decoder = EarlyDecoder(2, ImageDecoder())
    yield decoder
    decoder.close()


def test_the_picture_is_that_of_decoding_late(early: EarlyDecoder) -> None:
    image = early.begin(0, received(jpeg()), MODEL)
    assert image.picture is not None
    begun = image.picture.result(timeout=5)
    assert begun is not None
    decoded = ImageDecoder()(image, MODEL)
    assert decoded is begun
    assert np.array_equal(decoded.pixels, ImageDecoder()(received(jpeg()), MODEL).pixels)


@pytest.mark.parametrize('is_compressed', [True, False])
def test_a_picture_is_rectified_for_the_rig_of_its_arrival(early: EarlyDecoder, is_compressed: bool) -> None:
    remap = RectifyMap(MODEL, 40, 30)
    message = Image(height=48, width=64, encoding='bgr8', step=192, data=bytes(range(256)) * 36)
    message.header.stamp.sec = 1
    arrived = received(jpeg()) if is_compressed else receive_raw(message)
    late = ImageDecoder()(arrived, MODEL)
    image = early.begin(0, arrived, MODEL, remap)
    assert image.picture is not None
    made = image.picture.result(timeout=5)
    assert made is not None
    assert ImageDecoder()(image, MODEL) is made
    assert made.rectified_by is remap
    assert np.array_equal(made.rectified_hw3, rectified(late, remap).rectified_hw3)


def test_a_picture_begun_smaller_than_a_new_calibration_allows_is_decoded_again() -> None:
    decode = ImageDecoder((32, 24))
    decoder = EarlyDecoder(1, decode)
    try:
        image = decoder.begin(0, received(jpeg()), MODEL)
        assert image.picture is not None
        begun = image.picture.result(timeout=5)
        assert begun is not None
        assert begun.reduction == 2
        assert begun.pixels.shape == (24, 32, 3)
        assert begun.size == (64, 48)
        assert decode(image, MODEL) is begun
        P = np.diag([100.0, 100.0, 1.0])
        magnified = decode(image, CameraModel(64, 48, MODEL.K, np.array([-0.01, 0, 0, 0]), 'plumb_bob', P))
    finally:
        decoder.close()
    assert magnified.reduction == 1
    assert np.array_equal(magnified.pixels, ImageDecoder()(received(jpeg()), MODEL).pixels)


def test_what_was_refused_early_is_refused_when_it_is_used(early: EarlyDecoder) -> None:
    image = early.begin(0, received(jpeg()[:300]), MODEL)
    with pytest.raises(InputError) as caught:
        ImageDecoder()(image, MODEL)
    assert caught.value.reason == 'compressed'


def test_the_camera_info_of_the_set_decides_not_that_of_the_arrival(early: EarlyDecoder) -> None:
    image = early.begin(0, received(jpeg(width=128, height=96)), MODEL)
    assert ImageDecoder()(image, LARGE).size == (128, 96)
    image = early.begin(0, received(jpeg()), MODEL)
    assert image.picture is not None
    assert image.picture.result(timeout=5) is not None
    with pytest.raises(InputError, match='image is 64x48; its CameraInfo says 128x96'):
        ImageDecoder()(image, LARGE)


def test_one_image_of_a_camera_waits_and_an_older_one_is_decoded_by_its_set(early: EarlyDecoder) -> None:
    busy = threading.Event()
    early._threads.submit(busy.wait)
    flood = [early.begin(0, received(jpeg(seed)), MODEL) for seed in range(50)]
    other = early.begin(1, received(jpeg(99)), MODEL)
    waiting = [image for image in (*flood, other) if image.picture is not None and not image.picture.cancelled()]
    assert waiting == [flood[-1], other]
    # Nobody has begun with either of these, and the thread is busy.
    for seed in (0, 49):
        expected = ImageDecoder()(received(jpeg(seed)), MODEL).pixels
        assert np.array_equal(ImageDecoder()(flood[seed], MODEL).pixels, expected)
    busy.set()
    assert other.picture is not None
    assert other.picture.result(timeout=5) is not None


def test_a_refused_image_holds_nothing() -> None:
    """What raises it again must not tie it to the frames of its set: a cycle would hold the set's arrays for long."""
    wrong = Image(height=48, width=64, encoding='secret', step=64, data=bytes(48 * 64))
    wrong.header.stamp.sec = 1

    def use() -> None:
        for image in (receive_raw(wrong), receive_compressed(CompressedImage())):
            assert image.problem is not None
            assert image.problem.__traceback__ is None
            with pytest.raises(InputError):
                ImageDecoder()(image, MODEL)

    use()
    gc.collect()
    gc.disable()
    try:
        for image in (receive_raw(wrong), receive_compressed(CompressedImage())):
            with contextlib.suppress(InputError):
                ImageDecoder()(image, MODEL)
        del image
        assert gc.collect() == 0
    finally:
        gc.enable()
