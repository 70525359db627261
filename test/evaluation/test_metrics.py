# SPDX-License-Identifier: Apache-2.0
"""Scores against formulas written out here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi_smd_ros.evaluation import DepthScores, score_depth, summarise


@given(st.integers(0, 1000))
def test_scores_equal_the_formulas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1, 60, (20, 30)).astype(np.float32)
    u, v = rng.integers(0, 30, 50), rng.integers(0, 20, 50)
    truth = rng.uniform(1, 60, 50)
    score = score_depth(depth, np.column_stack([u, v]), truth)
    assert score is not None
    total, near = 0.0, 0
    for x, y, g in zip(u, v, truth, strict=True):
        d = float(depth[y, x])
        total += abs(d - g) / g
        near += d / g < 1.25 and g / d < 1.25
    assert score.abs_rel == pytest.approx(total / 50, rel=1e-6)
    assert score.d1 == pytest.approx(near / 50)
    assert (score.points, score.coverage) == (50, 1.0)


def test_depth_is_interpolated_between_pixels() -> None:
    ramp = np.tile(np.arange(1, 31, dtype=np.float32), (20, 1))
    score = score_depth(ramp, np.array([[4.25, 7.5]]), np.array([5.25]))
    assert score is not None
    assert score.abs_rel == pytest.approx(0, abs=1e-6)


def test_sky_counts_as_far_and_unknown_lowers_the_coverage() -> None:
    depth = np.full((4, 4), 10, np.float32)
    depth[0, 0], depth[3, 3] = np.inf, np.nan
    uv = np.array([[0, 0], [1, 1], [3, 3]])
    score = score_depth(depth, uv, np.array([100.0, 10.0, 10.0]))
    assert score is not None
    assert score.abs_rel == pytest.approx((1.0 + 0.0) / 2)  # 200 m instead of 100 m
    assert score.coverage == pytest.approx(2 / 3)


def test_truth_out_of_range_is_left_out() -> None:
    depth = np.full((4, 4), 10, np.float32)
    assert score_depth(depth, np.array([[1, 1]]), np.array([250.0])) is None


def test_an_image_without_any_depth_costs_coverage() -> None:
    blind = score_depth(np.full((4, 4), np.nan, np.float32), np.array([[1, 1]]), np.array([5.0]))
    assert blind is not None
    assert (blind.points, blind.coverage) == (0, 0)
    result = summarise([('a', blind), ('a', DepthScores(0.1, 0.5, 10, 1.0))])
    assert result is not None
    assert (result['abs_rel'], result['coverage']) == (0.1, 0.5)
    assert summarise([('a', blind)]) is None


def test_the_mean_is_per_camera_first() -> None:
    def score(abs_rel: float) -> DepthScores:
        return DepthScores(abs_rel, 0.5, 10, 1.0)

    result = summarise([('a', score(0.1)), ('a', score(0.3)), ('b', score(0.8)), ('b', None)])
    assert result is not None
    assert result['abs_rel'] == pytest.approx((0.2 + 0.8) / 2)
    assert summarise([('a', None)]) is None
