# SPDX-License-Identifier: Apache-2.0
"""Camera images to network input: rectify and resize in one map, then RGB 0..1."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakKeyDictionary

import cv2
import numpy as np

from ..rig import CameraModel, RectifyMap, Rig, RigCamera
from .engine import EngineInputs
from .frame import SurroundFrame
from .images import CameraImage, InputError, to_network_size
from .recycled import RecycledArrays

# What decoders of JPEGs do at a good saving.
MAX_DECODE_REDUCTION = 4


# A model is one object for as long as its calibration holds, wherever its camera is moved to; its maps go with it.
_MAPS: WeakKeyDictionary[CameraModel, dict[tuple[int, int], RectifyMap]] = WeakKeyDictionary()
_MAPS_LOCK = threading.Lock()


def rectify_map(camera: CameraModel, width: int, height: int) -> RectifyMap:
    """The map of `camera` for a network of `width` x `height`; computed (10 ms and more) when first asked for."""
    with _MAPS_LOCK:
        by_size = _MAPS.setdefault(camera, {})
        if (width, height) not in by_size:
            by_size[width, height] = RectifyMap(camera, width, height)
        return by_size[width, height]


def decode_reduction(camera: CameraModel, width: int, height: int) -> int:
    """By how much (1, 2, 4) JPEGs of `camera` may come smaller out of the decoder for a network of `width` x `height`.

    Never by so much that the network's picture would have to be enlarged anywhere. Whoever feeds a pipeline asks this,
    so that all get the same pixels.
    """
    return min(rectify_map(camera, width, height).source_reduction, MAX_DECODE_REDUCTION)


@dataclass(frozen=True, eq=False)
class PreparedRig:
    """What follows from a rig alone: its maps, the rectified rig, and where a depth can be known at all.

    `known_nhw` (bool) is False where a rectified pixel looks past the source image or at the ego vehicle. What is
    worked in, set after set: `scratch_hw3` (uint8) holds a rectified image, `scratch_n3hw` (float32) the engine's
    images, `pictures` lends a set's rectified ones.
    """

    source: Rig
    fingerprint: str
    maps: tuple[RectifyMap, ...]
    rectified: Rig
    known_nhw: np.ndarray
    scratch_hw3: np.ndarray
    scratch_n3hw: np.ndarray
    pictures: RecycledArrays


def prepare_rig(rig: Rig, width: int, height: int) -> PreparedRig:
    """Compute the fixed maps of every camera for a network of `width` x `height`."""
    maps = tuple(rectify_map(camera.model, width, height) for camera in rig.cameras)
    rectified = Rig(
        tuple(
            RigCamera(camera.name, camera.frame_id, remap.model, camera.base_T_cam)
            for camera, remap in zip(rig.cameras, maps, strict=True)
        ),
        rig.base_frame,
    )
    known = np.stack([remap.valid_hw for remap in maps])
    for i, (camera, remap) in enumerate(zip(rig.cameras, maps, strict=True)):
        if camera.ego_mask is not None:
            # Any share of the vehicle in a pixel makes its depth a mixture of two things.
            known[i] &= remap(camera.ego_mask.astype(np.uint8) * 255) == 0
    scratch_hw3 = np.empty((height, width, 3), np.uint8)
    scratch_n3hw = np.empty((len(maps), 3, height, width), np.float32)
    pictures = RecycledArrays((len(maps), height, width, 3))
    return PreparedRig(rig, rig.fingerprint(), maps, rectified, known, scratch_hw3, scratch_n3hw, pictures)


def rectified(image: CameraImage, remap: RectifyMap) -> CameraImage:
    """`image` with the picture that `rectify_images` would make of it by `remap`; as it is where they do not fit.

    For any thread, while the others of its set are still on their way.
    """
    if image.rectified_by is remap or image.size != remap.source_size or remap.reduction % image.reduction:
        return image
    picture = to_network_size(image, partial(remap, reduced_by=image.reduction))
    return replace(image, rectified_hw3=picture, rectified_by=remap)


def rectify_images(frame: SurroundFrame, prepared: PreparedRig) -> np.ndarray:
    """Rectified RGB images (N,H,W,3) uint8 of a frame; black where a camera has none.

    They stay as they are for as long as they, or views of them, are held; then their memory is used again. Raises
    InputError (naming the camera) for an image whose size differs from the calibration's.
    """
    images = prepared.pictures.take()
    for i, (camera, image, remap) in enumerate(zip(frame.rig.cameras, frame.images, prepared.maps, strict=True)):
        if image is None:
            images[i] = 0
            continue
        check_size(camera.name, image, remap)
        if image.rectified_hw3 is not None and image.rectified_by is remap:
            images[i] = image.rectified_hw3
            continue
        to_network_size(image, partial(_remap, remap, prepared.scratch_hw3, image.reduction), out=images[i])
    return images


def check_size(camera: str, image: CameraImage, remap: RectifyMap) -> None:
    """Raise InputError, naming the camera, unless `image` has the size of the calibration that `remap` is made of."""
    if image.size != remap.source_size:
        raise InputError(
            'size',
            f'camera {camera}: image is {image.size[0]}x{image.size[1]}; its CameraInfo says '
            f'{remap.source_size[0]}x{remap.source_size[1]}: publish the calibration of this resolution',
        )


def unit_levels(grey_hw: np.ndarray, out_hw: np.ndarray | None = None) -> np.ndarray:
    """Grey levels (uint8) as float32 from 0 to 1; `out_hw`, where given, is written and returned."""
    # OpenCV's only operation that scales bytes to floats in one pass over the memory.
    return cv2.addWeighted(grey_hw, 1 / 255, grey_hw, 0, 0, dst=out_hw, dtype=cv2.CV_32F)


def _remap(remap: RectifyMap, scratch_hw3: np.ndarray, reduced_by: int, pixels: np.ndarray) -> np.ndarray:
    # Memory that is new to the process costs more than what is done in it.
    fits = pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)
    return remap(pixels, scratch_hw3 if fits else None, reduced_by)


def engine_inputs(frame: SurroundFrame, prepared: PreparedRig, images_nhw3: np.ndarray) -> EngineInputs:
    """The engine's named inputs for rectified images; the next set's overwrite them."""
    for image_hw3, image_3hw in zip(images_nhw3, prepared.scratch_n3hw, strict=True):
        for channel_hw, scaled_hw in zip(cv2.split(image_hw3), image_3hw, strict=True):
            unit_levels(channel_hw, scaled_hw)
    return EngineInputs(
        prepared.scratch_n3hw,
        prepared.rectified.intrinsics_n33.astype(np.float32),
        prepared.rectified.base_T_cam_n44.astype(np.float32),
        np.asarray(frame.camera_valid, np.float32),
    )
