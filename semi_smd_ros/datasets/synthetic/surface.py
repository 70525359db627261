# SPDX-License-Identifier: Apache-2.0
"""What materials are given and what they answer, and their small tools."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .marks import Marks
from .slots import Slots, Value
from .vectors import Vec3


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
    marks: Marks
    slots: Slots
    lit_windows: Value  # 0 by day .. 1 at night
    soaked: Value  # what water in the pores leaves of ground's albedo


@dataclass
class Surface:
    """What a material says about N points: albedo, mirror share 0..1, emitted light."""

    albedo: Vec3
    gloss: torch.Tensor | None = None
    glow: Vec3 | None = None


def mix(a: Vec3, b: Vec3, share: torch.Tensor) -> Vec3:
    """From a to b by a share."""
    return (torch.lerp(a[0], b[0], share), torch.lerp(a[1], b[1], share), torch.lerp(a[2], b[2], share))


def scale(a: Vec3, factor: torch.Tensor) -> Vec3:
    """A colour times a factor."""
    return a[0] * factor, a[1] * factor, a[2] * factor


def flat(like: torch.Tensor, red: Value, green: Value, blue: Value) -> Vec3:
    """One colour for all points of `like`, or the colour that each has."""
    return _filled(like, red), _filled(like, green), _filled(like, blue)


def _filled(like: torch.Tensor, value: Value) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.full_like(like, value)


def edge(distance: torch.Tensor, footprint: torch.Tensor) -> torch.Tensor:
    """1 inside (distance > 0), 0 outside, as soft as a pixel."""
    return (distance / footprint + 0.5).clamp(0.0, 1.0)


def wet(colour: Vec3, hits: Hits) -> Vec3:
    """Water in the pores darkens ground."""
    return colour[0] * hits.soaked, colour[1] * hits.soaked, colour[2] * hits.soaked


def salted(hits: Hits) -> Vec3:
    """Where in the noise a primitive lies: each elsewhere."""
    return hits.local[0] + hits.salt, hits.local[1], hits.local[2]


def wall_uv(hits: Hits) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coordinates (u, v) in metres on an upright face, v from the foot, and whether the face is upright."""
    along_y = (hits.normal[0].abs() > hits.normal[1].abs()).float()
    u = torch.lerp(hits.local[0], hits.local[1], along_y)
    side = torch.lerp(hits.half[0], hits.half[1], along_y)
    upright = (hits.normal[2].abs() < 0.75 * size_of(hits.normal)).float()
    return u + side, hits.local[2] + hits.half[2], upright


def size_of(v: Vec3) -> torch.Tensor:
    """Length of vectors."""
    return (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt()
