# SPDX-License-Identifier: Apache-2.0
"""From message bytes to the network's input: values, and how often the pixels are copied on the way."""

from __future__ import annotations

import array
import tracemalloc

import numpy as np
import pytest
from rigs import ring

from semi_smd_ros.runtime import CameraImage, SurroundFrame, decode_raw
from semi_smd_ros.runtime.preprocess import engine_inputs, prepare_rig, rectify_images

WIDTH, HEIGHT = 1600, 900


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'mono8'])
def test_pixels_are_not_copied_before_they_are_reduced(encoding: str) -> None:
    channels = 1 if encoding == 'mono8' else 3
    data = array.array('B', bytes(WIDTH * HEIGHT * channels))
    image = decode_raw(data, HEIGHT, WIDTH, WIDTH * channels, encoding, 0)
    assert np.shares_memory(image.pixels, np.frombuffer(data, np.uint8))
    rig = ring(1, WIDTH, HEIGHT, 'plumb_bob')
    prepared = prepare_rig(rig, 320, 192)
    frame = SurroundFrame(rig, (image,), 0)
    rectify_images(frame, prepared)
    tracemalloc.start()
    rectify_images(frame, prepared)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(data) / 3


def test_subsampled_colour_is_copied_once() -> None:
    data = array.array('B', bytes(WIDTH * HEIGHT * 2))
    image = decode_raw(data, HEIGHT, WIDTH, WIDTH * 2, 'yuv422', 0)
    rig = ring(1, WIDTH, HEIGHT)
    prepared = prepare_rig(rig, 320, 192)
    frame = SurroundFrame(rig, (image,), 0)
    rectify_images(frame, prepared)
    tracemalloc.start()
    rectify_images(frame, prepared)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * WIDTH * HEIGHT * 3


def test_the_engine_gets_rgb_from_0_to_1() -> None:
    rig = ring(2)
    rng = np.random.default_rng(0)
    images = tuple(CameraImage(rng.integers(0, 256, (96, 160, 3)).astype(np.uint8), 'bgr8', 0) for _ in range(2))
    prepared = prepare_rig(rig, 160, 96)
    frame = SurroundFrame(rig, images, 0)
    pictures = rectify_images(frame, prepared)
    inputs = engine_inputs(frame, prepared, pictures)
    for given, got in zip(images, inputs.images, strict=True):
        np.testing.assert_allclose(got, given.pixels[..., ::-1].transpose(2, 0, 1) / 255, atol=1e-6)
    assert inputs.images.dtype == np.float32
    assert inputs.images.max() <= 1


def test_a_missing_image_is_black_whatever_was_there_before() -> None:
    rig = ring(2)
    white = CameraImage(np.full((96, 160, 3), 255, np.uint8), 'bgr8', 0)
    prepared = prepare_rig(rig, 80, 48)
    for images, levels in (((white, white), (1, 1)), ((white, None), (1, 0)), ((None, white), (0, 1))):
        frame = SurroundFrame(rig, images, 0)
        inputs = engine_inputs(frame, prepared, rectify_images(frame, prepared))
        assert [float(image.mean()) for image in inputs.images] == pytest.approx(levels)
        assert inputs.camera_valid.tolist() == list(levels)
