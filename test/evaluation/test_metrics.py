# SPDX-License-Identifier: Apache-2.0
"""Figures against formulas written out here, in plain Python."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi_smd_ros.evaluation.metrics import (
    BANDS,
    FIGURES,
    Scores,
    depth_errors,
    median_scale,
    sample_depth,
    score_points,
)
from semi_smd_ros.evaluation.protocols import Protocol

PLAIN = Protocol('default', 0.1, 200.0)


def by_hand(predicted: list[float], truth: list[float]) -> dict[str, float]:
    n = len(truth)
    pairs = list(zip(predicted, truth, strict=True))
    within = [max(p / t, t / p) for p, t in pairs]
    return {
        'abs_rel': sum(abs(p - t) / t for p, t in pairs) / n,
        'sq_rel': sum((p - t) * (p - t) / t for p, t in pairs) / n,
        'rmse': math.sqrt(sum((p - t) ** 2 for p, t in pairs) / n),
        'rmse_log': math.sqrt(sum(math.log(p / t) ** 2 for p, t in pairs) / n),
        'd1': sum(w < 1.25 for w in within) / n,
        'd2': sum(w < 1.5625 for w in within) / n,
        'd3': sum(w < 1.953125 for w in within) / n,
    }


def depths(seed: int, count: int, far: float = 120.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.exp(rng.uniform(np.log(1), np.log(far), count))
    return truth * np.exp(rng.normal(0.1, 0.4, count)), truth


@given(st.integers(0, 1000))
def test_figures_equal_the_formulas(seed: int) -> None:
    predicted, truth = depths(seed, 40)
    expected = by_hand(predicted.tolist(), truth.tolist())
    assert dict(zip(FIGURES, depth_errors(predicted, truth), strict=True)) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 1000), st.booleans())
def test_median_scaled_figures_equal_the_formulas(seed: int, even: bool) -> None:
    predicted, truth = depths(seed, 40 + (not even))
    scale = statistics.median(truth.tolist()) / statistics.median(predicted.tolist())
    scores = score_points(predicted, truth, PLAIN)
    assert scores is not None
    expected = by_hand([min(max(p * scale, 0.1), 200.0) for p in predicted.tolist()], truth.tolist())
    assert dict(zip(FIGURES, scores.scaled[0], strict=True)) == pytest.approx(expected, rel=1e-9)
    lower = statistics.median_low(truth.tolist()) / statistics.median_low(predicted.tolist())
    assert median_scale(predicted, truth, lower=True) == pytest.approx(lower)


def test_a_wrong_scale_is_seen_by_metric_figures_alone() -> None:
    _, truth = depths(3, 60, far=60)
    scores = score_points(1.3 * truth, truth, PLAIN)
    assert scores is not None
    assert scores.metric[0, 0] == pytest.approx(0.3)
    assert scores.scaled[0, 0] == pytest.approx(0, abs=1e-12)


def test_bands_hold_their_own_points() -> None:
    predicted, truth = depths(5, 400, far=190)
    scores = score_points(predicted, truth, PLAIN)
    assert scores is not None
    edges = [0, 10, 20, 40, 80, 200]
    for i, (low, high) in enumerate(pairwise(edges), start=1):
        inside = [
            (min(p, 200.0), t) for p, t in zip(predicted.tolist(), truth.tolist(), strict=True) if low <= t < high
        ]
        expected = by_hand([p for p, _ in inside], [t for _, t in inside])
        assert dict(zip(FIGURES, scores.metric[i], strict=True)) == pytest.approx(expected, rel=1e-9)
        assert scores.points[i] == len(inside)
    assert scores.points[0] == scores.points[1:].sum() == 400
    assert len(scores.points) == 1 + len(BANDS)


def test_predictions_are_clipped_and_truth_out_of_range_is_left_out() -> None:
    truth = np.array([0.05, 0.1, 100.0, 200.0, 250.0])
    scores = score_points(np.array([9.0, 0.01, 500.0, 200.0, 9.0]), truth, PLAIN)
    assert scores is not None
    assert scores.points[0] == 3
    assert scores.metric[0, 0] == pytest.approx((0 + 1 + 0) / 3)
    open_range = score_points(
        np.array([9.0, 0.01, 500.0, 200.0, 9.0]), truth, Protocol('x', 0.1, 200.0, open_range=True)
    )
    assert open_range is not None
    assert open_range.points[0] == 1
    assert score_points(np.array([1.0]), np.array([250.0]), PLAIN) is None


def test_sky_counts_as_far_and_unknown_lowers_the_coverage() -> None:
    scores = score_points(np.array([np.inf, 10.0, np.nan, 10.0]), np.array([100.0, 10.0, 10.0, 10.0]), PLAIN)
    assert scores is not None
    assert scores.metric[0, 0] == pytest.approx((1.0 + 0.0 + 0.0) / 3)  # 200 m instead of 100 m
    assert (scores.coverage, scores.false_sky) == (0.75, 0.25)
    silent = score_points(np.array([np.nan]), np.array([5.0]), PLAIN)
    assert isinstance(silent, Scores)
    assert np.isnan(silent.metric).all()
    assert np.isnan(silent.scaled).all()
    assert (silent.coverage, silent.points[0]) == (0.0, 1)


def test_where_the_median_scale_is_taken_from() -> None:
    predicted, truth = np.array([10.0, 20.0, 900.0, 1000.0]), np.array([10.0, 20.0, 30.0, 40.0])
    before = score_points(predicted, truth, PLAIN)
    after = score_points(predicted, truth, Protocol('x', 0.1, 200.0, median_after_clip=True, lower_median=True))
    assert before is not None
    assert after is not None
    scaled = [p * 25 / 460 for p in predicted]
    assert before.scaled[0, 0] == pytest.approx(by_hand(scaled, truth.tolist())['abs_rel'])
    # Clipped to 200 m first; the lower middle values are 20 and 20.
    assert after.scaled[0, 0] == pytest.approx(by_hand([10, 20, 200, 200], truth.tolist())['abs_rel'])


def test_depth_is_interpolated_between_pixels_but_never_with_sky() -> None:
    ramp = np.tile(np.arange(1, 31, dtype=np.float32), (20, 1))
    assert sample_depth(ramp, np.array([[4.25, 7.5], [-0.4, 3.0], [29.4, 19.4]])) == pytest.approx([5.25, 1.0, 30.0])
    depth = np.array([[10, 10, np.inf], [10, 20, np.inf], [10, np.nan, 10]], np.float32)
    points = np.array([[0.5, 0.5], [1.4, 0.0], [1.6, 0.0], [0.5, 1.5], [0.25, 1.0]])
    assert sample_depth(depth, points) == pytest.approx([12.5, 10.0, np.inf, np.nan, 12.5], nan_ok=True)
