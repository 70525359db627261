# SPDX-License-Identifier: Apache-2.0
"""Trees, conifers and shrubs: lumps of foliage with ragged holes."""

from __future__ import annotations

import math

from . import primitives as prim
from .palette import Palette
from .primitives import Colour, TableBuilder


def tree(
    b: TableBuilder, p: Palette, x: float, y: float, z: float, scale: float = 1.0, clear: float = 0.0, near: bool = True
) -> None:
    """A tree: trunk, boughs and a crown of ragged lumps; or a conifer, a young one, or a bare one.

    Args:
        x, y, z: foot.
        scale: size against the usual 5 to 17 m.
        clear: foliage begins no lower than this, metres.
        near: whether it is worth many parts.
    """
    height = p.u(5.0, 17.0) * scale
    green, bark = p.leaf(), p.u(0.02, 0.12)
    brown: Colour = (bark, bark * 0.85, bark * 0.7)
    k = p.u(0, 1)
    if k < 0.14 and clear <= 0.0:
        _conifer(b, p, (x, y, z), height, green, brown)
    elif k < 0.2:
        _bare(b, p, (x, y, z), height, brown)
    else:
        _leafy(b, p, (x, y, z), height, max(clear, height * p.u(0.08, 0.3)), green, brown, near)


def _trunk(b: TableBuilder, at: tuple[float, float, float], height: float, r: float, brown: Colour) -> None:
    x, y, z = at
    b.add(
        prim.TAPER if r > 0.25 else prim.CYLINDER, (x, y, z + height / 2 - 0.2), (r, r, height / 2 + 0.2), prim.PLAIN,
        prim.VEGETATION, brown, param=(0.35, 0.6), cut=(0.35, 0.35),
    )  # fmt: skip


def _leafy(
    b: TableBuilder,
    p: Palette,
    at: tuple[float, float, float],
    height: float,
    clear: float,
    green: Colour,
    brown: Colour,
    near: bool,
) -> None:
    x, y, z = at
    trunk = height * p.u(0.012, 0.024) + 0.05
    height = max(height, clear * 1.6)
    _trunk(b, at, clear + (height - clear) * 0.45, trunk, brown)
    holes = (p.u(-1.3, -0.35), p.u(0.8, 1.7), p.u(2.5, 7.0))
    reach = (height - clear) / 2
    wide = reach * p.u(0.7, 1.25)
    lumps = int(p.u(8, 14)) if near else 6
    lowest = z + clear
    for i in range(lumps):
        # Lumps sit on the outline of an egg, the first one fills its middle.
        angle, up = i * 2.4 + p.u(-0.4, 0.4), 1.6 * (i + 0.5) / lumps - 0.8
        out = 0.62 * math.sqrt(max(0.05, 1.0 - up * up)) * p.u(0.7, 1.25)
        size = p.u(0.34, 0.56) if near else p.u(0.5, 0.7)
        if i == 0:
            out, up, size = 0.0, 0.0, 0.72
        half = (wide * size * p.u(0.8, 1.3), wide * size, reach * size * p.u(0.6, 1.0))
        middle = max(z + clear + reach * (1.0 + up * p.u(0.8, 1.0)), lowest + half[2] * 0.9)
        centre = (x + math.cos(angle) * out * wide, y + math.sin(angle) * out * wide, middle)
        shade = p.u(0.7, 1.3)
        tint = (green[0] * shade, green[1] * shade, green[2] * shade)
        b.add(prim.LEAF_ELLIPSOID, centre, half, prim.FOLIAGE, prim.VEGETATION, tint, cut=holes, yaw=p.u(0, 3))
    for _ in range(int(p.u(0, 3.5)) if near else 0):
        lean = p.u(-0.9, 0.9)
        b.add(prim.CYLINDER, (x + lean / 2, y, z + clear * 1.15), (trunk * 0.45, trunk * 0.45, reach * 0.5), prim.PLAIN,
              prim.VEGETATION, brown, shear=lean, yaw=p.u(0, 6))  # fmt: skip


def _conifer(
    b: TableBuilder, p: Palette, at: tuple[float, float, float], height: float, green: Colour, brown: Colour
) -> None:
    x, y, z = at
    dark = (green[0] * 0.8, green[1] * 0.75, green[2] * 0.9)
    clear, radius, tiers = height * p.u(0.05, 0.2), height * p.u(0.14, 0.24), 6
    _trunk(b, at, height * 0.8, 0.06 + 0.012 * height, brown)
    holes = (p.u(-1.4, -0.5), p.u(0.8, 1.8), p.u(2.0, 5.0))
    for i in range(tiers):
        f = i / (tiers - 1)
        r = radius * (1.1 - 0.95 * f)
        centre = (x, y, z + clear * 0.6 + (height - clear * 0.6) * (0.08 + 0.85 * f))
        half = (r, r, height * 0.12)
        b.add(prim.LEAF_ELLIPSOID, centre, half, prim.FOLIAGE, prim.VEGETATION, dark, cut=holes, yaw=p.u(0, 3))


def _bare(b: TableBuilder, p: Palette, at: tuple[float, float, float], height: float, brown: Colour) -> None:
    """Without leaves: boughs only, and twigs that are more holes than wood."""
    x, y, z = at
    height *= 0.8
    _trunk(b, at, height * 0.6, height * 0.018 + 0.05, brown)
    for i in range(6):
        lean, turn = p.u(0.1, 0.3) * height, i * 1.05 + p.u(-0.3, 0.3)
        up = height * p.u(0.15, 0.24)
        centre = (x + math.cos(turn) * lean / 2, y + math.sin(turn) * lean / 2, z + height * p.u(0.4, 0.6) + up * 0.6)
        b.add(prim.CYLINDER, centre, (0.05, 0.05, up), prim.PLAIN, prim.VEGETATION, brown, yaw=turn, shear=lean / 2)
    twigs = (height * 0.3, height * 0.3, height * 0.28)
    cut = (p.u(0.5, 0.9), 0.8, p.u(2.0, 4.0))
    b.add(prim.LEAF_ELLIPSOID, (x, y, z + height * 0.75), twigs, prim.FOLIAGE, prim.VEGETATION, brown, cut=cut)


def bush(b: TableBuilder, p: Palette, x: float, y: float, z: float, scale: float = 1.0) -> None:
    """A shrub of one to three lumps."""
    green = p.leaf()
    for _ in range(int(p.u(1, 4))):
        a = p.u(0.35, 1.0) * scale
        at = (x + p.u(-0.6, 0.6) * scale, y + p.u(-0.6, 0.6) * scale, z + a * 0.5)
        half = (a * p.u(0.8, 1.5), a, a * p.u(0.6, 1.1))
        cut = (p.u(-1.6, -0.8), 0.9, p.u(1.5, 4.0))
        b.add(prim.LEAF_ELLIPSOID, at, half, prim.FOLIAGE, prim.VEGETATION, green, cut=cut, yaw=p.u(0, 3))
