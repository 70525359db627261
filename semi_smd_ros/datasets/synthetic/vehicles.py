# SPDX-License-Identifier: Apache-2.0
"""Cars, vans, trucks and buses, each built from a few primitives in its own frame (x forward, z up)."""

from __future__ import annotations

from . import primitives as prim
from .palette import Palette
from .primitives import TableBuilder


def car(b: TableBuilder, p: Palette) -> tuple[float, float]:
    """A car, van or truck at the origin; returns (length, width)."""
    k = p.u(0, 1)
    if k < 0.74:
        return _car(b, p)
    if k < 0.88:
        return _van(b, p)
    return _truck(b, p)


def _wheels(
    b: TableBuilder, semantic: int, length: float, width: float, radius: float, axles: tuple[float, ...]
) -> None:
    for a in axles:
        for side in (-1.0, 1.0):
            at = (a * length, side * (width / 2 - 0.11), radius)
            # A cylinder about y: axes columns x, z, y.
            axes = (radius, 0, 0, 0, 0, 0.12, 0, radius, 0)
            b.add_axes(prim.CYLINDER, at, axes, prim.PLAIN, semantic, (0.018, 0.018, 0.02))
            hub = radius * 0.58
            at = (a * length, side * (width / 2 + 0.003), radius)
            axes = (hub, 0, 0, 0, 0, 0.012, 0, hub, 0)
            b.add_axes(prim.CYLINDER, at, axes, prim.PLAIN, semantic, (0.22, 0.22, 0.23), param=(0.4, 0.5))


def _lights(b: TableBuilder, semantic: int, length: float, width: float, z: float) -> None:
    for side in (-1.0, 1.0):
        y = side * (width / 2 - 0.22)
        b.add(
            prim.BOX, (length / 2 - 0.06, y, z), (0.07, 0.17, 0.07), prim.GLASS, semantic, (0.6, 0.6, 0.6), (0.6,) * 3
        )
        red = (0.35, 0.01, 0.01)
        b.add(prim.BOX, (-length / 2 + 0.06, y, z + 0.08), (0.07, 0.15, 0.09), prim.PLAIN, semantic, red)
    plate = (length / 2 - 0.02, 0.0, z - 0.22)
    b.add(prim.BOX, plate, (0.03, 0.26, 0.06), prim.SIGN, semantic, (0.7, 0.7, 0.65), param=(0.09, 0.5, 0.01))
    plate = (-length / 2 + 0.02, 0.0, z)
    b.add(prim.BOX, plate, (0.03, 0.26, 0.06), prim.SIGN, semantic, (0.7, 0.7, 0.65), param=(0.09, 0.5, 0.01))


def _car(b: TableBuilder, p: Palette) -> tuple[float, float]:
    length, width, height = p.u(3.6, 5.1), p.u(1.66, 1.95), p.u(1.38, 1.85)
    paint = p.paint()
    glass = p.grey(0.008, 0.04, 0.1)
    belt, low = height * p.u(0.54, 0.6), 0.2
    wheel = p.u(0.29, 0.36)
    hood_drop = p.u(0.0, 0.16)
    # Lower body; hood and boot fall a little below the belt.
    b.add(
        prim.TAPER,
        (0.0, 0.0, (low + belt - hood_drop) / 2),
        (length / 2, width / 2, (belt - hood_drop - low) / 2),
        prim.PAINT,
        prim.CAR,
        paint,
        param=(0.16, p.u(1.0, 1.3)),
        cut=(p.u(0.02, 0.08), p.u(0.0, 0.06)),
    )
    style = p.u(0, 1)
    cabin = length * (p.u(0.5, 0.58) if style < 0.5 else p.u(0.62, 0.74))
    shift = -length * (p.u(0.02, 0.07) if style < 0.5 else p.u(0.1, 0.14))
    lean = cabin * p.u(0.22, 0.42)
    back = lean if style < 0.5 else cabin * p.u(0.06, 0.2)
    shear, taper = (back - lean) / 4, (back + lean) / cabin
    if hood_drop > 0.02:
        b.add(
            prim.TAPER,
            (shift - 0.02 * length, 0.0, belt - hood_drop / 2 - 0.03),
            (cabin / 2 * 1.12, width / 2 * 0.985, hood_drop / 2 + 0.03),
            prim.PAINT,
            prim.CAR,
            paint,
            cut=(0.12, 0.03),
        )
    half = (cabin / 2, width / 2 * 0.93, (height - belt) / 2)
    b.add(
        prim.TAPER,
        (shift, 0.0, (belt + height) / 2),
        half,
        prim.GLASS,
        prim.CAR,
        paint,
        glass,
        param=(cabin / p.u(2.2, 3.2), 0.04),
        cut=(taper, 0.26),
        shear=shear,
    )
    top = cabin * (1 - taper) / 2
    b.add(
        prim.ELLIPSOID,
        (shift + shear, 0.0, height - 0.03),
        (top * 1.05, width / 2 * 0.72, 0.07),
        prim.PAINT,
        prim.CAR,
        paint,
    )
    _wheels(b, prim.CAR, length, width, wheel, (-0.29, 0.31))
    _lights(b, prim.CAR, length, width, belt * 0.72)
    for side in (-1.0, 1.0):
        at = (shift + cabin * 0.33, side * (width / 2 + 0.08), belt + 0.08)
        b.add(prim.BOX, at, (0.06, 0.1, 0.07), prim.PAINT, prim.CAR, paint)
    return length, width


def _van(b: TableBuilder, p: Palette) -> tuple[float, float]:
    length, width, height = p.u(4.5, 6.2), p.u(1.85, 2.1), p.u(1.85, 2.6)
    paint = p.grey(0.4, 0.8, 0.02) if p.chance(0.5) else p.paint()
    glass = p.grey(0.008, 0.04, 0.1)
    belt = height * p.u(0.48, 0.55)
    low_half = (length / 2, width / 2, (belt - 0.25) / 2)
    b.add(
        prim.TAPER,
        (0, 0, (0.25 + belt) / 2),
        low_half,
        prim.PAINT,
        prim.CAR,
        paint,
        param=(0.16, p.u(1.2, 1.8)),
        cut=(0.05, 0.03),
    )
    nose = p.u(0.35, 0.9)
    lean = p.u(0.5, 0.9)
    reach = length - nose
    upper = (height - belt) / 2
    if p.chance(0.5):
        # Windows all round.
        shear = -lean / 4
        half = (reach / 2, width / 2 * 0.97, upper)
        b.add(
            prim.TAPER,
            (-nose / 2 + shear, 0, belt + upper),
            half,
            prim.GLASS,
            prim.CAR,
            paint,
            glass,
            param=(reach / 3.4, 0.05),
            cut=((lean + 0.1) / reach, 0.14),
            shear=shear,
        )
    else:
        cab = length * p.u(0.28, 0.34)
        back = reach - cab
        half = (back / 2, width / 2 * 0.975, upper)
        b.add(
            prim.TAPER,
            (-length / 2 + back / 2, 0, belt + upper),
            half,
            prim.PAINT,
            prim.CAR,
            paint,
            param=(0.0, back * 0.6),
            cut=(0.02, 0.08),
        )
        half = (cab / 2, width / 2 * 0.96, upper * 0.97)
        b.add(
            prim.TAPER,
            (-length / 2 + back + cab / 2 - lean / 4, 0, belt + upper * 0.97),
            half,
            prim.GLASS,
            prim.CAR,
            paint,
            glass,
            param=(cab, 0.06),
            cut=(lean / cab, 0.14),
            shear=-lean / 4,
        )
        rear = (-length / 2 + 0.01, 0.0, belt + upper)
        b.add(
            prim.BOX,
            rear,
            (0.04, width / 2 * 0.75, upper * 0.6),
            prim.GLASS,
            prim.CAR,
            paint,
            glass,
            param=(width * 0.4, 0.03),
        )
    _wheels(b, prim.CAR, length, width, 0.34, (-0.3, 0.31))
    _lights(b, prim.CAR, length, width, belt * 0.7)
    return length, width


def _truck(b: TableBuilder, p: Palette) -> tuple[float, float]:
    length, width, height = p.u(6.5, 12.5), p.u(2.3, 2.55), p.u(2.8, 3.9)
    paint = p.paint()
    glass = p.grey(0.008, 0.04, 0.1)
    bus = p.chance(0.3)
    if bus:
        b.add(
            prim.BOX,
            (0, 0, (0.35 + height) / 2),
            (length / 2, width / 2, (height - 0.35) / 2),
            prim.PAINT,
            prim.BUS,
            paint,
            param=(0.1, 2.0),
        )
        band = (length / 2 * 0.97, width / 2 * 1.005, height * 0.17)
        b.add(prim.BOX, (0, 0, height * 0.62), band, prim.GLASS, prim.BUS, paint, glass, param=(1.5, 0.05))
        b.add(
            prim.BOX,
            (0, 0, height * 0.6),
            (length / 2 * 1.003, width / 2 * 0.9, height * 0.22),
            prim.GLASS,
            prim.BUS,
            paint,
            glass,
            param=(5.0, 0.01),
        )
        _wheels(b, prim.BUS, length, width, 0.48, (-0.28, 0.3))
        return length, width
    cargo = p.grey(0.4, 0.8, 0.03) if p.chance(0.6) else p.paint()
    nose, floor = p.u(1.5, 2.1), p.u(0.8, 1.15)
    material = prim.SIGN if p.chance(0.35) else (prim.STRIPES if p.chance(0.4) else prim.PLAIN)
    param = {prim.SIGN: (p.u(0.3, 0.9), 0.4, 0.2), prim.STRIPES: (p.u(0.2, 0.5), 0.0, 0.0), prim.PLAIN: (0.06, 4.0)}[
        material
    ]
    ink = p.colour() if material == prim.SIGN else tuple(c * 0.85 for c in cargo)
    box = ((length - nose - 0.3) / 2, width / 2, (height - floor) / 2)
    b.add(prim.BOX, (-length / 2 + box[0], 0, (floor + height) / 2), box, material, prim.TRUCK, cargo, ink, param=param)
    b.add(
        prim.BOX,
        (-0.3, 0, floor - 0.2),
        (length / 2 - 0.4, width / 2 * 0.7, 0.16),
        prim.PLAIN,
        prim.TRUCK,
        (0.03, 0.03, 0.03),
    )
    cab = min(height * 0.85, 2.75)
    b.add(
        prim.TAPER,
        (length / 2 - nose / 2, 0, (0.45 + cab) / 2),
        (nose / 2, width / 2 * 0.97, (cab - 0.45) / 2),
        prim.PAINT,
        prim.TRUCK,
        paint,
        cut=(0.12, 0.05),
        param=(0.15, 5.0),
    )
    for x, half in (
        (length / 2 - 0.08, (0.09, width / 2 * 0.85, 0.36)),
        (length / 2 - nose * 0.42, (nose * 0.22, width / 2 * 0.975, 0.32)),
    ):
        b.add(prim.BOX, (x, 0, cab * 0.7), half, prim.GLASS, prim.TRUCK, paint, glass, param=(5.0, 0.01))
    axles = (-0.36, 0.34) if length < 8.5 else (-0.4, -0.29, 0.36)
    _wheels(b, prim.TRUCK, length, width * 0.97, 0.48, axles)
    _lights(b, prim.TRUCK, length, width, 0.85)
    return length, width
