# SPDX-License-Identifier: Apache-2.0
"""One training sample: a rig and two consecutive frames, with ground truth and teacher labels as far as known."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from semi_smd_ros.datasets.synthetic import (
    Photographs,
    SyntheticFrame,
    SyntheticRig,
    ddad_like_rig,
    nuscenes_like_rig,
    random_rig,
    render_sequence,
)
from semi_smd_ros.network.config import IGNORE_CLASS

TEST_SEEDS = range(5_000)
VALIDATION_SEEDS = range(5_000, 10_000)
FIRST_TRAINING_SEED = 10_000
SEMANTIC_STRIDE = 4
RIG_KINDS = 4


@dataclass(frozen=True)
class Sample:
    """T consecutive frames of N cameras."""

    images_tnhw3: np.ndarray
    """uint8 RGB."""
    depth_tnhw: np.ndarray
    """float16 Z depth, metres; +inf sky, NaN where the ego vehicle is, or where it is not known."""
    semantics_tnhw: np.ndarray
    """uint8 class index at stride 4, 255 ignored."""
    intrinsics_n33: np.ndarray
    base_T_cam_n44: np.ndarray
    prev_T_now_t44: np.ndarray
    """Motion of the base from frame t-1 to t; the identity for the first frame. NaN where not known."""
    ground_plane_t4: np.ndarray
    """(n, d) with n.x + d = 0 in `base`: the road's plane under the vehicle. NaN where not known."""
    moving_tnhw: np.ndarray
    """bool at stride 4: things that move by themselves."""
    ego_mask_nhw: np.ndarray | None = None
    """bool, True where the ego vehicle covers the view or the rectified picture has none; None where depth is dense,
    and NaN just there."""
    teacher_disparity_tnhw: np.ndarray | None = None
    """float32, relative inverse depth as `teachers.interface` says; NaN where the teacher says nothing."""
    teacher_semantics_tnhw: np.ndarray | None = None
    """uint8 class index at stride 4, 255 ignored, as the teacher sees it."""

    def save(self, path: Path) -> None:
        """Write uncompressed .npz, complete or not at all."""
        part = path.with_suffix(f'.{os.getpid()}.part')
        with part.open('wb') as file:
            np.savez(file, **{name: value for name, value in vars(self).items() if value is not None})
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Sample:
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls) if field.name in arrays})

    def without_truth(self) -> Sample:
        """The same pictures, rig and teacher labels, and nothing else that a vehicle would not know."""
        hidden = self.ego_mask_nhw
        if hidden is None:
            hidden = np.isnan(self.depth_tnhw).any(0)
        return replace(
            self,
            depth_tnhw=np.full_like(self.depth_tnhw, np.nan),
            semantics_tnhw=np.full_like(self.semantics_tnhw, IGNORE_CLASS),
            prev_T_now_t44=np.full_like(self.prev_T_now_t44, np.nan),
            ground_plane_t4=np.full_like(self.ground_plane_t4, np.nan),
            moving_tnhw=np.zeros_like(self.moving_tnhw),
            ego_mask_nhw=hidden,
        )

    def with_teacher(self, disparity_tnhw: np.ndarray, semantics_tnhw: np.ndarray) -> Sample:
        """The same with a teacher's labels."""
        return replace(self, teacher_disparity_tnhw=disparity_tnhw, teacher_semantics_tnhw=semantics_tnhw)

    def halved(self) -> Sample:
        """The same moments as cameras of half the resolution would have seen them.

        Pictures are averaged over 2x2 pixels; the ego vehicle is where it is in any of the four; depth, semantics and
        moving things are those of one of the four. Depth lies half a pixel from the middle, whichever that is. Labels
        lie at pixel 4 i + 2 and are wanted in the middle of the new cells, 8 j + 3.5: of 8 j + 2 and 8 j + 6 the first.
        """
        rows, columns = (size // 2 for size in self.images_tnhw3.shape[2:4])
        cells = self.images_tnhw3.reshape(*self.images_tnhw3.shape[:2], rows, 2, columns, 2, 3)
        intrinsics = self.intrinsics_n33.copy()
        intrinsics[:, :2] *= 0.5
        intrinsics[:, :2, 2] -= 0.25  # pixel centres lie at integers: 0 and 1 become 0
        one, first = ((..., slice(start, None, 2), slice(start, None, 2)) for start in (1, 0))
        depth = self.depth_tnhw[one]
        if self.ego_mask_nhw is None:
            depth = np.where(any_of_four(np.isnan(self.depth_tnhw)), np.float16(np.nan), depth)
        return replace(
            self,
            images_tnhw3=np.round(cells.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8),
            depth_tnhw=depth,
            semantics_tnhw=self.semantics_tnhw[first],
            intrinsics_n33=intrinsics,
            moving_tnhw=self.moving_tnhw[first],
            ego_mask_nhw=None if self.ego_mask_nhw is None else any_of_four(self.ego_mask_nhw),
            teacher_disparity_tnhw=None if self.teacher_disparity_tnhw is None else self.teacher_disparity_tnhw[one],
            teacher_semantics_tnhw=None if self.teacher_semantics_tnhw is None else self.teacher_semantics_tnhw[first],
        )


def any_of_four(mask: np.ndarray) -> np.ndarray:
    """True where any of 2x2 pixels is, at half the size."""
    *others, height, width = mask.shape
    return np.asarray(mask.reshape(*others, height // 2, 2, width // 2, 2).any(axis=(-3, -1)))


def rig_for_seed(seed: int, height: int, width: int) -> SyntheticRig:
    """Half of the seeds get a random rig, a quarter each the two common six-camera layouts."""
    kind = seed % RIG_KINDS
    if kind == 0:
        return ddad_like_rig(height, width)
    if kind == 1:
        return nuscenes_like_rig(height, width)
    return random_rig(np.random.default_rng(seed), height, width)


def render_sample(seed: int, height: int, width: int, frames: int = 2, photographs: str = '') -> Sample:
    """Render the scene and rig that belong to `seed`; with a folder of photographs, these on half of the scenes.

    Raises DataError for a folder without usable photographs.
    """
    rig = rig_for_seed(seed, height, width)
    shown = Photographs.read(Path(photographs)) if photographs and shows_photographs(seed) else None
    return make_sample(rig, render_sequence(seed, rig, frames=frames, photographs=shown))


def shows_photographs(seed: int) -> bool:
    """Whether a scene is one of the half with photographs, where there are any: four seeds, and four without."""
    return seed // RIG_KINDS % 2 == 1


def make_sample(rig: SyntheticRig, frames: list[SyntheticFrame]) -> Sample:
    """Pack rendered frames; semantics and moving things are taken at the pixel nearest every 4x4 cell's centre."""
    motions = [np.eye(4)]
    for before, now in pairwise(frames):
        motions.append(np.linalg.inv(before.world_T_base) @ now.world_T_base)
    every = slice(SEMANTIC_STRIDE // 2, None, SEMANTIC_STRIDE)
    centres = (..., every, every)
    depth = np.stack([frame.depth_nhw for frame in frames])
    hidden = np.stack([frame.ego_mask_nhw for frame in frames])
    return Sample(
        images_tnhw3=np.stack([frame.images_nhw3 for frame in frames]),
        depth_tnhw=np.where(hidden, np.nan, depth).astype(np.float16),
        semantics_tnhw=np.stack([frame.semantics_nhw for frame in frames])[centres],
        intrinsics_n33=np.asarray(rig.intrinsics_n33, dtype=np.float64),
        base_T_cam_n44=np.asarray(rig.base_T_cam_n44, dtype=np.float64),
        prev_T_now_t44=np.stack(motions),
        ground_plane_t4=np.stack([frame.ground_plane_base for frame in frames]),
        moving_tnhw=np.stack([frame.moving_nhw for frame in frames])[centres],
    )
