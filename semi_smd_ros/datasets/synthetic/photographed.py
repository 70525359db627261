# SPDX-License-Identifier: Apache-2.0
"""Materials with photographs on them: which picture a primitive wears, how large, how strong, in which colour.

Colours stay those of the world, which are varied on purpose; a photograph gives what noise cannot: grains, blades,
stones, stains and joints as they are. Some primitives keep the noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from . import primitives as prim
from .photographs import LUMINANCE, Photographs
from .surface import Hits, Surface, mix, wall_uv, wet
from .vectors import Vec3

# Of every material: kinds of photographs, with their chances, and the metres that one covers, from and to.
USES: dict[int, tuple[tuple[str, ...], tuple[float, float]]] = {
    prim.ROAD: (('road', 'road', 'pavement', 'dirt'), (1.5, 6.0)),
    prim.GRASS: (('grass', 'grass', 'dirt', 'snow'), (1.5, 8.0)),
    prim.PAVING: (('pavement', 'road'), (1.2, 5.0)),
    prim.FOLIAGE: (('foliage', 'grass'), (1.0, 4.0)),
    prim.PLAIN: (('wall', 'wood_metal', 'bark'), (1.0, 6.0)),
    prim.BRICK: (('wall',), (1.5, 5.0)),
    prim.PLANKS: (('wood_metal', 'bark'), (1.0, 4.0)),
    prim.TILES: (('wall', 'pavement'), (1.5, 5.0)),
    prim.FACADE: (('wall', 'wood_metal'), (1.5, 6.0)),
}
WHOLE_HOUSES = (('facade',), (5.0, 14.0))
GROUND = (prim.ROAD, prim.GRASS, prim.PAVING)
_KEPT = 0.2  # share of primitives that keep the noise
_KEPT_PLAIN = 0.4
_SMALL_M = 0.4  # half size below which plain things keep theirs
_LARGER, _DEPTH = 5.3, 0.45  # a second look at the same picture, so many times larger and so strong, hides the tiles
_ALBEDO = (0.005, 0.95)
_MARK = 0.35  # |log| of light over the ground's own at which it is paint, a crack or a window, and stays
_FACTORS = (7919.0, 104729.0, 15485.863, 611953.0, 27644.437)  # of the seed: draws that have nothing in common


def photographed(kind: int, plain: Surface, hits: Hits, photographs: Photographs) -> Surface:
    """`plain`, what the material of `kind` says without photographs, with photographs on most primitives."""
    kinds, metres = USES[kind]
    kinds = photographs.kinds(kinds)
    draws = _draws(hits, kind)
    albedo = plain.albedo
    if kinds:
        albedo = mix(albedo, _covered(kind, kinds, metres, hits, photographs, draws), _share(kind, plain, hits, draws))
    covered = Surface(albedo, plain.gloss, plain.glow)
    if kind == prim.FACADE and photographs.kinds(WHOLE_HOUSES[0]):
        return _house(covered, hits, photographs, draws)
    return covered


def _draws(hits: Hits, kind: int) -> list[torch.Tensor]:
    """Uniform numbers 0..1 of every primitive. Ground of one colour has the same ones: a road is of one piece."""
    red, green, blue = (c.double() for c in hits.colour)
    seed = (red * 9137.31 + green * 5779.7 + blue * 3343.9 + 0.137).frac()
    if kind not in GROUND:
        seed = (seed + hits.salt.double() * 0.618034).frac()
    return [(seed * factor % 1.0).float() for factor in _FACTORS]


def _picture(
    kinds: Sequence[str], metres: tuple[float, float], photographs: Photographs, which: torch.Tensor, size: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture that draw `which` chooses: first a kind, then one of it; and the metres that `size` chooses."""
    where = which * len(kinds)
    kind = where.long().clamp(max=len(kinds) - 1)
    number = torch.zeros_like(kind)
    for k, name in enumerate(kinds):
        choice = torch.tensor(photographs.numbers[name], device=which.device)
        index = ((where - k).clamp(0.0, 1.0) * len(choice)).long().clamp(max=len(choice) - 1)
        number = torch.where(kind == k, choice[index], number)
    low, high = metres
    return number, low * (high / low) ** size


def _place(kind: int, hits: Hits) -> tuple[torch.Tensor, torch.Tensor]:
    """Metres along a surface."""
    if kind == prim.ROAD:
        return hits.param[0] + hits.param[1] * hits.unit[0], hits.param[2] + hits.param[3] * hits.unit[1]
    if kind in GROUND:
        return hits.local[0], hits.local[1]
    if kind == prim.FOLIAGE:
        return hits.local[0] + 0.8 * hits.local[1] + hits.salt, hits.local[2] + 0.3 * hits.local[1]
    u, v, upright = wall_uv(hits)
    return torch.lerp(hits.local[0], u, upright), torch.lerp(hits.local[1], v, upright)


def _covered(
    kind: int,
    kinds: Sequence[str],
    metres: tuple[float, float],
    hits: Hits,
    photographs: Photographs,
    draws: list[torch.Tensor],
) -> Vec3:
    """The photograph's albedo, in the primitive's colour or, as far as a draw says, in its own."""
    _, size, which, strength, own = draws
    u, v = _place(kind, hits)
    number, side = _picture(kinds, metres, photographs, which, size)
    ratio = photographs.ratios(number, u, v, side, hits.footprint)
    large = photographs.ratios(number, 0.8 * u + 0.6 * v, 0.8 * v - 0.6 * u, side * _LARGER, hits.footprint)
    ratio = (ratio * (1.0 - _DEPTH + _DEPTH * large)).clamp(0.05, 5.0)
    ratio = 1.0 + (ratio - 1.0) * (0.5 + 0.8 * strength)[:, None]
    grey = (ratio @ torch.tensor(LUMINANCE, device=ratio.device))[:, None]
    colour = mix(hits.colour, hits.colour2, torch.full_like(own, 0.5)) if kind == prim.GRASS else hits.colour
    hue = (own * (0.8 if kind == prim.FOLIAGE else 1.0))[:, None]
    base = torch.lerp(torch.stack(colour, 1), _light(colour)[:, None] * photographs.tints_k3[number], hue)
    red, green, blue = (base * torch.lerp(grey, ratio, hue)).clamp(*_ALBEDO).unbind(1)
    return wet((red, green, blue), hits) if kind in GROUND else (red, green, blue)


def _light(colour: Vec3) -> torch.Tensor:
    return LUMINANCE[0] * colour[0] + LUMINANCE[1] * colour[1] + LUMINANCE[2] * colour[2]


def _share(kind: int, plain: Surface, hits: Hits, draws: list[torch.Tensor]) -> torch.Tensor:
    """How much of a photograph shows: 0 on primitives that keep the noise, on paint, cracks and windows."""
    share = (draws[0] > (_KEPT_PLAIN if kind == prim.PLAIN else _KEPT)).float()
    if kind == prim.PLAIN:
        largest = torch.maximum(hits.half[0], torch.maximum(hits.half[1], hits.half[2]))
        return share * (largest >= _SMALL_M).float()
    if kind in (prim.ROAD, prim.FACADE):
        own = _light(hits.colour) * (hits.soaked if kind == prim.ROAD else 1.0)
        unlike = (_light(plain.albedo) / own.clamp(min=1e-3)).log().abs()
        share = share * (1.0 - ((unlike - _MARK) * 4.0).clamp(0.0, 1.0))
    if kind == prim.FACADE and plain.gloss is not None:
        share = share * (plain.gloss < 0.01).float()
    return share


def _house(plain: Surface, hits: Hits, photographs: Photographs, draws: list[torch.Tensor]) -> Surface:
    """Some houses are photographs altogether, with the windows of these."""
    u, v, upright = wall_uv(hits)
    number, side = _picture(*WHOLE_HOUSES, photographs, draws[4], draws[3])
    light = (0.12 + 0.3 * draws[1])[:, None] * photographs.tints_k3[number]
    red, green, blue = (photographs.ratios(number, u, -v, side, hits.footprint) * light).clamp(*_ALBEDO).unbind(1)
    whole = (draws[2] > 0.6).float() * upright
    gloss = None if plain.gloss is None else plain.gloss * (1.0 - whole)
    glow = None
    if plain.glow is not None:
        glow = (plain.glow[0] * (1.0 - whole), plain.glow[1] * (1.0 - whole), plain.glow[2] * (1.0 - whole))
    return Surface(mix(plain.albedo, (red, green, blue), whole), gloss, glow)
