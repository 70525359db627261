# SPDX-License-Identifier: Apache-2.0
"""Trees, conifers and shrubs: lumps of foliage with ragged holes."""

from __future__ import annotations

import math

from . import primitives as prim
from .palette import Palette
from .primitives import TableBuilder


def tree(b: TableBuilder, p: Palette, x: float, y: float, z: float, scale: float = 1.0) -> None:
    """A tree: trunk, some boughs and a crown of ragged lumps; or a conifer; or a bare-stemmed one."""
    height = p.u(4.5, 14.0) * scale
    trunk = height * p.u(0.012, 0.026) + 0.05
    clear = height * p.u(0.1, 0.36)
    green, bark = p.leaf(), p.u(0.02, 0.12)
    brown = (bark, bark * 0.85, bark * 0.7)
    stem = (x, y, z + clear * 0.65 - 0.2)
    b.add(prim.CYLINDER, stem, (trunk, trunk, clear * 0.65 + 0.3), prim.PLAIN, prim.VEGETATION, brown, param=(0.3, 0.6))
    holes = (p.u(-0.9, 0.0), p.u(0.9, 2.0), p.u(2.5, 7.0))
    if p.chance(0.15):
        radius, tiers = height * p.u(0.14, 0.24), 6
        for i in range(tiers):
            f = i / (tiers - 1)
            at = (x, y, z + clear * 0.6 + (height - clear * 0.6) * (0.08 + 0.85 * f))
            r = radius * (1.1 - 0.95 * f)
            b.add(
                prim.LEAF_ELLIPSOID,
                at,
                (r, r, height * 0.11),
                prim.FOLIAGE,
                prim.VEGETATION,
                green,
                cut=holes,
                yaw=p.u(0, 3),
            )
        return
    reach = (height - clear) / 2
    wide = reach * p.u(0.65, 1.2)
    lumps = int(p.u(7, 13))
    for i in range(lumps):
        # Lumps sit on the outline of an egg, the first one fills its middle.
        angle, up = i * 2.4 + p.u(-0.4, 0.4), 1.6 * (i + 0.5) / lumps - 0.8
        out = 0.62 * math.sqrt(max(0.05, 1.0 - up * up)) * p.u(0.7, 1.25)
        size = p.u(0.3, 0.52)
        if i == 0:
            out, up, size = 0.0, 0.0, 0.66
        at = (
            x + math.cos(angle) * out * wide,
            y + math.sin(angle) * out * wide,
            z + clear + reach * (1.0 + up * p.u(0.8, 1.0)),
        )
        half = (wide * size * p.u(0.8, 1.3), wide * size, reach * size * p.u(0.6, 1.0))
        shade = p.u(0.75, 1.25)
        tint = (green[0] * shade, green[1] * shade, green[2] * shade)
        b.add(prim.LEAF_ELLIPSOID, at, half, prim.FOLIAGE, prim.VEGETATION, tint, cut=holes, yaw=p.u(0, 3))
    for _ in range(int(p.u(0, 3.5))):
        lean = p.u(-0.9, 0.9)
        at = (x + lean / 2, y, z + clear * 1.15)
        b.add(
            prim.CYLINDER,
            at,
            (trunk * 0.5, trunk * 0.5, reach * 0.5),
            prim.PLAIN,
            prim.VEGETATION,
            brown,
            shear=lean,
            yaw=p.u(0, 6),
        )


def bush(b: TableBuilder, p: Palette, x: float, y: float, z: float, scale: float = 1.0) -> None:
    """A shrub of two or three lumps."""
    green = p.leaf()
    for _ in range(int(p.u(1, 4))):
        a = p.u(0.35, 1.0) * scale
        at = (x + p.u(-0.6, 0.6) * scale, y + p.u(-0.6, 0.6) * scale, z + a * 0.5)
        b.add(
            prim.LEAF_ELLIPSOID,
            at,
            (a * p.u(0.8, 1.5), a, a * p.u(0.6, 1.1)),
            prim.FOLIAGE,
            prim.VEGETATION,
            green,
            cut=(p.u(-1.6, -0.8), 0.9, p.u(1.5, 4.0)),
            yaw=p.u(0, 3),
        )
