# SPDX-License-Identifier: Apache-2.0
"""Vehicles and riders on the road."""

from __future__ import annotations

import math

from .furniture import person
from .palette import Palette
from .primitives import TableBuilder
from .road import Road
from .scene import Bodies
from .vehicles import car


def traffic(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, ego_speed: float) -> None:
    """Vehicles in the lanes, some of them near; none may touch the ego vehicle in the next seconds."""
    density = p.u(0.1, 0.6)
    for lane in range(-road.lanes_right, road.lanes_left):
        lat = (lane + 0.5) * road.lane_width
        own = abs(lat - road.ego_lat) < 1.5
        forward = lane < 0
        flow = ego_speed * p.u(0.8, 1.2) if forward else -p.u(3.0, 14.0)
        if own:
            flow = ego_speed
        s = -70.0 + p.u(0, 12)
        while s < 130:
            if p.chance(density) and not (own and abs(s - 1.0) < 9.0):
                speed = flow
                bodies.place(s, lat + p.u(-0.25, 0.25), p.u(-0.02, 0.02) + (0.0 if forward else math.pi), speed)
                car(b, p)
                s += 8.0
            s += p.u(6.0, 22.0)
    if road.crossing:
        middle = sum(road.crossing) / 2
        for direction in (-1, 1):
            for _ in range(int(p.u(0, 3))):
                lane_s = middle + direction * (road.crossing[1] - road.crossing[0]) / 4
                edge = road.left_edge if direction < 0 else road.right_edge
                bodies.place(lane_s, edge - direction * p.u(3.5, 35.0), direction * math.pi / 2)
                car(b, p)
    for _ in range(int(p.u(0, 2.5))):
        side = -1 if p.chance(0.6) else 1
        lat = (road.right_edge + 0.7) if side < 0 else (road.left_edge - 0.7)
        if abs(lat - road.ego_lat) > 2.2:
            bodies.place(p.u(-15, 40), lat, 0.0 if side < 0 else math.pi, p.u(2.5, 6.0) * -side)
            person(b, p, cyclist=True)
    bodies.world()
