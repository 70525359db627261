# SPDX-License-Identifier: Apache-2.0
"""A rig and its pictures in the mirror, for flip averaging: what was on the left is on the right."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..rig import CameraModel, Rig, RigCamera
from ..runtime import CameraImage, SurroundFrame

_BASE = np.diag([1.0, -1.0, 1.0, 1.0])
_OPTICAL = np.diag([-1.0, 1.0, 1.0, 1.0])
# Encodings whose pixels hold no neighbour's colour, so that columns may change places.
_FLIPPABLE = ('rgb8', 'bgr8', '8UC3', 'rgba8', 'bgra8', '8UC4', 'mono8', '8UC1', 'mono16', '16UC1')


def mirrored_rig(rig: Rig) -> Rig:
    """The rig that a mirror standing on the vehicle's middle plane y = 0 shows; its pictures are flipped left-right.

    A mirror turns y of `base` round and x of every optical frame, so `base_T_cam` stays a proper transform. Lens
    models keep their form: the principal point moves to the other side, the skew and the tangential coefficient that
    acts along x change sign.
    """
    return Rig(tuple(_mirrored_camera(camera) for camera in rig.cameras), rig.base_frame)


def mirrored_frame(frame: SurroundFrame, mirrored: Rig) -> SurroundFrame:
    """The set that `mirrored` (from `mirrored_rig`) sees. Raises ValueError for Bayer and subsampled pictures."""
    return SurroundFrame(
        mirrored, tuple(None if image is None else _flipped(image) for image in frame.images), frame.stamp_ns
    )


def flip_averaged(depth_nhw: np.ndarray, mirrored_nhw: np.ndarray, far_m: float) -> np.ndarray:
    """Depth (N,H,W) from the answers for a rig and for its mirror image (as it came out, not yet flipped back).

    Inverse depths are averaged, but within the first 5 % of a row only the mirrored answer counts, within the last
    5 % only the plain one, with ramps to 10 % (the post-processing of Godard et al. 2017). Sky against something finite
    enters as `far_m`; sky twice is sky; unknown in either is unknown.
    """
    back = mirrored_nhw[..., ::-1]
    both_sky = np.isposinf(depth_nhw) & np.isposinf(back)
    plain, flipped = (1 / np.where(np.isposinf(d), far_m, d).astype(np.float64) for d in (depth_nhw, back))
    position = np.linspace(0, 1, depth_nhw.shape[-1])
    left = 1 - np.clip(20 * (position - 0.05), 0, 1)
    right = left[::-1]
    mean = (1 - left - right) * 0.5 * (plain + flipped)
    return np.where(both_sky, np.inf, 1 / (mean + right * plain + left * flipped)).astype(np.float32)


def _mirrored_camera(camera: RigCamera) -> RigCamera:
    model = camera.model
    D = model.D.copy()
    if model.distortion_model != 'equidistant' and D.size:
        D[3] = -D[3]
    mirrored = CameraModel(
        model.width,
        model.height,
        _mirrored_intrinsics(model.K, model.width),
        D,
        model.distortion_model,
        None if model.P is None else _mirrored_intrinsics(model.P, model.width),
    )
    mask = None if camera.ego_mask is None else np.ascontiguousarray(camera.ego_mask[:, ::-1])
    return dataclasses.replace(camera, model=mirrored, base_T_cam=_BASE @ camera.base_T_cam @ _OPTICAL, ego_mask=mask)


def _mirrored_intrinsics(K: np.ndarray, width: int) -> np.ndarray:
    mirrored = K.copy()
    mirrored[0, 1] = -K[0, 1]
    mirrored[0, 2] = width - 1 - K[0, 2]
    return mirrored


def _flipped(image: CameraImage) -> CameraImage:
    if image.encoding not in _FLIPPABLE:
        raise ValueError(
            f'a picture of encoding {image.encoding} cannot be flipped column by column; '
            f'expected one of {", ".join(_FLIPPABLE)}: use a protocol without flip averaging'
        )
    return CameraImage(np.ascontiguousarray(image.pixels[:, ::-1]), image.encoding, image.stamp_ns, image.reduction)
