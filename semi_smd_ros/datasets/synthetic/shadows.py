# SPDX-License-Identifier: Apache-2.0
"""Shadow maps: what a light far away sees of each instant, for all instants of a batch in one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .cull import WorldPrimitives
from .rasterise import Raster
from .slots import Slots
from .vectors import Vec3
from .views import Views

_LIGHT_BACK_M = 150.0
_TAPS = ((-0.4, -1.0), (1.0, -0.4), (0.4, 1.0), (-1.0, 0.4))


@dataclass(frozen=True)
class ShadowMaps:
    """Depth seen from lights far away, one map for each instant that has such a light (M maps)."""

    size: int
    depth: torch.Tensor  # flat (M * size * size,)
    project_m34: torch.Tensor  # float32: world to (u, v, depth)
    maps: tuple[int, ...]  # each instant's map; 0 where it has none
    map_i: torch.Tensor  # the same, int64

    def lit(self, slots: Slots, p: Vec3, bias: float, radius: float) -> torch.Tensor:
        """Share of the light that reaches points p, 0..1, averaged over four taps `radius` texels aside."""
        pixels = self.size * self.size
        if slots.index is None:
            chosen = self.maps[slots.instants[0]]
            m = self.project_m34[chosen]
            depth, base = self.depth[chosen * pixels : (chosen + 1) * pixels], None
        else:
            own = self.map_i.index_select(0, slots.index)
            m = self.project_m34.flatten(1).T.contiguous().index_select(1, own).view(3, 4, -1)
            depth, base = self.depth, own.int() * pixels
        u, v, w = (p[0] * m[k, 0] + p[1] * m[k, 1] + p[2] * m[k, 2] + m[k, 3] for k in range(3))
        limit = self.size - 1.0
        light = torch.zeros_like(u)
        for du, dv in _TAPS:
            column, row = (u + du * radius).round().clamp(0, limit), (v + dv * radius).round().clamp(0, limit)
            texel = (row * self.size + column).int()
            first = depth.index_select(0, texel if base is None else texel + base)
            light += 0.25 - ((w - bias - first) * 8.0).clamp(0.0, 1.0) * 0.25
        return light


def shadow_maps(
    prims: WorldPrimitives,
    spans: Sequence[tuple[int, int]],
    towards: Sequence[np.ndarray | None],
    centres: Sequence[np.ndarray],
    span_m: float,
    texels: int,
) -> ShadowMaps | None:
    """Maps of texels x texels pixels on squares of `span_m` metres; None where no instant has such a light.

    Args:
        prims: primitives of all instants.
        spans: each instant's first primitive, and the one past its last.
        towards: unit vectors (3,) towards each instant's light, None where it has none.
        centres: (3,) what each map is centred on, world coordinates, metres.
        span_m, texels: side of the square, and of the map.
    """
    have = [k for k, way in enumerate(towards) if way is not None]
    if not have:
        return None
    device = prims.shape.device
    ways = np.stack([way for way in towards if way is not None])
    views = Views.lights(ways, np.stack([centres[k] for k in have]), span_m, texels, _LIGHT_BACK_M, device)
    depth = Raster(prims, [spans[k] for k in have], views).sample().depth_vhw
    pixel = span_m / texels
    scale = torch.tensor([1.0 / pixel, 1.0 / pixel, 1.0], dtype=torch.float64, device=device)
    rows = views.rotation_v33.transpose(1, 2) * scale[:, None]
    project = torch.cat([rows, -(rows @ views.origin_v3[:, :, None])], dim=2).float()
    number = {instant: m for m, instant in enumerate(have)}
    maps = tuple(number.get(k, 0) for k in range(len(towards)))
    return ShadowMaps(texels, depth.flatten(), project, maps, torch.tensor(maps, device=device))
