# SPDX-License-Identifier: Apache-2.0
"""Street furniture and people."""

from __future__ import annotations

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder


def pole(b: TableBuilder, p: Palette, x: float, y: float, z: float, inward: float) -> None:
    """A lamp, sign, signal or bare pole; `inward` is +1 if the road lies towards +y."""
    k = p.u(0, 1)
    colour = p.grey(0.03, 0.4)
    if k < 0.35:
        height, r = p.u(4.5, 9.5), p.u(0.05, 0.11)
        b.add(prim.CYLINDER, (x, y, z + height / 2 - 0.2), (r, r, height / 2 + 0.2), prim.PLAIN, prim.POLE, colour)
        reach = p.u(0.4, 1.6)
        b.add(prim.BOX, (x, y + inward * reach / 2, z + height), (0.04, reach / 2, 0.04), prim.PLAIN, prim.POLE, colour)
        b.add(
            prim.BOX,
            (x, y + inward * reach, z + height - 0.03),
            (0.12, 0.32, 0.06),
            prim.PLAIN,
            prim.POLE,
            (0.4, 0.4, 0.4),
        )
        return
    if k < 0.75:
        height, r = p.u(2.2, 3.6), p.u(0.03, 0.06)
        b.add(
            prim.CYLINDER,
            (x, y, z + height / 2 - 0.2),
            (r, r, height / 2 + 0.2),
            prim.PLAIN,
            prim.POLE,
            p.grey(0.2, 0.5, 0.02),
        )
        turn = p.u(-0.3, 0.3)
        face, ink = _sign_colours(p)
        if p.chance(0.5):
            size = p.u(0.28, 0.42)
            axes = (0, 0, 0.02, size, 0, 0, 0, size, 0)
            b.add_axes(prim.CYLINDER, (x - 0.06, y, z + height - size), axes, prim.PLAIN, prim.TRAFFIC_SIGN, face)
            axes = (0, 0, 0.021, size * 0.72, 0, 0, 0, size * 0.72, 0)
            b.add_axes(prim.CYLINDER, (x - 0.065, y, z + height - size), axes, prim.PLAIN, prim.TRAFFIC_SIGN, ink)
        else:
            half = (0.02, p.u(0.25, 0.6), p.u(0.2, 0.5))
            b.add(
                prim.BOX,
                (x - 0.06, y, z + height - half[2]),
                half,
                prim.SIGN,
                prim.TRAFFIC_SIGN,
                face,
                ink,
                yaw=turn,
                param=(p.u(0.1, 0.22), 0.6, 0.03),
            )
        return
    if k < 0.88:
        height = p.u(3.0, 5.5)
        b.add(
            prim.CYLINDER, (x, y, z + height / 2 - 0.2), (0.07, 0.07, height / 2 + 0.2), prim.PLAIN, prim.POLE, colour
        )
        b.add(
            prim.BOX,
            (x - 0.1, y + inward * 0.2, z + height - 0.5),
            (0.14, 0.16, 0.48),
            prim.PLAIN,
            prim.LIGHT,
            (0.02, 0.02, 0.02),
        )
        lit = int(p.u(0, 3))
        for i, c in enumerate(((0.9, 0.05, 0.03), (0.9, 0.5, 0.03), (0.05, 0.8, 0.3))):
            glow = 2.0 if i == lit else 0.0
            dim = c if glow else tuple(0.12 * v for v in c)
            axes = (0, 0, 0.02, 0.09, 0, 0, 0, 0.09, 0)
            b.add_axes(
                prim.CYLINDER,
                (x - 0.25, y + inward * 0.2, z + height - 0.2 - 0.3 * i),
                axes,
                prim.LAMP,
                prim.LIGHT,
                dim,
                param=(glow,),
            )
        return
    height, r = p.u(5.0, 10.0), p.u(0.08, 0.16)
    brown = p.u(0.05, 0.2)
    b.add(
        prim.CYLINDER,
        (x, y, z + height / 2 - 0.2),
        (r, r, height / 2 + 0.2),
        prim.PLAIN,
        prim.POLE,
        (brown, brown * 0.85, brown * 0.7),
    )
    b.add(
        prim.BOX, (x, y, z + height - 0.6), (0.06, 1.0, 0.06), prim.PLAIN, prim.POLE, (brown, brown * 0.85, brown * 0.7)
    )


def _sign_colours(p: Palette) -> tuple[Colour, Colour]:
    white, black = (0.75, 0.75, 0.75), (0.03, 0.03, 0.03)
    red, blue, green, yellow = (0.5, 0.02, 0.03), (0.02, 0.09, 0.4), (0.02, 0.25, 0.1), (0.75, 0.5, 0.03)
    pairs = ((red, white), (white, red), (white, black), (blue, white), (green, white), (yellow, black))
    return pairs[int(p.u(0, len(pairs)))]


def person(b: TableBuilder, p: Palette, cyclist: bool = False) -> None:
    """A walking person, or one on a bicycle."""
    height = p.u(1.5, 1.92)
    semantic = prim.RIDER if cyclist else prim.PERSON
    coat, trousers, skin = p.colour(0.03, 0.6), p.colour(0.02, 0.2), (p.u(0.15, 0.5), p.u(0.12, 0.3), p.u(0.08, 0.2))
    base = 0.35 if cyclist else 0.0
    stride = p.u(0.05, 0.28)
    for side in (-1.0, 1.0):
        leg = height * 0.25
        at = (side * stride * 0.5, side * 0.09, base + leg)
        b.add(
            prim.ELLIPSOID, at, (0.085, 0.085, leg * 1.05), prim.PLAIN, semantic, trousers, shear=-side * stride * 0.5
        )
        arm = (0.0, side * 0.25, base + height * 0.64)
        b.add(
            prim.ELLIPSOID,
            arm,
            (0.055, 0.055, height * 0.17),
            prim.PLAIN,
            semantic,
            coat,
            shear=side * stride * 0.4 + (0.15 if cyclist else 0),
        )
    b.add(
        prim.ELLIPSOID,
        (0, 0, base + height * 0.67),
        (0.14, 0.21, height * 0.19),
        prim.PLAIN,
        semantic,
        coat,
        shear=0.1 if cyclist else 0.0,
        param=(0.15, 0.6),
    )
    b.add(prim.ELLIPSOID, (0.02, 0, base + height * 0.93), (0.1, 0.085, 0.13), prim.PLAIN, semantic, skin)
    b.add(
        prim.ELLIPSOID,
        (-0.01, 0, base + height * 0.96),
        (0.105, 0.092, 0.11),
        prim.PLAIN,
        semantic,
        p.grey(0.01, 0.2, 0.3),
    )
    if cyclist:
        for x in (-0.52, 0.52):
            axes = (0.33, 0, 0, 0, 0, 0.03, 0, 0.33, 0)
            b.add_axes(prim.CYLINDER, (x, 0, 0.33), axes, prim.PLAIN, prim.BICYCLE, (0.04, 0.04, 0.04))
        b.add(prim.BOX, (0, 0, 0.55), (0.45, 0.025, 0.12), prim.PLAIN, prim.BICYCLE, p.colour())


def bicycle(b: TableBuilder, p: Palette) -> None:
    """A parked bicycle, or a motorcycle."""
    motor = p.chance(0.4)
    semantic = prim.MOTORCYCLE if motor else prim.BICYCLE
    paint = p.paint()
    radius, reach = (0.29, 0.62) if motor else (0.33, 0.52)
    for x in (-reach, reach):
        thick = 0.07 if motor else 0.025
        axes = (radius, 0, 0, 0, 0, thick, 0, radius, 0)
        b.add_axes(prim.CYLINDER, (x, 0, radius), axes, prim.PLAIN, semantic, (0.03, 0.03, 0.03))
    if motor:
        b.add(prim.ELLIPSOID, (0.1, 0, 0.68), (0.45, 0.16, 0.2), prim.PAINT, semantic, paint, param=(0.0, 5.0))
        b.add(prim.ELLIPSOID, (-0.4, 0, 0.74), (0.4, 0.14, 0.09), prim.PLAIN, semantic, (0.02, 0.02, 0.02))
        b.add(prim.BOX, (0.0, 0, 0.4), (0.32, 0.13, 0.17), prim.PLAIN, semantic, (0.08, 0.08, 0.08), param=(0.4, 0.7))
    else:
        b.add(prim.BOX, (0.1, 0, 0.72), (0.4, 0.02, 0.02), prim.PLAIN, semantic, paint)
        b.add(prim.BOX, (0.05, 0, 0.52), (0.32, 0.02, 0.02), prim.PLAIN, semantic, paint, shear=0.0)
        b.add(prim.ELLIPSOID, (-0.25, 0, 0.95), (0.14, 0.07, 0.04), prim.PLAIN, semantic, (0.02, 0.02, 0.02))
    b.add(prim.BOX, (reach - 0.1, 0, 1.0), (0.03, 0.32, 0.02), prim.PLAIN, semantic, (0.05, 0.05, 0.05))
    b.add(prim.BOX, (reach - 0.05, 0, 0.7), (0.03, 0.03, 0.33), prim.PLAIN, semantic, paint, shear=-0.08)
