# SPDX-License-Identifier: Apache-2.0
"""Parts that all vehicles share, and the draw of one kind or another. Frame: x forward, z up, on the ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder

Build = Callable[[TableBuilder, Palette, int], None]  # builder, palette, detail: 0 far, 1 middling, 2 near
RUBBER: Colour = (0.018, 0.018, 0.02)
DARK: Colour = (0.03, 0.03, 0.032)


@dataclass(frozen=True)
class Vehicle:
    """A vehicle that can be built where its box (metres, origin in the middle) finds room."""

    length: float
    width: float
    build: Build


def wheels(
    b: TableBuilder, semantic: int, axles: tuple[float, ...], width: float, radius: float, detail: int, shine: float
) -> None:
    """Wheels on axles at x; far away one roller an axle does."""
    for x in axles:
        if detail == 0:
            axes = (radius, 0, 0, 0, 0, width / 2 - 0.02, 0, radius, 0)
            b.add_axes(prim.CYLINDER, (x, 0.0, radius), axes, prim.PLAIN, semantic, RUBBER)
            continue
        for side in (-1.0, 1.0):
            axes = (radius, 0, 0, 0, 0, 0.12, 0, radius, 0)
            at = (x, side * (width / 2 - 0.11), radius)
            b.add_axes(prim.CYLINDER, at, axes, prim.PLAIN, semantic, RUBBER)
            hub = radius * 0.64
            axes = (hub, 0, 0, 0, 0, 0.012, 0, hub, 0)
            at = (x, side * (width / 2 + 0.003), radius)
            b.add_axes(prim.CYLINDER, at, axes, prim.WHEEL, semantic, (shine,) * 3, DARK, (hub, 5.0))


def lights(
    b: TableBuilder, p: Palette, semantic: int, ends: tuple[float, float], width: float, z: float, detail: int
) -> None:
    """Headlights at x = ends[1], tail lights at ends[0], number plates; at night they shine."""
    if detail == 0 and p.night < 0.3:
        return
    back, front = ends
    white, red = (0.75, 0.73, 0.68), (0.4, 0.015, 0.015)
    glow = 14.0 * p.night if p.engine else 0.0
    for side in (-1.0, 1.0):
        # Rounded bodies are narrower at their ends.
        y = side * width * 0.34
        b.add(prim.ELLIPSOID, (front - 0.13, y, z), (0.12, 0.17, 0.075), prim.LAMP, semantic, white, param=(glow,))
        at = (back + 0.1, y * 1.02, z + 0.08)
        b.add(prim.SUPER, at, (0.11, 0.15, 0.085), prim.LAMP, semantic, red, param=(glow * 0.45,))
    if p.night > 0.3 and p.engine:
        power = 26.0 * p.night
        b.lamp((front + 0.3, 0.0, z), (power, power * 0.95, power * 0.85), 28.0, (0.98, 0.0, -0.12), 3.0)
        b.lamp((back - 0.3, 0.0, z), (1.6 * p.night, 0.08, 0.06), 6.0, (-0.9, 0.0, -0.3), 1.0)
    if detail == 2:
        plate = (0.7, 0.7, 0.65)
        for x, up in ((front - 0.01, z - 0.24), (back + 0.01, z - 0.05)):
            b.add(prim.BOX, (x, 0.0, up), (0.025, 0.26, 0.06), prim.SIGN, semantic, plate, param=(0.09, 0.5, 0.01))


def pane(
    b: TableBuilder, semantic: int, centre: tuple[float, ...], half: tuple[float, ...], paint: Colour, glass: Colour
) -> None:
    """A window let into a body's face."""
    b.add(prim.BOX, centre, half, prim.GLASS, semantic, paint, glass, param=(9.0, 0.0))
