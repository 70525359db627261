# SPDX-License-Identifier: Apache-2.0
"""Frames of the synthetic world as samples, as a vehicle with such cameras and a LiDAR would have them."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..rig import CameraModel, Rig, RigCamera
from .sample import DataError, EncodedImage, SurroundSample
from .synthetic import SyntheticFrame, SyntheticRig, ddad_like_rig, render_sequence

JPEG_QUALITY = 88
MAX_TRUTH_DEPTH_M = 200.0
# ROS stamps of a recording should look like a drive, not like 1970: 2026-01-01 12:00 UTC.
DRIVE_START_NS = 1_767_268_800 * 10**9


def synthetic_samples(
    seed: int, sets: int, rate_hz: float, width: int, height: int, truth_points: int = 1500
) -> Iterator[SurroundSample]:
    """Render `sets` moments of a drive with a DDAD-like rig; `truth_points` depths per image are its ground truth."""
    rig = ddad_like_rig(height, width)
    rng = np.random.default_rng(seed)
    frames = render_sequence(seed, rig, sets, rate_hz)
    start_ns = frames[0].stamp_ns
    for frame in frames:
        yield surround_sample(frame, rig, rng, truth_points, DRIVE_START_NS - start_ns)


def surround_rig(rig: SyntheticRig) -> Rig:
    """A synthetic rig as a Rig; a camera's optical frame is called `<camera>_optical_frame`."""
    return Rig(
        tuple(
            RigCamera(name, f'{name}_optical_frame', CameraModel(rig.width, rig.height, K, np.zeros(0)), base_T_cam)
            for name, K, base_T_cam in zip(rig.names, rig.intrinsics_n33, rig.base_T_cam_n44, strict=True)
        )
    )


def surround_sample(
    frame: SyntheticFrame, rig: SyntheticRig, rng: np.random.Generator, truth_points: int, shift_ns: int = 0
) -> SurroundSample:
    """One frame with JPEG images and, per camera, at most `truth_points` random points of known depth.

    Raises DataError when an image cannot be encoded.
    """
    real = surround_rig(rig)
    stamp = frame.stamp_ns + shift_ns
    points = tuple(
        random_points(depth_hw, camera.model, rng, truth_points)
        for depth_hw, camera in zip(frame.depth_nhw, real.cameras, strict=True)
    )
    images = tuple(EncodedImage(_jpeg(image), 'jpeg') for image in frame.images_nhw3)
    return SurroundSample(real, images, (stamp,) * len(real), points, ((stamp, frame.world_T_base),))


def random_points(depth_hw: np.ndarray, camera: CameraModel, rng: np.random.Generator, count: int) -> np.ndarray:
    """At most `count` points (M,3) float32 of the optical frame at random pixels of known depth up to 200 m."""
    rows, columns = np.nonzero(depth_hw <= MAX_TRUTH_DEPTH_M)
    chosen = np.sort(rng.permutation(len(rows))[:count])
    rows, columns = rows[chosen], columns[chosen]
    pixels = np.column_stack([columns, rows, np.ones(len(rows))])
    return (pixels @ np.linalg.inv(camera.K).T * depth_hw[rows, columns, None]).astype(np.float32)


def _jpeg(image_hw3: np.ndarray) -> bytes:
    done, data = cv2.imencode('.jpg', image_hw3[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise DataError(f'an image of shape {image_hw3.shape} could not be encoded as JPEG')
    return data.tobytes()
