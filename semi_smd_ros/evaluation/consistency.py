# SPDX-License-Identifier: Apache-2.0
"""Does the depth agree with itself: between neighbouring cameras, and from one moment to the next?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..datasets.sample import SurroundSample
from ..rig import CameraModel, RigCamera, rays
from ..runtime import SurroundDepth
from .ego_motion import true_motion
from .metrics import sample_depth

_FIGURES = ('mean', 'median', 'within', 'sky')
# A pair of views with fewer common points says little.
MIN_POINTS = 50


@dataclass(frozen=True)
class Agreement:
    """How one view's depth, carried into another, agrees with the other's own.

    `mean`, `median`: of |carried - own| / own; `within`: share with a ratio below 1.25 both ways; `sky`: share of all
    carried points at which the other view says sky. What one view sees and something hides from the other counts
    too, so that true depth has errors as well; the median hardly feels them.
    """

    mean: float
    median: float
    within: float
    sky: float
    points: int


def compare(carried_n: np.ndarray, own_n: np.ndarray) -> Agreement | None:
    """Agreement of depths carried into a view with the view's own (NaN unknown, +inf sky); None for too few."""
    known = ~np.isnan(own_n)
    sky = np.isposinf(own_n[known])
    carried, own = carried_n[known][~sky], own_n[known][~sky]
    if len(own) < MIN_POINTS:
        return None
    relative = np.abs(carried - own) / own
    ratio = np.maximum(carried / own, own / carried)
    return Agreement(
        float(relative.mean()),
        float(np.median(relative)),
        float((ratio < 1.25).mean()),
        float(sky.mean()),
        int(known.sum()),
    )


def carry(
    depth_hw: np.ndarray, camera: RigCamera, other_hw: np.ndarray, other: RigCamera, other_T_base: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Carry every finite depth of a view into another one; both cameras undistorted.

    `other_T_base` (4,4) takes points of `camera`'s base into that of `other` (the identity within one moment).
    Returns, for the points that fall into the other view, the Z they have there and the depth it has itself (NaN
    unknown, +inf sky).
    """
    seen = np.isfinite(depth_hw)
    model = camera.model
    points = rays(model.K, model.width, model.height)[seen].astype(np.float64) * depth_hw[seen, None]
    other_T_cam = np.linalg.inv(other.base_T_cam) @ other_T_base @ camera.base_T_cam
    moved = points @ other_T_cam[:3, :3].T + other_T_cam[:3, 3]
    uv, inside = other.model.project(moved)
    return moved[inside, 2], sample_depth(other_hw, uv[inside])


def overlap_agreements(depth: SurroundDepth) -> Iterator[tuple[str, str, Agreement]]:
    """(camera, neighbour, agreement) for every ordered pair of cameras of one set that see common points."""
    cameras = depth.rectified.cameras
    for i, camera in enumerate(cameras):
        for j, other in enumerate(cameras):
            if i == j or not may_overlap(camera, other):
                continue
            z, own = carry(depth.depth_nhw[i], camera, depth.depth_nhw[j], other, np.eye(4))
            agreement = compare(z, own)
            if agreement is not None:
                yield camera.name, other.name, agreement


def may_overlap(camera: RigCamera, other: RigCamera) -> bool:
    """Whether the cones around two undistorted cameras' views meet."""
    axes = camera.base_T_cam[:3, 2] @ other.base_T_cam[:3, 2]
    return float(np.arccos(np.clip(axes, -1, 1))) < _half_angle(camera.model) + _half_angle(other.model)


def _half_angle(model: CameraModel) -> float:
    corners = np.array([[u, v] for u in (0, model.width - 1) for v in (0, model.height - 1)])
    return float(np.arccos(model.unproject(corners)[:, 2].min()))


class FlickerMeter:
    """Depth at t, carried to t-1 by the vehicle's known motion, against the depth found there, camera by camera.

    Things that move by themselves are left out where the source knows them. Call `reset` where a sequence ends.
    """

    def __init__(self) -> None:
        self._previous: tuple[SurroundSample, SurroundDepth] | None = None
        self._look_up = RawLookup()

    def reset(self) -> None:
        """Forget the set before."""
        self._previous = None

    def __call__(self, sample: SurroundSample, depth: SurroundDepth) -> list[tuple[str, Agreement]]:
        """(camera, agreement with the set before); empty for a first set and where poses are unknown."""
        previous, self._previous = self._previous, (sample, depth)
        if previous is None or previous[1].rectified.names != depth.rectified.names:
            return []
        before, depth_before = previous
        result = []
        for i, camera in enumerate(depth.rectified.cameras):
            motion = true_motion(before, sample, i)
            if motion is None:
                continue
            now_hw = self._static(sample, depth, i)
            then_hw = self._static(before, depth_before, i)
            z, own = carry(now_hw, camera, then_hw, depth_before.rectified.cameras[i], motion)
            agreement = compare(z, own)
            if agreement is not None:
                result.append((camera.name, agreement))
        return result

    def _static(self, sample: SurroundSample, depth: SurroundDepth, index: int) -> np.ndarray:
        """Depth of one camera, NaN on what moves."""
        depth_hw = depth.depth_nhw[index]
        if sample.moving is None:
            return depth_hw
        moving = self._look_up(sample.moving[index], sample, depth, index)
        return np.where(moving, np.float32(np.nan), depth_hw)


class RawLookup:
    """Reads maps of raw images at the pixels of the rectified ones. Remembers where these lie, camera by camera."""

    def __init__(self) -> None:
        self._pixels: dict[int, tuple[CameraModel, CameraModel, np.ndarray]] = {}

    def __call__(self, map_hw: np.ndarray, sample: SurroundSample, depth: SurroundDepth, index: int) -> np.ndarray:
        """`map_hw` of camera `index` (raw image), nearest to every pixel of the rectified image."""
        model, rectified = sample.rig.cameras[index].model, depth.rectified.cameras[index].model
        known = self._pixels.get(index)
        if known is None or known[0] is not model or known[1] is not rectified:
            known = self._pixels[index] = (model, rectified, raw_pixels(model, rectified))
        row, column = known[2]
        return np.asarray(map_hw[row, column])

    def true_depth(self, sample: SurroundSample, like: SurroundDepth) -> SurroundDepth | None:
        """A sample's dense truth in place of the depth in `like`, unknown where that is; None without dense truth."""
        if sample.depth_maps is None:
            return None
        truth = np.stack([self(depth_hw, sample, like, i) for i, depth_hw in enumerate(sample.depth_maps)])
        return dataclasses.replace(like, depth_nhw=np.where(np.isnan(like.depth_nhw), np.float32(np.nan), truth))


def raw_pixels(model: CameraModel, rectified: CameraModel) -> np.ndarray:
    """(2,H,W) int: row and column of the raw image's pixel nearest to each rectified one, kept within the image."""
    points = rays(rectified.K, rectified.width, rectified.height).reshape(-1, 3)
    uv = np.rint(np.nan_to_num(model.project(points)[0], nan=-1.0)).astype(int)
    column, row = uv[:, 0].clip(0, model.width - 1), uv[:, 1].clip(0, model.height - 1)
    return np.stack([row, column]).reshape(2, rectified.height, rectified.width)


@dataclass
class AgreementTally:
    """Collects agreements: the mean per view or pair of views, then over those."""

    by_view: dict[str, list[Agreement]] = field(default_factory=dict)

    def add(self, view: str, agreement: Agreement) -> None:
        """One image's agreement."""
        self.by_view.setdefault(view, []).append(agreement)

    def summary(self) -> dict[str, float] | None:
        """Means over views of their means, and the number of images; None without any."""
        if not self.by_view:
            return None
        result: dict[str, float] = {'images': sum(len(group) for group in self.by_view.values())}
        for name in _FIGURES:
            means = [np.mean([getattr(a, name) for a in group]) for group in self.by_view.values()]
            result[name] = float(np.mean(means))
        return result

    def views(self) -> dict[str, dict[str, float]]:
        """The means of every view."""
        return {
            view: {name: float(np.mean([getattr(agreement, name) for agreement in group])) for name in _FIGURES}
            for view, group in self.by_view.items()
        }
