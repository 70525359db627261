# SPDX-License-Identifier: Apache-2.0
"""Procedural materials: from a hit point in the object's own metres to a linear albedo, glossiness and glow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from . import primitives as prim
from .noise import hash01, noise
from .vectors import Vec3, smoothstep


@dataclass(frozen=True)
class RoadMarks:
    """Paint on the road, in road coordinates (s along, lat to the left), metres.

    Attributes:
        lines_l8: one row a line: lat, half width, dash period (0 solid), dash share, red, green, blue, wear.
        zebras_z4: one row a crossing: s0, s1, lat0, lat1; stripes run along s.
        wear: 0 fresh .. 1 worn asphalt.
    """

    lines_l8: list[tuple[float, ...]]
    zebras_z4: list[tuple[float, ...]]
    wear: float


@dataclass(frozen=True)
class Hits:
    """N hit points of one material."""

    local: Vec3  # metres from the object's centre, along its own axes
    unit: Vec3  # the same in half sizes, -1..1
    normal: Vec3  # in the object's axes, not normalised for sheared shapes
    footprint: torch.Tensor  # (N,) metres a pixel covers on the surface
    colour: Vec3
    colour2: Vec3
    param: list[torch.Tensor]  # six of (N,)
    half: Vec3
    salt: torch.Tensor
    marks: RoadMarks


@dataclass
class Surface:
    """What a material says about N points: albedo, mirror share 0..1, emitted light."""

    albedo: Vec3
    gloss: torch.Tensor | None = None
    glow: Vec3 | None = None


def _mix(a: Vec3, b: Vec3, share: torch.Tensor) -> Vec3:
    return (torch.lerp(a[0], b[0], share), torch.lerp(a[1], b[1], share), torch.lerp(a[2], b[2], share))


def _scale(a: Vec3, factor: torch.Tensor) -> Vec3:
    return a[0] * factor, a[1] * factor, a[2] * factor


def _flat(like: torch.Tensor, red: float, green: float, blue: float) -> Vec3:
    """One colour for all points of `like`."""
    return torch.full_like(like, red), torch.full_like(like, green), torch.full_like(like, blue)


def _edge(distance: torch.Tensor, footprint: torch.Tensor) -> torch.Tensor:
    """1 inside (distance > 0), 0 outside, as soft as a pixel."""
    return (distance / footprint + 0.5).clamp(0.0, 1.0)


def _salted(hits: Hits) -> Vec3:
    return hits.local[0] + hits.salt, hits.local[1], hits.local[2]


def _wall(hits: Hits) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates (u, v) in metres on an upright face, v from the foot, and whether the face is upright."""
    along_y = (hits.normal[0].abs() > hits.normal[1].abs()).float()
    u = torch.lerp(hits.local[0], hits.local[1], along_y)
    side = torch.lerp(hits.half[0], hits.half[1], along_y)
    upright = (hits.normal[2].abs() < 0.75 * _size(hits.normal)).float()
    return u + side, hits.local[2] + hits.half[2], upright


def _size(v: Vec3) -> torch.Tensor:
    return (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()


def _plain(hits: Hits) -> Surface:
    """param: strength of the stains, their period (m)."""
    period = hits.param[1].clamp(min=0.5)
    stain = noise(_salted(hits), period, hits.footprint)
    return Surface(_scale(hits.colour, (1.0 + hits.param[0] * stain).clamp(min=0.1)))


def _facade(hits: Hits) -> Surface:
    """param: bay width, storey height, window's share of both, kind of ground floor, strip of the window frames."""
    u, v, upright = _wall(hits)
    foot = hits.footprint
    bay, storey, share_u, share_v, ground, style = hits.param
    column, row = (u / bay).floor(), (v / storey).floor()
    a, b = u / bay - column, v / storey - row
    at_ground = (1.0 - row.clamp(0.0, 1.0)) * ground
    share_u = torch.lerp(share_u, 0.5 + 0.45 * share_u, at_ground)
    share_v = torch.lerp(share_v, 0.5 + 0.4 * share_v, at_ground)
    du, dv = (share_u * 0.5 - (a - 0.5).abs()) * bay, (share_v * 0.5 - (b - 0.52).abs()) * storey
    inside = torch.minimum(du, dv)
    window = _edge(inside, foot) * upright
    frame = _edge(0.09 - (inside - 0.02).abs(), foot) * upright
    draw = hash01(column, row, hits.salt)
    stain = noise(_salted(hits), 9.0, foot)
    fine = noise(_salted(hits), 1.3, foot)
    wall = _scale(hits.colour, (1.0 + 0.12 * stain + 0.07 * fine).clamp(min=0.2))
    band = _edge(0.12 - (b * storey - 0.1).abs(), foot) * upright * (style > 0.5).float()
    wall = _scale(wall, 1.0 - 0.3 * band)
    bars = _edge(0.035 - ((a - 0.5).abs() * bay - 0.02).abs(), foot) * (style < 0.7).float()
    pane = _scale(hits.colour2, 0.4 + 1.1 * draw)
    curtain = (draw * 7.0 - (draw * 7.0).floor() < 0.3).float() * (b > 0.55).float()
    pane = _mix(pane, _flat(draw, 0.5, 0.47, 0.42), 0.6 * curtain)
    albedo = _mix(wall, pane, window * (1.0 - bars))
    albedo = _mix(albedo, _flat(draw, 0.55, 0.55, 0.55), frame * (style > 0.3).float() * 0.7)
    roof = 1.0 - upright
    dark = (hits.colour[0] * 0.5, hits.colour[1] * 0.5, hits.colour[2] * 0.5)
    return Surface(_mix(albedo, dark, roof), gloss=window * (1.0 - curtain) * 0.5)


def _foliage(hits: Hits) -> Surface:
    leaf = noise(_salted(hits), 0.9, hits.footprint)
    lump = noise(_salted(hits), 5.0, hits.footprint)
    shade = (1.0 + 0.28 * leaf + 0.22 * lump).clamp(0.25, 1.9)
    warm = (1.0 + 0.15 * lump).clamp(0.6, 1.4)
    c = hits.colour
    return Surface((c[0] * shade * warm, c[1] * shade, c[2] * shade))


def _grass(hits: Hits) -> Surface:
    """Two colours in patches, with fine blades."""
    where = _salted(hits)
    patch = smoothstep(noise(where, 24.0, hits.footprint) * 0.45 + 0.5)
    fine = noise(where, 0.8, hits.footprint)
    coarse = noise(where, 3.1, hits.footprint)
    return Surface(_scale(_mix(hits.colour, hits.colour2, patch), (1.0 + 0.25 * fine + 0.15 * coarse).clamp(0.2, 2.0)))


def _road(hits: Hits) -> Surface:
    """param: middle and half length along s, middle and half width along lat, 1 where lane lines are painted."""
    s = hits.param[0] + hits.param[1] * hits.unit[0]
    lat = hits.param[2] + hits.param[3] * hits.unit[1]
    foot, painted = hits.footprint, hits.param[4]
    where = (s, lat, torch.zeros_like(s))
    grain = noise(where, 0.7, foot)
    tone = noise(where, 13.0, foot)
    slow = noise((where[0] * 0.25, lat, where[2] + 3.0), 21.0, foot)
    wear = hits.marks.wear
    asphalt = _scale(hits.colour, (1.0 + 0.10 * grain + (0.04 + 0.10 * wear) * tone + 0.10 * slow).clamp(0.3, 2.0))
    crack = noise(where, 17.0, foot * 0.5).abs()
    crack = (1.0 - crack * 14.0).clamp(min=0.0) * (foot < 0.12).float() * wear
    patch = (noise((s * 0.3, lat, where[2] + 9.0), 30.0, foot) > 1.55).float() * wear
    asphalt = _scale(asphalt, (1.0 - 0.4 * crack) * (1.0 - 0.35 * patch))
    worn = (1.0 + 0.35 * (noise(where, 2.3, foot) - 0.3) * wear).clamp(0.2, 1.0)
    for line in hits.marks.lines_l8:
        middle, half, period, share, red, green, blue, strength = line
        ink = _edge(half - (lat - middle).abs(), foot)
        if period > 0.0:
            cycle = s / period
            ink = ink * _edge((share * 0.5 - (cycle - cycle.floor() - 0.5).abs()) * period, foot)
        ink = ink * worn * painted * strength
        asphalt = _mix(asphalt, _flat(ink, red, green, blue), ink)
    for s0, s1, l0, l1 in hits.marks.zebras_z4:
        cycle = lat / 1.0
        ink = _edge(torch.minimum(torch.minimum(s - s0, s1 - s), torch.minimum(lat - l0, l1 - lat)), foot)
        ink = ink * _edge(0.25 - (cycle - cycle.floor() - 0.5).abs(), foot) * worn * 0.9
        asphalt = _mix(asphalt, _flat(ink, 0.75, 0.75, 0.75), ink)
    return Surface(asphalt)


def _paving(hits: Hits) -> Surface:
    """param: size of the slabs (m)."""
    size, foot = hits.param[0].clamp(min=0.1), hits.footprint
    x, y = hits.local[0] / size, hits.local[1] / size
    a, b = x - x.floor(), y - y.floor()
    joint = torch.maximum((a - 0.5).abs(), (b - 0.5).abs())
    joint = _edge((joint - 0.47) * size, foot) * (foot < size * 0.4).float()
    slab = hash01(x.floor(), y.floor(), hits.salt)
    stain = noise(_salted(hits), 7.0, foot)
    fine = noise(_salted(hits), 0.6, foot)
    shade = (1.0 + 0.10 * (slab - 0.5) + 0.12 * stain + 0.08 * fine) * (1.0 - 0.35 * joint)
    return Surface(_scale(hits.colour, shade.clamp(min=0.2)))


def _brick(hits: Hits) -> Surface:
    """param: height of a course (m)."""
    u, v, upright = _wall(hits)
    height, foot = hits.param[0].clamp(min=0.06), hits.footprint
    row = (v / height).floor()
    b = v / height - row
    x = u / (height * 2.3) + 0.5 * (row - 2.0 * (row * 0.5).floor())
    a = x - x.floor()
    near = (foot < height * 0.5).float() * upright
    joint = torch.maximum((a - 0.5).abs() * 2.3, (b - 0.5).abs())
    joint = _edge((joint - 0.44) * height, foot) * near
    tone = hash01(x.floor(), row, hits.salt) - 0.5
    stain = noise(_salted(hits), 6.0, foot)
    shade = (1.0 + 0.35 * tone * near + 0.18 * stain).clamp(min=0.2)
    return Surface(_mix(_scale(hits.colour, shade), hits.colour2, joint * 0.6))


def _paint(hits: Hits) -> Surface:
    """Car body. param: share of the height that is dark trim, door spacing (m)."""
    _, v, upright = _wall(hits)
    foot = hits.footprint
    dirt = noise(_salted(hits), 2.5, foot)
    body = _scale(hits.colour, (1.0 + 0.05 * dirt).clamp(min=0.2))
    trim = _edge(hits.param[0] * 2.0 * hits.half[2] - v, foot) * upright
    doors = hits.param[1].clamp(min=0.5)
    side = (hits.normal[1].abs() > hits.normal[0].abs()).float() * upright
    cycle = hits.local[0] / doors
    gap = _edge(0.012 - (cycle - cycle.floor() - 0.5).abs() * doors, foot.clamp(min=0.02)) * side
    dark = _flat(foot, 0.03, 0.03, 0.03)
    body = _mix(body, dark, torch.maximum(trim, gap * 0.8))
    return Surface(body, gloss=0.16 * (1.0 - trim))


def _glass(hits: Hits) -> Surface:
    """Window band of a vehicle. param: spacing of the pillars (m), their share."""
    foot = hits.footprint
    u, _, _ = _wall(hits)
    upright = (hits.normal[2].abs() < 0.93 * _size(hits.normal)).float()
    spacing = hits.param[0].clamp(min=0.3)
    cycle = u / spacing
    pillar = _edge((hits.param[1] - (cycle - cycle.floor() - 0.5).abs()) * spacing, foot)
    pillar = torch.maximum(pillar * upright, 1.0 - upright)
    return Surface(_mix(hits.colour2, hits.colour, pillar), gloss=0.34 - 0.2 * pillar)


def _stripes(hits: Hits) -> Surface:
    """param: period (m), lean, 1 for stripes along z instead of the longer side."""
    longer = (hits.half[1] > hits.half[0]).float()
    along = torch.lerp(hits.local[0], hits.local[1], longer)
    along = torch.lerp(along, hits.local[2], hits.param[2])
    period, foot = hits.param[0].clamp(min=0.05), hits.footprint
    cycle = (along + hits.param[1] * hits.local[2]) / period
    ink = _edge((0.25 - (cycle - cycle.floor() - 0.5).abs()) * period, foot)
    stain = noise(_salted(hits), 1.7, foot)
    return Surface(_scale(_mix(hits.colour, hits.colour2, ink), (1.0 + 0.12 * stain).clamp(min=0.2)))


def _sign(hits: Hits) -> Surface:
    """A board with a border and blocks of print. param: size of the print (m), share of print, border (m)."""
    u, v, upright = _wall(hits)
    along_y = (hits.normal[0].abs() > hits.normal[1].abs()).float()
    width = 2.0 * torch.lerp(hits.half[0], hits.half[1], along_y)
    size, foot = hits.param[0].clamp(min=0.03), hits.footprint
    column, row = (u / (size * 0.6)).floor(), (v / size).floor()
    b = v / size - row
    inside = torch.minimum(torch.minimum(u, width - u), torch.minimum(v, 2.0 * hits.half[2] - v))
    letter = (hash01(column, row, hits.salt) < hits.param[1]).float() * ((b - 0.5).abs() < 0.33).float()
    letter = letter * _edge(inside - 2.0 * hits.param[2], foot) * (foot < size).float()
    border = _edge(hits.param[2] * 0.7 - (inside - hits.param[2]).abs(), foot)
    ink = torch.maximum(letter, border) * upright
    return Surface(_mix(hits.colour, hits.colour2, ink))


def _lamp(hits: Hits) -> Surface:
    """param: light emitted, in units of the colour."""
    return Surface(hits.colour, glow=_scale(hits.colour, hits.param[0]))


MATERIALS: dict[int, Callable[[Hits], Surface]] = {
    prim.PLAIN: _plain,
    prim.FACADE: _facade,
    prim.FOLIAGE: _foliage,
    prim.GRASS: _grass,
    prim.ROAD: _road,
    prim.PAVING: _paving,
    prim.BRICK: _brick,
    prim.PAINT: _paint,
    prim.GLASS: _glass,
    prim.STRIPES: _stripes,
    prim.SIGN: _sign,
    prim.LAMP: _lamp,
}
