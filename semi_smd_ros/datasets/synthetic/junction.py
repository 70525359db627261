# SPDX-License-Identifier: Apache-2.0
"""What makes a junction of two crossing roads: rounded kerbs, pavements of the side street, islands, medians."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from . import primitives as prim
from .borders import rail_piece
from .palette import Palette
from .plants import bush, tree
from .primitives import Colour, TableBuilder
from .road import Road
from .scene import Bodies

_DEEP = 0.6  # how far slabs reach into the ground, metres


def slab(
    b: TableBuilder,
    road: Road,
    span: tuple[float, float],
    lats: tuple[float, float],
    rise: float,
    look: tuple[int, int, Colour, Colour, float],
) -> None:
    """A raised piece of ground between two s and two lat, cut at the ground's folds so that it follows them."""
    material, semantic, colour, colour2, param = look
    j = road.junction
    breaks = road.lat_n if j is None or not j.s0 <= (span[0] + span[1]) / 2 <= j.s1 else j.lat_n
    for s0, s1 in _pieces(span, road.knots):
        for l0, l1 in _pieces(lats, breaks):
            middle, across = (s0 + s1) / 2, (l0 + l1) / 2
            # A little inside, where the cross-section is this piece's own.
            near, far, right, left = (
                np.array(road.at(*at))
                for at in (
                    (s0 + 0.01 * (s1 - s0), across),
                    (s1 - 0.01 * (s1 - s0), across),
                    (middle, l0 + 0.01 * (l1 - l0)),
                    (middle, l1 - 0.01 * (l1 - l0)),
                )
            )
            x, y, z = (float(v) for v in (near + far) / 2)
            along, aside = (far - near) / 1.96, (left - right) / 1.96
            axes = (
                *(float(along[0]), 0, 0),
                *(float(along[1]), float(aside[1]), 0),
                *(float(along[2]), float(aside[2]), (rise + _DEEP) / 2),
            )
            at = (x, y, z + (rise - _DEEP) / 2)
            b.add_axes(prim.BOX, at, axes, material, semantic, colour, colour2, (param,))


def _pieces(span: tuple[float, float], breaks: np.ndarray) -> list[tuple[float, float]]:
    """A range cut at the breaks inside it."""
    inner = [float(k) for k in breaks if span[0] + 0.05 < k < span[1] - 0.05]
    return list(pairwise([span[0], *inner, span[1]]))


def _disc(
    b: TableBuilder,
    road: Road,
    at: tuple[float, float],
    radius: float,
    rise: float,
    look: tuple[int, int, Colour, Colour, float],
    inward: float = 0.0,
) -> None:
    """A round piece of raised ground; at the edge of the side street it lies as the ground `inward` in s does."""
    material, semantic, colour, colour2, param = look
    x, y, _ = road.at(*at)
    s = at[0] + 0.6 * inward
    ds = (road.height(s + 0.5, at[1]) - road.height(s - 0.5, at[1])) / 1.0
    dl = (road.height(s, at[1] + 1.0) - road.height(s, at[1] - 1.0)) / 2
    z = road.height(s, at[1]) - ds * (s - at[0])
    slope = math.tan(road.heading(at[0]))
    axes = (radius, 0, 0, 0, radius, 0, (ds - dl * slope) * radius, dl * radius, (rise + _DEEP) / 2)
    b.add_axes(prim.CYLINDER, (x, y, z + (rise - _DEEP) / 2), axes, material, semantic, colour, colour2, (param,))


def corners(b: TableBuilder, road: Road) -> None:
    """Pavements along the side street, round at its mouth."""
    j = road.junction
    if j is None:
        return
    corner = (j.s1 - j.s0 - j.carriageway) / 2
    for arm in j.arms:
        edge = road.right_edge if arm < 0 else road.left_edge
        beside = [s for s in road.strips if s.semantic != prim.ROAD_ID and (s.l0 + s.l1) * arm > 0]
        strip = min(beside, key=lambda s: abs(abs((s.l0 + s.l1) / 2) - abs(edge) - 2.5))
        walk = strip.semantic == prim.SIDEWALK
        look = (strip.material, strip.semantic, strip.colour, strip.colour2, strip.param)
        # A pavement is as high as the kerb beside it, a hair less where both lie one in the other.
        kerb = road.height(j.s0 - 0.5, edge + arm * 0.2) - road.height(j.s0 + 0.5, edge + arm * 0.2)
        rise = max(0.05, kerb - 0.005) if walk else 0.05
        far, near = edge + arm * 62.0, edge + arm * corner
        for s, inward in ((j.s0, 1.0), (j.s1, -1.0)):
            span = (min(s, s + inward * corner), max(s, s + inward * corner))
            slab(b, road, span, (min(near, far), max(near, far)), rise, look)
            _disc(b, road, (s, near), corner, rise - 0.01, look, inward)


def islands(b: TableBuilder, bodies: Bodies, p: Palette, road: Road) -> None:
    """The middle of a roundabout, the strip between the directions, refuges at crossings."""
    stone = (p.u(0.15, 0.4),) * 3
    kerb: tuple[int, int, Colour, Colour, float] = (prim.PLAIN, prim.SIDEWALK, stone, stone, 0.1)
    green = p.leaf()
    lawn: Colour = (green[0] * 1.6, green[1] * 1.6, green[2] * 1.6)
    grass: tuple[int, int, Colour, Colour, float] = (prim.GRASS, prim.TERRAIN, lawn, green, 0.1)
    j = road.junction
    if j is not None and j.island > 0.0:
        at = (j.middle, 0.0)
        _disc(b, road, at, j.island, 0.12, kerb)
        _disc(b, road, at, j.island - 0.3, 0.2, grass)
        x, y, z = road.at(*at)
        if p.chance(0.5):
            tree(b, p, x, y, z + 0.1, 0.7)
        mound = (j.island * 0.7, j.island * 0.7, p.u(0.2, 0.9))
        b.add(prim.ELLIPSOID, (x, y, z + 0.15), mound, prim.GRASS, prim.TERRAIN, lawn, green)
        for k in range(5):
            turn = 1.26 * k
            r = j.island * 0.6
            bush(b, p, x + r * math.cos(turn), y + r * math.sin(turn), z + 0.3, 0.8)
    if road.median > 0.5:
        _median(b, bodies, p, road, kerb, grass)
    elif len(road.lanes()) > 1 and road.lanes_left and p.chance(0.12):
        s = p.u(12.0, 40.0)
        slab(b, road, (s, s + 3.5), (-0.5, 0.5), 0.14, kerb)


def _median(
    b: TableBuilder,
    bodies: Bodies,
    p: Palette,
    road: Road,
    kerb: tuple[int, int, Colour, Colour, float],
    grass: tuple[int, int, Colour, Colour, float],
) -> None:
    half = road.median - 0.4
    j = road.junction
    spans = [(-140.0, 180.0)] if j is None else [(-140.0, j.s0 - 4.0), (j.s1 + 4.0, 180.0)]
    planted = road.kind != 'highway' and half > 0.4
    look = grass if planted or p.chance(0.3) else kerb
    rail = road.kind == 'highway' or p.chance(0.25)
    concrete = p.chance(0.35)
    hedge, trees, tint = p.chance(0.3), p.chance(0.5), p.leaf()
    for s0, s1 in spans:
        if s1 - s0 < 10:
            continue
        slab(b, road, (s0, s1), (-half, half), 0.13, look)
        s = s0 + 2.0
        while s < s1 - 4:
            x, y, z = road.at(s + 2.0, 0.0)
            yaw = road.heading(s + 2.0)
            if rail and concrete:
                b.add(prim.TAPER, (x, y, z + 0.45), (2.02, 0.3, 0.45), prim.PLAIN, prim.WALL, (0.35,) * 3, yaw=yaw,
                      cut=(0.0, 0.6), param=(0.15, 3.0))  # fmt: skip
            elif rail:
                rail_piece(b, (x, y, z), yaw, 0.7, (0.3, 0.3, 0.31))
            elif planted and hedge:
                at, size = (x, y, z + 0.5), (2.0, half * 0.7, 0.5)
                b.add(prim.LEAF_BOX, at, size, prim.FOLIAGE, prim.VEGETATION, tint, yaw=yaw, cut=(-2.2, 2.0, 2.5))
            elif planted and trees and p.chance(0.4) and bodies.claim(s, 0.0, 0.4):
                tree(b, p, *road.at(s, 0.0), p.u(0.5, 0.9), 2.6)
            s += 4.0
