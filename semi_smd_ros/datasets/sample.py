# SPDX-License-Identifier: Apache-2.0
"""One sample type for every source: a synchronised set of images with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rig import Rig


class DataError(ValueError):
    """A data set or recording that cannot be read. The message names the file and what was expected."""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A camera's picture as its compressed bytes; `format` as in sensor_msgs/CompressedImage ('jpeg', 'png')."""

    data: bytes
    format: str


@dataclass(frozen=True, eq=False)
class SurroundSample:
    """One moment of a rig.

    `images` and `stamps_ns` follow the rig's order. `depth_points`: per camera (M,3) float32 points of its
    optical frame at its own stamp, metres: sparse ground truth, visible from the camera; None where unknown.
    `ego_poses`: (stamp_ns, `world_T_base` (4,4)) pairs; empty where unknown.
    """

    rig: Rig
    images: tuple[EncodedImage, ...]
    stamps_ns: tuple[int, ...]
    depth_points: tuple[np.ndarray, ...] | None = None
    ego_poses: tuple[tuple[int, np.ndarray], ...] = ()
