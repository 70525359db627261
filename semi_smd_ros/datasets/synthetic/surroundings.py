# SPDX-License-Identifier: Apache-2.0
"""What stands farther off: tree belts, the ends of the street, hills; and small clutter beside the road."""

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
        if not free(road, s, 6.0) and abs(lat) < 60:
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


def clutter(b: TableBuilder, p: Palette, road: Road, s: float, lat: float) -> None:
    """A bin, a cabinet, a hydrant, a board."""
    if not free(road, s, 1.0):
        return
    x, y, z = road.at(s, lat)
    k = p.u(0, 1)
    if k < 0.4:
        half = (p.u(0.2, 0.6), p.u(0.2, 0.4), p.u(0.4, 0.9))
        b.add(
            prim.BOX,
            (x, y, z + half[2]),
            half,
            prim.PLAIN,
            prim.WALL,
            p.colour(0.05, 0.4) if p.chance(0.4) else p.grey(0.1, 0.5),
            yaw=p.u(-0.2, 0.2),
            param=(0.1, 1.0),
        )
    elif k < 0.7:
        r, h = p.u(0.06, 0.3), p.u(0.35, 0.6)
        b.add(
            prim.CYLINDER,
            (x, y, z + h),
            (r, r, h),
            prim.STRIPES if p.chance(0.4) else prim.PLAIN,
            prim.POLE,
            p.colour(0.1, 0.5),
            (0.7, 0.7, 0.7),
            param=(0.5, 0.0, 1.0),
        )
    else:
        half = (0.08, p.u(0.4, 1.2), p.u(0.5, 1.2))
        b.add(
            prim.BOX,
            (x, y, z + half[2] + 0.1),
            half,
            prim.SIGN,
            prim.TRAFFIC_SIGN,
            p.colour(0.1, 0.6),
            p.grey(0.5, 0.8),
            yaw=p.u(-1.5, 1.5),
            param=(p.u(0.12, 0.4), 0.5, 0.05),
        )


def far(b: TableBuilder, p: Palette, road: Road) -> None:
    """What closes the street at its ends: trees, a building, hills."""
    for direction in (-1, 1):
        s = direction * p.u(60, 170)
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


def overpass(b: TableBuilder, p: Palette, road: Road) -> None:
    """A bridge across the street, on piers."""
    s = p.u(14.0, 70.0) * (1 if p.chance(0.6) else -1)
    x, y, z = road.at(s, 0.0)
    clear, concrete, yaw = p.u(4.8, 7.5), p.grey(0.15, 0.45), p.u(-0.25, 0.25)
    half = (p.u(3.5, 9.0), 70.0, p.u(0.5, 1.0))
    b.add(prim.BOX, (x, y, z + clear + half[2]), half, prim.PLAIN, prim.WALL, concrete, yaw=yaw, param=(0.2, 6.0))
    rim = (half[0] + 0.1, 70.0, 0.5)
    b.add(
        prim.BARS_BOX,
        (x, y, z + clear + 2 * half[2] + 0.5),
        rim,
        prim.PLAIN,
        prim.FENCE,
        p.grey(0.1, 0.4),
        yaw=yaw,
        cut=(0.4, 0.3, 0.1),
    )
    for lat in (road.right_edge - 1.3, road.left_edge + 1.3):
        for along in (-0.6, 0.0, 0.6):
            x, y, z = road.at(s + along * half[0], lat)
            b.add(
                prim.CYLINDER,
                (x, y, z + clear / 2),
                (0.5, 0.5, clear / 2 + 0.3),
                prim.PLAIN,
                prim.WALL,
                concrete,
                param=(0.2, 4.0),
            )


def barriers(b: TableBuilder, p: Palette, road: Road) -> None:
    """A row of road-work barriers along the road's edge or between the directions."""
    lat = p.u(road.right_edge + 0.4, road.left_edge - 0.4)
    if abs(lat - road.ego_lat) < 2.1:
        lat = road.right_edge + 0.4 if road.ego_lat - road.right_edge > 2.5 else road.left_edge - 0.4
    red, white = (0.55, 0.06, 0.03), (0.6, 0.6, 0.6)
    one, two = (red, white) if p.chance(0.6) else (p.grey(0.2, 0.6), p.grey(0.2, 0.6))
    s = p.u(-25.0, 25.0)
    tall = p.u(0.4, 0.55)
    for i in range(int(p.u(3, 14))):
        x, y, z = road.at(s + 2.1 * i, lat)
        yaw = road.heading(s) + p.u(-0.05, 0.05)
        tint = one if i % 2 else two
        b.add(
            prim.TAPER,
            (x, y, z + tall),
            (1.0, 0.28, tall),
            prim.PLAIN,
            prim.WALL,
            tint,
            yaw=yaw,
            param=(0.12, 1.5),
            cut=(0.04, 0.6),
        )
