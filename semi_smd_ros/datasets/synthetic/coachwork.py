# SPDX-License-Identifier: Apache-2.0
"""Materials of vehicles: painted bodies, wheels, windows."""

from __future__ import annotations

import torch

from .noise import noise
from .surface import Hits, Surface, edge, flat, mix, salted, scale, size_of, wall_uv


def paint(hits: Hits) -> Surface:
    """Vehicle body. param: share of the height that is dark trim, door spacing, wheels' two x, arches' radius and z."""
    _, v, upright = wall_uv(hits)
    foot = hits.footprint
    x, _, z = hits.local
    dirt = noise(salted(hits), 2.5, foot)
    low = (1.0 - v * 2.5).clamp(0.0, 1.0) * 0.25
    body = scale(hits.colour, (1.0 + 0.05 * dirt - low).clamp(min=0.2))
    trim = edge(hits.param[0] * 2.0 * hits.half[2] - v, foot) * upright
    side = (hits.normal[1].abs() > hits.normal[0].abs()).float() * upright
    doors = hits.param[1].clamp(min=0.5)
    cycle = x / doors
    gap = edge(0.012 - (cycle - cycle.floor() - 0.5).abs() * doors, foot.clamp(min=0.02)) * side
    handle_x, handle_z = (cycle - cycle.floor() - 0.85).abs() * doors, (z / hits.half[2] - 0.45).abs() * hits.half[2]
    handle = edge(torch.minimum(0.09 - handle_x, 0.018 - handle_z), foot.clamp(min=0.02)) * side
    near = torch.minimum((x - hits.param[2]).abs(), (x - hits.param[3]).abs())
    arch = edge(hits.param[4] - (near * near + (z - hits.param[5]) ** 2).sqrt(), foot) * side
    arch = arch * (hits.param[4] > 0.0).float()
    dark = torch.maximum(torch.maximum(trim, gap * 0.8), torch.maximum(arch, handle * 0.6))
    return Surface(mix(body, flat(foot, 0.03, 0.03, 0.03), dark), gloss=0.2 * (1.0 - dark))


def wheel(hits: Hits) -> Surface:
    """A rim on a dark tyre. param: radius (m), spokes."""
    x, z = hits.local[0], hits.local[1]
    radius = (x * x + z * z).sqrt() / hits.param[0].clamp(min=0.05)
    angle = torch.atan2(z, x) * (hits.param[1] / 6.2832) + hits.salt
    spoke = ((angle - angle.floor() - 0.5).abs() < 0.28).float()
    metal = torch.maximum(spoke, (radius < 0.3).float()) * (radius < 0.88).float()
    return Surface(mix(hits.colour2, hits.colour, torch.maximum(metal, ((radius - 0.86).abs() < 0.05).float())))


def glass(hits: Hits) -> Surface:
    """Window band of a vehicle. param: spacing of the pillars (m), their share."""
    foot = hits.footprint
    u, _, _ = wall_uv(hits)
    upright = (hits.normal[2].abs() < 0.93 * size_of(hits.normal)).float()
    spacing = hits.param[0].clamp(min=0.3)
    cycle = u / spacing
    pillar = edge((hits.param[1] - (cycle - cycle.floor() - 0.5).abs()) * spacing, foot)
    pillar = torch.maximum(pillar * upright, 1.0 - upright)
    return Surface(mix(hits.colour2, hits.colour, pillar), gloss=0.34 - 0.2 * pillar)
