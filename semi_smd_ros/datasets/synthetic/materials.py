# SPDX-License-Identifier: Apache-2.0
"""Procedural materials: from a hit point in the object's own metres to a linear albedo, glossiness and glow."""

from __future__ import annotations

from collections.abc import Callable

from . import coachwork, ground, walls
from . import primitives as prim
from .surface import Hits, Surface

__all__ = ['MATERIALS', 'Hits', 'Surface']

MATERIALS: dict[int, Callable[[Hits], Surface]] = {
    prim.PLAIN: walls.plain,
    prim.FACADE: walls.facade,
    prim.FOLIAGE: ground.foliage,
    prim.GRASS: ground.grass,
    prim.ROAD: ground.road,
    prim.PAVING: ground.paving,
    prim.BRICK: walls.brick,
    prim.PAINT: coachwork.paint,
    prim.GLASS: coachwork.glass,
    prim.STRIPES: walls.stripes,
    prim.SIGN: walls.sign,
    prim.LAMP: walls.lamp,
    prim.WHEEL: coachwork.wheel,
    prim.TILES: walls.tiles,
    prim.PLANKS: walls.planks,
}
