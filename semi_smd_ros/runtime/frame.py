# SPDX-License-Identifier: Apache-2.0
"""What goes into the pipeline and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rig import Rig
from .images import CameraImage

PREVIEW_STEP = 4


@dataclass(frozen=True, eq=False)
class SurroundFrame:
    """One synchronised set: an image (or None where a camera gave none) for every camera of `rig`, in its order.

    `stamp_ns` is the reference stamp: that of the newest image in the set.
    """

    rig: Rig
    images: tuple[CameraImage | None, ...]
    stamp_ns: int

    @property
    def camera_valid(self) -> tuple[bool, ...]:
        """Which cameras have an image."""
        return tuple(image is not None for image in self.images)

    @property
    def stamps_ns(self) -> tuple[int | None, ...]:
        """Each image's own stamp, None for a missing one."""
        return tuple(None if image is None else image.stamp_ns for image in self.images)


@dataclass(frozen=True, eq=False)
class SurroundDepth:
    """Metric depth of one set, in the rectified images of the network's size.

    `depth_nhw` (float32 metres, Z; NaN unknown, +inf too far to tell), `confidence_nhw` (float32, 0..1),
    `semantics_nhw` (uint8 class ids, 255 unknown, at the network's own resolution), each (N,0,0) where it was not asked
    for; `images_nhw3` (uint8 RGB),
    `prev_T_now` (4,4): ego-motion since the previous set, None where there was none. `memory_reset` says why the
    temporal memory was wiped before this set, or is None.
    """

    stamp_ns: int
    stamps_ns: tuple[int | None, ...]
    rig: Rig
    rectified: Rig
    camera_valid: tuple[bool, ...]
    depth_nhw: np.ndarray
    confidence_nhw: np.ndarray
    semantics_nhw: np.ndarray
    images_nhw3: np.ndarray
    prev_T_now: np.ndarray | None
    memory_reset: str | None

    @property
    def has_depth(self) -> bool:
        """Whether it was made with depth."""
        return bool(self.depth_nhw.size)

    @property
    def preview_nhw3(self) -> np.ndarray:
        """Every PREVIEW_STEP-th pixel of every PREVIEW_STEP-th row of the rectified images: enough to look at."""
        return self.images_nhw3[:, ::PREVIEW_STEP, ::PREVIEW_STEP]

    def on_host(self) -> SurroundDepth:
        """The same result for as long as it is kept: no array of it lies anywhere that the next set overwrites."""
        return self
