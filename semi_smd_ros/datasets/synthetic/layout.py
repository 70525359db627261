# SPDX-License-Identifier: Apache-2.0
"""A random scene: a road, what stands beside it, what moves on it, and the light."""

from __future__ import annotations

import math

import numpy as np

from . import primitives as prim
from .buildings import boundary, building, guard_rail
from .furniture import bicycle, person, pole
from .palette import Palette
from .plants import bush, tree
from .primitives import TableBuilder
from .road import Road, make_road
from .scene import Bodies, Scene, free
from .surroundings import barriers, belt, clutter, far, overpass
from .traffic import traffic
from .vehicles import car
from .weather import make_light

KINDS = ('urban', 'suburb', 'park', 'lot')
_SHARES = (0.38, 0.3, 0.16, 0.16)


def make_scene(rng: np.random.Generator) -> Scene:
    """A scene of a random kind."""
    kind = KINDS[int(rng.choice(len(KINDS), p=_SHARES))]
    p = Palette(rng)
    road = make_road(rng, kind)
    builder = TableBuilder(rng)
    road.lay(builder)
    bodies = Bodies(builder, road)
    speed = 0.0 if p.chance(0.1) else p.u(1.0, 15.0)
    for side, edge in ((-1, road.right_edge), (1, road.left_edge)):
        _side(builder, bodies, p, road, kind, side, edge)
    traffic(builder, bodies, p, road, speed)
    far(builder, p, road)
    if p.chance(0.08):
        overpass(builder, p, road)
    if p.chance(0.15):
        barriers(builder, p, road)
    return Scene(kind, road, builder.table(), np.stack(bodies.poses), tuple(bodies.movers), make_light(rng), speed)


def _side(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, kind: str, side: int, edge: float) -> None:
    """Everything on one side of the road."""
    strips = [s for s in road.strips if (s.l0 >= edge - 1e-6 if side > 0 else s.l1 <= edge + 1e-6)]
    paved = [s for s in strips if s.semantic == prim.SIDEWALK and s.l1 - s.l0 < 20]
    beyond = max((abs(s.l1 if side > 0 else s.l0) for s in paved), default=abs(edge) + 0.5)
    margin = beyond - abs(edge)
    clear_of_ego = abs(edge - road.ego_lat)
    if kind == 'lot':
        for row in range(int(p.u(1, 3))):
            lat = edge - side * (2.6 + row * 9.0)
            if abs(lat - road.ego_lat) > 5.2:
                _parked_row(b, bodies, p, lat, side, 0.55)
    elif p.chance(0.6 if kind == 'urban' else 0.45) and clear_of_ego > 3.0:
        s = -60.0 + p.u(0, 5)
        fill = p.u(0.35, 0.9)
        while s < 90:
            if p.chance(fill) and free(road, s, 4.0):
                turn = math.pi if (side > 0) != p.chance(0.1) else 0.0
                bodies.place(s, edge - side * p.u(1.0, 1.15), turn + p.u(-0.03, 0.03))
                car(b, p)
            s += p.u(5.6, 8.0)
    bodies.world()
    if kind in ('suburb', 'park') and p.chance(0.25):
        guard_rail(b, p, road, edge + side * p.u(0.3, 0.7), -60.0, 90.0)
    spacing = p.u(7.0, 30.0)
    s = -50.0 + p.u(0, spacing)
    while s < 110:
        if free(road, s, 0.0):
            pole(b, p, *road.at(s, edge + side * p.u(0.35, 1.4)), -side)
        s += spacing * p.u(0.5, 1.5)
    if p.chance({'urban': 0.45, 'suburb': 0.65, 'park': 0.8, 'lot': 0.4}[kind]):
        spacing, off, scale = p.u(5.0, 15.0), p.u(0.4, 4.0), p.u(0.6, 1.2)
        s = -60.0
        while s < 110:
            if p.chance(0.8) and free(road, s, 1.5):
                tree(b, p, *road.at(s, side * beyond + side * (off + p.u(-0.3, 1.2))), scale)
            s += spacing * p.u(0.6, 1.5)
    if p.chance(0.65):
        boundary(b, p, road, side * (beyond + p.u(0.3, 5.0)), side, -60.0, 90.0)
    for _ in range(int(p.u(0, 9))):
        s = p.u(-35, 60)
        if free(road, s, 1.5):
            bush(b, p, *road.at(s, side * (beyond + p.u(0.5, 8.0))))
    _buildings(b, p, road, kind, side, beyond)
    for _ in range(int(p.u(0, {'urban': 4, 'suburb': 9, 'park': 14, 'lot': 4}[kind]))):
        s = p.u(-70, 110)
        if free(road, s, 2.0):
            tree(b, p, *road.at(s, side * (beyond + p.u(4, 35))), p.u(0.7, 1.4))
    if p.chance({'urban': 0.15, 'suburb': 0.5, 'park': 0.85, 'lot': 0.35}[kind]):
        belt(b, p, road, side, beyond + (p.u(4.0, 16.0) if p.chance(0.4) else p.u(14.0, 60.0)))
    for _ in range(int(p.u(0, {'urban': 9, 'suburb': 5, 'park': 4, 'lot': 6}[kind]))):
        _walker(b, bodies, p, p.u(-15, 40), side * (abs(edge) + p.u(0.4, max(0.6, margin))))
    if p.chance(0.3):
        for s in (p.u(-15, 30) + 0.8 * i for i in range(int(p.u(1, 5)))):
            bodies.place(s, side * (abs(edge) + p.u(0.5, 0.8)), p.u(1.2, 1.9))
            bicycle(b, p)
    bodies.world()
    for _ in range(int(p.u(0, 6))):
        clutter(b, p, road, p.u(-25, 40), side * (abs(edge) + p.u(0.5, margin + 3.0)))


def _walker(b: TableBuilder, bodies: Bodies, p: Palette, s: float, lat: float) -> None:
    """Somebody who walks along, or stands."""
    towards = p.chance(0.5)
    pace = 0.0 if p.chance(0.25) else p.u(0.7, 1.7)
    bodies.place(s, lat, math.pi if towards else 0.0, -pace if towards else pace)
    person(b, p)


def _parked_row(b: TableBuilder, bodies: Bodies, p: Palette, lat: float, side: int, fill: float) -> None:
    """Cars side by side, nose to the kerb."""
    for i in range(-14, 24):
        if p.chance(fill):
            bodies.place(i * 2.6 + 1.3, lat, side * math.pi / 2 * (1 if p.chance(0.7) else -1) + p.u(-0.05, 0.05))
            car(b, p)


def _buildings(b: TableBuilder, p: Palette, road: Road, kind: str, side: int, beyond: float) -> None:
    if not p.chance({'urban': 0.93, 'suburb': 0.75, 'park': 0.25, 'lot': 0.75}[kind]):
        return
    set_back = {'urban': (0.2, 7.0), 'suburb': (5.0, 20.0), 'park': (15.0, 45.0), 'lot': (2.0, 25.0)}[kind]
    heights = {'urban': (6.0, 30.0), 'suburb': (3.5, 8.0), 'park': (4.0, 12.0), 'lot': (4.0, 16.0)}[kind]
    off, typical = p.u(*set_back), p.u(*heights)
    s = -130.0 + p.u(0, 20)
    while s < 200:
        length = p.u(7.0, 18.0) if kind == 'suburb' else p.u(8.0, 34.0)
        clear = road.crossing is None or s + length < road.crossing[0] - 1 or s > road.crossing[1] + 1
        if clear and p.chance(0.88 if kind == 'urban' else 0.65):
            turn = p.u(-0.12, 0.12) if p.chance(0.15) else 0.0
            lat = side * (beyond + off * p.u(0.8, 1.3) + abs(math.sin(turn)) * length / 2)
            building(b, p, road, s, lat, side, length, typical * p.u(0.65, 1.45), turn)
        s += length + (p.u(0.0, 4.0) * p.chance(0.5) if kind == 'urban' else p.u(3.0, 22.0))
