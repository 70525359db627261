# SPDX-License-Identifier: Apache-2.0
"""Materials of the ground and of plants."""

from __future__ import annotations

import torch

from .noise import hash01, noise
from .slots import Value
from .surface import Hits, Surface, edge, flat, mix, salted, scale, wet
from .vectors import smoothstep


def foliage(hits: Hits) -> Surface:
    leaf = noise(salted(hits), 2.3, hits.footprint * 0.5)
    lump = noise(salted(hits), 9.0, hits.footprint * 0.5)
    shade = (1.0 + 0.5 * leaf + 0.46 * lump).clamp(0.1, 2.8)
    warm = (1.0 + 0.15 * lump).clamp(0.6, 1.4)
    c = hits.colour
    return Surface((c[0] * shade * warm, c[1] * shade, c[2] * shade))


def grass(hits: Hits) -> Surface:
    """Two colours in patches, with fine blades."""
    where = salted(hits)
    patch = smoothstep(noise(where, 57.0, hits.footprint) * 0.45 + 0.5)
    fine = noise(where, 3.7, hits.footprint * 0.6)
    coarse = noise(where, 17.0, hits.footprint * 0.6)
    return Surface(scale(mix(hits.colour, hits.colour2, patch), (1.0 + 0.36 * fine + 0.22 * coarse).clamp(0.2, 2.0)))


def road(hits: Hits) -> Surface:
    """param: middle and half length along s, middle and half width along lat, 1 where lane lines are painted."""
    s = hits.param[0] + hits.param[1] * hits.unit[0]
    lat = hits.param[2] + hits.param[3] * hits.unit[1]
    foot, painted = hits.footprint, hits.param[4]
    where = (s, lat, torch.zeros_like(s))
    grain = noise(where, 2.3, foot * 0.7)
    tone = noise(where, 13.0, foot)
    # Shaken a little, or the noise's cells would show as slabs.
    shaken = (where[0] * 0.25 + 0.13 * grain, lat + 0.2 * grain, where[2] + 3.0)
    slow = noise(shaken, 21.0, foot)
    wear = hits.marks.wear(hits.slots)
    asphalt = scale(hits.colour, (1.0 + 0.10 * grain + (0.04 + 0.10 * wear) * tone + 0.10 * slow).clamp(0.3, 2.0))
    crack = noise(where, 17.0, foot * 0.5).abs()
    crack = (1.0 - crack * 14.0).clamp(min=0.0) * (foot < 0.12).float() * wear
    patch = (noise((shaken[0], shaken[1], where[2] + 9.0), 37.0, foot) > 1.55).float() * wear
    asphalt = scale(asphalt, (1.0 - 0.4 * crack) * (1.0 - 0.35 * patch))
    worn = (1.0 + 0.35 * (noise(where, 2.3, foot) - 0.3) * wear).clamp(0.2, 1.0)
    for middle, half, period, share, red, green, blue, strength in hits.marks.lines(hits.slots):
        ink = edge(half - (lat - middle).abs(), foot)
        if _dashed(period):
            cycle = s / period
            dash = edge((share * 0.5 - (cycle - cycle.floor() - 0.5).abs()) * period, foot)
            ink = ink * _where_dashed(period, dash)
        ink = ink * worn * painted * strength
        asphalt = mix(asphalt, flat(ink, red, green, blue), ink)
    for s0, s1, l0, l1, period in hits.marks.zebras(hits.slots):
        ink = edge(torch.minimum(torch.minimum(s - s0, s1 - s), torch.minimum(lat - l0, l1 - lat)), foot)
        if _dashed(period):
            cycle = lat / period
            stripe = edge((0.25 - (cycle - cycle.floor() - 0.5).abs()) * period, foot)
            ink = ink * _where_dashed(period, stripe)
        ink = ink * worn * painted * 0.9
        asphalt = mix(asphalt, flat(ink, 0.75, 0.75, 0.75), ink)
    return Surface(wet(asphalt, hits))


def _dashed(period: Value) -> bool:
    """Whether any of the points has dashed paint; solid paint has period 0."""
    return isinstance(period, torch.Tensor) or period > 0.0


def _where_dashed(period: Value, ink: torch.Tensor) -> torch.Tensor:
    """`ink` where paint is dashed, 1 where it is solid."""
    return torch.where(period > 0.0, ink, 1.0) if isinstance(period, torch.Tensor) else ink


def paving(hits: Hits) -> Surface:
    """param: size of the slabs (m)."""
    size, foot = hits.param[0].clamp(min=0.1), hits.footprint
    x, y = hits.local[0] / size, hits.local[1] / size
    a, b = x - x.floor(), y - y.floor()
    joint = torch.maximum((a - 0.5).abs(), (b - 0.5).abs())
    joint = edge((joint - 0.47) * size, foot) * (foot < size * 0.4).float()
    slab = hash01(x.floor(), y.floor(), hits.salt)
    stain = noise(salted(hits), 7.0, foot)
    fine = noise(salted(hits), 2.1, foot * 0.7)
    shade = (1.0 + 0.10 * (slab - 0.5) + 0.12 * stain + 0.08 * fine) * (1.0 - 0.35 * joint)
    return Surface(wet(scale(hits.colour, shade.clamp(min=0.2)), hits))
