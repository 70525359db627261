# SPDX-License-Identifier: Apache-2.0
"""Camera bytes to the engine's input on a device: the pictures of the processor's path, for every encoding and size.

The bound is equality of every byte and every float; of 16-bit grey alone one level of 256, since OpenCV adds its
products as floats there (a build of OpenCV for another processor may be off by one level everywhere).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden_cases import NETWORK, PICTURE_CASES, PictureCase
from rigs import ring

from semi_smd_ros.runtime import CameraImage, InputError, SurroundFrame
from semi_smd_ros.runtime.cuda.rectifier import DeviceRectifier
from semi_smd_ros.runtime.frame import PREVIEW_STEP
from semi_smd_ros.runtime.preprocess import engine_inputs, prepare_rig, rectify_images


def fetched(array: Any, stream: Any) -> np.ndarray:
    host = np.empty(array.shape, array.dtype)
    array.copy_to(host, stream)
    stream.synchronize()
    return host


@pytest.mark.parametrize('case', PICTURE_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_pictures_are_those_of_the_processors_path(device: tuple[Any, Any], case: PictureCase, dtype: type) -> None:
    context, kernels = device
    frame = case.frame()
    prepared = prepare_rig(frame.rig, *NETWORK)
    images = context.device_array((len(frame.images), 3, *NETWORK[::-1]), dtype)
    rectifier, stream = DeviceRectifier(context, kernels, images), context.stream()
    rectifier.prepare(prepared)
    rectifier.upload(frame, prepared)
    rectifier.rectify(stream)
    pictures = fetched(rectifier.pictures, stream)
    expected = rectify_images(frame, prepared)
    for got, wanted, encoding in zip(pictures, expected, case.encodings, strict=True):
        most = 1 if encoding in ('mono16', '16UC1') else 0
        assert np.abs(got.astype(int) - wanted).max() <= most, encoding
    planes = engine_inputs(frame, prepared, pictures).images
    np.testing.assert_array_equal(fetched(images, stream), planes.astype(dtype))
    np.testing.assert_array_equal(fetched(rectifier.previews, stream), pictures[:, ::PREVIEW_STEP, ::PREVIEW_STEP])
    np.testing.assert_array_equal(fetched(rectifier.camera_valid, stream), frame.camera_valid)
    np.testing.assert_array_equal(fetched(rectifier.known, stream), prepared.known_nhw)


def test_sets_follow_each_other_whatever_the_cameras_send(device: tuple[Any, Any]) -> None:
    """Other bytes, other encodings, cameras that vanish and come back: nothing of the set before is left."""
    context, kernels = device
    case = PictureCase('first', (320, 194), ('bgr8', 'nv12', 'mono8'))
    changes = [('bgr8', 'nv12', 'mono8'), ('bgr8', None, 'mono8'), (None, 'nv12', 'bgr8'), ('mono8', 'uyvy', None)]
    rig = case.rig
    prepared = prepare_rig(rig, *NETWORK)
    images = context.device_array((3, 3, *NETWORK[::-1]), np.float32)
    rectifier, stream = DeviceRectifier(context, kernels, images), context.stream()
    rectifier.prepare(prepared)
    made_anew = []
    for stamp, encodings in enumerate([*changes, *changes]):
        frame = replace(case, encodings=encodings).frame(stamp, rig)
        made_anew.append(rectifier.upload(frame, prepared))
        rectifier.rectify(stream)
        np.testing.assert_array_equal(fetched(rectifier.pictures, stream), rectify_images(frame, prepared))
    assert made_anew == [True, False, True, True, True, False, True, True]


def test_a_whole_set_can_be_waited_for(device: tuple[Any, Any]) -> None:
    """As before a graph, which cannot wait for one camera after the other."""
    context, kernels = device
    frame = PICTURE_CASES[0].frame()
    prepared = prepare_rig(frame.rig, *NETWORK)
    images = context.device_array((len(frame.images), 3, *NETWORK[::-1]), np.float32)
    rectifier, stream = DeviceRectifier(context, kernels, images), context.stream()
    rectifier.prepare(prepared)
    rectifier.upload(frame, prepared)
    rectifier.wait(stream)
    rectifier.rectify(stream, wait=False)
    np.testing.assert_array_equal(fetched(rectifier.pictures, stream), rectify_images(frame, prepared))


@pytest.mark.parametrize(
    ('image', 'says'),
    [
        (CameraImage(np.zeros((96, 158, 3), np.uint8), 'bgr8', 0), 'camera cam_1: image is 158x96'),
        (CameraImage(np.zeros((12, 20, 3), np.uint8), 'bgr8', 0, reduction=8), 'reduced by 8 for a network'),
    ],
)
def test_a_bad_image_is_refused_before_anything_is_copied(
    device: tuple[Any, Any], image: CameraImage, says: str
) -> None:
    context, kernels = device
    rig = ring(2)
    prepared = prepare_rig(rig, *NETWORK)
    images = context.device_array((2, 3, *NETWORK[::-1]), np.float32)
    rectifier = DeviceRectifier(context, kernels, images)
    rectifier.prepare(prepared)
    good = CameraImage(np.full((96, 160, 3), 9, np.uint8), 'bgr8', 0)
    rectifier.upload(SurroundFrame(rig, (good, good), 0), prepared)
    rectifier.rectify(stream := context.stream())
    before = fetched(rectifier.pictures, stream)
    with pytest.raises(InputError, match=says):
        rectifier.upload(SurroundFrame(rig, (replace(good, pixels=good.pixels * 2), image), 0), prepared)
    rectifier.rectify(stream, wait=False)
    np.testing.assert_array_equal(fetched(rectifier.pictures, stream), before)


def test_an_image_far_too_large_for_the_network_is_refused(device: tuple[Any, Any]) -> None:
    context, kernels = device
    rig = ring(1, 2560, 1536)
    prepared = prepare_rig(rig, *NETWORK)
    rectifier = DeviceRectifier(context, kernels, context.device_array((1, 3, *NETWORK[::-1]), np.float32))
    image = CameraImage(np.zeros((1536, 2560), np.uint8), 'mono8', 0)
    with pytest.raises(InputError, match='at most 16 times'):
        rectifier.upload(SurroundFrame(rig, (image,), 0), prepared)
