# SPDX-License-Identifier: Apache-2.0
"""Buildings, walls, fences and hedges along a road."""

from __future__ import annotations

import math
from collections.abc import Callable

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder
from .road import Road


def building(
    b: TableBuilder, p: Palette, road: Road, s: float, lat: float, side: int, length: float, height: float, turn: float
) -> None:
    """A building whose front stands `lat` beside the road's centre line, `length` metres along it from s on."""
    depth = p.u(7.0, 22.0)
    middle = s + length / 2
    yaw = road.heading(middle) + turn
    x, y, z = road.at(middle, lat + side * depth / 2)
    z = min(z, road.at(middle, lat)[2]) - 0.3
    c, sn = math.cos(yaw), math.sin(yaw)

    def at(along: float, out: float, up: float) -> tuple[float, float, float]:
        """A point of the building: along the road, towards the road from the middle, up."""
        ly = -side * out
        return x + c * along - sn * ly, y + sn * along + c * ly, z + up

    wall, glass, trim = p.wall(), p.grey(0.01, 0.09, 0.2), p.grey(0.1, 0.7)
    storey = p.u(2.7, 3.9)
    half_h = height / 2
    facade = (p.u(1.3, 4.5), storey, p.u(0.25, 0.85), p.u(0.35, 0.7), float(p.chance(0.5)), p.u(0, 1))
    brick = p.chance(0.2) and height < 14
    kind = prim.BRICK if brick else prim.FACADE
    param = (p.u(0.07, 0.3),) if brick else facade
    mortar = glass if not brick else trim
    front = depth / 2
    if height > 7 and p.chance(0.25):
        # Upper storeys overhang an open ground floor with pillars.
        clear, recess = p.u(3.0, 5.0), p.u(1.5, 5.0)
        b.add(
            prim.BOX,
            at(0, 0, (clear + height) / 2),
            (length / 2, depth / 2, (height - clear) / 2),
            kind,
            prim.BUILDING,
            wall,
            mortar,
            yaw,
            param,
        )
        shop = (p.u(2.0, 4.0), clear, 0.8, 0.7, 1.0, 0.6)
        b.add(
            prim.BOX,
            at(0, -recess, clear / 2),
            (length / 2 - 0.4, depth / 2, clear / 2),
            prim.FACADE,
            prim.BUILDING,
            trim,
            glass,
            yaw,
            shop,
        )
        count, r = max(2, min(9, int(length / p.u(3.5, 8.0)))), p.u(0.2, 0.45)
        shape = prim.CYLINDER if p.chance(0.5) else prim.BOX
        for i in range(count):
            a = -length / 2 + 0.6 + (length - 1.2) * i / (count - 1)
            b.add(
                shape,
                at(a, front - 0.6, clear / 2),
                (r, r, clear / 2),
                prim.PLAIN,
                prim.BUILDING,
                wall,
                param=(0.1, 2.0),
                yaw=yaw,
            )
    else:
        b.add(
            prim.BOX, at(0, 0, half_h), (length / 2, depth / 2, half_h), kind, prim.BUILDING, wall, mortar, yaw, param
        )
        if brick:
            _windows(b, p, at, (length, height, storey), front, glass, yaw)
        if p.chance(0.4):
            # A wing or bay stands out.
            a, w = p.u(-0.3, 0.3) * length, length * p.u(0.12, 0.3)
            out = p.u(0.4, 2.2)
            up = height * p.u(0.6, 1.12)
            b.add(prim.BOX, at(a, front, up / 2), (w, out, up / 2), kind, prim.BUILDING, wall, mortar, yaw, param)
    if height > 5 and p.chance(0.35):
        for i in range(1, min(7, int(height / storey))):
            if p.chance(0.85):
                w = length * p.u(0.1, 0.3)
                for a in (-0.28 * length, 0.25 * length):
                    b.add(
                        prim.BOX,
                        at(a, front + 0.55, i * storey + 0.5),
                        (w, 0.6, 0.55),
                        prim.PLAIN,
                        prim.BUILDING,
                        trim,
                        yaw=yaw,
                        param=(0.06, 3.0),
                    )
    if p.chance(0.3):
        # Awning or sign board over the ground floor.
        w = length * p.u(0.15, 0.45)
        a = p.u(-0.25, 0.25) * length
        if p.chance(0.5):
            b.add(
                prim.BOX,
                at(a, front + 0.6, 2.8),
                (w, 0.7, 0.12),
                prim.STRIPES,
                prim.BUILDING,
                p.colour(),
                (0.7, 0.7, 0.7),
                yaw,
                (0.5,),
            )
        else:
            b.add(
                prim.BOX,
                at(a, front + 0.1, 3.2),
                (w, 0.12, 0.35),
                prim.SIGN,
                prim.BUILDING,
                p.colour(),
                (0.75, 0.75, 0.7),
                yaw,
                (0.4, 0.5, 0.04),
            )
    roof = p.grey(0.04, 0.3, 0.15)
    if height < 9.5 and p.chance(0.75):
        up = p.u(1.0, 3.2)
        tile = (p.u(0.12, 0.35), p.u(0.05, 0.12), p.u(0.03, 0.08)) if p.chance(0.5) else roof
        b.add(
            prim.TAPER,
            at(0, 0, height + up / 2 - 0.05),
            (length / 2 + 0.4, depth / 2 + 0.5, up / 2),
            prim.STRIPES,
            prim.BUILDING,
            tile,
            tuple(v * 0.8 for v in tile),
            yaw,
            (0.35, 0.0, 1.0),
            (p.u(0.0, 0.3) if p.chance(0.6) else 0.0, 0.98),
        )
    else:
        b.add(
            prim.BOX,
            at(0, 0, height + 0.2),
            (length / 2 + p.u(0.0, 0.4), depth / 2 + p.u(0.0, 0.4), 0.25),
            prim.PLAIN,
            prim.BUILDING,
            roof,
            yaw=yaw,
            param=(0.1, 3.0),
        )
        if p.chance(0.4):
            b.add(
                prim.BOX,
                at(p.u(-0.3, 0.3) * length, 0, height + 1.2),
                (p.u(1, 3), p.u(1, 3), 1.2),
                prim.PLAIN,
                prim.BUILDING,
                roof,
                yaw=yaw,
            )


def _windows(
    b: TableBuilder,
    p: Palette,
    at: Callable[[float, float, float], tuple[float, float, float]],
    size: tuple[float, float, float],
    front: float,
    glass: Colour,
    yaw: float,
) -> None:
    """Real recess-like window boxes on a brick front (bricks leave no room for printed ones)."""
    length, height, storey = size
    bay = p.u(1.8, 4.0)
    frame = p.grey(0.3, 0.75)
    rows, columns = min(4, max(1, int(height / storey))), min(7, max(1, int(length / bay)))
    for i in range(rows):
        for j in range(columns):
            a = (j + 0.5) / columns * length - length / 2
            half = (bay * 0.27, 0.05, storey * 0.24)
            b.add(
                prim.BOX,
                at(a, front, (i + 0.55) * storey),
                half,
                prim.GLASS,
                prim.BUILDING,
                frame,
                glass,
                yaw,
                (bay * 0.27, 0.07),
            )


def boundary(b: TableBuilder, p: Palette, road: Road, lat: float, side: int, start: float, stop: float) -> None:
    """A run of hedges, fences and walls along the road at lat."""
    style = p.u(0, 1)
    green, paint, stone = p.leaf(), p.grey(0.03, 0.6), p.wall()
    height = p.u(0.7, 2.2)
    s = start
    period, share = p.u(0.1, 0.35), p.u(0.2, 0.6)
    while s < stop:
        length = p.u(4.0, 14.0)
        k = style if p.chance(0.85) else p.u(0, 1)
        middle = s + length / 2
        near_crossing = road.crossing and road.crossing[0] - 1 < s + length and s < road.crossing[1] + 1
        if p.chance(0.75) and not near_crossing:
            x, y, z = road.at(middle, lat)
            yaw = road.heading(middle)
            if k < 0.4:
                h = height * p.u(0.85, 1.15)
                b.add(
                    prim.LEAF_BOX,
                    (x, y, z + h / 2),
                    (length / 2, p.u(0.3, 0.8), h / 2 + 0.05),
                    prim.FOLIAGE,
                    prim.VEGETATION,
                    green,
                    yaw=yaw,
                    cut=(-2.2, 2.0, p.u(1.5, 4.0)),
                )
            elif k < 0.7:
                half = (length / 2, 0.03, height * 0.45)
                b.add(
                    prim.BARS_BOX,
                    (x, y, z + height * 0.45),
                    half,
                    prim.PLAIN,
                    prim.FENCE,
                    paint,
                    yaw=yaw,
                    cut=(period, share, 0.06),
                )
            else:
                wall_half = (length / 2, 0.13, height / 2 + 0.1)
                material, param = (prim.BRICK, (p.u(0.07, 0.2),)) if p.chance(0.5) else (prim.PLAIN, (0.15, 3.0))
                b.add(
                    prim.BOX,
                    (x, y, z + height / 2),
                    wall_half,
                    material,
                    prim.WALL,
                    stone,
                    p.grey(0.2, 0.5),
                    yaw,
                    param,
                )
        s += length + (p.u(1.0, 6.0) if p.chance(0.3) else 0.05)


def guard_rail(b: TableBuilder, p: Palette, road: Road, lat: float, start: float, stop: float) -> None:
    """A steel rail on posts beside the road."""
    steel = p.grey(0.2, 0.45, 0.03)
    height = p.u(0.55, 0.8)
    s = start
    while s < stop:
        if not (road.crossing and road.crossing[0] - 3 < s + 2 < road.crossing[1] + 3):
            x, y, z = road.at(s + 2.0, lat)
            yaw = road.heading(s + 2.0)
            half = (2.03, 0.04, 0.15)
            b.add(
                prim.BOX,
                (x, y, z + height - 0.15),
                half,
                prim.STRIPES,
                prim.FENCE,
                steel,
                (0.1, 0.1, 0.1),
                yaw,
                (0.16, 0, 1),
            )
            b.add(prim.BOX, (x, y, z + height / 2), (0.05, 0.05, height / 2), prim.PLAIN, prim.FENCE, steel, yaw=yaw)
        s += 4.0
