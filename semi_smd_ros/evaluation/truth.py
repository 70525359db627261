# SPDX-License-Identifier: Apache-2.0
"""Ground truth as points of each camera's optical frame, whether it was given sparse or dense."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from ..datasets.sample import SurroundSample
from ..rig import CameraModel, Rig, rays

# Dense truth is thinned to about as many points per camera as a network's picture has pixels: more of them would say
# the same and cost seconds a set.
MAX_DENSE_POINTS = 65_536


@dataclass(frozen=True, eq=False)
class CameraTruth:
    """What is known of one camera's view: `points_n3` float64 metres in its optical frame, each visible from it, and
    `sky_n3` float64 rays (Z = 1) of pixels that are sky; empty where the source does not know the sky."""

    points_n3: np.ndarray
    sky_n3: np.ndarray


class TruthReader:
    """Turns samples into truth points. Remembers the rays of the last rig's pixels, which dense truth needs.

    With `masks`, truth on the ego vehicle is left out.
    """

    def __init__(self, masks: bool) -> None:
        self._masks = masks
        self._rays: dict[int, tuple[CameraModel, np.ndarray]] = {}

    def __call__(self, sample: SurroundSample) -> tuple[CameraTruth, ...] | None:
        """Truth of every camera, dense (thinned, see `thinning`) before sparse; None where the source has none."""
        if sample.depth_maps is not None:
            return tuple(self._dense(sample, i, depth) for i, depth in enumerate(sample.depth_maps))
        if sample.depth_points is not None:
            return tuple(self._sparse(sample, i, points) for i, points in enumerate(sample.depth_points))
        return None

    def _sparse(self, sample: SurroundSample, index: int, points: np.ndarray) -> CameraTruth:
        camera = sample.rig.cameras[index]
        points = points.astype(np.float64)
        if self._masks and camera.ego_mask is not None and len(points):
            uv, inside = camera.model.project(points)
            column, row = np.rint(uv[inside]).astype(int).T
            # The image reaches half a pixel beyond its outermost centres.
            row, column = row.clip(0, camera.model.height - 1), column.clip(0, camera.model.width - 1)
            points = points[inside][~camera.ego_mask[row, column]]
        return CameraTruth(points, np.zeros((0, 3)))

    def _dense(self, sample: SurroundSample, index: int, depth_hw: np.ndarray) -> CameraTruth:
        camera = sample.rig.cameras[index]
        stride = thinning(camera.model)
        grid = np.zeros(depth_hw.shape, bool)
        grid[stride // 2 :: stride, stride // 2 :: stride] = True
        seen = grid & ~np.isnan(depth_hw)
        if self._masks and camera.ego_mask is not None:
            seen &= ~camera.ego_mask
        rays_hw3 = self._pixel_rays(index, camera.model)
        sky = np.isposinf(depth_hw)
        finite = seen & ~sky & (depth_hw > 0)
        return CameraTruth(rays_hw3[finite] * depth_hw[finite, None].astype(np.float64), rays_hw3[seen & sky])

    def _pixel_rays(self, index: int, model: CameraModel) -> np.ndarray:
        if index not in self._rays or self._rays[index][0] is not model:
            self._rays[index] = (model, pixel_rays(model))
        return self._rays[index][1]


def thinning(model: CameraModel) -> int:
    """k, where of a camera's dense truth every k-th pixel of every k-th row is used."""
    return math.ceil(math.sqrt(model.width * model.height / MAX_DENSE_POINTS))


def pixel_rays(model: CameraModel) -> np.ndarray:
    """(H,W,3) float64 rays, Z = 1, of the pixels of a possibly distorted camera."""
    if not model.is_distorted:
        return rays(model.K, model.width, model.height).astype(np.float64)
    uv = np.stack(np.meshgrid(np.arange(model.width), np.arange(model.height)), axis=-1).reshape(-1, 2)
    directions = model.unproject(uv)
    return (directions / directions[:, 2:]).reshape(model.height, model.width, 3)


def without_masks(rig: Rig) -> Rig:
    """The same rig, its ego masks taken off: depth is then answered on the vehicle too."""
    if all(camera.ego_mask is None for camera in rig.cameras):
        return rig
    return Rig(tuple(dataclasses.replace(camera, ego_mask=None) for camera in rig.cameras), rig.base_frame)
