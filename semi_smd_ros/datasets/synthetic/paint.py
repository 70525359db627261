# SPDX-License-Identifier: Apache-2.0
"""Paint on the road: lane lines, edge lines, parking bays, zebra crossings."""

from __future__ import annotations

import numpy as np

from .materials import RoadMarks


def make_marks(
    rng: np.random.Generator,
    lane: float,
    right: int,
    left: int,
    right_edge: float,
    left_edge: float,
    crossing: tuple[float, float] | None,
    kind: str,
) -> RoadMarks:
    """Lane lines, edge lines and zebra crossings."""
    white = tuple(float(rng.uniform(0.5, 0.8)) for _ in range(1)) * 3
    yellow = (0.65, 0.42, 0.06)
    lines: list[tuple[float, ...]] = []
    half, strength = float(rng.uniform(0.05, 0.09)), float(rng.uniform(0.5, 1.0))
    if rng.random() < 0.9 and not (kind == 'lot' and rng.random() < 0.5):
        for i in range(-right, left + 1):
            lat = i * lane
            period, share = float(rng.uniform(5.0, 13.0)), float(rng.uniform(0.3, 0.6))
            if i == 0 and left:
                colour = yellow if rng.random() < 0.5 else white
                solid = rng.random() < 0.6
                lines.append((lat - 0.13, half, 0.0 if solid else period, share, *colour, strength))
                if rng.random() < 0.5:
                    lines.append((lat + 0.13, half, 0.0, share, *colour, strength))
            elif i in (-right, left):
                if rng.random() < 0.6:
                    lines.append((lat, half, 0.0, share, *(white if rng.random() < 0.75 else yellow), strength))
            else:
                lines.append((lat, half, period, share, *white, strength))
    if kind == 'lot':
        for edge, side in ((right_edge, 1.0), (left_edge, -1.0)):
            lines.append((edge + side * 2.5, 2.5, 2.6, 0.05, *white, 0.8))
    zebras: list[tuple[float, ...]] = []
    if crossing is not None and rng.random() < 0.7:
        for s in (crossing[0] - 3.2, crossing[1] + 0.7):
            zebras.append((s, s + 2.5, right_edge, left_edge))
    elif rng.random() < 0.25:
        s = float(rng.uniform(-20, 40))
        zebras.append((s, s + 3.0, right_edge, left_edge))
    return RoadMarks(lines, zebras, float(rng.uniform(0.0, 1.0)))
