# SPDX-License-Identifier: Apache-2.0
"""Hedges, fences, walls and guard rails along a road."""

from __future__ import annotations

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder
from .road import Road
from .scene import free


def boundary(b: TableBuilder, p: Palette, road: Road, lat: float, side: int) -> None:
    """A run of hedges, fences and walls along the road at lat, low or taller than a man."""
    style = p.u(0, 1)
    green, paint, stone = p.leaf(), p.grey(0.03, 0.6), p.wall()
    wood = p.u(0.08, 0.3)
    timber: Colour = (wood, wood * 0.75, wood * 0.55)
    height = p.u(0.7, 2.4)
    s, stop = -65.0, 95.0
    bars, share, brick = p.u(0.1, 0.35), p.u(0.2, 0.6), p.chance(0.5)
    while s < stop:
        length = p.u(4.0, 14.0)
        k = style if p.chance(0.85) else p.u(0, 1)
        middle = s + length / 2
        near_street = not free(road, middle, length / 2 + 1.5, side)
        if p.chance(0.8) and not near_street:
            x, y, z = road.at(middle, lat)
            low = min(road.height(s, lat), road.height(s + length, lat), z)
            yaw = road.heading(middle)
            top = z + height * p.u(0.9, 1.1)
            at, up = (x, y, (top + low) / 2 - 0.1), (top - low) / 2 + 0.1
            half = length / 2
            if k < 0.35:
                size = (half, p.u(0.3, 0.8), up)
                cut = (-2.2, 2.0, p.u(1.5, 4.0))
                b.add(prim.LEAF_BOX, at, size, prim.FOLIAGE, prim.VEGETATION, green, yaw=yaw, cut=cut)
            elif k < 0.55:
                size = (half, 0.03, up)
                cut = (bars, share, 0.06)
                b.add(prim.BARS_BOX, at, size, prim.PLAIN, prim.FENCE, paint, yaw=yaw, cut=cut)
            elif k < 0.7:
                size = (half, 0.04, up)
                b.add(prim.BOX, at, size, prim.PLANKS, prim.FENCE, timber, yaw=yaw, param=(0.14, 0.2))
            elif k < 0.9:
                size = (half, 0.13, up)
                material, param = (prim.BRICK, (p.u(0.07, 0.2),)) if brick else (prim.PLAIN, (0.18, 3.0))
                b.add(prim.BOX, at, size, material, prim.WALL, stone, p.grey(0.2, 0.5), yaw, param)
                cap = (half + 0.02, 0.18, 0.04)
                b.add(prim.BOX, (x, y, top + 0.03), cap, prim.PLAIN, prim.WALL, stone, yaw=yaw)
            else:
                low_wall = (half, 0.12, 0.3)
                b.add(prim.BOX, (x, y, low + 0.25), low_wall, prim.PLAIN, prim.WALL, stone, yaw=yaw, param=(0.15, 3.0))
                size = (half, 0.03, up)
                cut = (bars, share, 0.06)
                b.add(prim.BARS_BOX, at, size, prim.PLAIN, prim.FENCE, paint, yaw=yaw, cut=cut)
        s += length + (p.u(1.0, 6.0) if p.chance(0.3) else 0.05)


def rail_piece(b: TableBuilder, at: tuple[float, float, float], yaw: float, height: float, steel: Colour) -> None:
    """Four metres of a steel guard rail about a ground point."""
    x, y, z = at
    b.add(prim.BOX, (x, y, z + height - 0.15), (2.03, 0.04, 0.15), prim.STRIPES, prim.FENCE, steel, (0.1,) * 3, yaw,
          (0.16, 0, 1))  # fmt: skip
    b.add(prim.BOX, (x, y, z + height / 2 - 0.1), (0.05, 0.05, height / 2), prim.PLAIN, prim.FENCE, steel, yaw=yaw)


def guard_rail(b: TableBuilder, p: Palette, road: Road, lat: float, side: int) -> None:
    """A steel rail on posts, or a concrete barrier, beside the road."""
    steel = p.grey(0.2, 0.45, 0.03)
    height, concrete = p.u(0.6, 0.8), road.kind == 'highway' and p.chance(0.3)
    tall = p.u(0.4, 0.6)
    s = -65.0
    while s < 120.0:
        if free(road, s + 2.0, 5.0, side):
            x, y, z = road.at(s + 2.0, lat)
            yaw = road.heading(s + 2.0)
            if concrete:
                size = (2.02, 0.3, tall + 0.1)
                b.add(prim.TAPER, (x, y, z + tall - 0.1), size, prim.PLAIN, prim.WALL, (0.32,) * 3, yaw=yaw,
                      cut=(0.0, 0.6), param=(0.15, 3.0))  # fmt: skip
            else:
                rail_piece(b, (x, y, z), yaw, height, steel)
        s += 4.0
