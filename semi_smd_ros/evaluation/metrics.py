# SPDX-License-Identifier: Apache-2.0
"""The formulas: predictions against the truth at the same points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .protocols import Protocol

FIGURES = ('abs_rel', 'sq_rel', 'rmse', 'rmse_log', 'd1', 'd2', 'd3')
# Edges of the bands of true depth that are told apart, metres; the last one ends at the protocol's limit.
BAND_EDGES_M = (0.0, 10.0, 20.0, 40.0, 80.0, float('inf'))
BANDS = ('0-10 m', '10-20 m', '20-40 m', '40-80 m', 'over 80 m')


@dataclass(frozen=True, eq=False)
class Scores:
    """One image's (or pooled batch's) figures, NaN where nothing was answered.

    `metric`, `scaled` (median-scaled): (1 + bands, 7), row 0 over all points, then each band; columns as in FIGURES.
    `points`: (1 + bands,) truth points. `coverage`: the share of all truth points with an answer, sky included.
    `false_sky`: the share of truth points, all with a finite depth, that the prediction calls sky.
    """

    metric: np.ndarray
    scaled: np.ndarray
    points: np.ndarray
    coverage: float
    false_sky: float


def depth_errors(predicted_n: np.ndarray, truth_n: np.ndarray) -> np.ndarray:
    """(7,) the figures of FIGURES for positive depths in metres; NaN for no points.

    AbsRel = mean |p - t| / t; SqRel = mean (p - t)^2 / t; RMSE = sqrt(mean (p - t)^2); RMSElog = sqrt(mean (ln p -
    ln t)^2); d_k = share with max(p / t, t / p) < 1.25^k (Eigen et al. 2014).
    """
    return _errors_by_band(predicted_n, truth_n, np.zeros(len(truth_n), np.int64))[0]


def _errors_by_band(predicted_n: np.ndarray, truth_n: np.ndarray, band_n: np.ndarray) -> np.ndarray:
    """(1 + bands, 7): the figures over all points, then over those of each band."""
    p, t = predicted_n.astype(np.float64), truth_n.astype(np.float64)
    squared = (p - t) ** 2
    with np.errstate(divide='ignore'):
        ratio = np.maximum(p / t, t / p)
        # |ln p - ln t| is the logarithm of that ratio.
        logarithm = np.log(ratio)
    errors = [np.abs(p - t) / t, squared / t, squared, logarithm**2]
    terms = errors + [ratio < 1.25**k for k in (1, 2, 3)]
    sums = np.stack([np.bincount(band_n, term, minlength=len(BANDS)) for term in terms], axis=1)
    counts = np.bincount(band_n, minlength=len(BANDS))
    with np.errstate(invalid='ignore'):
        means = np.vstack([sums.sum(axis=0), sums]) / np.append(counts.sum(), counts)[:, None]
    means[:, 2:4] = np.sqrt(means[:, 2:4])
    return means


def score_points(predicted_n: np.ndarray, truth_n: np.ndarray, protocol: Protocol) -> Scores | None:
    """Scores of predictions (NaN unknown, +inf sky) at points of known depth; None without truth in the range."""
    low, high = protocol.min_depth_m, protocol.max_depth_m
    if protocol.open_range:
        in_range = (truth_n > low) & (truth_n < high)
    else:
        in_range = (truth_n >= low) & (truth_n <= high)
    predicted, truth = predicted_n[in_range].astype(np.float64), truth_n[in_range].astype(np.float64)
    if not len(truth):
        return None
    known = ~np.isnan(predicted)
    sky = np.isposinf(predicted)
    band = np.digitize(truth, BAND_EDGES_M) - 1
    points = np.array([len(truth), *np.bincount(band, minlength=len(BANDS))])
    raw = np.where(sky, high, predicted)[known]
    answered, band = truth[known], band[known]
    clipped = raw.clip(low, high)
    scaled = (raw if not protocol.median_after_clip else clipped) * median_scale(
        clipped if protocol.median_after_clip else raw, answered, protocol.lower_median
    )
    return Scores(
        metric=_errors_by_band(clipped, answered, band),
        scaled=_errors_by_band(scaled.clip(low, high), answered, band),
        points=points,
        coverage=float(known.mean()),
        false_sky=float(sky.mean()),
    )


def median_scale(predicted_n: np.ndarray, truth_n: np.ndarray, lower: bool = False) -> float:
    """Median of the truth over the median of the prediction; with `lower`, the lower of two middle values counts."""
    if not len(truth_n):
        return float('nan')
    if lower:
        middle = (len(truth_n) - 1) // 2
        return float(np.partition(truth_n, middle)[middle] / np.partition(predicted_n, middle)[middle])
    return float(np.median(truth_n) / np.median(predicted_n))


def sample_depth(depth_hw: np.ndarray, uv_n2: np.ndarray) -> np.ndarray:
    """Depth at pixels `uv_n2`, bilinear, the border repeated: (N,) float64, NaN unknown, +inf sky.

    A point between sky and something finite takes the nearest pixel's answer, since a mean of the two means nothing;
    a point next to unknown depth is unknown.
    """
    height, width = depth_hw.shape
    # cv2.remap would round positions to 1/32 pixel.
    u, v = uv_n2[:, 0].clip(0, width - 1).astype(np.float64), uv_n2[:, 1].clip(0, height - 1).astype(np.float64)
    u0, v0 = np.minimum(u.astype(int), max(width - 2, 0)), np.minimum(v.astype(int), max(height - 2, 0))
    u1, v1 = np.minimum(u0 + 1, width - 1), np.minimum(v0 + 1, height - 1)
    corners = np.stack([depth_hw[v0, u0], depth_hw[v0, u1], depth_hw[v1, u0], depth_hw[v1, u1]]).astype(np.float64)
    fu, fv = u - u0, v - v0
    weights = np.stack([(1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv])
    # A pixel's own centre asks for no neighbour, whatever rounding the projection did.
    touched = weights > 1e-6
    sky = np.isposinf(corners) & touched
    mixed = (np.where(touched & ~sky, corners, 0.0) * weights).sum(axis=0)
    nearest = np.take_along_axis(corners, weights.argmax(axis=0)[None], axis=0)[0]
    blended = np.where(sky.any(axis=0), nearest, mixed)
    return np.where((np.isnan(corners) & touched).any(axis=0), np.nan, blended)
