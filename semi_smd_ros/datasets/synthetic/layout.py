# SPDX-License-Identifier: Apache-2.0
"""A random scene: a road, what stands beside it, what moves on it, and the light."""

from __future__ import annotations

import math

import numpy as np

from .borders import boundary, guard_rail
from .buildings import building
from .ego import ego_track
from .furniture import pole_row
from .junction import corners, islands
from .overhead import gantry, overpass, wires
from .palette import Palette
from .plants import bush, tree
from .primitives import TableBuilder
from .road import Road
from .roadplan import KINDS, SHARES, make_road
from .scene import Bodies, Scene, free
from .street import clutter, scaffold, shelter, works
from .surroundings import backdrop, belt, far
from .traffic import parked, traffic, walkers
from .weather import make_light

# Shares of sides with a row of trees, with a belt of trees, with buildings; how far back these stand and how tall.
_TREES = dict(zip(KINDS, (0.45, 0.65, 0.75, 0.4, 0.35, 0.35, 0.2), strict=True))
_BELTS = dict(zip(KINDS, (0.15, 0.5, 0.85, 0.35, 0.7, 0.3, 0.15), strict=True))
_BUILT = dict(zip(KINDS, (0.93, 0.75, 0.2, 0.75, 0.25, 0.85, 0.9), strict=True))
_BACK = dict(
    zip(
        KINDS,
        ((0.2, 7.0), (4.0, 18.0), (12.0, 45.0), (2.0, 25.0), (15.0, 50.0), (3.0, 20.0), (0.0, 2.5)),
        strict=True,
    )
)
_TALL = dict(
    zip(
        KINDS,
        ((6.0, 30.0), (3.5, 8.0), (4.0, 12.0), (4.0, 16.0), (6.0, 30.0), (5.0, 12.0), (5.0, 14.0)),
        strict=True,
    )
)


def make_scene(rng: np.random.Generator) -> Scene:
    """A scene of a random kind."""
    kind = KINDS[int(rng.choice(len(KINDS), p=SHARES))]
    light = make_light(rng)
    p = Palette(rng, light.night)
    road = make_road(rng, kind)
    b = TableBuilder(rng)
    road.lay(b)
    bodies = Bodies(b, road, ego_track(rng, road))
    corners(b, road)
    islands(b, bodies, p, road)
    traffic(b, bodies, p, road)
    for side, edge in ((-1, road.right_edge), (1, road.left_edge)):
        _side(b, bodies, p, road, side, edge)
    far(b, p, road, bodies.reach())
    if p.chance({'highway': 0.25, 'urban': 0.1}.get(kind, 0.05)):
        overpass(b, bodies, p, road)
    if p.chance({'highway': 0.8, 'urban': 0.15, 'suburb': 0.1}.get(kind, 0.05)):
        gantry(b, bodies, p, road)
    if p.chance(0.18):
        works(b, bodies, p, road)
    return Scene(kind, road, b.table(), bodies.poses(), tuple(bodies.movers), light, bodies.ego, bodies.lamps())


def _side(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, side: int, edge: float) -> None:
    """Everything on one side of the road."""
    kind = road.kind
    beyond = abs(road.walks[0] if side < 0 else road.walks[1])
    margin = beyond - abs(edge)
    open_land = p.u(0.8, 2.6) if kind != 'narrow' else 1.0
    parked(b, bodies, p, road, side, edge)
    walkers(b, bodies, p, road, side, edge, margin)
    bodies.world()
    rail = {'highway': 0.8, 'suburb': 0.2, 'park': 0.3}.get(kind, 0.0)
    if p.chance(rail):
        guard_rail(b, p, road, edge + side * p.u(0.4, 0.8), side)
    pole_row(b, bodies, p, road, side, edge, margin)
    if p.chance({'suburb': 0.55, 'park': 0.4, 'highway': 0.15, 'narrow': 0.4}.get(kind, 0.2)):
        wires(b, bodies, p, road, side, edge + side * p.u(1.0, 5.0))
    if kind != 'highway':
        if p.chance(0.25):
            shelter(b, bodies, p, road, side, edge, margin)
        for _ in range(int(p.u(0, 9))):
            clutter(b, bodies, p, road, p.u(-25, 45), edge + side * p.u(0.5, margin + 3.0), side)
    if p.chance(_TREES[kind]):
        spacing, off, scale = p.u(5.0, 15.0), p.u(0.4, 4.0) * open_land, p.u(0.6, 1.2)
        inside = margin > 2.5 and p.chance(0.4)
        s = -65.0
        while s < 115:
            lat = edge + side * 1.2 if inside else side * (beyond + off + p.u(-0.3, 1.2))
            if p.chance(0.8) and free(road, s, 2.0, side) and bodies.claim(s, lat, 0.5):
                tree(b, p, *road.at(s, lat), scale, 2.4 if abs(lat - edge) < 4.0 else 0.0, -30 < s < 50)
            s += spacing * p.u(0.6, 1.5)
    if p.chance(0.65 if kind != 'narrow' else 0.35):
        boundary(b, p, road, side * (beyond + p.u(0.3, 5.0 if kind != 'narrow' else 0.8)), side)
    for _ in range(int(p.u(0, 9 if kind != 'narrow' else 2))):
        s, lat = p.u(-35, 60), side * (beyond + p.u(0.6, 8.0))
        if free(road, s, 2.5, side) and bodies.claim(s, lat, 1.4):
            bush(b, p, *road.at(s, lat))
    built = p.chance(_BUILT[kind])
    if built:
        _buildings(b, p, road, side, beyond, open_land)
    for _ in range(int(p.u(0, {'urban': 4, 'suburb': 9, 'park': 14, 'narrow': 2}.get(kind, 5)))):
        s, lat = p.u(-70, 110), side * (beyond + p.u(4, 35))
        if free(road, s, 2.5, side) and bodies.claim(s, lat, 1.0):
            tree(b, p, *road.at(s, lat), p.u(0.7, 1.4), 0.0, -25 < s < 40)
    if p.chance(_BELTS[kind]):
        belt(b, p, road, side, beyond + (p.u(4.0, 16.0) * open_land if p.chance(0.4) else p.u(18.0, 70.0)))
    elif p.chance(0.85):
        backdrop(b, p, road, side, beyond, built)


def _buildings(b: TableBuilder, p: Palette, road: Road, side: int, beyond: float, open_land: float) -> None:
    kind = road.kind
    off, typical = p.u(*_BACK[kind]) * open_land, p.u(*_TALL[kind])
    kerb = abs(road.right_edge if side < 0 else road.left_edge)
    s = -130.0 + p.u(0, 20)
    while s < 200:
        lengths = {'suburb': (7.0, 18.0), 'industrial': (18.0, 60.0), 'narrow': (5.0, 14.0)}
        length = p.u(*lengths.get(kind, (8.0, 34.0)))
        j = road.junction
        clear = j is None or side not in j.arms or s + length < j.s0 - 1 or s > j.s1 + 1
        if clear and p.chance(0.88 if kind in ('urban', 'narrow') else 0.65):
            turn = p.u(-0.12, 0.12) if p.chance(0.15) and kind != 'narrow' else 0.0
            lat = side * (max(beyond + off * p.u(0.8, 1.3) + 0.3, kerb + 1.2) + abs(math.sin(turn)) * length / 2)
            near = -length - 45.0 < s < 70.0
            height = typical * p.u(0.65, 1.45)
            building(b, p, road, (s, lat), side, (length, height), turn, near)
            if near and p.chance(0.06):
                scaffold(b, p, road, s + length * 0.5, lat - side * 0.9, side, (length * 0.45, min(height, 12.0)))
        s += length + (p.u(0.0, 4.0) * p.chance(0.4) if kind in ('urban', 'narrow') else p.u(3.0, 22.0))
