# SPDX-License-Identifier: Apache-2.0
"""From G-buffers to linear pictures: where each sample is, its colour, and smooth outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .air import sky
from .primitives import PAVING, ROAD
from .rasterise import GBuffer, Raster
from .shading import Points, Shader
from .sheen import add_sheen
from .slots import Slots
from .vectors import Vec3

# A pixel's upper left corner, from its centre, both ways.
CORNER = -0.5
# Samples shaded together: on a CPU few enough for its cache, on a GPU enough to fill it.
_CPU_SAMPLES, _GPU_SAMPLES = 1 << 18, 1 << 23


@dataclass(frozen=True)
class Samples:
    """Samples of V views: first those at pixel centres, then those at the pixels' upper left corners (2 V pictures)."""

    wanted: torch.Tensor  # (2 V, H, W) bool: all centres, and the corners that outlines need
    candidate: torch.Tensor  # (2 V, H, W) int64
    depth: torch.Tensor  # (2 V, H, W) float32
    ray: torch.Tensor  # (2 V, 3, H, W) float32, camera coordinates at the stamp
    world_ray: torch.Tensor  # the same, world coordinates

    @staticmethod
    def of(raster: Raster, centres: GBuffer, needed_vhw: torch.Tensor) -> Samples:
        """`centres`, and samples of the corners of `needed_vhw`."""
        corners = raster.sample(CORNER, needed_vhw)
        ray = torch.cat([raster.views.rays(), raster.views.rays(CORNER)])
        rotation = raster.views.rotation_v33.float().repeat(2, 1, 1)
        return Samples(
            wanted=torch.cat([torch.ones_like(needed_vhw), needed_vhw]),
            candidate=torch.cat([centres.candidate_vhw, corners.candidate_vhw]),
            depth=torch.cat([centres.depth_vhw, corners.depth_vhw]),
            ray=ray,
            world_ray=(rotation @ ray.flatten(2)).view(ray.shape),
        )


def linear_pictures(raster: Raster, shader: Shader, owners: Sequence[int]) -> tuple[torch.Tensor, GBuffer]:
    """Linear RGB (V, 3, H, W) float32 and the pixel centres' G-buffer.

    A pixel whose neighbourhood shows different primitives also takes the colours half a pixel up, down and aside, at
    its four corners; elsewhere one sample does, since materials filter themselves.

    Args:
        raster: the views of all instants.
        shader: of all instants.
        owners: each view's instant.
    """
    views = raster.views
    centres = raster.sample()
    mixed = _outlines(centres.candidate_vhw)
    # The corner up and left of a pixel has the pixel's index; right and bottom edges do without theirs.
    needed = mixed.clone()
    needed[:, 1:] |= mixed[:, :-1]
    needed[:, :, 1:] |= needed[:, :, :-1].clone()
    samples = Samples.of(raster, centres, needed)
    both = torch.zeros((2 * len(views), 3, views.height, views.width), device=mixed.device)
    owner_v = torch.tensor(owners, device=mixed.device)
    step = max(1, samples_at_once(mixed.device) // (2 * views.height * views.width))
    for start in range(0, len(views), step):
        _shade(raster, shader, samples, slice(start, min(start + step, len(views))), owners, owner_v, both)
    colour, extra = both.split(len(views))
    around = extra + torch.cat([extra[..., 1:], extra[..., -1:]], dim=3)
    around = around + torch.cat([around[:, :, 1:], around[:, :, -1:]], dim=2)
    mixed[:, -1] = False
    mixed[:, :, -1] = False
    smooth = torch.lerp(colour, colour * 0.4 + around * 0.15, mixed[:, None].float())
    return _with_sheen(raster, shader, samples, smooth, owners), centres


def _with_sheen(
    raster: Raster, shader: Shader, samples: Samples, colour: torch.Tensor, owners: Sequence[int]
) -> torch.Tensor:
    """The pictures of wet instants with mirror images on their roads; those of dry ones as they are."""
    wetness = [shader.airs.wetness(instant) for instant in owners]
    chosen = [k for k, amount in enumerate(wetness) if amount > 0.0]
    if not chosen:
        return colour
    device = colour.device
    index = torch.tensor(chosen, device=device)
    soaks = (shader.material == ROAD) | (shader.material == PAVING)
    # Candidate -1 looks up the appended False.
    soaks = torch.cat([soaks.index_select(0, raster.found.prim), soaks.new_zeros(1)])
    wet = add_sheen(
        colour.index_select(0, index),
        soaks[samples.candidate.index_select(0, index)],
        samples.depth.index_select(0, index),
        samples.world_ray.index_select(0, index),
        raster.views.origin_v3.index_select(0, index),
        torch.tensor([wetness[k] for k in chosen], device=device),
    )
    return colour.index_copy(0, index, wet)


def samples_at_once(device: torch.device) -> int:
    """How many samples are shaded together."""
    return _CPU_SAMPLES if device.type == 'cpu' else _GPU_SAMPLES


def _outlines(candidate_vhw: torch.Tensor) -> torch.Tensor:
    """Pixels with a neighbour that shows another primitive, (V, H, W) bool."""
    mixed = torch.zeros_like(candidate_vhw, dtype=torch.bool)
    differ = candidate_vhw[:, 1:] != candidate_vhw[:, :-1]
    mixed[:, 1:] |= differ
    mixed[:, :-1] |= differ
    differ = candidate_vhw[:, :, 1:] != candidate_vhw[:, :, :-1]
    mixed[:, :, 1:] |= differ
    mixed[:, :, :-1] |= differ
    return mixed


def _shade(
    raster: Raster,
    shader: Shader,
    samples: Samples,
    mine: slice,
    owners: Sequence[int],
    owner_v: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """Colours of all wanted samples of the views `mine`, written into `out` (2 V, 3, H, W)."""
    views = raster.views
    pixels = views.height * views.width
    where = torch.cat(
        [
            samples.wanted[k + mine.start : k + mine.stop].flatten().nonzero()[:, 0] + (k + mine.start) * pixels
            for k in (0, len(views))
        ]
    )
    candidate = samples.candidate.view(-1).index_select(0, where)
    picture = torch.div(where, pixels, rounding_mode='floor')
    # Planes of one colour or coordinate lie `pixels` apart.
    plane = where + picture * (2 * pixels)
    empty = (candidate < 0).nonzero()[:, 0]
    solid = (candidate >= 0).nonzero()[:, 0]
    # Sorted by material, each material's points lie together. Few bits sort fastest.
    kinds = shader.material.to(torch.uint8)[raster.found.prim].index_select(0, candidate.index_select(0, solid))
    sorted_kinds, order = torch.sort(kinds, stable=True)
    solid = solid.index_select(0, order)
    flat = out.view(-1)
    there = plane.index_select(0, empty)
    ray = _planes(samples.world_ray, there, pixels)
    length = (ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]).rsqrt()
    slots = Slots.of(owners[mine], owner_v, picture % len(views))
    air = shader.airs.at(slots.pick(empty))
    for k, value in enumerate(sky(air, (ray[0] * length, ray[1] * length, ray[2] * length))):
        flat.index_copy_(0, there + k * pixels, value)
    there, picture = plane.index_select(0, solid), picture.index_select(0, solid)
    points = _points(
        raster,
        samples,
        where.index_select(0, solid),
        picture,
        there,
        candidate.index_select(0, solid),
        _groups(sorted_kinds),
        slots.pick(solid),
    )
    for k, value in enumerate(shader.solid(points)):
        flat.index_copy_(0, there + k * pixels, value)


def _groups(sorted_kinds: torch.Tensor) -> tuple[tuple[int, slice], ...]:
    """The part of each material that occurs."""
    groups, start = [], 0
    for kind, count in enumerate(torch.bincount(sorted_kinds).tolist()):
        if count:
            groups.append((kind, slice(start, start + count)))
        start += count
    return tuple(groups)


def _planes(values: torch.Tensor, plane: torch.Tensor, pixels: int) -> Vec3:
    flat = values.view(-1)
    return (
        flat.index_select(0, plane),
        flat.index_select(0, plane + pixels),
        flat.index_select(0, plane + 2 * pixels),
    )


def _points(
    raster: Raster,
    samples: Samples,
    where: torch.Tensor,
    picture: torch.Tensor,
    plane: torch.Tensor,
    candidate: torch.Tensor,
    groups: tuple[tuple[int, slice], ...],
    slots: Slots,
) -> Points:
    views = raster.views
    pixels = views.height * views.width
    view = picture % len(views)
    depth = samples.depth.view(-1).index_select(0, where)
    x, y, z = _planes(samples.ray, plane, pixels)
    c = raster.table_ck.index_select(1, candidate)
    unit = [c[9 + k] + depth * (c[3 * k] * x + c[3 * k + 1] * y + c[3 * k + 2] * z) for k in range(3)]
    ray = _planes(samples.world_ray, plane, pixels)
    origin = views.origin_v3.float().T.contiguous().index_select(1, view)
    world = [origin[k] + depth * ray[k] for k in range(3)]
    if views.drift_v3 is not None:
        row = torch.div(where - picture * pixels, views.width, rounding_mode='floor').float()
        row = row - (views.height - 1) / 2 + (picture >= len(views)).float() * CORNER
        drift = views.drift_v3.float().T.contiguous().index_select(1, view)
        unit = [unit[k] + c[12 + k] * row for k in range(3)]
        world = [world[k] + drift[k] * row for k in range(3)]
    length = (ray[0] * ray[0] + ray[1] * ray[1] + ray[2] * ray[2]).sqrt()
    inverse = length.reciprocal()
    return Points(
        prim=raster.found.prim.index_select(0, candidate),
        unit=(unit[0], unit[1], unit[2]),
        world=(world[0], world[1], world[2]),
        view=(ray[0] * inverse, ray[1] * inverse, ray[2] * inverse),
        distance=depth * length,
        footprint=depth * views.pixel_scale_v.index_select(0, view),
        groups=groups,
        slots=slots,
    )
