# SPDX-License-Identifier: Apache-2.0
"""The road: its course, grade, cross-section and paint, and the ground on either side.

Road coordinates are s (metres along x) and lat (metres to the left of the centre line). Course and grade are
piecewise linear in s, the cross-section is piecewise linear in lat, and height is their sum: so every cell of the
ground is an exact plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import primitives as prim
from .materials import RoadMarks
from .paint import make_marks
from .primitives import Colour, TableBuilder

BEHIND, AHEAD = -240.0, 300.0


@dataclass(frozen=True)
class Strip:
    """A lengthwise strip of ground between l0 < l1 at heights h0, h1 over the road's datum."""

    l0: float
    l1: float
    h0: float
    h1: float
    material: int
    semantic: int
    colour: Colour
    colour2: Colour
    param: float = 1.0


@dataclass(frozen=True)
class Road:
    """Course y = c(s), height g(s) + h(lat)."""

    knots: np.ndarray  # s of the breaks, ascending
    course: np.ndarray  # y there
    grade: np.ndarray  # z there
    strips: tuple[Strip, ...]
    lane_width: float
    lanes_right: int  # lanes of the ego's direction
    lanes_left: int
    right_edge: float  # lat of the kerbs
    left_edge: float
    ego_lat: float
    crossing: tuple[float, float] | None  # s range of a side street
    marks: RoadMarks

    def height(self, s: float, lat: float) -> float:
        """Height of the ground at (s, lat), metres."""
        z = float(np.interp(s, self.knots, self.grade))
        for strip in self.strips:
            if strip.l0 <= lat <= strip.l1:
                if self.crossing and self.crossing[0] < s < self.crossing[1]:
                    return z
                return z + strip.h0 + (strip.h1 - strip.h0) * (lat - strip.l0) / max(strip.l1 - strip.l0, 1e-9)
        return z

    def at(self, s: float, lat: float) -> tuple[float, float, float]:
        """World point on the ground at (s, lat)."""
        return s, float(np.interp(s, self.knots, self.course)) + lat, self.height(s, lat)

    def heading(self, s: float, span: float = 3.0) -> float:
        """Yaw of the course about s, radians."""
        a, b = np.interp([s - span, s + span], self.knots, self.course)
        return math.atan2(float(b - a), 2.0 * span)

    def pose(self, s: float, lat: float, yaw: float = 0.0, slope: bool = True) -> np.ndarray:
        """world_T_object of something standing at (s, lat), turned by yaw against the road. (4, 4)."""
        x, y, z = self.at(s, lat)
        heading = self.heading(s)
        c, sn = math.cos(heading + yaw), math.sin(heading + yaw)
        if slope:
            # The ground's plane there: forward and left tangents.
            ds = (self.height(s + 1.5, lat) - self.height(s - 1.5, lat)) / 3.0
            dl = (self.height(s, lat + 0.4) - self.height(s, lat - 0.4)) / 0.8
            if abs(dl) > 0.15:
                dl = 0.0
            ds -= dl * math.tan(heading)
        else:
            ds = dl = 0.0
        up = np.array([-ds, -dl, 1.0])
        up /= np.linalg.norm(up)
        forward = np.array([c, sn, 0.0])
        forward -= up * (forward @ up)
        forward /= np.linalg.norm(forward)
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2] = forward, np.cross(up, forward), up
        pose[:3, 3] = x, y, z
        return pose

    def plane(self, s: float, lat: float) -> np.ndarray:
        """The ground's plane (n, d) in the world at (s, lat): n.x + d = 0, n upwards."""
        k = int(np.clip(np.searchsorted(self.knots, s, side='right') - 1, 0, len(self.knots) - 2))
        span = self.knots[k + 1] - self.knots[k]
        course = (self.course[k + 1] - self.course[k]) / span
        grade = (self.grade[k + 1] - self.grade[k]) / span
        slope = 0.0
        for strip in self.strips:
            if strip.l0 <= lat <= strip.l1 and not (self.crossing and self.crossing[0] < s < self.crossing[1]):
                slope = (strip.h1 - strip.h0) / max(strip.l1 - strip.l0, 1e-9)
        normal = np.array([-(grade - slope * course), -slope, 1.0])
        normal /= np.linalg.norm(normal)
        return np.append(normal, -normal @ np.array(self.at(s, lat)))

    def lay(self, builder: TableBuilder) -> None:
        """Add the ground's cells to the table."""
        for k in range(len(self.knots) - 1):
            s0, s1 = float(self.knots[k]), float(self.knots[k + 1])
            c0, c1, g0, g1 = (float(a[i]) for a in (self.course, self.grade) for i in (k, k + 1))
            middle = (s0 + s1) / 2
            flat = self.crossing is not None and self.crossing[0] < middle < self.crossing[1]
            for strip in self.strips:
                h0, h1 = (0.0, 0.0) if flat else (strip.h0, strip.h1)
                half_s, half_l = (s1 - s0) / 2, (strip.l1 - strip.l0) / 2
                centre = (middle, (c0 + c1) / 2 + (strip.l0 + strip.l1) / 2, (g0 + g1) / 2 + (h0 + h1) / 2)
                axes = (half_s, 0, 0, (c1 - c0) / 2, half_l, 0, (g1 - g0) / 2, (h1 - h0) / 2, 1.0)
                on_road = strip.semantic == prim.ROAD_ID
                asphalt = on_road or (flat and abs(strip.l0) < 70)
                if asphalt:
                    road = self.strips[len(self.strips) // 2] if not on_road else strip
                    painted = 1.0 if on_road and not flat else 0.0
                    param = (middle, half_s, (strip.l0 + strip.l1) / 2, half_l, painted)
                    builder.add_axes(
                        prim.QUAD, centre, axes, prim.ROAD, prim.ROAD_ID, self._asphalt(), road.colour2, param
                    )
                else:
                    builder.add_axes(
                        prim.QUAD,
                        centre,
                        axes,
                        strip.material,
                        strip.semantic,
                        strip.colour,
                        strip.colour2,
                        (strip.param,),
                    )

        if self.crossing is not None:
            self._crossing_faces(builder)

    def _crossing_faces(self, builder: TableBuilder) -> None:
        """Upright faces where the ground steps down to a side street."""
        for s in self.crossing or ():
            _, y0, z = self.at(s, 0.0)
            z = float(np.interp(s, self.knots, self.grade))
            y0 = float(np.interp(s, self.knots, self.course))
            for strip in self.strips:
                top = (strip.h0 + strip.h1) / 2
                centre = (s, y0 + (strip.l0 + strip.l1) / 2, z + top - 0.25)
                axes = (0, 0, 1.0, (strip.l1 - strip.l0) / 2, 0, 0, (strip.h1 - strip.h0) / 2, 0.25, 0)
                builder.add_axes(prim.QUAD, centre, axes, prim.PLAIN, strip.semantic, strip.colour, param=(0.1, 2.0))

    def _asphalt(self) -> Colour:
        return next(s.colour for s in self.strips if s.semantic == prim.ROAD_ID)


def _grass_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    g = float(rng.uniform(0.07, 0.22))
    grass = (g * float(rng.uniform(0.55, 1.1)), g, g * float(rng.uniform(0.2, 0.55)))
    if rng.random() < 0.5:
        k = float(rng.uniform(0.6, 1.4))
        return grass, (grass[0] * k, grass[1] * k, grass[2] * k)
    d = float(rng.uniform(0.1, 0.3))
    return grass, (d, d * 0.85, d * 0.65)


def _course(
    rng: np.random.Generator, crossing: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots, course and grade: straight and even about the vehicle, bending and crested farther away."""
    knots = [BEHIND, AHEAD, -25.0, 40.0]
    bends = rng.random() < 0.55
    if bends:
        knots += list(np.arange(-200.0, -30.0, 14.0)) + list(np.arange(46.0, 290.0, 12.0))
    else:
        knots += [float(rng.uniform(-90, -40)), float(rng.uniform(50, 120))]
    if crossing:
        knots = [k for k in knots if not crossing[0] - 2 < k < crossing[1] + 2] + [crossing[0], crossing[1]]
    s = np.array(sorted(knots))
    middle = (s[1:] + s[:-1]) / 2
    ahead, behind = float(rng.normal(0, 1)), float(rng.normal(0, 1))
    curve_a = float(rng.normal(0, 0.0035)) if bends else 0.0
    curve_b = float(rng.normal(0, 0.0035)) if bends else 0.0
    slope = np.where(middle > 0, curve_a * np.clip(middle - 40, 0, 130), -curve_b * np.clip(-25 - middle, 0, 130))
    slope = np.clip(slope, -0.5, 0.5)
    base_grade = float(rng.normal(0, 0.015))
    grade = base_grade + np.where(middle > 40, 0.02 * ahead, 0.0) - np.where(middle < -25, 0.02 * behind, 0.0)
    fade = np.where(np.abs(middle) > 120, 0.4, 1.0)
    c = np.concatenate([[0.0], np.cumsum(slope * np.diff(s))])
    g = np.concatenate([[0.0], np.cumsum(grade * fade * np.diff(s))])
    return s, c - np.interp(0.0, s, c), g - np.interp(0.0, s, g)


def make_road(rng: np.random.Generator, kind: str) -> Road:
    """A random road of one of the kinds urban, suburb, park, lot."""
    lane = float(rng.uniform(2.9, 3.7))
    right, left = int(rng.integers(1, 4)), int(rng.integers(0, 4))
    if kind in ('suburb', 'park'):
        right, left = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    ego_lane = int(rng.integers(0, right))
    # lat = 0 is the border between the directions; the ego's lanes lie to its right.
    ego_lat = -(right - ego_lane - 0.5) * lane + float(rng.normal(0, 0.15))
    right_edge = -right * lane - float(rng.uniform(0.1, 0.5) if rng.random() < 0.5 else rng.uniform(1.8, 2.8))
    left_edge = left * lane + float(rng.uniform(0.1, 0.5) if rng.random() < 0.5 else rng.uniform(1.8, 2.8))
    if kind == 'lot':
        right_edge -= float(rng.uniform(2, 14)) * (rng.random() < 0.6)
        left_edge += float(rng.uniform(2, 22)) * (rng.random() < 0.7)
    tone = float(rng.uniform(0.05, 0.24))
    asphalt = tuple(float(c) for c in np.clip(tone * (1 + rng.normal(0, 0.04, 3)), 0.03, 1))
    crossing = None
    if rng.random() < 0.4:
        middle, width = float(rng.uniform(-45, 60)), float(rng.uniform(6, 13))
        crossing = (middle - width / 2, middle + width / 2)
    crown = float(rng.uniform(0.0, 0.025)) if crossing is None else 0.0
    ridge = float(np.clip(rng.normal(0, 0.5), right_edge + 1, left_edge - 1))
    if abs(ridge - ego_lat) < 1.4:
        ridge = ego_lat + 1.4 if rng.random() < 0.5 else ego_lat - 1.4
        ridge = float(np.clip(ridge, right_edge + 0.3, left_edge - 0.3))
    grey = (0.3, 0.3, 0.3)
    low_r, low_l = -crown * (ridge - right_edge), -crown * (left_edge - ridge)
    strips = [
        Strip(right_edge, ridge, low_r, 0.0, prim.ROAD, prim.ROAD_ID, asphalt, grey),
        Strip(ridge, left_edge, 0.0, low_l, prim.ROAD, prim.ROAD_ID, asphalt, grey),
    ]
    for side, edge, low in ((-1, right_edge, low_r), (1, left_edge, low_l)):
        outward = _side_strips(rng, kind, edge, low, side, crossing is not None)
        strips = outward[::-1] + strips if side < 0 else strips + outward
    knots, course, grade = _course(rng, crossing)
    marks = make_marks(rng, lane, right, left, right_edge, left_edge, crossing, kind)
    return Road(knots, course, grade, tuple(strips), lane, right, left, right_edge, left_edge, ego_lat, crossing, marks)


def _side_strips(rng: np.random.Generator, kind: str, edge: float, low: float, side: int, level: bool) -> list[Strip]:
    """Kerb, pavement, verge and the land beyond on one side, from the road outwards."""
    strips: list[Strip] = []
    position, height = edge, low

    def go(width: float, to: float, material: int, semantic: int, colours: tuple[Colour, Colour], param: float) -> None:
        nonlocal position, height
        end = position + side * width
        a, b = ((end, to), (position, height)) if side < 0 else ((position, height), (end, to))
        strips.append(Strip(a[0], b[0], a[1], b[1], material, semantic, colours[0], colours[1], param))
        position, height = end, to

    paved = float(rng.uniform(0.12, 0.42))
    stone = tuple(float(c) for c in np.clip(paved * (1 + rng.normal(0, 0.06, 3)), 0.05, 0.8))
    grass = _grass_colours(rng)
    pavement = rng.random() < {'urban': 0.95, 'suburb': 0.7, 'park': 0.35, 'lot': 0.6}[kind]
    if pavement:
        kerb = float(rng.uniform(0.06, 0.18))
        bright = tuple(min(0.8, c * float(rng.uniform(0.9, 1.35))) for c in stone)
        go(0.03, height + kerb, prim.PLAIN, prim.SIDEWALK, (bright, grass[1]), 0.1)
        go(0.15, height, prim.PLAIN, prim.SIDEWALK, (bright, grass[1]), 0.1)
        if rng.random() < 0.3:
            go(float(rng.uniform(0.8, 2.5)), height, prim.GRASS, prim.TERRAIN, grass, 0.0)
        width = float(rng.uniform(1.2, 3.0) if kind != 'urban' else rng.uniform(2.0, 6.0))
        slab = float(rng.uniform(0.3, 1.5))
        go(width, height + width * 0.015, prim.PAVING, prim.SIDEWALK, (stone, grey_of(stone)), slab)
    green = rng.random() < {'urban': 0.3, 'suburb': 0.85, 'park': 0.95, 'lot': 0.35}[kind]
    land = (prim.GRASS, prim.TERRAIN, grass) if green else (prim.PLAIN, prim.SIDEWALK, (stone, stone))
    if level:
        go(90.0, height, *land, 0.15)
        return strips
    # A step, a slope and a second slope: verges lie -0.5 .. +0.6 m off the road within 16 m of it.
    target = float(np.clip(rng.normal(0.02, 0.35 if green else 0.15), -0.7, 0.9))
    if not pavement and rng.random() < 0.5:
        go(float(rng.uniform(0.2, 1.2)), height + float(rng.normal(0.0, 0.08)), *land, 0.15)
    first = float(rng.uniform(1.0, 6.0))
    go(first, height + target * float(rng.uniform(0.4, 1.0)), *land, 0.15)
    go(float(rng.uniform(4.0, 12.0)), low + target * float(rng.uniform(0.8, 1.4)), *land, 0.15)
    go(90.0, height + float(rng.normal(0.0, 2.0 if green else 0.7)), *land, 0.15)
    return strips


def grey_of(colour: Colour) -> Colour:
    """The grey of a colour's mean brightness."""
    mean = sum(colour) / 3.0
    return (mean, mean, mean)
