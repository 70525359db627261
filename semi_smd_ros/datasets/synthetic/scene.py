# SPDX-License-Identifier: Apache-2.0
"""What a scene is: the road, its primitives, the bodies that carry them, and how these move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .air import Light
from .primitives import PrimitiveTable, TableBuilder
from .road import Road
from .tracks import Track, boxes_meet, locate

EGO_AHEAD, EGO_BEHIND, EGO_HALF_WIDTH = 3.9, 1.1, 1.0  # the ego vehicle's box about its base, metres
_ROOM_ALONG, _ROOM_ASIDE = 1.2, 0.85  # kept free about the ego vehicle, metres
_TIMES = np.arange(0.0, 8.01, 0.5)  # at which movers may not meet, seconds


@dataclass(frozen=True)
class Mover:
    """Something that moves along the road: the body it carries, and its travel."""

    body: int
    track: Track


@dataclass(frozen=True)
class Scene:
    """All there is to see, and how it moves."""

    kind: str
    road: Road
    table: PrimitiveTable
    body_poses: np.ndarray  # (B, 4, 4) world_T_body at time 0
    movers: tuple[Mover, ...]
    light: Light
    ego: Track
    lamps_l12: np.ndarray  # body, position (3), colour (3), direction (3), focus (0 all round), reach in metres

    def poses(self, seconds: float) -> np.ndarray:
        """world_T_body of all bodies at a time, (B, 4, 4)."""
        poses = self.body_poses.copy()
        if self.movers:
            tracks = np.array([m.track for m in self.movers])
            poses[[m.body for m in self.movers]] = self.road.poses(*locate(tracks, seconds, self.road.swerve))
        return poses


class Bodies:
    """Gives out bodies with their places, and keeps things from standing in each other."""

    def __init__(self, builder: TableBuilder, road: Road, ego: Track) -> None:
        self.builder, self.road, self.ego = builder, road, ego
        self._tracks: list[Track] = []
        self.movers: list[Mover] = []
        self._taken = np.zeros((128, 3))  # world x, y, radius of what stands still
        self._spots_taken = 0
        # Boxes of what moves or could, (B, T, 5) over _TIMES: x, y, yaw, half length and width. The ego first.
        spots = self._spots(ego)
        ahead, half = (EGO_AHEAD - EGO_BEHIND) / 2, (EGO_AHEAD + EGO_BEHIND) / 2 + _ROOM_ALONG
        spots[:, 0] += ahead * np.cos(spots[:, 2])
        spots[:, 1] += ahead * np.sin(spots[:, 2])
        self._boxes = np.zeros((64, len(_TIMES), 5))
        self._boxed = 0
        self._add_box(_boxes(spots, half, EGO_HALF_WIDTH + _ROOM_ASIDE))

    def _spots(self, track: Track) -> np.ndarray:
        """World x, y and yaw over _TIMES, (T, 3)."""
        s, lat, yaw = locate(np.tile(np.array(track), (len(_TIMES), 1)), _TIMES, self.road.swerve)
        course = [np.interp(s + d, self.road.knots, self.road.course) for d in (-3.0, 0.0, 3.0)]
        return np.stack([s, course[1] + lat, yaw + np.arctan((course[2] - course[0]) / 6.0)], axis=1)

    def _meets(self, own: np.ndarray) -> bool:
        """Whether boxes (T, 5) meet any that are there."""
        them = self._boxes[: self._boxed]
        # No farther apart than half lengths and half widths together.
        reach = them[:, :, 3] + them[:, :, 4] + (own[0, 3] + own[0, 4])
        near = np.nonzero((np.abs(them[:, :, 0] - own[:, 0]) < reach) & (np.abs(them[:, :, 1] - own[:, 1]) < reach))
        if len(near[0]) == 0:
            return False
        return bool(boxes_meet(own[near[1]], them[near]).any())

    def _add_box(self, boxes_t5: np.ndarray) -> None:
        if self._boxed == len(self._boxes):
            self._boxes = np.concatenate([self._boxes, np.zeros_like(self._boxes)])
        self._boxes[self._boxed] = boxes_t5
        self._boxed += 1

    def _near_taken(self, x: float, y: float, radius: float) -> bool:
        taken = self._taken[: self._spots_taken]
        gap = np.hypot(taken[:, 0] - x, taken[:, 1] - y)
        return bool((gap < taken[:, 2] + radius).any())

    def place(self, track: Track, half_length: float, half_width: float) -> bool:
        """Make a body of this size for what is built next, unless something else is in its way."""
        spots = self._spots(track)
        if self._meets(_boxes(spots, half_length + 0.15, half_width + 0.1)):
            return False
        if not track.moves and self._near_taken(float(spots[0, 0]), float(spots[0, 1]), half_width):
            return False
        self._add_box(_boxes(spots, half_length, half_width))
        self._tracks.append(track)
        self.builder.body = len(self._tracks)
        if track.moves:
            self.movers.append(Mover(self.builder.body, track))
        return True

    def claim(self, s: float, lat: float, radius: float) -> bool:
        """Ask for a round spot (s, lat, metres) for what stands still; False where something is in the way."""
        x, y, _ = self.road.at(s, lat)
        if self._near_taken(x, y, radius):
            return False
        if self._meets(np.tile(np.array([x, y, 0.0, radius, radius]), (len(_TIMES), 1))):
            return False
        if self._spots_taken == len(self._taken):
            self._taken = np.concatenate([self._taken, np.zeros_like(self._taken)])
        self._taken[self._spots_taken] = x, y, radius
        self._spots_taken += 1
        return True

    def reach(self) -> float:
        """How far the ego vehicle gets along the road in the time that is looked ahead, metres."""
        return float(self._boxes[0, :, 0].max())

    def world(self) -> None:
        """What is built next stands still, in world coordinates."""
        self.builder.body = 0

    def poses(self) -> np.ndarray:
        """world_T_body at time 0 of the world itself and all bodies, (B, 4, 4)."""
        still = np.eye(4)[None]
        if not self._tracks:
            return still
        where = locate(np.array(self._tracks), 0.0, self.road.swerve)
        return np.concatenate([still, self.road.poses(*where)])

    def lamps(self) -> np.ndarray:
        """All lamps, (L, 12)."""
        return np.array(self.builder.lamps, dtype=np.float64).reshape(len(self.builder.lamps), 12)


def _boxes(spots_t3: np.ndarray, half_length: float, half_width: float) -> np.ndarray:
    size = np.tile(np.array([half_length, half_width]), (len(spots_t3), 1))
    return np.concatenate([spots_t3, size], axis=1)


def free(road: Road, s: float, margin: float, side: int = 0) -> bool:
    """Whether s lies outside the side street by a margin (on one side of the road, or on both for 0)."""
    j = road.junction
    if j is None or (side != 0 and side not in j.arms):
        return True
    return not j.s0 - margin < s < j.s1 + margin
