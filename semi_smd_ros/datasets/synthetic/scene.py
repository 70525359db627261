# SPDX-License-Identifier: Apache-2.0
"""What a scene is: the road, its primitives, the bodies that carry them, and how these move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .primitives import PrimitiveTable, TableBuilder
from .road import Road
from .shading import Light


@dataclass(frozen=True)
class Mover:
    """Something that moves along the road: body index, place at time 0, speed along s (m/s), yaw against the road."""

    body: int
    s: float
    lat: float
    speed: float
    yaw: float
    speed_l: float = 0.0


@dataclass(frozen=True)
class Scene:
    """All there is to see, and how it moves."""

    kind: str
    road: Road
    table: PrimitiveTable
    body_poses: np.ndarray  # (B, 4, 4) world_T_body at time 0
    movers: tuple[Mover, ...]
    light: Light
    speed: float  # of the ego vehicle, m/s

    def poses(self, seconds: float) -> np.ndarray:
        """world_T_body of all bodies at a time, (B, 4, 4)."""
        poses = self.body_poses.copy()
        for m in self.movers:
            s, lat = m.s + m.speed * seconds, m.lat + m.speed_l * seconds
            poses[m.body] = self.road.pose(s, lat, m.yaw)
        return poses


class Bodies:
    """Gives out body indices with their poses."""

    def __init__(self, builder: TableBuilder, road: Road) -> None:
        self.builder, self.road = builder, road
        self.poses = [np.eye(4)]
        self.movers: list[Mover] = []

    def place(self, s: float, lat: float, yaw: float, speed: float | None = None, speed_l: float = 0.0) -> None:
        """What is built next belongs to a new body at (s, lat)."""
        self.builder.body = len(self.poses)
        self.poses.append(self.road.pose(s, lat, yaw))
        if speed is not None:
            self.movers.append(Mover(self.builder.body, s, lat, speed, yaw, speed_l))

    def world(self) -> None:
        """What is built next stands still, in world coordinates."""
        self.builder.body = 0


def free(road: Road, s: float, margin: float) -> bool:
    return road.crossing is None or not road.crossing[0] - margin < s < road.crossing[1] + margin
