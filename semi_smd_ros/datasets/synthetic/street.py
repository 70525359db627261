# SPDX-License-Identifier: Apache-2.0
"""What clutters a street: shelters, benches, bins, cones, bollards, boards, boxes, scaffolds, road works."""

from __future__ import annotations

import math

from . import primitives as prim
from .palette import Palette
from .plants import bush
from .primitives import Colour, TableBuilder
from .road import Road
from .scene import Bodies, free

_ORANGE: Colour = (0.8, 0.22, 0.03)
_WHITE: Colour = (0.7, 0.7, 0.7)


def cone(b: TableBuilder, x: float, y: float, z: float) -> None:
    """A traffic cone."""
    b.add(prim.TAPER, (x, y, z + 0.37), (0.15, 0.15, 0.36), prim.STRIPES, prim.FENCE, _ORANGE, _WHITE,
          cut=(0.8, 0.8), param=(0.42, 0.0, 1.0))  # fmt: skip
    b.add(prim.BOX, (x, y, z + 0.02), (0.2, 0.2, 0.025), prim.PLAIN, prim.FENCE, (0.05,) * 3)


def clutter(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, s: float, lat: float, side: int) -> None:
    """One thing that stands about."""
    if not free(road, s, 1.5, side) or not bodies.claim(s, lat, 0.6):
        return
    x, y, z = road.at(s, lat)
    yaw = road.heading(s)
    tint = p.colour(0.05, 0.4) if p.chance(0.4) else p.grey(0.1, 0.5)
    k = p.u(0, 1)
    if k < 0.16:
        for i in range(int(p.u(1, 4))):
            half = (0.28, 0.34, p.u(0.5, 0.6))
            at = (x + 0.66 * i * math.cos(yaw), y + 0.66 * i * math.sin(yaw), z + half[2])
            b.add(prim.TAPER, at, half, prim.PLAIN, prim.WALL, tint, yaw=yaw + p.u(-0.15, 0.15), param=(0.1, 1.0),
                  cut=(-0.0, 0.12))  # fmt: skip
            lid = (0.3, 0.37, 0.05)
            b.add(prim.SUPER, (at[0], at[1], z + 2 * half[2]), lid, prim.PLAIN, prim.WALL, tint, yaw=yaw)
    elif k < 0.28:
        half = (p.u(0.3, 0.7), p.u(0.18, 0.3), p.u(0.45, 0.8))
        b.add(prim.BOX, (x, y, z + half[2]), half, prim.STRIPES, prim.WALL, tint, tuple(c * 0.9 for c in tint),
              yaw=yaw, param=(0.7,))  # fmt: skip
    elif k < 0.4:
        r, h = p.u(0.05, 0.12), p.u(0.4, 0.55)
        for i in range(int(p.u(1, 6))):
            at = (x + 1.5 * i, road.at(s + 1.5 * i, lat)[1], road.height(s + 1.5 * i, lat) + h)
            if i == 0 or (free(road, s + 1.5 * i, 1.0, side) and bodies.claim(s + 1.5 * i, lat, 0.2)):
                b.add(prim.CYLINDER, at, (r, r, h), prim.STRIPES, prim.POLE, tint, _WHITE, param=(1.0, 0.0, 1.0))
    elif k < 0.5:
        _bench(b, p, (x, y, z), yaw, side)
    elif k < 0.62:
        half = (0.06, p.u(0.35, 0.7), p.u(0.5, 0.9))
        lean = 0.1 if p.chance(0.5) else 0.0
        b.add(prim.BOX, (x, y, z + half[2] + 0.1), half, prim.SIGN, prim.TRAFFIC_SIGN, p.colour(0.1, 0.6),
              p.grey(0.5, 0.8), yaw=p.u(-1.5, 1.5), param=(p.u(0.1, 0.3), 0.5, 0.05), shear=lean)  # fmt: skip
    elif k < 0.7:
        # A letter box on a post.
        b.add(prim.BOX, (x, y, z + 0.5), (0.05, 0.05, 0.55), prim.PLAIN, prim.POLE, (0.15, 0.1, 0.07))
        b.add(prim.SUPER, (x, y, z + 1.15), (0.14, 0.27, 0.15), prim.PLAIN, prim.POLE, tint, yaw=yaw)
    elif k < 0.8:
        half = (p.u(0.5, 1.2), p.u(0.35, 0.6), p.u(0.22, 0.4))
        b.add(prim.BOX, (x, y, z + half[2]), half, prim.PLAIN, prim.WALL, p.grey(0.2, 0.5), yaw=yaw, param=(0.15, 1.0))
        bush(b, p, x, y, z + half[2] * 1.6, 0.7)
    elif k < 0.88:
        for i in range(int(p.u(1, 4))):
            step = p.u(1.0, 2.0) * i
            cone(b, x + step * math.cos(yaw), y + step * math.sin(yaw), z)
    elif k < 0.95:
        for _ in range(int(p.u(1, 5))):
            size = (p.u(0.15, 0.4), p.u(0.15, 0.4), p.u(0.12, 0.35))
            at = (x + p.u(-0.5, 0.5), y + p.u(-0.5, 0.5), z + size[2])
            shape, brown = (prim.SUPER, p.grey(0.02, 0.15)) if p.chance(0.5) else (prim.BOX, (0.3, 0.2, 0.1))
            b.add(shape, at, size, prim.PLAIN, prim.WALL, brown, yaw=p.u(0, 3), param=(0.1, 0.5))
    else:
        b.add(prim.CYLINDER, (x, y, z + 0.35), (0.13, 0.13, 0.38), prim.PLAIN, prim.POLE, p.colour(0.2, 0.6))
        b.add(prim.ELLIPSOID, (x, y, z + 0.74), (0.15, 0.15, 0.12), prim.PLAIN, prim.POLE, p.colour(0.2, 0.6))


def _bench(b: TableBuilder, p: Palette, at: tuple[float, float, float], yaw: float, side: int) -> None:
    x, y, z = at
    wood = p.u(0.1, 0.3)
    tint: Colour = (wood, wood * 0.7, wood * 0.45)
    b.add(prim.BOX, (x, y, z + 0.45), (0.9, 0.24, 0.03), prim.PLANKS, prim.WALL, tint, yaw=yaw, param=(0.1, 0.2))
    back = (x - side * 0.25 * math.sin(yaw), y + side * 0.25 * math.cos(yaw), z + 0.75)
    b.add(prim.BOX, back, (0.9, 0.03, 0.2), prim.PLANKS, prim.WALL, tint, yaw=yaw, param=(0.1, 0.2))
    for along in (-0.7, 0.7):
        foot = (x + along * math.cos(yaw), y + along * math.sin(yaw), z + 0.2)
        b.add(prim.BOX, foot, (0.04, 0.22, 0.22), prim.PLAIN, prim.WALL, (0.05,) * 3, yaw=yaw)


def shelter(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, side: int, edge: float, margin: float) -> None:
    """A bus shelter with glass at its back and ends, a bench and a lit board."""
    s, deep, half = p.u(-12, 35), min(0.7, max(0.45, margin / 2 - 0.3)), p.u(1.6, 2.6)
    lat = edge + side * (deep + 0.9)
    if not free(road, s, half + 1.5, side) or not bodies.claim(s, lat, half):
        return
    x, y, z = road.at(s, lat)
    yaw, frame = road.heading(s), p.grey(0.02, 0.3)
    c, sn = math.cos(yaw), math.sin(yaw)

    def at(along: float, out: float, up: float) -> tuple[float, float, float]:
        return x + c * along + sn * side * out, y + sn * along - c * side * out, z + up

    pane = p.grey(0.1, 0.3, 0.02)
    b.add(prim.BOX, at(0, 0, 2.5), (half + 0.15, deep + 0.2, 0.07), prim.PLAIN, prim.BUILDING, frame, yaw=yaw)
    b.add(prim.BOX, at(0, -deep, 1.25), (half, 0.025, 1.1), prim.GLASS, prim.BUILDING, frame, pane, yaw, (1.2, 0.03))
    for end in (-1.0, 1.0):
        board = end > 0 and p.chance(0.6)
        material = prim.SIGN if board else prim.GLASS
        param = (0.3, 0.4, 0.06) if board else (1.3, 0.04)
        b.add(prim.BOX, at(end * half, -deep * 0.2, 1.25), (0.05, deep * 0.75, 1.0), material, prim.BUILDING,
              p.colour(0.3, 0.7) if board else frame, pane, yaw, param)  # fmt: skip
        b.add(prim.BOX, at(end * half, deep, 1.25), (0.05, 0.05, 1.25), prim.PLAIN, prim.POLE, frame, yaw=yaw)
    b.add(prim.BOX, at(0, -deep * 0.55, 0.45), (half * 0.7, 0.2, 0.03), prim.PLANKS, prim.WALL, (0.2, 0.14, 0.08),
          yaw=yaw, param=(0.1, 0.2))  # fmt: skip
    b.lamp(at(0, 0, 2.3), (3.0 * p.night, 3.0 * p.night, 2.8 * p.night), 8.0)


def scaffold(
    b: TableBuilder, p: Palette, road: Road, s: float, lat: float, side: int, size: tuple[float, float]
) -> None:
    """A scaffold before a front: decks, poles, sometimes a net."""
    half, tall = size
    x, y, z = road.at(s, lat)
    yaw, steel = road.heading(s), p.grey(0.15, 0.4)
    c, sn = math.cos(yaw), math.sin(yaw)
    net = p.chance(0.35)
    for i in range(1, int(tall / 2.0) + 1):
        b.add(prim.BOX, (x, y, z + 2.0 * i), (half, 0.5, 0.04), prim.PLANKS, prim.BUILDING, (0.3, 0.22, 0.12), yaw=yaw,
              param=(0.25, 0.2))  # fmt: skip
        for out in (0.45,):
            at = (x + sn * side * out, y - c * side * out, z + 2.0 * i + 0.5)
            b.add(prim.BARS_BOX, at, (half, 0.02, 0.5), prim.PLAIN, prim.FENCE, steel, yaw=yaw, cut=(2.0, 0.04, 0.06))
    for k in range(int(half) + 1):
        along = -half + 2.0 * k
        at = (x + c * along + sn * side * 0.48, y + sn * along - c * side * 0.48, z + tall / 2)
        b.add(prim.CYLINDER, at, (0.04, 0.04, tall / 2 + 0.3), prim.PLAIN, prim.POLE, steel)
    if net:
        tint = (0.1, 0.3, 0.15) if p.chance(0.5) else (0.5, 0.5, 0.52)
        at = (x + sn * side * 0.55, y - c * side * 0.55, z + tall / 2 + 1.0)
        b.add(prim.BOX, at, (half, 0.015, tall / 2 - 1.0), prim.STRIPES, prim.BUILDING, tint, (0.3,) * 3, yaw, (0.9,))


def works(b: TableBuilder, bodies: Bodies, p: Palette, road: Road) -> None:
    """Road works: a row of barriers or cones, a board, a heap, sometimes a closed lane."""
    lanes = [lat for lat, _ in road.lanes() if abs(lat - road.ego_lat) > 2.0]
    if p.chance(0.5) and lanes:
        lat = lanes[int(p.u(0, len(lanes)))] + p.u(-0.8, 0.8)
    else:
        lat = road.right_edge + 0.4 if p.chance(0.6) else road.left_edge - 0.4
    red: Colour = (0.55, 0.06, 0.03)
    one, two = (red, _WHITE) if p.chance(0.6) else (p.grey(0.2, 0.6), p.grey(0.2, 0.6))
    s, tall, k = p.u(-15.0, 25.0), p.u(0.4, 0.55), p.u(0, 1)
    step = 2.1 if k < 0.5 else p.u(2.0, 4.0)
    for i in range(int(p.u(4, 15))):
        here = s + step * i
        if not free(road, here, 1.5) or not bodies.claim(here, lat, 0.35):
            continue
        x, y, z = road.at(here, lat)
        yaw = road.heading(here) + p.u(-0.05, 0.05)
        if k < 0.5:
            b.add(prim.TAPER, (x, y, z + tall), (1.0, 0.28, tall), prim.PLAIN, prim.WALL, one if i % 2 else two,
                  yaw=yaw, param=(0.12, 1.5), cut=(0.04, 0.6))  # fmt: skip
        elif k < 0.75:
            cone(b, x, y, z)
        else:
            b.add(prim.BOX, (x, y, z + 0.75), (0.85, 0.02, 0.13), prim.STRIPES, prim.FENCE, red, _WHITE, yaw=yaw,
                  param=(0.5, 1.0))  # fmt: skip
            for end in (-0.7, 0.7):
                at = (x + end * math.cos(yaw), y + end * math.sin(yaw), z + 0.4)
                b.add(prim.BOX, at, (0.03, 0.2, 0.42), prim.PLAIN, prim.FENCE, _WHITE, yaw=yaw)
    if p.chance(0.5) and bodies.claim(s - 3.0, lat, 0.8):
        x, y, z = road.at(s - 3.0, lat)
        b.add(prim.BOX, (x, y, z + 1.5), (0.04, 0.75, 0.6), prim.SIGN, prim.TRAFFIC_SIGN, (0.8, 0.45, 0.03),
              (0.03,) * 3, param=(0.3, 0.5, 0.06))  # fmt: skip
        b.add(prim.BOX, (x + 0.1, y, z + 0.5), (0.04, 0.3, 0.5), prim.PLAIN, prim.POLE, (0.2,) * 3)
