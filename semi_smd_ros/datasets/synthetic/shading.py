# SPDX-License-Identifier: Apache-2.0
"""Deferred shading: every pixel's colour, once, from its hit: material, sun with shadows, sky light, haze."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .air import Air, Airs, sky
from .lamps import LampMaps
from .marks import Marks
from .materials import MATERIALS, Hits
from .photographed import USES, photographed
from .photographs import Photographs
from .primitives import CYLINDER, ELLIPSOID, FOLIAGE, LEAF_ELLIPSOID, QUAD, SUPER
from .shadows import ShadowMaps
from .slots import Slots, Value
from .vectors import Vec3, dot, normalise, smoothstep


@dataclass(frozen=True)
class Points:
    """N seen points of solid things, in any mixture of views."""

    prim: torch.Tensor  # (N,) int64
    unit: Vec3  # in the primitive's own coordinates, -1..1
    world: Vec3  # metres
    view: Vec3  # unit vector from the camera
    distance: torch.Tensor  # (N,) metres from the camera
    footprint: torch.Tensor  # (N,) metres a pixel covers there, across the line of sight
    groups: tuple[tuple[int, slice], ...]  # points come sorted by material: each one's part
    slots: Slots  # the instants they belong to


@dataclass(frozen=True)
class Shader:
    """Everything shading needs of all instants of a batch."""

    attributes_ap: torch.Tensor  # float32 rows: inverse (9), colour, colour2, param (6), half, salt, taper (2)
    shape: torch.Tensor  # (P,) int64
    material: torch.Tensor  # (P,) int64
    marks: Marks
    airs: Airs
    sun_maps: ShadowMaps | None
    sky_maps: ShadowMaps
    lamps: LampMaps
    photographs: Photographs | None = None

    def solid(self, points: Points) -> Vec3:
        """Linear RGB of seen points."""
        prim, unit, view = points.prim, points.unit, points.view
        attributes = self.attributes_ap.index_select(1, prim)
        local_normal = _normal(unit, self.shape[prim], attributes[25], attributes[26])
        m = attributes[:9]
        normal = normalise(
            (
                m[0] * local_normal[0] + m[3] * local_normal[1] + m[6] * local_normal[2],
                m[1] * local_normal[0] + m[4] * local_normal[1] + m[7] * local_normal[2],
                m[2] * local_normal[0] + m[5] * local_normal[1] + m[8] * local_normal[2],
            )
        )
        facing = -dot(normal, view)
        back = (facing < 0.0).float()
        turn = 1.0 - 2.0 * back
        normal = (normal[0] * turn, normal[1] * turn, normal[2] * turn)
        footprint = points.footprint * (facing.abs().clamp(min=0.12)) ** -0.7
        air = self.airs.at(points.slots)
        surface = self._materials(points, air, local_normal, footprint, attributes)
        leafy = torch.zeros_like(facing)
        for kind, part in points.groups:
            if kind == FOLIAGE:
                leafy[part] = 1.0
        return self._light(points, air, surface, normal, facing, back, leafy)

    def _materials(
        self,
        points: Points,
        air: Air,
        normal: Vec3,
        footprint: torch.Tensor,
        a: torch.Tensor,
    ) -> torch.Tensor:
        """(7, N): albedo, gloss, glow."""
        out = torch.zeros(7, a.shape[1], device=a.device)
        unit = points.unit
        for kind, part in points.groups:
            b = a[9:25, part]
            size = (b[12], b[13], b[14])
            own = (unit[0][part], unit[1][part], unit[2][part])
            hits = Hits(
                local=(own[0] * size[0], own[1] * size[1], own[2] * size[2]),
                unit=own,
                normal=(normal[0][part], normal[1][part], normal[2][part]),
                footprint=footprint[part],
                colour=(b[0], b[1], b[2]),
                colour2=(b[3], b[4], b[5]),
                param=list(b[6:12]),
                half=size,
                salt=b[15],
                marks=self.marks,
                slots=points.slots.pick(part),
                lit_windows=_part(air.lit_windows, part),
                soaked=_part(air.soaked, part),
            )
            surface = MATERIALS[kind](hits)
            if self.photographs is not None and kind in USES:
                surface = photographed(kind, surface, hits, self.photographs)
            rows = [*surface.albedo]
            if surface.gloss is not None or surface.glow is not None:
                rows.append(surface.gloss if surface.gloss is not None else torch.zeros_like(rows[0]))
            if surface.glow is not None:
                rows.extend(surface.glow)
            for k, row in enumerate(rows):
                out[k, part] = row
        return out

    def _light(
        self,
        points: Points,
        air: Air,
        surface: torch.Tensor,
        normal: Vec3,
        facing: torch.Tensor,
        back: torch.Tensor,
        leafy: torch.Tensor,
    ) -> Vec3:
        world, view, distance, slots = points.world, points.view, points.distance, points.slots
        # Step off the surface by more than a texel of the map, or surfaces along the light shade themselves.
        above, aside = _offset(world, normal, 0.17 + 0.001 * distance), _offset(world, normal, 0.55)
        open_sky = self.sky_maps.lit(slots, aside, 0.1, 2.0)
        ambient = (0.45 + 0.55 * open_sky) * (1.0 - 0.45 * back * leafy)
        # Leaves point every way: a lump of them is shaded like a heap, not like a ball.
        upward = 0.5 + (0.5 - 0.25 * leafy) * normal[2]
        result = [surface[k] * ambient * (air.ground[k] + air.sky_over_ground[k] * upward) for k in range(3)]
        if air.sunny and self.sun_maps is not None:
            incidence = normal[0] * air.sun[0] + normal[1] * air.sun[1] + normal[2] * air.sun[2]
            # Leaves let light through and point every way, so a crown's dark side is not black.
            incidence = torch.lerp(
                incidence.clamp(min=0.0), (incidence * 0.4 + 0.45).clamp(min=0.0) * (1 - 0.5 * back), leafy
            )
            sun = incidence * self.sun_maps.lit(slots, above, 0.05, 0.6)
            result = [r + surface[k] * sun * air.sun_colour[k] for k, r in enumerate(result)]
        lamps = self.lamps.light(slots, world, normal)
        if lamps is not None:
            shade = 0.3 + 0.7 * open_sky
            result = [r + surface[k] * shade * e for k, (r, e) in enumerate(zip(result, lamps, strict=True))]
        gloss = surface[3]
        shiny = (gloss > 0.01).nonzero()[:, 0]
        if len(shiny):
            n, d, f = _take(normal, shiny), _take(view, shiny), facing[shiny].abs()
            mirror = (d[0] + 2 * f * n[0], d[1] + 2 * f * n[1], d[2] + 2 * f * n[2])
            fresnel = gloss[shiny] * (0.25 + 0.75 * (1.0 - f) ** 3)
            above_horizon = smoothstep(mirror[2] * 4.0 + 0.3)
            around = self.airs.at(slots.pick(shiny))
            for k, c in enumerate(sky(around, mirror)):
                low = around.ground[k] * 0.5
                low = low if isinstance(low, torch.Tensor) else torch.full_like(c, low)
                reflected = torch.lerp(low, c, above_horizon)
                result[k] = result[k].index_copy(0, shiny, torch.lerp(result[k][shiny], reflected, fresnel))
        clear = torch.exp(distance * air.thinning)
        return (
            (result[0] + surface[4]) * clear + air.horizon[0] * (1.0 - clear),
            (result[1] + surface[5]) * clear + air.horizon[1] * (1.0 - clear),
            (result[2] + surface[6]) * clear + air.horizon[2] * (1.0 - clear),
        )


def _part(value: Value, part: slice) -> Value:
    return value[part] if isinstance(value, torch.Tensor) else value


def _offset(p: Vec3, normal: Vec3, step: torch.Tensor | float) -> Vec3:
    return p[0] + normal[0] * step, p[1] + normal[1] * step, p[2] + normal[2] * step


def _take(v: Vec3, index: torch.Tensor) -> Vec3:
    return v[0].index_select(0, index), v[1].index_select(0, index), v[2].index_select(0, index)


def _normal(p: Vec3, shape: torch.Tensor, tx: torch.Tensor, ty: torch.Tensor) -> Vec3:
    """Outward normals in shape coordinates (any length)."""
    lean = 0.5 * (p[2] + 1.0)
    ax, ay, az = p[0].abs() + tx * lean, p[1].abs() + ty * lean, p[2].abs()
    cylinder = (shape == CYLINDER).float()
    radius = (p[0] * p[0] + p[1] * p[1]).sqrt()
    side = (torch.lerp(torch.maximum(ax, ay), radius, cylinder) >= az).float()
    x_side = (ax >= ay).float()
    flat = ((shape == QUAD).float() - 0.0).clamp(0.0, 1.0)
    nx = side * torch.lerp(p[0].sign() * x_side, p[0], cylinder)
    ny = side * torch.lerp(p[1].sign() * (1.0 - x_side), p[1], cylinder)
    nz = torch.lerp(p[2].sign(), 0.5 * (tx * x_side + ty * (1.0 - x_side)) * (1.0 - cylinder), side)
    ball = ((shape == ELLIPSOID) | (shape == LEAF_ELLIPSOID)).float()
    nx, ny, nz = (torch.lerp(a, b, ball) for a, b in zip((nx, ny, nz), p, strict=True))
    round_box = (shape == SUPER).float()
    fifth = tuple(c * c * c * c * c for c in p)
    nx, ny, nz = (torch.lerp(a, b, round_box) for a, b in zip((nx, ny, nz), fifth, strict=True))
    solid = 1.0 - flat
    return nx * solid, ny * solid, torch.lerp(nz, torch.ones_like(nz), flat)
