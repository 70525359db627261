# SPDX-License-Identifier: Apache-2.0
"""Draws a random road: its course over hills and bends, its cross-section, its junction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import primitives as prim
from .paint import make_marks
from .primitives import Colour
from .road import AHEAD, BEHIND, Junction, Road, Strip, profile

KINDS = ('urban', 'suburb', 'park', 'lot', 'highway', 'industrial', 'narrow')
SHARES = (0.26, 0.24, 0.15, 0.11, 0.08, 0.08, 0.08)


@dataclass(frozen=True)
class _Habit:
    """What is usual on a kind of road."""

    lane: tuple[float, float]
    right: tuple[int, int]
    left: tuple[int, int]
    pavement: float  # share of sides with one
    green: float
    junction: float
    bend: float  # curvature, 1/m, standard deviation
    hill: float  # grade, standard deviation
    verge: float  # m, spread of the verges' heights


_HABITS = {
    'urban': _Habit((2.9, 3.5), (1, 4), (0, 4), 0.95, 0.3, 0.5, 0.002, 0.02, 0.15),
    'suburb': _Habit((2.9, 3.6), (1, 3), (1, 3), 0.7, 0.85, 0.4, 0.005, 0.03, 0.35),
    'park': _Habit((2.8, 3.7), (1, 3), (1, 3), 0.3, 0.95, 0.25, 0.006, 0.035, 0.45),
    'lot': _Habit((2.9, 3.6), (1, 3), (0, 3), 0.6, 0.35, 0.4, 0.001, 0.012, 0.25),
    'highway': _Habit((3.4, 3.8), (2, 5), (2, 4), 0.0, 0.8, 0.0, 0.0015, 0.02, 0.6),
    'industrial': _Habit((3.2, 3.9), (1, 3), (1, 3), 0.4, 0.5, 0.5, 0.002, 0.012, 0.25),
    'narrow': _Habit((2.6, 3.2), (1, 2), (0, 2), 0.75, 0.2, 0.4, 0.006, 0.04, 0.1),
}


def _grass_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    g = float(rng.uniform(0.07, 0.22))
    grass = (g * float(rng.uniform(0.55, 1.1)), g, g * float(rng.uniform(0.2, 0.55)))
    if rng.random() < 0.5:
        k = float(rng.uniform(0.6, 1.4))
        return grass, (grass[0] * k, grass[1] * k, grass[2] * k)
    d = float(rng.uniform(0.1, 0.3))
    return grass, (d, d * 0.85, d * 0.65)


def _course(
    rng: np.random.Generator, habit: _Habit, opening: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots, course and grade: one even piece about the start, then bends, crests and dips as a road has them."""
    near = [-13.0, 15.0]
    knots = [*near, *np.arange(27.0, 100.0, 13.0), *np.arange(106.0, 305.0, 24.0)]
    knots += [*np.arange(-27.0, -90.0, -14.0), *np.arange(-108.0, -245.0, -26.0), BEHIND, AHEAD]
    if opening:
        knots = [k for k in knots if not opening[0] - 2 < k < opening[1] + 2] + list(opening)
    s = np.array(sorted(knots))
    middle = (s[1:] + s[:-1]) / 2
    # Curvature is zero about the start and grows to its value within a few tens of metres; far off it wanders.
    bends = rng.random() < 0.7
    turn = np.zeros_like(middle)
    climb = np.full_like(middle, float(np.clip(rng.normal(0.0, habit.hill), -0.08, 0.08)))
    for sign in (-1.0, 1.0):
        off = np.clip(sign * middle - 14.0, 0.0, None)
        curve = float(rng.normal(0.0, habit.bend)) if bends else 0.0
        back = float(rng.uniform(40.0, 160.0))
        turn += sign * curve * (np.minimum(off, back) - 0.7 * np.clip(off - back, 0.0, 120.0))
        # A crest or a dip: the grade changes by some percent around a place ahead.
        place, change = float(rng.uniform(10.0, 90.0)), float(np.clip(rng.normal(0.0, 0.03), -0.07, 0.07))
        climb += change / (1.0 + np.exp(-(sign * middle - place) / 12.0)) * np.where(sign * middle > 0, 1.0, 0.0)
    turn, climb = np.clip(turn, -0.55, 0.55), np.clip(climb, -0.11, 0.11)
    climb = climb * np.where(np.abs(middle) > 150, 0.5, 1.0)
    # The ends lie far off, and come back to the start's height for the same reason as the land beside.
    turn[[0, -1]] = 0.0
    c = np.concatenate([[0.0], np.cumsum(turn * np.diff(s))])
    g = np.concatenate([[0.0], np.cumsum(climb * np.diff(s))])
    c, g = c - np.interp(0.0, s, c), g - np.interp(0.0, s, g)
    g[0], g[-1] = max(g[1], 3.0), max(g[-2], 3.0)
    return s, c, g


@dataclass
class _Outwards:
    """Collects the strips of one side, from the kerb outwards."""

    side: int
    position: float
    height: float
    strips: list[Strip]

    def go(
        self, width: float, to: float, material: int, semantic: int, colours: tuple[Colour, Colour], param: float
    ) -> None:
        end = self.position + self.side * width
        here, there = (self.position, self.height), (end, to)
        (l0, h0), (l1, h1) = (there, here) if self.side < 0 else (here, there)
        self.strips.append(Strip(l0, l1, h0, h1, material, semantic, colours[0], colours[1], param))
        self.position, self.height = end, to


def _side_strips(rng: np.random.Generator, kind: str, edge: float, low: float, side: int) -> tuple[list[Strip], float]:
    """Kerb, pavement, verge and the land beyond on one side, from the road outwards; and where the pavement ends."""
    habit = _HABITS[kind]
    out = _Outwards(side, edge, low, [])
    paved = float(rng.uniform(0.12, 0.42))
    stone = tuple(float(c) for c in np.clip(paved * (1 + rng.normal(0, 0.04, 3)), 0.05, 0.8))
    grass = _grass_colours(rng)
    pavement = rng.random() < habit.pavement
    if pavement:
        kerb = float(rng.uniform(0.06, 0.18))
        bright = tuple(min(0.8, c * float(rng.uniform(0.95, 1.35))) for c in (stone[0],) * 3)
        out.go(0.03, low + kerb, prim.PLAIN, prim.SIDEWALK, (bright, grass[1]), 0.1)
        out.go(0.15, out.height, prim.PLAIN, prim.SIDEWALK, (bright, grass[1]), 0.1)
        if rng.random() < 0.3:
            out.go(float(rng.uniform(0.8, 2.5)), out.height, prim.GRASS, prim.TERRAIN, grass, 0.0)
        wide = {'urban': (2.0, 6.0), 'narrow': (0.8, 2.0)}.get(kind, (1.2, 3.0))
        width, slab = float(rng.uniform(*wide)), float(rng.uniform(0.3, 1.5))
        out.go(width, out.height + width * 0.015, prim.PAVING, prim.SIDEWALK, (stone, stone), slab)
    walk = out.position if pavement else edge + side * 0.5
    green = rng.random() < habit.green
    if green:
        land: tuple[int, int, tuple[Colour, Colour]] = (prim.GRASS, prim.TERRAIN, grass)
    elif rng.random() < 0.4:
        gravel = float(rng.uniform(0.15, 0.35))
        tints = ((gravel, gravel * 0.9, gravel * 0.75), (gravel * 0.8, gravel * 0.74, gravel * 0.64))
        land = (prim.GRASS, prim.TERRAIN, tints)
    else:
        land = (prim.PAVING, prim.SIDEWALK, (stone, stone))
    # A step, a slope and a second slope: verges lie -0.5 .. +0.6 m off the road within 16 m of it.
    target = float(np.clip(rng.normal(0.08, habit.verge if green else habit.verge * 0.5), -0.75, 0.9))
    if not pavement and rng.random() < 0.5:
        out.go(float(rng.uniform(0.2, 1.2)), out.height + float(rng.normal(0.0, 0.08)), *land, 0.6)
    first = float(rng.uniform(1.0, 6.0))
    out.go(first, out.height + target * float(rng.uniform(0.4, 1.0)), *land, 0.6)
    out.go(float(rng.uniform(4.0, 12.0)), low + target * float(rng.uniform(0.8, 1.4)), *land, 0.6)
    out.go(30.0, out.height + float(rng.normal(0.0, 1.2 if green else 0.4)), *land, 0.6)
    out.go(70.0, out.height + float(rng.normal(1.0, 4.0 if green else 1.0)), *land, 0.6)
    # Far off the land comes up again, so that it meets the sky near the horizon and not below it.
    out.go(700.0, max(out.height + float(rng.uniform(0.0, 8.0)), 4.0), *land, 0.6)
    return out.strips, walk


def _opening(rng: np.random.Generator, habit: _Habit) -> tuple[float, float, float, tuple[int, ...], float] | None:
    """s0, s1, carriageway, arms and island of a side street, if there is one."""
    if rng.random() > habit.junction:
        return None
    carriageway, island = float(rng.uniform(5.5, 11.0)), 0.0
    corner = float(rng.uniform(1.5, 4.0))
    draw = rng.random()
    arms: tuple[int, ...] = (-1, 1) if draw < 0.5 else ((-1,) if draw < 0.75 else (1,))
    if len(arms) == 2 and rng.random() < 0.22:
        island, corner = float(rng.uniform(3.0, 6.0)), 9.0
    middle = float(rng.uniform(6.0, 24.0) if rng.random() < 0.45 else rng.uniform(-45.0, 60.0))
    half = carriageway / 2 + corner
    return middle - half, middle + half, carriageway, arms, island


def _junction(opening: tuple[float, float, float, tuple[int, ...], float], strips: tuple[Strip, ...]) -> Junction:
    """The opening with its ground: the side street climbs evenly to the land beside the road."""
    lat_n, height_n = profile(strips)
    edges = [s.l0 for s in strips if s.semantic == prim.ROAD_ID] + [s.l1 for s in strips if s.semantic == prim.ROAD_ID]
    breaks = []
    for lat in lat_n:
        side = 1 if lat > 0 else -1
        edge = max(edges) if side > 0 else min(edges)
        between = abs(edge) + 0.001 < abs(lat) < abs(edge) + 18.0
        if not (side in opening[3] and between):
            breaks.append(float(lat))
    return Junction(*opening, np.array(breaks), np.interp(breaks, lat_n, height_n))


def make_road(rng: np.random.Generator, kind: str) -> Road:
    """A random road of one of KINDS."""
    habit = _HABITS[kind]
    lane = float(rng.uniform(*habit.lane))
    right, left = int(rng.integers(*habit.right)), int(rng.integers(*habit.left))
    median = 0.0
    if left and (kind == 'highway' or (right > 1 and kind in ('urban', 'suburb', 'industrial') and rng.random() < 0.4)):
        median = float(rng.uniform(0.8, 2.2))
    ego_lane = int(rng.integers(0, right))
    # lat = 0 is the border between the directions; the ego's lanes lie to its right.
    ego_lat = -median - (ego_lane + 0.5) * lane + float(rng.normal(0, 0.12))
    bay = {'highway': (0.6, 3.0), 'narrow': (0.1, 0.6)}.get(kind)

    def edge_beyond() -> float:
        if bay:
            return float(rng.uniform(*bay))
        return float(rng.uniform(0.1, 0.5) if rng.random() < 0.5 else rng.uniform(1.8, 2.8))

    right_edge = -median - right * lane - edge_beyond()
    left_edge = median + left * lane + edge_beyond()
    if kind == 'lot':
        right_edge -= float(rng.uniform(2, 14)) * (rng.random() < 0.6)
        left_edge += float(rng.uniform(2, 22)) * (rng.random() < 0.7)
    tone = float(rng.uniform(0.05, 0.24))
    asphalt = tuple(float(c) for c in np.clip(tone * (1 + rng.normal(0, 0.025, 3)), 0.03, 1))
    opening = _opening(rng, habit)
    crown = float(rng.uniform(0.0, 0.03))
    ridge = float(np.clip(rng.normal(0, 0.5), right_edge + 1, left_edge - 1))
    if abs(ridge - ego_lat) < 1.6:
        ridge = ego_lat + (1.6 if ego_lat + 1.6 < left_edge - 0.3 else -1.6)
    ridge = float(np.clip(ridge, right_edge + 0.3, left_edge - 0.3))
    cobbled = kind == 'narrow' and rng.random() < 0.5
    surface: tuple[int, int, Colour, Colour, float] = (prim.ROAD, prim.ROAD_ID, asphalt, (0.3, 0.3, 0.3), 1.0)
    if cobbled:
        surface = (prim.PAVING, prim.ROAD_ID, asphalt, asphalt, float(rng.uniform(0.12, 0.3)))
    low_r, low_l = -crown * (ridge - right_edge), -crown * (left_edge - ridge)
    strips = [Strip(right_edge, ridge, low_r, 0.0, *surface), Strip(ridge, left_edge, 0.0, low_l, *surface)]
    walks: list[float] = []
    for side, edge, low in ((-1, right_edge, low_r), (1, left_edge, low_l)):
        outward, walk = _side_strips(rng, kind, edge, low, side)
        walks.append(walk)
        strips = outward[::-1] + strips if side < 0 else strips + outward
    knots, course, grade = _course(rng, habit, opening[:2] if opening else None)
    fixed = tuple(strips)
    marks = make_marks(rng, lane, right, left, median, right_edge, left_edge, opening, kind)
    return Road(
        kind,
        knots,
        course,
        grade,
        fixed,
        lane,
        right,
        left,
        median,
        right_edge,
        left_edge,
        (walks[0], walks[1]),
        ego_lat,
        _junction(opening, fixed) if opening else None,
        marks,
        *profile(fixed),
    )
