# SPDX-License-Identifier: Apache-2.0
"""One training sample: a rig and two consecutive synthetic frames with their ground truth."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from semi_smd_ros.datasets.synthetic import (
    SyntheticFrame,
    SyntheticRig,
    ddad_like_rig,
    nuscenes_like_rig,
    random_rig,
    render_sequence,
)

TEST_SEEDS = range(5_000)
VALIDATION_SEEDS = range(5_000, 10_000)
FIRST_TRAINING_SEED = 10_000
SEMANTIC_STRIDE = 4


@dataclass(frozen=True)
class Sample:
    """T consecutive frames of N cameras."""

    images_tnhw3: np.ndarray
    """uint8 RGB."""
    depth_tnhw: np.ndarray
    """float16 Z depth, metres; +inf sky, NaN where the ego vehicle is."""
    semantics_tnhw: np.ndarray
    """uint8 class index at stride 4, 255 ignored."""
    intrinsics_n33: np.ndarray
    base_T_cam_n44: np.ndarray
    prev_T_now_t44: np.ndarray
    """Motion of the base from frame t-1 to t; the identity for the first frame."""
    ground_plane_t4: np.ndarray
    """(n, d) with n.x + d = 0 in `base`: the road's plane under the vehicle."""
    moving_tnhw: np.ndarray
    """bool at stride 4: things that move by themselves."""

    def save(self, path: Path) -> None:
        """Write uncompressed .npz, complete or not at all."""
        part = path.with_suffix(f'.{os.getpid()}.part')
        with part.open('wb') as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> Sample:
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def halved(self) -> Sample:
        """The same moments as cameras of half the resolution would have seen them.

        Pictures are averaged over 2x2 pixels; depth, semantics and moving things are those of one of the four.
        """
        rows, columns = (size // 2 for size in self.images_tnhw3.shape[2:4])
        cells = self.images_tnhw3.reshape(*self.images_tnhw3.shape[:2], rows, 2, columns, 2, 3)
        intrinsics = self.intrinsics_n33.copy()
        intrinsics[:, :2] *= 0.5
        intrinsics[:, :2, 2] -= 0.25  # pixel centres lie at integers: 0 and 1 become 0
        one = (..., slice(1, None, 2), slice(1, None, 2))
        return replace(
            self,
            images_tnhw3=np.round(cells.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8),
            depth_tnhw=self.depth_tnhw[one],
            semantics_tnhw=self.semantics_tnhw[one],
            intrinsics_n33=intrinsics,
            moving_tnhw=self.moving_tnhw[one],
        )


def rig_for_seed(seed: int, height: int, width: int) -> SyntheticRig:
    """Half of the seeds get a random rig, a quarter each the two common six-camera layouts."""
    kind = seed % 4
    if kind == 0:
        return ddad_like_rig(height, width)
    if kind == 1:
        return nuscenes_like_rig(height, width)
    return random_rig(np.random.default_rng(seed), height, width)


def render_sample(seed: int, height: int, width: int, frames: int = 2) -> Sample:
    """Render the scene and rig that belong to `seed`."""
    rig = rig_for_seed(seed, height, width)
    return make_sample(rig, render_sequence(seed, rig, frames=frames))


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
