# SPDX-License-Identifier: Apache-2.0
"""People on foot, on bicycles and on motorcycles, and parked two-wheelers. Frame: x forward, z up, on the ground."""

from __future__ import annotations

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder

_BLACK: Colour = (0.03, 0.03, 0.03)


def _skin(p: Palette) -> Colour:
    tone = p.u(0.12, 0.5)
    return (tone, tone * p.u(0.6, 0.75), tone * p.u(0.4, 0.58))


def _limb(
    b: TableBuilder,
    semantic: int,
    foot: tuple[float, float, float],
    top: tuple[float, float, float],
    r: float,
    c: Colour,
) -> None:
    """A rounded bar from one point to another."""
    half = tuple((t - f) / 2 for t, f in zip(top, foot, strict=True))
    middle = tuple((t + f) / 2 for t, f in zip(top, foot, strict=True))
    axes: tuple[float, ...] = (r, 0, half[0] * 1.06, 0, r, half[1] * 1.06, 0, 0, half[2] * 1.06)
    if abs(half[2]) < max(abs(half[0]), abs(half[1])):
        axes = (half[0] * 1.06, 0, 0, half[1] * 1.06, r, 0, half[2] * 1.06, 0, r)
    b.add_axes(prim.SUPER, middle, axes, prim.PLAIN, semantic, c, param=(0.12, 0.6))


def person(b: TableBuilder, p: Palette, walking: bool = True) -> None:
    """Somebody on foot, grown or small, with a bag, a skirt, an umbrella, a pram or nothing."""
    h = p.u(1.0, 1.4) if p.chance(0.1) else p.u(1.52, 1.92)
    coat, legs, skin = p.colour(0.03, 0.6), p.colour(0.02, 0.2), _skin(p)
    stride = p.u(0.1, 0.3) * h * 0.5 if walking else p.u(0.0, 0.05)
    hip, shoulder, wide = 0.49 * h, 0.8 * h, h * p.u(0.1, 0.135)
    for side in (-1.0, 1.0):
        knee = (side * stride * 0.45 + 0.03, side * 0.09, hip * 0.52)
        foot = (side * stride * 1.1, side * 0.09, 0.05)
        _limb(b, prim.PERSON, knee, (0.0, side * 0.08, hip + 0.03), 0.085, legs)
        _limb(b, prim.PERSON, foot, knee, 0.062, legs)
        b.add(prim.ELLIPSOID, (foot[0] + 0.05, foot[1], 0.045), (0.13, 0.05, 0.05), prim.PLAIN, prim.PERSON, _BLACK)
        hand = (-side * stride * 0.8 + 0.05, side * (wide + 0.09), hip * 0.95)
        _limb(b, prim.PERSON, hand, (0.0, side * (wide + 0.03), shoulder), 0.05, coat)
    body = (0.125, wide + 0.04, (shoulder - hip) / 2 + 0.05)
    b.add(prim.SUPER, (0, 0, (hip + shoulder) / 2), body, prim.PLAIN, prim.PERSON, coat, shear=0.03, param=(0.15, 0.7))
    b.add(prim.ELLIPSOID, (0.04, 0, 0.92 * h), (0.1, 0.08, 0.075 * h), prim.PLAIN, prim.PERSON, skin)
    b.add(prim.ELLIPSOID, (0.01, 0, 0.95 * h), (0.11, 0.09, 0.065 * h), prim.PLAIN, prim.PERSON, p.grey(0.01, 0.2, 0.3))
    k = p.u(0, 1)
    if k < 0.15:
        size = (0.2, wide + 0.06, h * 0.15)
        b.add(prim.TAPER, (0, 0, hip - 0.05), size, prim.PLAIN, prim.PERSON, coat, cut=(0.4, 0.3))
    elif k < 0.3:
        b.add(prim.SUPER, (-0.2, 0, 0.7 * h), (0.1, 0.16, 0.22), prim.PLAIN, prim.PERSON, p.colour())
    elif k < 0.4:
        size = (0.1, 0.16, 0.16)
        b.add(prim.SUPER, (0.0, wide + 0.18, hip * 0.7), size, prim.PLAIN, prim.PERSON, p.colour())
    elif k < 0.46:
        b.add(prim.ELLIPSOID, (0.05, 0, h + 0.22), (0.5, 0.5, 0.16), prim.STRIPES, prim.PERSON, p.colour(),
              p.colour(), param=(0.3,))  # fmt: skip
        _limb(b, prim.PERSON, (0.08, 0.1, 0.75 * h), (0.05, 0.0, h + 0.2), 0.015, _BLACK)
    elif k < 0.52 and walking:
        b.add(prim.SUPER, (0.75, 0, 0.65), (0.36, 0.22, 0.22), prim.PLAIN, prim.PERSON, p.colour(), shear=-0.1)
        for x in (0.5, 1.0):
            axes = (0.12, 0, 0, 0, 0, 0.2, 0, 0.12, 0)
            b.add_axes(prim.CYLINDER, (x, 0, 0.12), axes, prim.PLAIN, prim.PERSON, _BLACK)


def _rims(b: TableBuilder, semantic: int, reach: float, radius: float, thick: float) -> None:
    for x in (-reach, reach):
        axes = (radius, 0, 0, 0, 0, thick, 0, radius, 0)
        b.add_axes(prim.CYLINDER, (x, 0, radius), axes, prim.WHEEL, semantic, (0.16,) * 3, _BLACK, (radius, 9.0))


def bicycle(b: TableBuilder, p: Palette) -> None:
    """A bicycle."""
    paint = p.paint()
    _rims(b, prim.BICYCLE, 0.52, 0.335, 0.02)
    for one, two in (
        ((-0.52, 0, 0.34), (-0.15, 0, 0.3)),
        ((-0.15, 0, 0.3), (-0.28, 0, 0.9)),
        ((-0.15, 0, 0.3), (0.36, 0, 0.78)),
        ((-0.24, 0, 0.78), (0.36, 0, 0.84)),
        ((0.52, 0, 0.34), (0.36, 0, 1.0)),
    ):
        _limb(b, prim.BICYCLE, one, two, 0.025, paint)
    b.add(prim.ELLIPSOID, (-0.29, 0, 0.93), (0.14, 0.07, 0.04), prim.PLAIN, prim.BICYCLE, _BLACK)
    b.add(prim.BOX, (0.38, 0, 1.02), (0.025, 0.29, 0.02), prim.PLAIN, prim.BICYCLE, _BLACK)
    if p.chance(0.25):
        b.add(prim.BOX, (0.62, 0, 0.85), (0.16, 0.2, 0.13), prim.STRIPES, prim.BICYCLE, (0.25, 0.2, 0.12))


def motorcycle(b: TableBuilder, p: Palette) -> None:
    """A motorcycle or a scooter."""
    paint = p.paint()
    scooter = p.chance(0.4)
    radius = 0.24 if scooter else 0.31
    _rims(b, prim.MOTORCYCLE, 0.64, radius, 0.07)
    tank, seat = (0.3, 0.17, 0.18), (0.42, 0.16, 0.09)
    b.add(prim.SUPER, (0.15, 0, 0.72), tank, prim.PAINT, prim.MOTORCYCLE, paint, _BLACK)
    b.add(prim.SUPER, (-0.4, 0, 0.76), seat, prim.PLAIN, prim.MOTORCYCLE, _BLACK)
    b.add(prim.SUPER, (-0.1, 0, 0.42), (0.36, 0.16, 0.19), prim.PLAIN, prim.MOTORCYCLE, (0.09, 0.09, 0.1),
          param=(0.4, 0.7))  # fmt: skip
    if scooter:
        b.add(prim.SUPER, (-0.45, 0, 0.55), (0.36, 0.2, 0.2), prim.PAINT, prim.MOTORCYCLE, paint, _BLACK)
        b.add(prim.SUPER, (0.46, 0, 0.62), (0.07, 0.24, 0.3), prim.PAINT, prim.MOTORCYCLE, paint, _BLACK, shear=-0.1)
    _limb(b, prim.MOTORCYCLE, (0.64, 0, 0.3), (0.46, 0, 0.98), 0.05, (0.2, 0.2, 0.2))
    b.add(prim.BOX, (0.42, 0, 1.02), (0.025, 0.36, 0.02), prim.PLAIN, prim.MOTORCYCLE, _BLACK)
    glow = 10.0 * p.night
    b.add(prim.ELLIPSOID, (0.6, 0, 0.84), (0.08, 0.1, 0.1), prim.LAMP, prim.MOTORCYCLE, (0.7,) * 3, param=(glow,))
    if p.chance(0.3):
        b.add(prim.SUPER, (-0.75, 0, 0.98), (0.2, 0.2, 0.18), prim.PLAIN, prim.MOTORCYCLE, _BLACK)


def rider(b: TableBuilder, p: Palette, motor: bool) -> None:
    """Somebody on a bicycle or a motorcycle, the vehicle included."""
    (motorcycle if motor else bicycle)(b, p)
    h, coat, legs = p.u(1.55, 1.9), p.colour(0.03, 0.6), p.colour(0.02, 0.2)
    seat = 0.82 if motor else 0.97
    x = -0.2 if motor else -0.27
    chest = (x + (0.18 if motor else 0.26), 0.0, seat + h * 0.29)
    for side in (-1.0, 1.0):
        knee = (x + 0.42, side * 0.14, seat - (0.12 if motor else 0.16 + side * 0.12))
        foot = (x + 0.2, side * 0.13, 0.32 if motor else 0.34 - side * 0.14)
        _limb(b, prim.RIDER, (x, side * 0.1, seat), knee, 0.09, legs)
        _limb(b, prim.RIDER, foot, knee, 0.065, legs)
        hand = (0.36, side * 0.26, 1.06)
        _limb(b, prim.RIDER, hand, (chest[0], side * 0.19, chest[2] - 0.02), 0.05, coat)
    body = (0.13, h * 0.12, h * 0.17)
    at = ((x + chest[0]) / 2, 0, (seat + chest[2]) / 2 + 0.03)
    b.add(prim.SUPER, at, body, prim.PLAIN, prim.RIDER, coat, shear=(chest[0] - x) / 2, param=(0.15, 0.7))
    head = (chest[0] + 0.07, 0, chest[2] + 0.21)
    b.add(prim.ELLIPSOID, head, (0.1, 0.085, 0.13), prim.PLAIN, prim.RIDER, _skin(p))
    helmet = (0.14, 0.125, 0.12) if motor else (0.125, 0.1, 0.085)
    at = (head[0] - 0.015, 0, head[2] + 0.05)
    b.add(prim.ELLIPSOID, at, helmet, prim.PAINT if motor else prim.PLAIN, prim.RIDER, p.colour(), _BLACK)
