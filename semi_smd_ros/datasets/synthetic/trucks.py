# SPDX-License-Identifier: Apache-2.0
"""Lorries with and without trailers, buses, trams and working machines."""

from __future__ import annotations

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder
from .vehicles import DARK, RUBBER, Vehicle, lights, pane, wheels


def draw_truck(p: Palette) -> Vehicle:
    """A lorry: box, tanker, tipper or flat bed, some with a trailer."""
    k = p.u(0, 1)
    if k < 0.3:
        return _lorry(p, p.u(6.2, 9.5), None)
    if k < 0.55:
        return _lorry(p, p.u(6.5, 8.5), p.u(5.5, 8.0))
    if k < 0.9:
        return _semi(p)
    return _loader(p)


def draw_bus(p: Palette) -> Vehicle:
    """A bus: short, full size, double-decked or with a trailing half."""
    length, width = p.u(8.5, 12.8), p.u(2.4, 2.55)
    height = p.u(4.0, 4.35) if p.chance(0.15) else p.u(2.85, 3.3)
    rear = p.u(5.5, 7.0) if height < 3.5 and p.chance(0.2) else 0.0

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        paint, glass = p.paint(), p.grey(0.008, 0.05, 0.1)
        stripe = p.colour() if p.chance(0.6) else paint
        end = (length + rear) / 2
        _coach(b, p, prim.BUS, (end - length, end), (width, height), paint, stripe, glass)
        axles: tuple[float, ...] = (end - 2.6, end - length + 3.1)
        if rear:
            back = -end
            _coach(b, p, prim.BUS, (back, back + rear - 0.7), (width, height), paint, stripe, glass)
            at = (back + rear - 0.35, 0.0, 0.4 + (height - 0.5) / 2)
            b.add(
                prim.BOX, at, (0.4, width / 2 * 0.92, (height - 0.6) / 2), prim.STRIPES, prim.BUS, DARK, (0.1,) * 3,
                param=(0.12,),
            )  # fmt: skip
            axles = (*axles, back + 2.3)
        wheels(b, prim.BUS, axles, width, 0.48, detail, 0.3)
        lights(b, p, prim.BUS, (-end, end), width, 0.85, detail)

    return Vehicle(length + rear, width, build)


def draw_tram(p: Palette) -> Vehicle:
    """A tram of two or three cars."""
    cars, each, width, height = int(p.u(2, 4)), p.u(7.5, 10.0), p.u(2.3, 2.6), p.u(3.2, 3.5)

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        paint, glass = p.paint(), p.grey(0.008, 0.05, 0.1)
        stripe = p.colour()
        start = -cars * each / 2
        for k in range(cars):
            low, high = start + k * each, start + (k + 1) * each
            _coach(b, p, prim.TRAIN, (low + 0.25, high - 0.25), (width, height), paint, stripe, glass)
            if k:
                size = (0.35, width * 0.44, height * 0.42)
                b.add(prim.BOX, (low, 0.0, height * 0.52), size, prim.STRIPES, prim.TRAIN, DARK, (0.1,) * 3)
            size = (1.3, width / 2 - 0.15, 0.3)
            b.add(prim.BOX, ((low + high) / 2, 0.0, 0.32), size, prim.PLAIN, prim.TRAIN, RUBBER)
        b.add(prim.BOX, (0.0, 0.0, height + 0.15), (1.6, 0.6, 0.18), prim.PLAIN, prim.TRAIN, (0.15,) * 3)
        b.add(prim.BOX, (0.3, 0.0, height + 0.8), (0.05, 0.6, 0.6), prim.PLAIN, prim.TRAIN, DARK, shear=0.5)
        lights(b, p, prim.TRAIN, (start + 0.2, -start - 0.2), width * 0.9, 0.8, detail)

    return Vehicle(cars * each, width, build)


def _coach(
    b: TableBuilder,
    p: Palette,
    semantic: int,
    ends: tuple[float, float],
    section: tuple[float, float],
    paint: Colour,
    stripe: Colour,
    glass: Colour,
) -> None:
    """A long body with bands of windows, rounded at the edges."""
    (back, front), (width, height) = ends, section
    middle, half, low = (back + front) / 2, (front - back) / 2, 0.3
    up = (height - low) / 2
    b.add(
        prim.SUPER, (middle, 0, low + up), (half, width / 2, up), prim.PAINT, semantic, paint, DARK, param=(0.06, 2.4)
    )
    skirt = (half * 0.985, width / 2 * 1.002, 0.28)
    b.add(prim.BOX, (middle, 0, low + 0.32), skirt, prim.PLAIN, semantic, stripe, param=(0.08, 2.0))
    decks = (0.34, 0.75) if height > 3.5 else (0.6,)
    spacing = p.u(1.2, 1.8)
    for share in decks:
        z, tall = height * share, min(0.52, height * 0.165)
        size = (half * 0.955, width / 2 * 1.004, tall)
        b.add(prim.BOX, (middle, 0, z), size, prim.GLASS, semantic, paint, glass, param=(spacing, 0.05))
    z = height * decks[-1] - 0.05
    size = (half * 1.001, width / 2 * 0.86, height * (0.2 if len(decks) == 1 else 0.14))
    pane(b, semantic, (middle, 0, z), size, paint, glass)
    for side in (-1.0, 1.0):
        for x in (front - 1.0, middle - 0.8):
            door = (0.6, 0.012, up * 0.72)
            pane(b, semantic, (x, side * (width / 2 + 0.004), low + up * 0.86), door, DARK, glass)
    b.add(prim.BOX, (front - 0.005, 0, height - 0.34), (0.02, width * 0.34, 0.14), prim.SIGN, semantic, DARK,
          (0.8, 0.55, 0.1), param=(0.2, 0.6, 0.02))  # fmt: skip


def _cab(b: TableBuilder, p: Palette, front: float, width: float, tall: float, paint: Colour, detail: int) -> float:
    """A driver's cab whose nose is at `front`; returns where it ends."""
    nose, glass = p.u(1.5, 2.2), p.grey(0.008, 0.04, 0.1)
    low, middle = 0.42, front - nose / 2
    if p.chance(0.2):
        # A bonnet in front of the cab.
        hood = (0.75, width / 2 * 0.8, 0.55)
        b.add(prim.SUPER, (front - 0.75, 0, 1.05), hood, prim.PAINT, prim.TRUCK, paint, DARK, param=(0.3, 9.0))
        middle, front = middle - 1.2, front - 1.2
    size = (nose / 2, width / 2 * 0.98, (tall - low) / 2)
    at = (middle, 0, (low + tall) / 2)
    b.add(prim.SUPER, at, size, prim.PAINT, prim.TRUCK, paint, DARK, param=(0.16, 9.0), shear=-0.06)
    z = low + (tall - low) * 0.66
    pane(b, prim.TRUCK, (front - 0.05, 0, z), (0.06, width / 2 * 0.84, (tall - low) * 0.17), paint, glass)
    pane(b, prim.TRUCK, (middle + 0.12, 0, z), (nose * 0.24, width / 2 * 0.985, (tall - low) * 0.14), paint, glass)
    if detail:
        grille = (0.05, width * 0.3, (tall - low) * 0.14)
        below = (front - 0.02, 0, low + (tall - low) * 0.3)
        b.add(prim.BOX, below, grille, prim.STRIPES, prim.TRUCK, DARK, (0.15,) * 3, param=(0.1, 0, 1))
        for side in (-1.0, 1.0):
            beside = (front - 0.1, side * (width / 2 + 0.16), z)
            b.add(prim.SUPER, beside, (0.06, 0.12, 0.26), prim.PLAIN, prim.TRUCK, DARK)
    return middle - nose / 2


def _load(b: TableBuilder, p: Palette, ends: tuple[float, float], width: float, floor: float, top: float) -> None:
    """What a lorry or a trailer carries between two x: a box, a curtain side, a tank, a tipper, timber, a container."""
    back, front = ends
    middle, half = (back + front) / 2, (front - back) / 2
    up, k = (top - floor) / 2, p.u(0, 1)
    tone = p.grey(0.4, 0.8, 0.03) if p.chance(0.6) else p.paint()
    b.add(prim.BOX, (middle, 0, floor - 0.1), (half, width / 2 * 0.94, 0.1), prim.PLAIN, prim.TRUCK, DARK)
    body = (half, width / 2, up)
    at = (middle, 0, floor + up)
    if k < 0.3:
        ink = p.colour()
        b.add(prim.BOX, at, body, prim.SIGN, prim.TRUCK, tone, ink, param=(p.u(0.3, 0.9), 0.35, 0.2))
    elif k < 0.5:
        ink = (tone[0] * 0.8, tone[1] * 0.8, tone[2] * 0.8)
        b.add(prim.BOX, at, body, prim.STRIPES, prim.TRUCK, tone, ink, param=(p.u(0.2, 0.6),))
    elif k < 0.65:
        b.add(prim.BOX, at, body, prim.PLAIN, prim.TRUCK, tone, param=(0.08, 3.0))
        b.add(prim.BOX, (front + 0.2, 0, top - 0.5), (0.3, width * 0.36, 0.45), prim.PLAIN, prim.TRUCK, (0.5,) * 3)
    elif k < 0.8:
        # A tank lies on its side: a cylinder about x.
        r = min(width / 2, up) * 0.98
        axes: tuple[float, ...] = (0, 0, half, width / 2 * 0.96, 0, 0, 0, r, 0)
        b.add_axes(prim.CYLINDER, (middle, 0, floor + r), axes, prim.PAINT, prim.TRUCK, tone, DARK)
        b.add(prim.BOX, (middle, 0, floor + 2 * r + 0.08), (half * 0.7, 0.3, 0.08), prim.PLAIN, prim.TRUCK, (0.2,) * 3)
    elif k < 0.9:
        tint = p.colour(0.1, 0.6)
        axes = (half, 0, 0, 0, width / 2, 0, 0, 0, -up * 0.55)
        at = (middle, 0, floor + up * 0.55)
        b.add_axes(prim.TAPER, at, axes, prim.PLAIN, prim.TRUCK, tint, param=(0.15, 1.5), cut=(0.12, 0.18))
        heap = (half * 0.85, width / 2 * 0.85, up * 0.35)
        brown = (0.2, 0.16, 0.12)
        b.add(prim.ELLIPSOID, (middle, 0, floor + up * 1.1), heap, prim.GRASS, prim.TRUCK, brown, (0.12, 0.1, 0.08))
    else:
        b.add(prim.BOX, (front - 0.06, 0, floor + up * 0.6), (0.06, width / 2, up * 0.6), prim.PLAIN, prim.TRUCK, tone)
        count = int(p.u(2, 5))
        for i in range(count):
            r = p.u(0.25, 0.5)
            y = (i + 0.5) / count * width - width / 2
            axes = (0, 0, half * 0.9, r, 0, 0, 0, r, 0)
            b.add_axes(prim.CYLINDER, (middle, y, floor + r), axes, prim.PLAIN, prim.TRUCK, (0.22, 0.15, 0.09),
                       param=(0.3, 0.8))  # fmt: skip


def _lorry(p: Palette, length: float, trailer: float | None) -> Vehicle:
    width, top = p.u(2.2, 2.55), p.u(2.7, 3.9)
    gap = 1.0
    total = length + (trailer + gap if trailer else 0.0)

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        paint, floor = p.paint(), p.u(0.95, 1.15)
        front = total / 2
        end = _cab(b, p, front, width, min(top * 0.88, 2.8), paint, detail)
        back = front - length
        _load(b, p, (back, end - 0.35), width, floor, top)
        b.add(prim.BOX, ((front + back) / 2, 0, 0.72), (length / 2 - 0.4, 0.42, 0.12), prim.PLAIN, prim.TRUCK, DARK)
        axles: tuple[float, ...] = (front - 1.1, back + 1.6) if length < 8 else (front - 1.1, back + 2.6, back + 1.4)
        if trailer:
            tail = -total / 2
            _load(b, p, (tail, tail + trailer), width, floor, p.u(2.5, 3.9))
            b.add(prim.BOX, (back - gap / 2, 0, 0.7), (gap / 2 + 0.3, 0.08, 0.06), prim.PLAIN, prim.TRUCK, DARK)
            axles = (*axles, tail + trailer - 1.1, tail + 1.2)
        wheels(b, prim.TRUCK, axles, width * 0.97, 0.48, detail, 0.25)
        lights(b, p, prim.TRUCK, (-total / 2, front), width, 0.85, detail)

    return Vehicle(total, width, build)


def _semi(p: Palette) -> Vehicle:
    total, width, top = p.u(12.5, 16.5), p.u(2.45, 2.55), p.u(3.3, 4.0)

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        paint = p.paint()
        front, back = total / 2, -total / 2
        end = _cab(b, p, front, width, p.u(2.9, 3.6), paint, detail)
        _load(b, p, (back, end - 0.5), width, 1.2, top)
        b.add(prim.BOX, (front - 3.0, 0, 0.7), (2.6, 0.5, 0.14), prim.PLAIN, prim.TRUCK, DARK)
        skirt = (total * 0.16, width / 2 * 0.98, 0.2)
        b.add(prim.BOX, (-0.02 * total, 0, 0.8), skirt, prim.PLAIN, prim.TRUCK, p.grey(0.1, 0.5))
        axles = (front - 1.3, front - 4.4, back + 3.8, back + 2.5, back + 1.2)
        wheels(b, prim.TRUCK, axles, width * 0.98, 0.5, detail, 0.25)
        lights(b, p, prim.TRUCK, (back, front), width, 0.85, detail)

    return Vehicle(total, width, build)


def _loader(p: Palette) -> Vehicle:
    """A working machine: big wheels, a cabin of glass, a shovel."""
    length, width = p.u(5.5, 7.0), p.u(2.2, 2.5)

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        paint = (0.75, 0.45, 0.03) if p.chance(0.7) else (0.6, 0.2, 0.03)
        b.add(prim.SUPER, (-length * 0.18, 0, 1.15), (length * 0.3, width * 0.38, 0.5), prim.PAINT, prim.TRUCK, paint)
        b.add(prim.TAPER, (-0.1, 0, 2.2), (0.8, 0.75, 0.8), prim.GLASS, prim.TRUCK, paint, (0.02,) * 3,
              param=(1.4, 0.08), cut=(0.15, 0.15))  # fmt: skip
        b.add(prim.BOX, (length * 0.24, 0, 1.1), (length * 0.2, 0.14, 0.14), prim.PLAIN, prim.TRUCK, paint, shear=0.0)
        b.add(prim.TAPER, (length / 2 - 0.5, 0, 0.6), (0.5, width / 2, 0.5), prim.PLAIN, prim.TRUCK, (0.1,) * 3,
              cut=(0.7, 0.0), param=(0.3, 0.7))  # fmt: skip
        wheels(b, prim.TRUCK, (length * 0.2, -length * 0.25), width, 0.7, detail, 0.4)

    return Vehicle(length, width, build)
