# SPDX-License-Identifier: Apache-2.0
"""From message bytes to the network's input: values, and how often the pixels are copied on the way."""

from __future__ import annotations

import array
import gc
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import camera, ring

from semi_smd_ros.rig import RectifyMap, Rig, RigCamera
from semi_smd_ros.runtime import CameraImage, InputError, SurroundFrame, decode_compressed, decode_raw
from semi_smd_ros.runtime.preprocess import (
    decode_reduction,
    engine_inputs,
    prepare_rig,
    rectified,
    rectify_images,
    rectify_map,
)
from semi_smd_ros.runtime.recycled import RecycledArrays

WIDTH, HEIGHT = 1600, 900


def peak_of_rectifying(rig: Rig, image: CameraImage) -> int:
    """Bytes that rectifying makes room for, once it has its own memory."""
    prepared = prepare_rig(rig, 320, 192)
    frame = SurroundFrame(rig, (image,), 0)
    rectify_images(frame, prepared)
    tracemalloc.start()
    rectify_images(frame, prepared)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'mono8'])
def test_pixels_are_not_copied_before_they_are_reduced(encoding: str) -> None:
    channels = 1 if encoding == 'mono8' else 3
    data = array.array('B', bytes(WIDTH * HEIGHT * channels))
    image = decode_raw(data, HEIGHT, WIDTH, WIDTH * channels, encoding, 0)
    assert np.shares_memory(image.pixels, np.frombuffer(data, np.uint8))
    assert peak_of_rectifying(ring(1, WIDTH, HEIGHT, 'plumb_bob'), image) < len(data) / 3


@pytest.mark.parametrize('padding', [0, 64])
@pytest.mark.parametrize(('encoding', 'bytes_per_pixel'), [('yuv422', 2), ('bayer_rggb8', 1), ('nv12', 1)])
def test_subsampled_colour_is_copied_once(encoding: str, bytes_per_pixel: int, padding: int) -> None:
    step, rows = WIDTH * bytes_per_pixel + padding, HEIGHT * 3 // 2 if encoding == 'nv12' else HEIGHT
    data = array.array('B', bytes(step * rows))
    image = decode_raw(data, HEIGHT, WIDTH, step, encoding, 0)
    assert peak_of_rectifying(ring(1, WIDTH, HEIGHT), image) < 1.2 * WIDTH * HEIGHT * 3


def test_a_camera_that_is_moved_keeps_its_map_and_one_with_another_lens_does_not() -> None:
    rig = ring(3)
    before = prepare_rig(rig, 80, 48)
    first, second, third = rig.cameras
    pose = second.base_T_cam.copy()
    pose[0, 3] += 0.5
    moved = RigCamera(second.name, second.frame_id, second.model, pose)
    other = RigCamera(third.name, third.frame_id, camera(focal=200.0), third.base_T_cam)
    after = prepare_rig(Rig((first, moved, other), rig.base_frame), 80, 48)
    assert [a is b for a, b in zip(after.maps, before.maps, strict=True)] == [True, True, False]
    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(after.rectified.cameras[1].base_T_cam, pose)
    np.testing.assert_array_equal(after.maps[2].model.K, RectifyMap(other.model, 80, 48).model.K)


def test_maps_go_with_the_calibration_that_they_are_of() -> None:
    model = camera()
    assert decode_reduction(model, 80, 48) == 2
    kept = weakref.ref(rectify_map(model, 80, 48))
    assert rectify_map(model, 80, 48) is kept() is not rectify_map(model, 40, 24)
    del model
    gc.collect()
    assert kept() is None


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


@pytest.mark.parametrize(('width', 'height', 'reduction'), [(640, 384, 2), (320, 192, 4), (160, 96, 4)])
def test_a_jpeg_decoded_smaller_gives_the_same_picture(
    width: int, height: int, reduction: int, real_scene: Path
) -> None:
    path = sorted(real_scene.glob('**/CAMERA_01/*.jpg'))[0]
    picture = cv2.imread(str(path))
    jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    model = camera(picture.shape[1], picture.shape[0])
    assert decode_reduction(model, width, height) == reduction
    rig = Rig((RigCamera('front', 'front_optical', model, ring(1).cameras[0].base_T_cam),))
    prepared = prepare_rig(rig, width, height)
    small, full = (
        rectify_images(SurroundFrame(rig, (decode_compressed(jpeg, 'jpeg', 0, k),), 0), prepared)[0]
        for k in (reduction, 1)
    )
    assert 0 < np.abs(small.astype(int) - full).mean() < 1
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (small, full)]
    shift, response = cv2.phaseCorrelate(*grey, cv2.createHanningWindow((width, height), cv2.CV_32F))
    assert response > 0.9
    assert np.hypot(*shift) < 0.05


def test_a_jpeg_of_another_size_is_refused_by_its_own_size() -> None:
    rig = ring(1, 640, 384)
    prepared = prepare_rig(rig, 320, 192)
    jpeg = cv2.imencode('.jpg', np.zeros((384, 638, 3), np.uint8))[1].tobytes()
    image = decode_compressed(jpeg, 'jpeg', 0, decode_reduction(rig.cameras[0].model, 320, 192))
    assert image.reduction == 2
    with pytest.raises(InputError, match='image is 638x384; its CameraInfo says 640x384'):
        rectify_images(SurroundFrame(rig, (image,), 0), prepared)


@pytest.mark.parametrize('kind', ['bgr8', 'rgb8', 'mono8', 'mono16', 'bayer_rggb8', 'jpeg'])
def test_what_is_rectified_early_is_what_would_have_been(kind: str) -> None:
    rig = ring(6, 640, 384)
    # Of the same numbers, but from CameraInfos that came later.
    prepared, other = prepare_rig(rig, 160, 96), prepare_rig(ring(6, 640, 384), 160, 96)
    rng = np.random.default_rng(4)
    images = []
    for _ in rig.cameras:
        if kind == 'jpeg':
            data = cv2.imencode('.jpg', rng.integers(0, 255, (384, 640, 3), np.uint8))[1].tobytes()
            images.append(decode_compressed(data, 'jpeg', 5, 4))
        else:
            shape = (384, 640, 3) if kind in ('bgr8', 'rgb8') else (384, 640)
            most, dtype = (65535, np.uint16) if kind == 'mono16' else (255, np.uint8)
            images.append(CameraImage(rng.integers(0, most, shape).astype(dtype), kind, 5))
    late = rectify_images(SurroundFrame(rig, tuple(images), 5), prepared)
    with ThreadPoolExecutor(3) as threads:
        # Several threads at the same map as well.
        begun = [threads.submit(rectified, image, m) for image, m in zip(images, prepared.maps, strict=True)]
        again = [threads.submit(rectified, image, prepared.maps[0]) for image in images]
    early = tuple(future.result() for future in begun)
    assert all(image.rectified_by is remap for image, remap in zip(early, prepared.maps, strict=True))
    np.testing.assert_array_equal(rectify_images(SurroundFrame(rig, early, 5), prepared), late)
    for image, future in zip(images, again, strict=True):
        np.testing.assert_array_equal(future.result().rectified_hw3, rectified(image, prepared.maps[0]).rectified_hw3)
    # What is made for one calibration serves no other: here it is spoilt, to tell.
    for image in early:
        assert image.rectified_hw3 is not None
        image.rectified_hw3[:] = 0
    np.testing.assert_array_equal(rectify_images(SurroundFrame(rig, early, 5), other), late)
    assert not rectify_images(SurroundFrame(rig, early, 5), prepared).any()


def test_what_does_not_fit_is_not_rectified_early() -> None:
    remap = prepare_rig(ring(1, 640, 384), 320, 192).maps[0]
    for image in (
        CameraImage(np.zeros((384, 638, 3), np.uint8), 'bgr8', 0),
        CameraImage(np.zeros((96, 160, 3), np.uint8), 'bgr8', 0, reduction=4),
    ):
        assert rectified(image, remap) is image


def test_pictures_stay_while_any_of_them_is_held_and_their_memory_is_used_again_after() -> None:
    recycled = RecycledArrays((2, 4, 5, 3), most=2)

    def place(array: np.ndarray) -> int:
        return array.__array_interface__['data'][0]

    first = recycled.take()
    first[:] = 1
    row, where = first[1, 2:], place(first)
    del first
    second, third = recycled.take(), recycled.take()
    second[:], third[:] = 2, 3
    assert (row == 1).all(), 'a view is held'
    assert len({where, place(second), place(third)}) == 3
    kept = place(second)
    del second, third
    assert place(recycled.take()) == kept, 'the third was beyond what is kept'
    del row
    assert {place(a) for a in (recycled.take(), recycled.take())} <= {where, kept}


def test_a_set_that_is_held_is_not_overwritten_by_the_next() -> None:
    rig = ring(1, 64, 48)
    prepared = prepare_rig(rig, 32, 32)

    def pictures(grey: int) -> np.ndarray:
        image = CameraImage(np.full((48, 64, 3), grey, np.uint8), 'rgb8', 0)
        return rectify_images(SurroundFrame(rig, (image,), 0), prepared)

    held = [pictures(grey) for grey in range(0, 250, 25)]
    assert [int(p.min()) for p in held] == [int(p.max()) for p in held] == list(range(0, 250, 25))
