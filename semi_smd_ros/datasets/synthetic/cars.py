# SPDX-License-Identifier: Apache-2.0
"""Passenger cars and vans: rounded bodies, glass, wheels in arches."""

from __future__ import annotations

from dataclasses import dataclass

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder
from .vehicles import DARK, Vehicle, lights, pane, wheels


@dataclass(frozen=True)
class _Shape:
    """Ranges of a body style; x shares are of the length, from the nose and from the tail."""

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    screen: tuple[float, float]  # where the windscreen's foot is
    tail: tuple[float, float]  # where the rear window's foot is
    rake: tuple[float, float]  # lean of the windscreen, m
    fall: tuple[float, float]  # lean of the rear window, m
    weight: float


_STYLES = {
    'saloon': _Shape((4.4, 5.1), (1.76, 1.92), (1.40, 1.52), (0.24, 0.29), (0.1, 0.17), (0.7, 0.95), (0.5, 0.85), 0.28),
    'hatch': _Shape((3.5, 4.35), (1.66, 1.82), (1.44, 1.6), (0.2, 0.25), (0.01, 0.03), (0.6, 0.9), (0.2, 0.45), 0.27),
    'estate': _Shape((4.5, 5.0), (1.78, 1.9), (1.45, 1.6), (0.24, 0.28), (0.01, 0.03), (0.6, 0.9), (0.25, 0.5), 0.12),
    'offroad': _Shape((4.2, 5.1), (1.82, 2.0), (1.62, 1.92), (0.23, 0.28), (0.01, 0.03), (0.45, 0.8), (0.1, 0.4), 0.25),
    'sports': _Shape((4.0, 4.6), (1.78, 1.95), (1.2, 1.35), (0.3, 0.36), (0.05, 0.12), (0.7, 0.95), (0.6, 1.0), 0.03),
    'minivan': _Shape((4.4, 5.2), (1.8, 1.98), (1.68, 1.95), (0.15, 0.2), (0.01, 0.02), (0.8, 1.2), (0.1, 0.3), 0.05),
}


def draw_car(p: Palette) -> Vehicle:
    """A passenger car of any body style, a pickup or a van."""
    k = p.u(0, 1)
    if k < 0.09:
        return _pickup(p)
    if k < 0.22:
        return _van(p)
    names = list(_STYLES)
    total = sum(s.weight for s in _STYLES.values())
    draw = p.u(0, total)
    for name in names:
        draw -= _STYLES[name].weight
        if draw <= 0.0:
            break
    style = _STYLES[name]
    length, width, height = p.u(*style.length), p.u(*style.width), p.u(*style.height)

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        _body(b, p, style, (length, width, height), detail)

    return Vehicle(length, width, build)


def _arches(front: float, rear: float, wheel: float, low: float, half: float) -> tuple[float, float, float, float]:
    """Material parameters of the wheel arches in a body part whose foot is at `low`."""
    return front, rear, wheel * 1.17, wheel - low - half


def _body(b: TableBuilder, p: Palette, style: _Shape, size: tuple[float, float, float], detail: int) -> None:
    length, width, height = size
    paint, glass = p.paint(), p.grey(0.008, 0.05, 0.1)
    low, wheel = p.u(0.16, 0.24) + 0.1 * (height - 1.45), p.u(0.3, 0.345) + 0.07 * max(0.0, height - 1.55)
    belt, hood = height * p.u(0.60, 0.66), height * p.u(0.53, 0.6)
    hood = min(hood, belt)
    front, rear = length * p.u(0.29, 0.33), -length * p.u(0.27, 0.31)
    nose, tail = length / 2, -length / 2
    half_z = (hood - low) / 2
    arch = _arches(front, rear, wheel, low, half_z)
    doors = (0.16, p.u(1.0, 1.25))
    b.add(
        prim.SUPER,
        (0.0, 0.0, low + half_z),
        (length / 2, width / 2, half_z),
        prim.PAINT,
        prim.CAR,
        paint,
        DARK,
        param=(*doors, *arch),
    )
    screen, back = nose - length * p.u(*style.screen), tail + length * p.u(*style.tail)
    rake, fall = p.u(*style.rake), p.u(*style.fall)
    # The shoulders between bonnet and windows.
    reach = (screen + 0.35 - tail) / 2
    middle = low + 0.5 * (hood - low)
    b.add(
        prim.SUPER,
        (tail + reach, 0.0, (middle + belt) / 2),
        (reach * 0.995, width / 2 * 0.995, (belt - middle) / 2 + 0.02),
        prim.PAINT,
        prim.CAR,
        paint,
        DARK,
        param=(0.0, doors[1], arch[0] - tail - reach, arch[1] - tail - reach, arch[2], wheel - (middle + belt) / 2),
    )
    # The glass house leans in on all sides; a lower lean behind makes it a fast back or an upright tail.
    cabin, top = screen - back, height - 0.05
    half = (cabin / 2, width / 2 * 0.93, (top - belt) / 2 + 0.04)
    b.add(
        prim.TAPER,
        ((screen + back) / 2 - (rake - fall) / 4, 0.0, (belt + top) / 2 - 0.02),
        half,
        prim.GLASS,
        prim.CAR,
        paint,
        glass,
        param=(cabin / p.u(2.3, 3.1), 0.035 if detail else 0.0),
        cut=((rake + fall) / cabin, p.u(0.2, 0.28)),
        shear=-(rake - fall) / 4,
    )
    roof = ((cabin - rake - fall) / 2, (screen + back - rake + fall) / 2)
    b.add(
        prim.SUPER,
        (roof[1], 0.0, height - 0.06),
        (roof[0] + 0.06, width / 2 * 0.745, 0.06),
        prim.PAINT,
        prim.CAR,
        paint,
        DARK,
    )
    wheels(b, prim.CAR, (front, rear), width, wheel, detail, p.u(0.08, 0.4))
    lights(b, p, prim.CAR, (tail, nose), width * 0.98, low + 0.72 * (hood - low), detail)
    if detail == 0:
        return
    for side in (-1.0, 1.0):
        at = (screen - rake * 0.45, side * (width / 2 + 0.07), belt + 0.08)
        b.add(prim.ELLIPSOID, at, (0.07, 0.12, 0.08), prim.PAINT, prim.CAR, paint, DARK)
    if detail == 2:
        _trim(b, p, (length, width, height), (low, hood), roof)


def _trim(
    b: TableBuilder,
    p: Palette,
    size: tuple[float, float, float],
    levels: tuple[float, float],
    roof: tuple[float, float],
) -> None:
    """Grille, bumpers, and now and then rails, a taxi sign or a box on the roof."""
    length, width, height = size
    low, hood = levels
    at = (length / 2 - 0.035, 0.0, low + 0.42 * (hood - low))
    b.add(prim.SUPER, at, (0.06, width * 0.3, 0.11), prim.STRIPES, prim.CAR, DARK, (0.12,) * 3, param=(0.06, 0, 1))
    for end in (-1.0, 1.0):
        at = (end * (length / 2 - 0.06), 0.0, low + 0.1)
        b.add(prim.SUPER, at, (0.12, width / 2 * 0.88, 0.1), prim.PLAIN, prim.CAR, DARK)
    k = p.u(0, 1)
    if k < 0.15:
        for side in (-1.0, 1.0):
            at = (roof[1], side * width * 0.33, height + 0.02)
            b.add(prim.BOX, at, (roof[0] * 0.9, 0.02, 0.025), prim.PLAIN, prim.CAR, p.grey(0.02, 0.4))
    elif k < 0.2:
        at = (roof[1], 0.0, height + 0.08)
        b.add(prim.BOX, at, (0.1, 0.28, 0.09), prim.SIGN, prim.CAR, (0.7, 0.55, 0.05), param=(0.1, 0.6, 0.02))
    elif k < 0.24:
        at = (roof[1], 0.0, height + 0.17)
        b.add(prim.SUPER, at, (0.85, 0.4, 0.18), prim.PAINT, prim.CAR, p.grey(0.01, 0.3), DARK)


def _pickup(p: Palette) -> Vehicle:
    length, width, height = p.u(5.1, 5.9), p.u(1.85, 2.03), p.u(1.72, 1.95)

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        paint, glass, wheel, low = p.paint(), p.grey(0.008, 0.05, 0.1), p.u(0.36, 0.42), 0.36
        belt = height * 0.62
        front, rear = length * 0.31, -length * 0.29
        half = (belt - low) / 2
        arch = _arches(front, rear, wheel, low, half)
        at, size = (0.0, 0.0, low + half), (length / 2, width / 2, half)
        b.add(prim.SUPER, at, size, prim.PAINT, prim.CAR, paint, DARK, param=(0.1, 1.15, *arch))
        bed = length * p.u(0.28, 0.36)
        screen, back = length * 0.22, -length / 2 + bed
        cabin = screen - back
        b.add(
            prim.TAPER,
            ((screen + back) / 2 - 0.15, 0.0, (belt + height) / 2),
            (cabin / 2, width / 2 * 0.93, (height - belt) / 2),
            prim.GLASS,
            prim.CAR,
            paint,
            glass,
            param=(cabin / 2.2, 0.06),
            cut=(0.8 / cabin, 0.2),
            shear=-0.13,
        )
        at = ((screen + back) / 2 - 0.28, 0.0, height - 0.03)
        b.add(prim.SUPER, at, (cabin / 2 - 0.4, width * 0.38, 0.06), prim.PAINT, prim.CAR, paint, DARK)
        # The bed's open well is a dark inlay; sometimes it carries something.
        at = (-length / 2 + bed / 2, 0.0, belt - 0.02)
        b.add(prim.BOX, at, (bed / 2 - 0.08, width / 2 - 0.12, 0.03), prim.PLAIN, prim.CAR, DARK)
        if p.chance(0.35):
            up = p.u(0.15, 0.45)
            load = (bed / 2 - 0.2, width / 2 - 0.25, up)
            b.add(prim.SUPER, (at[0], 0.0, belt + up), load, prim.PLAIN, prim.CAR, p.colour(), param=(0.2, 0.8))
        wheels(b, prim.CAR, (front, rear), width, wheel, detail, p.u(0.08, 0.4))
        lights(b, p, prim.CAR, (-length / 2, length / 2), width, belt * 0.8, detail)

    return Vehicle(length, width, build)


def _van(p: Palette) -> Vehicle:
    length, width, height = p.u(4.6, 6.6), p.u(1.88, 2.1), p.u(1.9, 2.75)

    def build(b: TableBuilder, p: Palette, detail: int) -> None:
        paint = p.grey(0.4, 0.8, 0.02) if p.chance(0.5) else p.paint()
        glass, wheel, low = p.grey(0.008, 0.04, 0.1), p.u(0.33, 0.37), 0.26
        front, rear = length * 0.31, -length * 0.29
        nose = p.u(0.75, 1.15)
        hood = p.u(1.05, 1.25)
        half = (hood - low) / 2
        at, size = (0.0, 0.0, low + half), (length / 2, width / 2, half)
        arch = _arches(front, rear, wheel, low, half)
        b.add(prim.SUPER, at, size, prim.PAINT, prim.CAR, paint, DARK, param=(0.16, p.u(1.2, 1.6), *arch))
        # Above the bonnet: box behind, sloping screen in front.
        floor = low + 0.35 * (hood - low)
        reach, lean = length - nose + 0.25, p.u(0.75, 1.0)
        up = (height - floor) / 2
        at = (-length / 2 + reach / 2 - lean / 4, 0.0, floor + up)
        b.add(
            prim.TAPER,
            at,
            (reach / 2, width / 2 * 0.985, up),
            prim.PAINT,
            prim.CAR,
            paint,
            DARK,
            param=(0.0, p.u(1.3, 1.9), 9.0, arch[1] - at[0], arch[2], wheel - floor - up),
            cut=(lean / reach, p.u(0.1, 0.16)),
            shear=-lean / 4,
        )
        # Windscreen and windows lie just above the painted skin.
        slope = lean / (2 * up)
        z = hood + (height - hood) * 0.47
        x = -length / 2 + reach - slope * (z - floor)
        tall = (height - hood) * 0.36
        axes = (0.03, 0.0, -slope * tall, 0.0, width / 2 * 0.84, 0.0, 0.0, 0.0, tall)
        b.add_axes(prim.BOX, (x, 0.0, z), axes, prim.GLASS, prim.CAR, paint, glass, (9.0, 0.0))
        wide = width / 2 * (0.985 - 0.12 * (z - floor) / (2 * up)) + 0.004
        cab = (x - slope * tall - 0.72, 0.0, z - 0.03)
        pane(b, prim.CAR, cab, (0.48, wide, tall * 0.8), paint, glass)
        pane(b, prim.CAR, (-length / 2 + 0.01, 0.0, z), (0.03, width / 2 * 0.7, tall * 0.75), paint, glass)
        if p.chance(0.5):
            stretch = (cab[0] - 0.6 + length / 2 - 0.3) / 2
            at = (-length / 2 + 0.3 + stretch, 0.0, z - 0.03)
            size = (stretch, wide, tall * 0.8)
            b.add(prim.BOX, at, size, prim.GLASS, prim.CAR, paint, glass, param=(stretch * 0.9, 0.04))
        elif p.chance(0.5):
            stretch = (cab[0] - 0.7 + length / 2 - 0.4) / 2
            at = (-length / 2 + 0.4 + stretch, 0.0, height * 0.55)
            ink: Colour = p.colour()
            size = (stretch, wide + 0.002, height * 0.16)
            b.add(prim.BOX, at, size, prim.SIGN, prim.CAR, paint, ink, param=(p.u(0.2, 0.5), 0.4, 0.01))
        wheels(b, prim.CAR, (front, rear), width, wheel, detail, p.u(0.08, 0.3))
        lights(b, p, prim.CAR, (-length / 2, length / 2), width, hood * 0.75, detail)
        if detail:
            for side in (-1.0, 1.0):
                at = (x + 0.1, side * (width / 2 + 0.12), hood + 0.2)
                b.add(prim.SUPER, at, (0.06, 0.1, 0.16), prim.PLAIN, prim.CAR, DARK)

    return Vehicle(length, width, build)
