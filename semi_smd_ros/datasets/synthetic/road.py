# SPDX-License-Identifier: Apache-2.0
"""The road: its course, grade and cross-section, and where things stand on it.

Road coordinates are s (metres along x) and lat (metres to the left of the centre line). Course and grade are
piecewise linear in s, the cross-section is piecewise linear in lat, and height is their sum: so every cell of the
ground is an exact plane. Where a side street crosses, another cross-section holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import primitives as prim
from .marks import RoadMarks
from .primitives import Colour, TableBuilder

BEHIND, AHEAD = -900.0, 1000.0
_WHEELS = np.array([[2.8, 0.8], [2.8, -0.8], [0.0, 0.8], [0.0, -0.8]])  # of the ego vehicle, in base
_SPREAD = np.linspace(-4.0, 4.0, 9)
_WEIGHT = (1.0 - np.abs(_SPREAD) / 5.0) / (1.0 - np.abs(_SPREAD) / 5.0).sum()


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
class Junction:
    """A side street: its s range, the sides on which it leaves, and the cross-section of the ground there.

    Attributes:
        s0, s1: range of the opening, kerb corners included.
        carriageway: width of the side street between its kerbs.
        arms: the sides (-1 right, 1 left) on which there is a street.
        island: radius of the island in its middle, 0 for none.
        lat_n, height_n: the ground's profile in the opening.
    """

    s0: float
    s1: float
    carriageway: float
    arms: tuple[int, ...]
    island: float
    lat_n: np.ndarray
    height_n: np.ndarray

    @property
    def middle(self) -> float:
        """s of the side street's centre line."""
        return (self.s0 + self.s1) / 2


@dataclass(frozen=True)
class Road:
    """Course y = c(s), height g(s) + h(lat)."""

    kind: str
    knots: np.ndarray  # s of the breaks, ascending
    course: np.ndarray  # y there
    grade: np.ndarray  # z there
    strips: tuple[Strip, ...]
    lane_width: float
    lanes_right: int  # lanes of the ego's direction
    lanes_left: int
    median: float  # half width of what parts the directions
    right_edge: float  # lat of the kerbs
    left_edge: float
    walks: tuple[float, float]  # lat where the pavements end, right and left
    ego_lat: float
    junction: Junction | None
    marks: RoadMarks
    lat_n: np.ndarray  # the profile: breaks
    height_n: np.ndarray  # and heights

    @property
    def swerve(self) -> tuple[float, float, float]:
        """Middle, reach and amount of the way round a roundabout's island; amount 0 without one."""
        if self.junction is None or self.junction.island <= 0.0:
            return (0.0, 1.0, 0.0)
        return (self.junction.middle, 9.5, self.junction.island + 1.7)

    def lanes(self) -> list[tuple[float, int]]:
        """Middle (lat) and direction (1 with the ego vehicle, -1 against it) of every lane."""
        right = [(-self.median - (k + 0.5) * self.lane_width, 1) for k in range(self.lanes_right)]
        left = [(self.median + (k + 0.5) * self.lane_width, -1) for k in range(self.lanes_left)]
        return right + left

    def heights(self, s: np.ndarray, lat: np.ndarray) -> np.ndarray:
        """Height of the ground at points (s, lat), metres."""
        profile = np.interp(lat, self.lat_n, self.height_n)
        j = self.junction
        if j is not None:
            profile = np.where((s > j.s0) & (s < j.s1), np.interp(lat, j.lat_n, j.height_n), profile)
        return np.interp(s, self.knots, self.grade) + profile

    def height(self, s: float, lat: float) -> float:
        """Height of the ground at (s, lat), metres."""
        return float(self.heights(np.array([s]), np.array([lat]))[0])

    def at(self, s: float, lat: float) -> tuple[float, float, float]:
        """World point on the ground at (s, lat)."""
        return s, float(np.interp(s, self.knots, self.course)) + lat, self.height(s, lat)

    def heading(self, s: float, span: float = 3.0) -> float:
        """Yaw of the course about s, radians."""
        a, b = np.interp([s - span, s + span], self.knots, self.course)
        return math.atan2(float(b - a), 2.0 * span)

    def poses(self, s: np.ndarray, lat: np.ndarray, yaw: np.ndarray) -> np.ndarray:
        """world_T_object of things standing at (s, lat), turned by yaw against the road: (M, 4, 4)."""
        y = np.interp(s, self.knots, self.course)
        slope = (np.interp(s + 3.0, self.knots, self.course) - np.interp(s - 3.0, self.knots, self.course)) / 6.0
        turn = np.arctan(slope) + yaw
        # The ground's tangents: what stands is tilted as the ground is, but not by a kerb.
        ds = (self.heights(s + 1.2, lat) - self.heights(s - 1.2, lat)) / 2.4
        dl = (self.heights(s, lat + 0.4) - self.heights(s, lat - 0.4)) / 0.8
        dl = np.where(np.abs(dl) > 0.15, 0.0, dl)
        ds = np.where(np.abs(ds) > 0.15, 0.0, ds) - dl * slope
        up = np.stack([-ds, -dl, np.ones_like(ds)], axis=1)
        up /= np.linalg.norm(up, axis=1, keepdims=True)
        forward = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=1)
        forward -= up * (forward * up).sum(1, keepdims=True)
        forward /= np.linalg.norm(forward, axis=1, keepdims=True)
        pose = np.tile(np.eye(4), (len(s), 1, 1))
        pose[:, :3, 0], pose[:, :3, 1], pose[:, :3, 2] = forward, np.cross(up, forward), up
        pose[:, 0, 3], pose[:, 1, 3], pose[:, 2, 3] = s, y, self.heights(s, lat)
        pose[:, 1, 3] += lat
        return pose

    def pose(self, s: float, lat: float, yaw: float = 0.0) -> np.ndarray:
        """world_T_object of one thing standing at (s, lat), turned by yaw against the road. (4, 4)."""
        return self.poses(np.array([s]), np.array([lat]), np.array([yaw]))[0]

    def ride(self, s: float, lat: float, yaw: float) -> tuple[np.ndarray, np.ndarray]:
        """The ego vehicle's place on its four wheels, smooth over the ground's folds.

        Returns:
            world_T_ground (4, 4), origin below the rear axle, z along the ground's normal; and the plane (4,) under
            the wheels in the world, (n, d) with n.x + d = 0.
        """
        around = np.interp(s + _SPREAD, self.knots, self.course)
        slope = float((around @ (_WEIGHT * _SPREAD)) / (_WEIGHT @ _SPREAD**2))
        turn = math.atan(slope) + yaw
        c, sn = math.cos(turn), math.sin(turn)
        x, y = s, float(around @ _WEIGHT) + lat
        wheels = _WHEELS @ np.array([[c, sn], [-sn, c]])
        at_s = s + wheels[:, :1] + _SPREAD
        at_lat = y + wheels[:, 1:] - np.interp(at_s, self.knots, self.course)
        z = self.heights(at_s, at_lat) @ _WEIGHT
        matrix = np.concatenate([wheels, np.ones((4, 1))], axis=1)
        a, b, height = np.linalg.lstsq(matrix, z, rcond=None)[0]
        up = np.array([-a, -b, 1.0]) / math.sqrt(a * a + b * b + 1.0)
        forward = np.array([c, sn, a * c + b * sn])
        forward /= np.linalg.norm(forward)
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = forward, np.cross(up, forward), up, (x, y, height)
        return pose, np.append(up, -up @ pose[:3, 3])

    def lay(self, builder: TableBuilder) -> None:
        """Add the ground's cells to the table."""
        asphalt = next(s for s in self.strips if s.semantic == prim.ROAD_ID)
        for k in range(len(self.knots) - 1):
            middle = float(self.knots[k] + self.knots[k + 1]) / 2
            j = self.junction
            if j is None or not j.s0 < middle < j.s1:
                for strip in self.strips:
                    self._cell(builder, k, strip, strip.semantic == prim.ROAD_ID)
                continue
            for l0, l1, h0, h1 in zip(j.lat_n[:-1], j.lat_n[1:], j.height_n[:-1], j.height_n[1:], strict=True):
                kept = self._without_arm((l0 + l1) / 2)
                if kept is not None:
                    self._cell(builder, k, kept, False)
                else:
                    street = Strip(
                        float(l0), float(l1), float(h0), float(h1), prim.ROAD, prim.ROAD_ID, asphalt.colour, (0.3,) * 3
                    )
                    self._cell(builder, k, street, False)
        if self.junction is not None:
            self._faces(builder, self.junction)

    def _without_arm(self, lat: float) -> Strip | None:
        """The ordinary strip at lat, where the side street does not leave on that side."""
        j = self.junction
        inside = self.right_edge <= lat <= self.left_edge
        if j is None or inside or (1 if lat > 0 else -1) in j.arms:
            return None
        return next(s for s in self.strips if s.l0 <= lat <= s.l1)

    def _cell(self, builder: TableBuilder, k: int, strip: Strip, painted: bool) -> None:
        s0, s1 = float(self.knots[k]), float(self.knots[k + 1])
        c0, c1, g0, g1 = (float(a[i]) for a in (self.course, self.grade) for i in (k, k + 1))
        half_s, half_l, middle = (s1 - s0) / 2, (strip.l1 - strip.l0) / 2, (s0 + s1) / 2
        across = (strip.l0 + strip.l1) / 2
        centre = (middle, (c0 + c1) / 2 + across, (g0 + g1) / 2 + (strip.h0 + strip.h1) / 2)
        axes = (half_s, 0, 0, (c1 - c0) / 2, half_l, 0, (g1 - g0) / 2, (strip.h1 - strip.h0) / 2, 1.0)
        param: tuple[float, ...] = (strip.param,)
        if strip.material == prim.ROAD:
            param = (middle, half_s, across, half_l, float(painted))
        builder.add_axes(prim.QUAD, centre, axes, strip.material, strip.semantic, strip.colour, strip.colour2, param)

    def _faces(self, builder: TableBuilder, j: Junction) -> None:
        """Upright faces where the ground steps down to the side street."""
        for s in (j.s0, j.s1):
            y0, z = (float(np.interp(s, self.knots, a)) for a in (self.course, self.grade))
            for strip in self.strips:
                middle = (strip.l0 + strip.l1) / 2
                if strip.semantic == prim.ROAD_ID or self._without_arm(middle) is not None:
                    continue
                street = np.interp([strip.l0, strip.l1], j.lat_n, j.height_n)
                low = np.minimum(street, (strip.h0, strip.h1)) - 0.03
                high = np.maximum(street, (strip.h0, strip.h1))
                mean = (low + high) / 2
                centre = (s, y0 + middle, z + float(mean.mean()))
                tilt, tall = float(mean[1] - mean[0]) / 2, float((high - low).max()) / 2
                axes = (0, 0, 1.0, (strip.l1 - strip.l0) / 2, 0, 0, tilt, tall, 0)
                builder.add_axes(prim.QUAD, centre, axes, prim.PLAIN, strip.semantic, strip.colour, param=(0.1, 2.0))


def profile(strips: tuple[Strip, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Breaks and heights of the cross-section that the strips make."""
    return (
        np.array([strips[0].l0, *(s.l1 for s in strips)]),
        np.array([strips[0].h0, *(s.h1 for s in strips)]),
    )
