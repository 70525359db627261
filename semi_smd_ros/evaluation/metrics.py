# SPDX-License-Identifier: Apache-2.0
"""Metric depth against sparse ground truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MIN_DEPTH_M, MAX_DEPTH_M = 0.1, 200.0
PROTOCOL = (
    f'metric, no median scaling, no crop, no flip averaging, {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g} m, no ego mask; '
    'prediction sampled bilinearly at the ground-truth points and clipped to the range, +inf (sky) counts as the '
    'farthest; points with unknown depth are left out and reported as coverage; per image, then mean per camera, '
    'then mean over cameras'
)


@dataclass(frozen=True)
class DepthScores:
    """One image's scores; `points` were compared, `coverage` is their share of all ground-truth points."""

    abs_rel: float
    d1: float
    points: int
    coverage: float


def score_depth(depth_hw: np.ndarray, uv_n2: np.ndarray, truth_n: np.ndarray) -> DepthScores | None:
    """AbsRel (mean of |d - g| / g) and d<1.25 (share with max(d/g, g/d) < 1.25) of one depth image.

    `depth_hw` float metres (NaN unknown, +inf too far to tell); `uv_n2` the ground truth's pixels in that image;
    `truth_n` its metres. None when no ground truth lies in the range; NaN errors and no coverage when all depth is
    unknown.
    """
    in_range = (truth_n >= MIN_DEPTH_M) & (truth_n <= MAX_DEPTH_M)
    uv, truth = uv_n2[in_range].astype(np.float32), truth_n[in_range].astype(np.float64)
    if not len(truth):
        return None
    finite = np.where(np.isposinf(depth_hw), np.float32(MAX_DEPTH_M), depth_hw).astype(np.float32)
    # NaN spreads through the interpolation, so a point next to unknown depth is unknown too.
    sampled = _sample(finite, uv).astype(np.float64)
    known = np.isfinite(sampled)
    if not known.any():
        return DepthScores(float('nan'), float('nan'), 0, 0.0)
    d, g = sampled[known].clip(MIN_DEPTH_M, MAX_DEPTH_M), truth[known]
    return DepthScores(
        abs_rel=float(np.mean(np.abs(d - g) / g)),
        d1=float(np.mean(np.maximum(d / g, g / d) < 1.25)),
        points=int(known.sum()),
        coverage=float(known.mean()),
    )


def _sample(image_hw: np.ndarray, uv_n2: np.ndarray) -> np.ndarray:
    """Bilinear samples, the border repeated. cv2.remap would round positions to 1/32 pixel."""
    height, width = image_hw.shape
    u, v = uv_n2[:, 0].clip(0, width - 1), uv_n2[:, 1].clip(0, height - 1)
    u0, v0 = np.minimum(u.astype(int), max(width - 2, 0)), np.minimum(v.astype(int), max(height - 2, 0))
    u1, v1 = np.minimum(u0 + 1, width - 1), np.minimum(v0 + 1, height - 1)
    fu, fv = u - u0, v - v0
    top = image_hw[v0, u0] * (1 - fu) + image_hw[v0, u1] * fu
    bottom = image_hw[v1, u0] * (1 - fu) + image_hw[v1, u1] * fu
    return top * (1 - fv) + bottom * fv


def summarise(scores: Iterable[tuple[str, DepthScores | None]]) -> dict[str, float] | None:
    """Mean per camera, then over cameras, of (camera, scores); None when there is nothing to average.

    Images without any known depth count for the coverage and not for the errors, which they do not have.
    """
    by_camera: dict[str, list[DepthScores]] = defaultdict(list)
    for camera, score in scores:
        if score is not None:
            by_camera[camera].append(score)
    if not any(score.points for group in by_camera.values() for score in group):
        return None
    answered = {camera: [s for s in group if s.points] for camera, group in by_camera.items()}

    def mean(groups: dict[str, list[DepthScores]], key: str) -> float:
        return float(np.mean([np.mean([getattr(s, key) for s in group]) for group in groups.values() if group]))

    return {
        'abs_rel': mean(answered, 'abs_rel'),
        'd1': mean(answered, 'd1'),
        'coverage': mean(by_camera, 'coverage'),
    }
