# SPDX-License-Identifier: Apache-2.0
"""What spans or overhangs the road: sign gantries, bridges and underpasses, wires."""

from __future__ import annotations

import math
from itertools import pairwise

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder
from .road import Road
from .scene import Bodies, free


def _bar(
    b: TableBuilder, one: tuple[float, float, float], two: tuple[float, float, float], r: float, tint: Colour
) -> None:
    """A round bar between two points."""
    half = tuple((t - f) / 2 for f, t in zip(one, two, strict=True))
    middle = tuple((t + f) / 2 for f, t in zip(one, two, strict=True))
    flat = math.hypot(half[0], half[1])
    aside = (-half[1] / flat, half[0] / flat) if flat > 1e-6 else (1.0, 0.0)
    # Axes: two across, the third along the bar (cylinders stand on their z).
    along = math.sqrt(flat * flat + half[2] * half[2])
    d = (half[0] / along, half[1] / along, half[2] / along)
    up = (aside[1] * d[2], -aside[0] * d[2], aside[0] * d[1] - aside[1] * d[0])
    axes = (aside[0] * r, up[0] * r, half[0], aside[1] * r, up[1] * r, half[1], 0.0, up[2] * r, half[2])
    b.add_axes(prim.CYLINDER, middle, axes, prim.PLAIN, prim.POLE, tint)


def gantry(b: TableBuilder, bodies: Bodies, p: Palette, road: Road) -> None:
    """Large signs over the lanes, on a frame across the road or on an arm from one side."""
    steel = p.grey(0.15, 0.45)
    for _ in range(int(p.u(1, 2.6))):
        s = p.u(9.0, 80.0) * (1 if p.chance(0.75) else -1)
        if not free(road, s, 6.0):
            continue
        across = p.chance(0.6)
        right, left = road.right_edge - 0.9, road.left_edge + 0.9
        posts = (right, left) if across else (right,)
        if not all(bodies.claim(s, lat, 0.4) for lat in posts):
            continue
        clear, yaw = p.u(5.0, 6.2), road.heading(s)
        reach = left if across else min(0.0, right + 9.0)
        top = road.height(s, 0.0) + clear + p.u(1.6, 2.6)
        for lat in posts:
            x, y, z = road.at(s, lat)
            b.add(
                prim.BOX, (x, y, (z + top) / 2 - 0.3), (0.16, 0.16, (top - z) / 2 + 0.3), prim.PLAIN, prim.POLE, steel
            )
        x, y, _ = road.at(s, (right + reach) / 2)
        half = (reach - right) / 2
        for up in (0.0, -1.1):
            b.add(prim.BOX, (x, y, top + up), (0.1, half, 0.1), prim.PLAIN, prim.POLE, steel, yaw=yaw)
        face, ink = _board_colours(p)
        lat = right + 1.6
        while lat < reach - 1.5:
            wide, tall = p.u(1.2, 2.4), p.u(0.8, 1.6)
            if p.chance(0.8):
                x, y, _ = road.at(s, lat + wide)
                at = (x - 0.18, y, top - 0.55)
                b.add(prim.BOX, at, (0.04, wide, tall), prim.SIGN, prim.TRAFFIC_SIGN, face, ink, yaw,
                      (p.u(0.3, 0.6), 0.55, 0.06))  # fmt: skip
            elif p.chance(0.5):
                x, y, _ = road.at(s, lat + 0.5)
                signal(b, p, (x - 0.15, y, top - 1.5))
            lat += 2 * wide + p.u(0.2, 2.0)


def signal(b: TableBuilder, p: Palette, at: tuple[float, float, float], facing: float = -1.0) -> None:
    """A traffic light's head that faces along -x, or along +x with facing 1."""
    x, y, z = at
    b.add(prim.BOX, (x, y, z), (0.13, 0.17, 0.5), prim.PLAIN, prim.LIGHT, (0.02, 0.02, 0.02))
    lit = int(p.u(0, 3))
    for i, c in enumerate(((0.9, 0.05, 0.03), (0.9, 0.5, 0.03), (0.05, 0.8, 0.3))):
        glow = 3.0 + 8.0 * p.night if i == lit else 0.0
        tint = c if glow else (0.12 * c[0], 0.12 * c[1], 0.12 * c[2])
        axes = (0, 0, 0.03, 0.1, 0, 0, 0, 0.1, 0)
        b.add_axes(prim.CYLINDER, (x + facing * 0.12, y, z + 0.31 - 0.31 * i), axes, prim.LAMP, prim.LIGHT, tint,
                   param=(glow,))  # fmt: skip


def _board_colours(p: Palette) -> tuple[Colour, Colour]:
    faces = ((0.02, 0.2, 0.1), (0.02, 0.09, 0.4), (0.02, 0.25, 0.13), (0.7, 0.7, 0.7), (0.7, 0.5, 0.03))
    face = faces[int(p.u(0, len(faces)))]
    return face, ((0.75, 0.75, 0.75) if sum(face) < 1.0 else (0.03, 0.03, 0.03))


def wires(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, side: int, lat: float) -> None:
    """A line of wooden poles with sagging wires."""
    tall, spacing, count = p.u(7.0, 10.5), p.u(26.0, 42.0), int(p.u(2, 5))
    brown = p.u(0.06, 0.2)
    wood: Colour = (brown, brown * 0.85, brown * 0.7)
    tops: list[tuple[float, float, float]] = []
    s = -70.0 + p.u(0, spacing)
    while s < 130:
        if free(road, s, 0.5, side) and bodies.claim(s, lat, 0.3):
            x, y, z = road.at(s, lat)
            r = p.u(0.1, 0.15)
            b.add(prim.CYLINDER, (x, y, z + tall / 2 - 0.2), (r, r, tall / 2 + 0.2), prim.PLAIN, prim.POLE, wood,
                  param=(0.25, 0.8))  # fmt: skip
            b.add(prim.BOX, (x, y, z + tall - 0.5), (0.06, 1.0, 0.06), prim.PLAIN, prim.POLE, wood)
            if p.chance(0.2):
                b.add(
                    prim.CYLINDER, (x, y + 0.35, z + tall - 1.6), (0.22, 0.22, 0.4), prim.PLAIN, prim.POLE, (0.3,) * 3
                )
            tops.append((x, y, z + tall - 0.45))
        s += spacing
    for one, two in pairwise(tops):
        for i in range(count):
            off = -0.9 + 1.8 * i / max(1, count - 1)
            sag = p.u(0.5, 1.1)
            ends = [(q[0], q[1] + off, q[2]) for q in (one, two)]
            third = [
                tuple(a + (c - a) * f for a, c in zip(ends[0], ends[1], strict=True)) for f in (0.0, 0.3, 0.7, 1.0)
            ]
            hung = [(q[0], q[1], q[2] - d) for q, d in zip(third, (0.0, sag, sag, 0.0), strict=True)]
            for a, c in pairwise(hung):
                _bar(b, a, c, 0.02, (0.02, 0.02, 0.02))


def overpass(b: TableBuilder, bodies: Bodies, p: Palette, road: Road) -> None:
    """A bridge across the street on piers or, between walls, an underpass as deep as a short tunnel."""
    s = p.u(14.0, 70.0) * (1 if p.chance(0.6) else -1)
    deep = p.u(3.5, 9.0) if p.chance(0.65) else p.u(10.0, 22.0)
    if not free(road, s, deep + 4.0):
        return
    x, y, _ = road.at(s, 0.0)
    clear, concrete, yaw = p.u(4.8, 7.0), p.grey(0.15, 0.45), p.u(-0.12, 0.12)
    half = (deep, 160.0, p.u(0.5, 1.0))
    yaw += road.heading(s)
    under = max(road.height(s + d, 0.0) for d in (-deep, 0.0, deep))
    floor = under + clear
    stone = (prim.BRICK, (0.25,)) if p.chance(0.3) else (prim.PLAIN, (0.2, 6.0))
    b.add(prim.BOX, (x, y, floor + half[2]), half, prim.PLAIN, prim.WALL, concrete, yaw=yaw, param=(0.2, 6.0))
    c, sn = math.cos(yaw), math.sin(yaw)
    for end in (-1.0, 1.0):
        at = (x + end * c * deep, y + end * sn * deep, floor + 2 * half[2] + 0.5)
        if p.chance(0.6):
            b.add(prim.BARS_BOX, at, (160.0, 0.05, 0.5), prim.PLAIN, prim.FENCE, p.grey(0.1, 0.4),
                  yaw=yaw + math.pi / 2, cut=(0.4, 0.3, 0.1))  # fmt: skip
        else:
            b.add(prim.BOX, at, (0.12, 160.0, 0.5), prim.PLAIN, prim.WALL, concrete, yaw=yaw, param=(0.2, 4.0))
    for side, edge in ((-1, road.right_edge), (1, road.left_edge)):
        if deep > 9.5 or p.chance(0.4):
            # Walls on both sides carry it.
            lat = edge + side * (p.u(2.5, 4.0) + 6.0)
            x1, y1, z1 = road.at(s, lat)
            size = (deep, 6.0, clear / 2 + 1.0)
            at = (x1, y1, (under + floor) / 2 - 0.5)
            b.add(prim.BOX, at, size, stone[0], prim.WALL, concrete, (0.3,) * 3, yaw, stone[1])
            continue
        for along in (-0.7, 0.0, 0.7):
            lat = edge + side * 1.3
            if not bodies.claim(s + along * deep, lat, 0.55):
                continue
            x1, y1, z1 = road.at(s + along * deep, lat)
            size = (0.5, 0.5, (floor - z1) / 2 + 0.2)
            at = (x1, y1, (z1 + floor) / 2)
            b.add(prim.CYLINDER, at, size, prim.PLAIN, prim.WALL, concrete, param=(0.2, 4.0))
    for along in (-0.6, 0.6):
        tint = (2.5 * p.night, 2.2 * p.night, 1.6 * p.night)
        b.lamp((x + along * deep * c, y + along * deep * sn, floor - 0.3), tint, 12.0)
