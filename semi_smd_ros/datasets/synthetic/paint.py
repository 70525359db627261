# SPDX-License-Identifier: Apache-2.0
"""Paint on the road: lane lines, edge lines, parking bays, zebra crossings, stop lines."""

from __future__ import annotations

import numpy as np

from .marks import RoadMarks


def _line_rows(
    rng: np.random.Generator, lane: float, right: int, left: int, median: float, white: tuple[float, ...]
) -> list[tuple[float, ...]]:
    """Lane lines, edge lines and what parts the directions."""
    yellow = (0.65, 0.42, 0.06)
    rows: list[tuple[float, ...]] = []
    half, strength = float(rng.uniform(0.05, 0.09)), float(rng.uniform(0.5, 1.0))
    period, share = float(rng.uniform(5.0, 13.0)), float(rng.uniform(0.3, 0.6))
    middle = yellow if rng.random() < 0.5 else white
    edge = white if rng.random() < 0.75 else yellow
    for side, count in ((-1, right), (1, left)):
        for i in range(1, count):
            rows.append((side * (median + i * lane), half, period, share, *white, strength))
        if count and rng.random() < 0.7:
            rows.append((side * (median + count * lane), half, 0.0, share, *edge, strength))
        if median > 0.0:
            rows.append((side * (median - 0.25), half, 0.0, share, *middle, strength))
    if median <= 0.0 and left:
        solid, double = rng.random() < 0.6, rng.random() < 0.5
        rows.append((-0.13 if double else 0.0, half, 0.0 if solid else period, share, *middle, strength))
        if double:
            rows.append((0.13, half, 0.0, share, *middle, strength))
    return rows


def make_marks(
    rng: np.random.Generator,
    lane: float,
    right: int,
    left: int,
    median: float,
    right_edge: float,
    left_edge: float,
    opening: tuple[float, float, float, tuple[int, ...], float] | None,
    kind: str,
) -> RoadMarks:
    """Lane lines, edge lines, zebra crossings and stop lines of a road with these lanes."""
    white = (float(rng.uniform(0.5, 0.8)),) * 3
    lines: list[tuple[float, ...]] = []
    if rng.random() < (0.5 if kind in ('lot', 'narrow') else 0.94):
        lines = _line_rows(rng, lane, right, left, median, white)
    if kind == 'lot':
        for edge, side in ((right_edge, 1.0), (left_edge, -1.0)):
            lines.append((edge + side * 2.5, 2.5, 2.6, 0.05, *white, 0.8))
    zebras: list[tuple[float, ...]] = []
    if opening is not None:
        s0, s1 = opening[0], opening[1]
        if rng.random() < 0.7:
            zebras += [(s, s + 2.6, right_edge, left_edge, 1.0) for s in (s0 - 3.2, s1 + 0.6)]
        if rng.random() < 0.6:
            zebras.append((s0 - 4.6, s0 - 4.2, right_edge, -median - 0.1, 0.0))
            zebras.append((s1 + 4.2, s1 + 4.6, median + 0.1, left_edge, 0.0))
    elif kind != 'highway' and rng.random() < 0.3:
        s = float(rng.uniform(-20, 40))
        zebras.append((s, s + 3.0, right_edge, left_edge, 1.0))
    return RoadMarks(lines, zebras, float(rng.uniform(0.0, 1.0)))
