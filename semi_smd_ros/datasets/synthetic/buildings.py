# SPDX-License-Identifier: Apache-2.0
"""Buildings along a road: houses, blocks, halls, with wings, arcades, balconies, porches, dormers, garages."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder
from .road import Road


@dataclass(frozen=True)
class _Block:
    """A building's frame: along the road, out towards it from the middle, up from the ground; and its looks."""

    b: TableBuilder
    origin: tuple[float, float, float]
    yaw: float
    side: int
    length: float
    depth: float
    height: float
    storey: float
    wall: Colour
    trim: Colour
    glass: Colour
    skin: int  # material of the walls
    skin_colour: Colour
    param: tuple[float, ...]

    def at(self, along: float, out: float, up: float) -> tuple[float, float, float]:
        """World point of one in the building's frame."""
        c, sn, ly = math.cos(self.yaw), math.sin(self.yaw), -self.side * out
        return self.origin[0] + c * along - sn * ly, self.origin[1] + sn * along + c * ly, self.origin[2] + up

    def box(
        self,
        place: tuple[float, float, float],
        half: tuple[float, float, float],
        material: int,
        colour: Colour,
        colour2: Colour = (0.05, 0.05, 0.05),
        param: tuple[float, ...] = (0.1, 3.0),
        shape: int = prim.BOX,
        cut: tuple[float, ...] = (),
    ) -> None:
        """Add a piece of the building, its half sizes along, out and up."""
        self.b.add(shape, self.at(*place), half, material, prim.BUILDING, colour, colour2, self.yaw, param, cut)

    def walls(self, place: tuple[float, float, float], half: tuple[float, float, float]) -> None:
        """Add a piece with the building's walls and windows."""
        self.box(place, half, self.skin, self.wall, self.skin_colour, self.param)


def building(
    b: TableBuilder,
    p: Palette,
    road: Road,
    place: tuple[float, float],
    side: int,
    size: tuple[float, float],
    turn: float,
    near: bool,
) -> None:
    """A building whose front stands at lat beside the road, `length` metres along it from s on.

    Args:
        place: s and lat.
        side: -1 right, 1 left of the road.
        size: length and height, metres.
        turn: yaw against the road, radians.
        near: whether small parts are worth their cost.
    """
    (s, lat), (length, height) = place, size
    hall = road.kind == 'industrial' or (road.kind == 'lot' and p.chance(0.4))
    depth = p.u(15.0, 40.0) if hall else p.u(7.0, 20.0)
    middle = s + length / 2
    yaw = road.heading(middle) + turn
    x, y, _ = road.at(middle, lat + side * depth / 2)
    ground = [road.height(middle + d * length, lat) for d in (-0.5, 0.0, 0.5)]
    foot = min(ground) - 0.4
    height += max(ground) - foot
    storey = p.u(3.5, 5.0) if hall else p.u(2.7, 3.8)
    wall, glass = p.wall(), p.grey(0.01, 0.09, 0.2)
    trim = p.grey(0.1, 0.7)
    shares = (p.u(0.25, 0.85), p.u(0.35, 0.7))
    bay = p.u(1.3, 4.5)
    if hall:
        bay, shares = p.u(4.0, 9.0), (p.u(0.2, 0.9), p.u(0.15, 0.35))
    facade = (bay, storey, *shares, float(p.chance(0.5)), p.u(0, 1))
    brick = p.chance(0.2) and height < 14 and near
    corrugated = hall and p.chance(0.5)
    skin, skin_colour = prim.FACADE, glass
    param: tuple[float, ...] = facade
    if brick:
        skin, skin_colour, param = prim.BRICK, trim, (p.u(0.07, 0.3),)
    elif corrugated:
        skin, skin_colour, param = prim.STRIPES, (wall[0] * 0.85, wall[1] * 0.85, wall[2] * 0.85), (p.u(0.25, 0.6),)
    block = _Block(
        b, (x, y, foot), yaw, side, length, depth, height, storey, wall, trim, glass, skin, skin_colour, param
    )
    if height > 7 and not hall and p.chance(0.25):
        _arcade(block, p)
    else:
        block.walls((0, 0, height / 2), (length / 2, depth / 2, height / 2))
        if brick:
            _windows(block, p)
        if p.chance(0.4):
            # A wing or bay stands out.
            a, w, up = p.u(-0.3, 0.3) * length, length * p.u(0.12, 0.3), height * p.u(0.6, 1.1)
            out = min(p.u(0.4, 2.2), abs(lat) * 0.1)
            block.walls((a, depth / 2, up / 2), (w, out, up / 2))
    if near:
        _front(block, p, hall)
    _roof(block, p, hall, near)


def _arcade(block: _Block, p: Palette) -> None:
    """Upper storeys over an open ground floor with pillars."""
    length, depth, height = block.length, block.depth, block.height
    clear, recess = p.u(3.2, 5.0), p.u(1.5, 5.0)
    block.walls((0, 0, (clear + height) / 2), (length / 2, depth / 2, (height - clear) / 2))
    shop = (p.u(2.0, 4.0), clear, 0.8, 0.7, 1.0, 0.6)
    half = (length / 2 - 0.4, depth / 2, clear / 2)
    block.box((0, -recess, clear / 2), half, prim.FACADE, block.trim, block.glass, shop)
    count, r = max(2, min(9, int(length / p.u(3.5, 8.0)))), p.u(0.2, 0.45)
    shape = prim.CYLINDER if p.chance(0.5) else prim.BOX
    for i in range(count):
        a = -length / 2 + 0.6 + (length - 1.2) * i / (count - 1)
        block.box((a, depth / 2 - 0.6, clear / 2), (r, r, clear / 2), prim.PLAIN, block.wall, shape=shape)


def _front(block: _Block, p: Palette, hall: bool) -> None:
    """What stands out of or lies in the front: pillars, balconies, porch, garage, awning, board, stairs."""
    length, height, storey, out = block.length, block.height, block.storey, block.depth / 2
    floors = max(1, int(height / storey))
    if p.chance(0.3):
        bays = max(2, min(8, int(length / p.u(3.0, 7.0))))
        wide, deep = p.u(0.12, 0.35), p.u(0.08, 0.3)
        for i in range(bays + 1):
            a = -length / 2 + wide + (length - 2 * wide) * i / bays
            block.box((a, out, height / 2), (wide, deep, height / 2 - 0.01), prim.PLAIN, block.trim, param=(0.12, 2.0))
    if p.chance(0.3):
        for i in range(1, min(6, floors + 1)):
            up = i * storey
            if up < height - 0.2:
                block.box((0, out, up), (length / 2 + 0.02, p.u(0.06, 0.2), 0.12), prim.PLAIN, block.trim)
    if height > 5 and not hall and p.chance(0.4):
        w = min(2.6, length * p.u(0.1, 0.2))
        spots = [a for a in (-0.3, 0.0, 0.3) if p.chance(0.6)]
        solid, deep = p.chance(0.4), p.u(0.5, 0.9)
        for i in range(1, min(6, floors)):
            for a in spots:
                up = i * storey
                block.box((a * length, out + deep, up), (w, deep, 0.1), prim.PLAIN, block.trim)
                at, half = (a * length, out + 2 * deep - 0.03, up + 0.55), (w, 0.03, 0.5)
                if solid:
                    block.box(at, half, prim.PLAIN, block.trim)
                else:
                    block.box(at, half, prim.PLAIN, (0.06,) * 3, shape=prim.BARS_BOX, cut=(0.16, 0.25, 0.06))
                door = (w * 0.7, 0.03, 1.05)
                block.box(
                    (a * length, out + 0.02, up + 1.2), door, prim.GLASS, block.trim, block.glass, (w * 0.7, 0.06)
                )
    if height < 9.5 or hall:
        _doors(block, p, hall)
    if p.chance(0.4):
        w, a = length * p.u(0.15, 0.45), p.u(-0.25, 0.25) * length
        if p.chance(0.5):
            block.box((a, out + 0.7, 2.9), (w, 0.75, 0.06), prim.STRIPES, p.colour(), (0.7, 0.7, 0.7), (0.5,))
        else:
            block.box((a, out + 0.1, 3.4), (w, 0.12, 0.4), prim.SIGN, p.colour(), (0.75, 0.75, 0.7), (0.4, 0.5, 0.04))
        if block.b.rows and p.night > 0.3:
            power = p.u(4.0, 14.0) * p.night
            block.b.lamp(block.at(a, out + 1.0, 2.6), (power, power * 0.85, power * 0.6), 12.0)
    for _ in range(int(p.u(0, 4))):
        at = (p.u(-0.45, 0.45) * length, out + 0.2, p.u(2.5, max(2.6, height - 1.0)))
        block.box(at, (0.4, 0.2, 0.3), prim.STRIPES, (0.55,) * 3, (0.4,) * 3, (0.12, 0, 1))


def _doors(block: _Block, p: Palette, hall: bool) -> None:
    """Gates of a hall; or a porch, steps and a garage of a house."""
    length, out = block.length, block.depth / 2
    if hall:
        tint, wide = p.colour(0.05, 0.5), p.u(1.6, 2.4)
        for i in range(int(p.u(1, 5))):
            a = -length / 2 + 3.0 + i * (2 * wide + 1.2)
            if a + wide < length / 2:
                param = (0.5, 0.0, 1.0)
                ink = (tint[0] * 0.8, tint[1] * 0.8, tint[2] * 0.8)
                block.box((a, out + 0.01, 2.2), (wide, 0.05, 2.0), prim.STRIPES, tint, ink, param)
                block.box((a, out + 0.5, 0.7), (wide, 0.5, 0.6), prim.PLAIN, block.trim)
        return
    a = p.u(-0.35, 0.35) * length
    block.box((a, out + 0.02, 1.4), (0.55, 0.06, 1.1), prim.PLANKS, p.colour(0.02, 0.3), param=(0.2, 0.15))
    for i in range(3):
        block.box((a, out + 0.3 + 0.3 * (2 - i), 0.12 + 0.16 * i), (0.9, 0.3, 0.09), prim.PLAIN, block.trim)
    if p.chance(0.5):
        block.box((a, out + 0.8, 2.75), (1.3, 0.9, 0.09), prim.PLAIN, block.trim)
        for end in (-1.1, 1.1):
            block.box((a + end, out + 1.5, 1.4), (0.07, 0.07, 1.35), prim.PLAIN, block.trim)
    if p.chance(0.5):
        # A garage at one end, lower and standing out a little.
        end = (length / 2 + 1.9) * (1 if p.chance(0.5) else -1)
        block.box((end, out - 3.0, 1.5), (1.9, 3.2, 1.5), prim.PLAIN, block.wall)
        block.box((end, out + 0.22, 1.35), (1.4, 0.03, 1.1), prim.STRIPES, (0.6,) * 3, (0.45,) * 3, (0.5, 0.0, 1.0))
        block.box((end, out - 3.0, 3.05), (2.1, 3.5, 0.1), prim.PLAIN, block.trim)


def _roof(block: _Block, p: Palette, hall: bool, near: bool) -> None:
    length, depth, height = block.length, block.depth, block.height
    roof = p.grey(0.04, 0.3, 0.15)
    if (height < 9.5 and p.chance(0.78) and not hall) or (hall and p.chance(0.4)):
        up = p.u(1.0, 3.2) if not hall else p.u(1.0, 2.2)
        tile = (p.u(0.12, 0.35), p.u(0.05, 0.12), p.u(0.03, 0.08)) if p.chance(0.5) else roof
        dark = (tile[0] * 0.7, tile[1] * 0.7, tile[2] * 0.7)
        hip = p.u(0.0, 0.35) if p.chance(0.6) else 0.0
        over = (length / 2 + 0.4, depth / 2 + 0.5, up / 2)
        block.box((0, 0, height + up / 2 - 0.05), over, prim.TILES, tile, dark, (0.35,), prim.TAPER, (hip, 0.98))
        if not near or hall:
            return
        for _ in range(int(p.u(0, 2.6))):
            at = (p.u(-0.3, 0.3) * length, p.u(-0.15, 0.15) * depth, height + up * 0.8)
            block.box(at, (0.3, 0.3, up * 0.55), prim.BRICK, (0.3, 0.15, 0.1), (0.4,) * 3, (0.08,))
        if p.chance(0.35):
            for a in (-0.25, 0.25):
                block.box((a * length, depth * 0.27, height + up * 0.3), (0.7, depth * 0.16, up * 0.28), prim.GLASS,
                          block.trim, block.glass, (0.7, 0.1))  # fmt: skip
        return
    rim, lip = p.u(0.0, 0.4), p.u(0.15, 0.45)
    half = (length / 2 + rim, depth / 2 + rim, lip)
    block.box((0, 0, height + lip - 0.05), half, prim.PLAIN, block.trim if p.chance(0.5) else roof)
    for _ in range(int(p.u(0, 3.5))):
        big = (p.u(0.8, 3.0), p.u(0.8, 3.0), p.u(0.5, 1.4))
        at = (p.u(-0.35, 0.35) * length, p.u(-0.3, 0.3) * depth, height + 2 * lip + big[2] - 0.1)
        block.box(at, big, prim.PLAIN, roof)
    if height > 15 and p.chance(0.3):
        block.box((0, 0, height + 3.0), (0.05, 0.05, 3.0), prim.PLAIN, (0.2,) * 3)


def _windows(block: _Block, p: Palette) -> None:
    """Windows with sills on a brick front (bricks leave no room for printed ones)."""
    bay, frame = p.u(1.8, 4.0), p.grey(0.3, 0.75)
    rows = min(4, max(1, int(block.height / block.storey)))
    columns = min(7, max(1, int(block.length / bay)))
    for i in range(rows):
        for j in range(columns):
            a, up = (j + 0.5) / columns * block.length - block.length / 2, (i + 0.55) * block.storey
            half = (bay * 0.27, 0.04, block.storey * 0.24)
            block.box((a, block.depth / 2, up), half, prim.GLASS, frame, block.glass, (bay * 0.27, 0.07))
            if i < 2:
                sill = (bay * 0.3, 0.12, 0.05)
                block.box((a, block.depth / 2, up - half[2] - 0.05), sill, prim.PLAIN, block.trim)
