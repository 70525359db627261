# SPDX-License-Identifier: Apache-2.0
"""Materials of what is built: walls, windows, roofs, boards, signs, lamps."""

from __future__ import annotations

import torch

from .noise import hash01, noise
from .surface import Hits, Surface, edge, flat, mix, salted, scale, wall_uv


def plain(hits: Hits) -> Surface:
    """param: strength of the stains, their period (m)."""
    period = hits.param[1].clamp(min=0.5)
    stain = noise(salted(hits), period, hits.footprint)
    return Surface(scale(hits.colour, (1.0 + hits.param[0] * stain).clamp(min=0.1)))


def facade(hits: Hits) -> Surface:
    """param: bay width, storey height, window's share of both, kind of ground floor, strip of the window frames."""
    u, v, upright = wall_uv(hits)
    foot = hits.footprint
    bay, storey, share_u, share_v, ground, style = hits.param
    column, row = (u / bay).floor(), (v / storey).floor()
    a, b = u / bay - column, v / storey - row
    at_ground = (1.0 - row.clamp(0.0, 1.0)) * ground
    share_u = torch.lerp(share_u, 0.5 + 0.45 * share_u, at_ground)
    share_v = torch.lerp(share_v, 0.5 + 0.4 * share_v, at_ground)
    du, dv = (share_u * 0.5 - (a - 0.5).abs()) * bay, (share_v * 0.5 - (b - 0.52).abs()) * storey
    inside = torch.minimum(du, dv)
    window = edge(inside, foot) * upright
    frame = edge(0.09 - (inside - 0.02).abs(), foot) * upright
    draw = hash01(column, row, hits.salt)
    stain = noise(salted(hits), 9.0, foot)
    fine = noise(salted(hits), 1.3, foot)
    wall = scale(hits.colour, (1.0 + 0.12 * stain + 0.07 * fine).clamp(min=0.2))
    band = edge(0.12 - (b * storey - 0.1).abs(), foot) * upright * (style > 0.5).float()
    wall = scale(wall, 1.0 - 0.3 * band)
    bars = edge(0.035 - ((a - 0.5).abs() * bay - 0.02).abs(), foot) * (style < 0.7).float()
    pane = scale(hits.colour2, 0.4 + 1.1 * draw)
    curtain = (draw * 7.0 - (draw * 7.0).floor() < 0.3).float() * (b > 0.55).float()
    pane = mix(pane, flat(draw, 0.5, 0.47, 0.42), 0.6 * curtain)
    albedo = mix(wall, pane, window * (1.0 - bars))
    albedo = mix(albedo, flat(draw, 0.55, 0.55, 0.55), frame * (style > 0.3).float() * 0.7)
    roof = 1.0 - upright
    dark = (hits.colour[0] * 0.5, hits.colour[1] * 0.5, hits.colour[2] * 0.5)
    # The upper edge of a recessed window lies in the shade of the wall above it.
    shade = 1.0 - 0.55 * window * edge(du.clamp(max=0.0) + 0.16 - (share_v * 0.5 + 0.52 - b) * storey, foot)
    albedo = scale(albedo, shade)
    glow = None
    if isinstance(hits.lit_windows, torch.Tensor) or hits.lit_windows > 0.0:
        lit = (hash01(column + 17.0, row + 5.0, hits.salt) < 0.28 + 0.5 * at_ground).float()
        lit = lit * window * (1.0 - bars) * hits.lit_windows * (0.25 + 0.75 * draw)
        glow = (lit * 0.04, lit * (0.0224 + 0.011 * draw), lit * (0.0096 + 0.02 * draw))
    return Surface(mix(albedo, dark, roof), gloss=window * (1.0 - curtain) * 0.5, glow=glow)


def brick(hits: Hits) -> Surface:
    """param: height of a course (m)."""
    u, v, upright = wall_uv(hits)
    height, foot = hits.param[0].clamp(min=0.06), hits.footprint
    row = (v / height).floor()
    b = v / height - row
    x = u / (height * 2.3) + 0.5 * (row - 2.0 * (row * 0.5).floor())
    a = x - x.floor()
    near = (foot < height * 0.5).float() * upright
    joint = torch.maximum((a - 0.5).abs() * 2.3, (b - 0.5).abs())
    joint = edge((joint - 0.44) * height, foot) * near
    tone = hash01(x.floor(), row, hits.salt) - 0.5
    stain = noise(salted(hits), 6.0, foot)
    shade = (1.0 + 0.35 * tone * near + 0.18 * stain).clamp(min=0.2)
    return Surface(mix(scale(hits.colour, shade), hits.colour2, joint * 0.6))


def stripes(hits: Hits) -> Surface:
    """param: period (m), lean, 1 for stripes along z instead of the longer side."""
    longer = (hits.half[1] > hits.half[0]).float()
    along = torch.lerp(hits.local[0], hits.local[1], longer)
    along = torch.lerp(along, hits.local[2], hits.param[2])
    period, foot = hits.param[0].clamp(min=0.05), hits.footprint
    cycle = (along + hits.param[1] * hits.local[2]) / period
    ink = edge((0.25 - (cycle - cycle.floor() - 0.5).abs()) * period, foot)
    stain = noise(salted(hits), 1.7, foot)
    return Surface(scale(mix(hits.colour, hits.colour2, ink), (1.0 + 0.12 * stain).clamp(min=0.2)))


def tiles(hits: Hits) -> Surface:
    """A tiled roof: courses that catch the light. param: height of a course (m)."""
    foot, size = hits.footprint, hits.param[0].clamp(min=0.1)
    row = hits.local[2] / (size * 0.6)
    b = row - row.floor()
    longer = (hits.normal[0].abs() > hits.normal[1].abs()).float()
    along = torch.lerp(hits.local[0], hits.local[1], longer) / size
    tone = hash01(along.floor(), row.floor(), hits.salt) - 0.5
    near = (1.0 - foot / size).clamp(0.0, 1.0)
    stain = noise(salted(hits), 11.0, foot)
    shade = (1.0 + 0.3 * tone * near + 0.2 * stain) * (1.0 - 0.45 * near * (b < 0.2).float())
    return Surface(scale(hits.colour, shade.clamp(min=0.2)))


def planks(hits: Hits) -> Surface:
    """Boards beside each other, weathered. param: their width (m), how much they differ."""
    along_y = (hits.half[1] > hits.half[0]).float()
    across = torch.lerp(hits.local[0], hits.local[1], along_y) / hits.param[0].clamp(min=0.05)
    foot = hits.footprint
    near = (1.0 - foot / hits.param[0].clamp(min=0.05)).clamp(0.0, 1.0)
    tone = hash01(across.floor(), across.floor() * 0.0, hits.salt) - 0.5
    joint = ((across - across.floor() - 0.5).abs() > 0.45).float() * near
    where = (hits.local[0] + hits.salt, hits.local[1], hits.local[2] * 0.15)
    grain = noise(where, 0.9, foot)
    stain = noise(salted(hits), 4.0, foot)
    shade = (1.0 + hits.param[1] * 2.0 * tone * near + 0.14 * grain + 0.15 * stain) * (1.0 - 0.6 * joint)
    return Surface(scale(hits.colour, shade.clamp(min=0.15)))


def sign(hits: Hits) -> Surface:
    """A board with a border and blocks of print. param: size of the print (m), share of print, border (m)."""
    u, v, upright = wall_uv(hits)
    along_y = (hits.normal[0].abs() > hits.normal[1].abs()).float()
    width = 2.0 * torch.lerp(hits.half[0], hits.half[1], along_y)
    size, foot = hits.param[0].clamp(min=0.03), hits.footprint
    row = (v / (size * 1.5)).floor()
    b = (v / (size * 1.5) - row) * 1.5
    # Lines of print: letters with gaps, some lines larger or empty.
    column = (
        u / (size * torch.lerp(torch.full_like(u, 0.45), torch.full_like(u, 0.9), hash01(row, row, hits.salt)))
    ).floor()
    inside = torch.minimum(torch.minimum(u, width - u), torch.minimum(v, 2.0 * hits.half[2] - v))
    letter = (hash01(column, row, hits.salt) < hits.param[1]).float() * ((b - 0.6).abs() < 0.4).float()
    letter = letter * edge(inside - 2.0 * hits.param[2], foot) * (foot < size).float()
    border = edge(hits.param[2] * 0.7 - (inside - hits.param[2]).abs(), foot)
    ink = torch.maximum(letter, border) * upright
    return Surface(mix(hits.colour, hits.colour2, ink))


def lamp(hits: Hits) -> Surface:
    """param: light emitted, in units of the colour."""
    return Surface(hits.colour, glow=scale(hits.colour, hits.param[0]))
