# SPDX-License-Identifier: Apache-2.0
"""Lamps, signs, signals and bare poles."""

from __future__ import annotations

from . import primitives as prim
from .overhead import signal
from .palette import Palette
from .primitives import Colour, TableBuilder
from .road import Road
from .scene import Bodies, free

_LIGHTS: tuple[Colour, ...] = ((1.0, 0.62, 0.25), (1.0, 0.8, 0.52), (0.85, 0.95, 1.0))


def pole_row(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, side: int, edge: float, margin: float) -> None:
    """Lamps at even distances, signs and signals between them."""
    out = edge + side * (p.u(0.35, 0.9) if road.kind != 'highway' else p.u(1.2, 2.5))
    if p.chance({'urban': 0.85, 'suburb': 0.6, 'park': 0.25, 'narrow': 0.7}.get(road.kind, 0.6)):
        spacing, style = p.u(18.0, 34.0), p.u(0, 1)
        height, tint = p.u(5.0, 10.5) if style < 0.75 else p.u(3.2, 4.5), p.grey(0.03, 0.4)
        hue = _LIGHTS[int(p.u(0, 3))]
        s = -60.0 + p.u(0, spacing)
        while s < 125:
            if free(road, s, 1.0, side) and bodies.claim(s, out, 0.25):
                _lamp(b, p, road.at(s, out), -side, (height, style), (tint, hue))
            s += spacing
    s, spacing = -45.0 + p.u(0, 12), p.u(9.0, 30.0)
    while s < 110:
        lat = out + side * p.u(-0.1, 0.6)
        if free(road, s, 0.5, side) and bodies.claim(s, lat, 0.6):
            if p.chance(0.75 if road.kind != 'highway' else 0.5):
                sign(b, p, road.at(s, lat), road.heading(s), side)
            else:
                _bare(b, p, road.at(s, lat))
        s += spacing * p.u(0.5, 1.5)
    j = road.junction
    if j is not None and j.island <= 0.0 and p.chance(0.75):
        for s, facing in ((j.s1 + 1.0, -1.0), (j.s0 - 1.5, -1.0 if side < 0 else 1.0)):
            if bodies.claim(s, out, 0.3):
                _signals(b, p, road.at(s, out), -side, facing)


def _post(b: TableBuilder, at: tuple[float, float, float], height: float, r: float, tint: Colour) -> None:
    x, y, z = at
    b.add(prim.CYLINDER, (x, y, z + height / 2 - 0.2), (r, r, height / 2 + 0.2), prim.PLAIN, prim.POLE, tint,
          param=(0.15, 0.9))  # fmt: skip


def _lamp(
    b: TableBuilder,
    p: Palette,
    at: tuple[float, float, float],
    inward: float,
    shape: tuple[float, float],
    tints: tuple[Colour, Colour],
) -> None:
    """A street lamp: on an arm, on two, or a lantern on a low post."""
    (height, style), (tint, hue) = shape, tints
    x, y, z = at
    r = 0.045 + 0.006 * height
    _post(b, at, height, r, tint)
    b.add(prim.CYLINDER, (x, y, z + 0.35), (r * 1.7, r * 1.7, 0.5), prim.PLAIN, prim.POLE, tint)
    glow = 12.0 * p.night
    power = 95.0 * p.night * (height / 8.0) ** 1.5
    light = (power * hue[0], power * hue[1], power * hue[2])
    if style >= 0.75:
        b.add(prim.ELLIPSOID, (x, y, z + height + 0.18), (0.2, 0.2, 0.24), prim.LAMP, prim.POLE,
              hue if p.night > 0.3 else (0.6, 0.6, 0.6), param=(glow,))  # fmt: skip
        b.lamp((x, y, z + height + 0.2), light, 18.0)
        return
    reach = 0.12 * height + 0.3
    for way in (inward, -inward) if style < 0.12 else (inward,):
        b.add(prim.BOX, (x, y + way * reach / 2, z + height), (0.04, reach / 2, 0.04), prim.PLAIN, prim.POLE, tint,
              shear=0.0)  # fmt: skip
        head = (x, y + way * reach, z + height - 0.03)
        b.add(prim.SUPER, head, (0.14, 0.36, 0.07), prim.PLAIN, prim.POLE, (0.35, 0.35, 0.35))
        if p.night > 0.3:
            b.add(prim.BOX, (head[0], head[1], head[2] - 0.07), (0.1, 0.26, 0.02), prim.LAMP, prim.POLE, hue,
                  param=(glow,))  # fmt: skip
            b.lamp((head[0], head[1], head[2] - 0.15), light, 26.0, (0.0, 0.0, -1.0), 0.6)


def _sign_colours(p: Palette) -> tuple[Colour, Colour]:
    white, black = (0.75, 0.75, 0.75), (0.03, 0.03, 0.03)
    red, blue, green, yellow = (0.5, 0.02, 0.03), (0.02, 0.09, 0.4), (0.02, 0.25, 0.1), (0.75, 0.5, 0.03)
    pairs = ((red, white), (white, red), (white, black), (blue, white), (green, white), (yellow, black))
    return pairs[int(p.u(0, len(pairs)))]


def sign(b: TableBuilder, p: Palette, at: tuple[float, float, float], yaw: float, side: int) -> None:
    """A traffic sign: round, triangular or diamond, or a board; now and then a large one on two posts."""
    x, y, z = at
    steel = p.grey(0.2, 0.5, 0.02)
    face, ink = _sign_colours(p)
    turn = yaw + p.u(-0.3, 0.3) + (3.1416 if p.chance(0.4) else 0.0)
    k = p.u(0, 1)
    if k > 0.84:
        wide, tall, low = p.u(0.9, 2.2), p.u(0.6, 1.5), p.u(0.9, 2.3)
        y += side * (wide + 0.2)
        for across in (-0.7, 0.7):
            _post(b, (x, y + across * wide, z), low + tall, 0.05, steel)
        b.add(prim.BOX, (x - 0.09, y, z + low + tall), (0.03, wide, tall), prim.SIGN, prim.TRAFFIC_SIGN, face, ink,
              yaw, (p.u(0.15, 0.4), 0.55, 0.05))  # fmt: skip
        return
    height, r = p.u(2.2, 3.6), p.u(0.03, 0.06)
    _post(b, at, height, r, steel)
    size = p.u(0.28, 0.45)
    up = z + height - size
    if k < 0.35:
        for thick, part, tint in ((0.02, 1.0, face), (0.026, 0.72, ink)):
            axes: tuple[float, ...] = (0, 0, thick, size * part, 0, 0, 0, size * part, 0)
            b.add_axes(prim.CYLINDER, (x - 0.07, y, up), axes, prim.PLAIN, prim.TRAFFIC_SIGN, tint)
    elif k < 0.5:
        for thick, part, tint in ((0.02, 1.0, (0.5, 0.02, 0.03)), (0.026, 0.66, (0.75, 0.75, 0.75))):
            axes = (thick, 0, 0, 0, size * part, 0, 0, 0, size * part)
            at_ = (x - 0.07, y, up - (0.08 * size if part < 1 else 0.0))
            b.add_axes(prim.TAPER, at_, axes, prim.PLAIN, prim.TRAFFIC_SIGN, tint, cut=(0.0, 0.97))
    elif k < 0.6:
        s = size * 0.75
        b.add_axes(prim.BOX, (x - 0.07, y, up), (0.02, 0, 0, 0, s, -s, 0, s, s), prim.SIGN, prim.TRAFFIC_SIGN,
                   (0.75, 0.5, 0.03), (0.03,) * 3, (0.3, 0.3, 0.04))  # fmt: skip
    else:
        half = (0.02, p.u(0.22, 0.6), p.u(0.2, 0.55))
        b.add(prim.BOX, (x - 0.07, y, z + height - half[2]), half, prim.SIGN, prim.TRAFFIC_SIGN, face, ink, turn,
              (p.u(0.1, 0.22), 0.6, 0.03))  # fmt: skip


def _bare(b: TableBuilder, p: Palette, at: tuple[float, float, float]) -> None:
    """A pole with nothing, a flag or a poster."""
    x, y, z = at
    height = p.u(3.0, 8.0)
    _post(b, at, height, p.u(0.04, 0.12), p.grey(0.05, 0.4))
    if p.chance(0.4):
        half = (0.015, 0.3, p.u(0.5, 1.0))
        b.add(prim.BOX, (x, y + 0.38, z + height * 0.75), half, prim.SIGN, prim.POLE, p.colour(), p.colour(),
              p.u(-0.3, 0.3), (0.4, 0.5, 0.04))  # fmt: skip


def _signals(b: TableBuilder, p: Palette, at: tuple[float, float, float], inward: float, facing: float) -> None:
    """A traffic light on a post, or also on an arm over the lanes."""
    x, y, z = at
    arm = p.chance(0.4)
    height = p.u(5.3, 6.2) if arm else p.u(2.9, 3.6)
    dark = p.grey(0.02, 0.2)
    _post(b, at, height, 0.08, dark)
    signal(b, p, (x + facing * 0.15, y, z + 2.6), facing)
    if arm:
        reach = p.u(2.5, 5.0)
        b.add(prim.BOX, (x, y + inward * reach / 2, z + height), (0.05, reach / 2, 0.05), prim.PLAIN, prim.POLE, dark)
        signal(b, p, (x + facing * 0.15, y + inward * (reach - 0.3), z + height), facing)
