# SPDX-License-Identifier: Apache-2.0
"""What stands farther off: tree belts, the ends of the street, hills."""

from __future__ import annotations

from . import primitives as prim
from .palette import Palette
from .primitives import TableBuilder
from .road import Road
from .scene import free


def belt(b: TableBuilder, p: Palette, road: Road, side: int, distance: float) -> None:
    """A belt of trees beside the road, ragged against the sky, dense or with gaps."""
    height, green = p.u(6.0, 17.0), p.leaf()
    gap, deep = p.u(3.5, 8.0), p.u(2.0, 10.0)
    start, stop = (-140.0, 220.0) if p.chance(0.6) else (p.u(-140, 0), p.u(20, 220))
    s = start
    while s < stop:
        lat = side * (distance + p.u(0, deep))
        x, y, z = road.at(s, lat)
        if not free(road, s, 6.0, side) and abs(lat) < 60:
            s += gap
            continue
        top = height * p.u(0.65, 1.25)
        bark = p.u(0.02, 0.08)
        if distance < 40:
            trunk = (bark, bark * 0.9, bark * 0.8)
            r = p.u(0.1, 0.3)
            b.add(
                prim.CYLINDER,
                (x, y, z + top * 0.25),
                (r, r, top * 0.3),
                prim.PLAIN,
                prim.VEGETATION,
                trunk,
                param=(0.3, 0.7),
            )
        low = p.u(0.0, 0.3) * top
        for k in range(4):
            up = (k + p.u(0.2, 0.9)) / 4
            a = gap * p.u(0.45, 0.85) * (1.15 - 0.5 * up)
            shade = p.u(0.65, 1.3)
            tint = (green[0] * shade, green[1] * shade, green[2] * shade)
            at = (x + p.u(-0.2, 0.2) * gap, y + p.u(-0.2, 0.2) * gap, z + low + (top - low) * up)
            half = (a, a * p.u(0.7, 1.1), (top - low) * p.u(0.16, 0.26))
            cut = (p.u(-0.9, -0.1), p.u(0.9, 1.8), p.u(4.0, 9.0))
            b.add(prim.LEAF_ELLIPSOID, at, half, prim.FOLIAGE, prim.VEGETATION, tint, cut=cut, yaw=p.u(0, 3))
        s += gap * p.u(0.6, 1.3)


def far(b: TableBuilder, p: Palette, road: Road, reach: float) -> None:
    """What closes the street at its ends: trees, a building, hills."""
    for direction in (-1, 1):
        s = direction * max(p.u(60, 170), reach + 30.0 if direction > 0 else 0.0)
        k = p.u(0, 1)
        if k < 0.35:
            for i in range(-7, 8):
                x, y, z = road.at(s + p.u(-6, 6), i * p.u(5.0, 8.0))
                a = p.u(3.0, 6.0)
                b.add(
                    prim.LEAF_ELLIPSOID,
                    (x, y, z + p.u(2, 5)),
                    (a, a, p.u(3, 9)),
                    prim.FOLIAGE,
                    prim.VEGETATION,
                    p.leaf(),
                    cut=(p.u(-1.0, -0.4), 0.9, 8.0),
                    yaw=p.u(0, 3),
                )
        elif k < 0.6:
            x, y, z = road.at(s, p.u(-12, 12))
            half = (6.0, p.u(10, 32), p.u(4, 11))
            param = (p.u(1.5, 4.5), p.u(2.7, 3.8), p.u(0.3, 0.8), p.u(0.35, 0.65), 1.0, p.u(0, 1))
            b.add(
                prim.BOX,
                (x, y, z + half[2] - 0.5),
                half,
                prim.FACADE,
                prim.BUILDING,
                p.wall(),
                p.grey(0.02, 0.09),
                yaw=p.u(-0.2, 0.2),
                param=param,
            )
        if p.chance(0.5):
            for _ in range(3):
                a, h = p.u(60, 140), p.u(8, 32)
                at = (direction * p.u(190, 260), p.u(-160, 160), -h * 0.2)
                green = p.leaf()
                b.add(prim.ELLIPSOID, at, (a, a, h), prim.GRASS, prim.TERRAIN, green, tuple(c * 0.7 for c in green))


def _mass(b: TableBuilder, p: Palette, road: Road, s: float, lat: float, half: tuple[float, float, float]) -> None:
    """A building far enough away to be a box with windows and a roof."""
    x, y, z = road.at(s, lat)
    yaw = road.heading(s) + (p.u(-0.15, 0.15) if p.chance(0.3) else 0.0)
    wall, dark = p.wall(), p.grey(0.02, 0.09)
    param = (p.u(1.5, 4.5), p.u(2.7, 3.8), p.u(0.3, 0.8), p.u(0.35, 0.65), float(p.chance(0.5)), p.u(0, 1))
    at = (x, y, z + half[2] - 1.0)
    b.add(prim.BOX, at, half, prim.FACADE, prim.BUILDING, wall, dark, yaw=yaw, param=param)
    tile = (0.25, 0.08, 0.05) if p.chance(0.4) else p.grey(0.04, 0.3)
    if half[2] < 5.5:
        up = p.u(0.8, 1.7)
        over, ridge = (half[0] + 0.4, half[1] + 0.4, up), (x, y, at[2] + half[2] + up - 0.05)
        b.add(prim.TAPER, ridge, over, prim.TILES, prim.BUILDING, tile, tile, yaw, (0.35,), (p.u(0.0, 0.3), 0.97))
    elif p.chance(0.6):
        top = (half[0] * p.u(0.2, 0.8), half[1] * p.u(0.2, 0.8), p.u(0.8, 2.0))
        at = (x, y, at[2] + half[2] + top[2] - 0.1)
        b.add(prim.BOX, at, top, prim.PLAIN, prim.BUILDING, wall, yaw=yaw, param=(0.1, 3.0))


def backdrop(b: TableBuilder, p: Palette, road: Road, side: int, beyond: float, built: bool) -> None:
    """What is seen across open land and down a side street: buildings and clumps of trees at 25 to 160 m."""
    j = road.junction
    tall = {'urban': (5.0, 15.0), 'narrow': (3.5, 8.0), 'industrial': (3.0, 7.0)}.get(road.kind, (2.5, 7.0))
    if built and j is not None and side in j.arms:
        # Along the side street, behind the corner houses.
        for end, outward in ((j.s0, -1.0), (j.s1, 1.0)):
            out = beyond + p.u(20.0, 30.0)
            while out < 130.0:
                half = (p.u(5.0, 9.0), p.u(5.0, 13.0), p.u(*tall))
                if p.chance(0.75):
                    s = end + outward * (half[0] + p.u(0.5, 5.0))
                    _mass(b, p, road, s, side * (out + half[1]), half)
                out += 2 * half[1] + p.u(0.5, 9.0)
    s, distance = -190.0, p.u(55.0, 140.0)
    trees = p.chance({'urban': 0.3, 'narrow': 0.3, 'industrial': 0.4}.get(road.kind, 0.75))
    while s < 230.0:
        lat = side * distance * p.u(0.85, 1.3)
        if not free(road, s, 9.0, side):
            s += 8.0
            continue
        if trees != p.chance(0.12):
            x, y, z = road.at(s, lat)
            green, a = p.leaf(), p.u(4.0, 9.0)
            for _ in range(2):
                at = (x + p.u(-3, 3), y + p.u(-3, 3), z + p.u(1.5, 6.0))
                half = (a, a * p.u(0.7, 1.0), p.u(3.0, 7.0))
                cut = (p.u(-1.2, -0.3), 1.2, p.u(5.0, 10.0))
                b.add(prim.LEAF_ELLIPSOID, at, half, prim.FOLIAGE, prim.VEGETATION, green, cut=cut, yaw=p.u(0, 3))
            s += a * p.u(1.0, 3.0)
        else:
            half = (p.u(6.0, 18.0), p.u(6.0, 12.0), p.u(*tall))
            _mass(b, p, road, s + half[0], lat, half)
            s += 2 * half[0] + p.u(1.0, 30.0)
