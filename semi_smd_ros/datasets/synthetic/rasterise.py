# SPDX-License-Identifier: Apache-2.0
"""From primitives to G-buffers: depth and primitive per pixel, by exact ray intersection, for many views at once.

Pictures are cut into 8x8 tiles. Every (tile, primitive) pair that could meet is listed with vector operations, nearest
primitives first (cull.py); the pairs' 64 rays are intersected together, shape by shape, and scattered into the depth
buffer by minimum. Pairs behind everything a tile already holds are dropped. There is no loop over pixels, primitives
or views, so the same code serves a CPU and a GPU. Colour is computed later, once per pixel (resolve.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .cull import FAR, Candidates, WorldPrimitives, candidates, pairs
from .intersect import intersect
from .lens import TILE
from .primitives import SHAPES
from .vectors import Vec3
from .views import Views, terms_at

__all__ = ['FAR', 'GBuffer', 'Raster', 'WorldPrimitives']

# Pairs intersected together: on a CPU few enough for its cache, on a GPU enough to fill it.
_CPU_PAIRS, _GPU_PAIRS = 6144, 1 << 19
_PIXELS = TILE * TILE


@dataclass(frozen=True)
class GBuffer:
    """What each sample of V views hits. Depth is FAR and candidate -1 where nothing is hit."""

    depth_vhw: torch.Tensor  # float32
    candidate_vhw: torch.Tensor  # int64, row of `Raster.found`


class Raster:
    """The primitives of some instants, prepared for some views; sampled at pixel centres, or half a pixel aside.

    Args:
        prims: primitives of all instants, one instant after the other.
        spans: for each view, the first of its primitives and the one past the last.
        views: the views.
    """

    def __init__(self, prims: WorldPrimitives, spans: Sequence[tuple[int, int]], views: Views) -> None:
        self.prims, self.views = prims, views
        self.found: Candidates = candidates(prims, spans, views)
        self._row, self._tile = pairs(self.found, views)
        found = self.found
        self._shape = prims.shape.to(torch.uint8)[found.prim]  # few bits sort fastest
        self._blur = found.least.clamp(min=0.1) * views.pixel_scale_v[found.view]
        # What shading looks up per pixel: matrix (9), origin (3), drift (3 under a rolling shutter).
        rows = [found.matrix_k33.reshape(-1, 9), found.origin_k3]
        if found.drift_k23 is not None:
            rows.append(found.drift_k23[:, 0])
        self.table_ck = torch.cat(rows, dim=1).T.contiguous()
        self._tile_poly = views.poly_vtck.reshape(-1, 3, views.poly_vtck.shape[3])

    def sample(self, shift: float = 0.0, needed_vhw: torch.Tensor | None = None) -> GBuffer:
        """Hits of one ray per pixel, `shift` pixels right and down of the centres (0 or -0.5).

        Where `needed_vhw` is given, tiles without a True pixel are left empty.
        """
        views, device = self.views, self._row.device
        columns, lines = views.tiles
        row, tile = self._row, self._tile
        if needed_vhw is not None:
            kept = self._wanted_tiles(needed_vhw).index_select(0, tile).nonzero()[:, 0]
            row, tile = row.index_select(0, kept), tile.index_select(0, kept)
        count = len(views) * lines * columns
        depth = torch.full((count, _PIXELS), FAR, device=device)
        winner = torch.zeros_like(depth)  # candidate + 1, 0 for none; exact as float32 up to 16 million candidates
        farthest = torch.full((count,), FAR, device=device)
        basis = terms_at(shift, views.poly_vtck.shape[3], device)
        step = _CPU_PAIRS if device.type == 'cpu' else _GPU_PAIRS
        for start in range(0, len(row), step):
            k, t = row[start : start + step], tile[start : start + step]
            ahead = (self.found.least.index_select(0, k) < farthest.index_select(0, t)).nonzero()[:, 0]
            if len(ahead) == 0:
                continue
            k, t = k.index_select(0, ahead), t.index_select(0, ahead)
            shapes, order = torch.sort(self._shape.index_select(0, k), stable=True)
            k, t = k.index_select(0, order), t.index_select(0, order)
            hit = self._intersections(k, t, torch.bincount(shapes, minlength=SHAPES).tolist(), basis)
            where = t[:, None].expand(-1, _PIXELS)
            depth.scatter_reduce_(0, where, hit, 'amin')
            now = depth.index_select(0, t)
            farthest.index_copy_(0, t, now.amax(1))
            # Later chunks have higher candidates, so a pixel won again is overwritten by taking the maximum.
            won = (hit <= now) * (k + 1).float()[:, None]
            winner.scatter_reduce_(0, where, won, 'amax')
        candidate = winner.long() - 1
        candidate[depth >= FAR] = -1
        return GBuffer(self._untile(depth), self._untile(candidate))

    def _intersections(self, k: torch.Tensor, t: torch.Tensor, counts: list[int], basis: torch.Tensor) -> torch.Tensor:
        """Depth of the first hit of candidates k (sorted by shape) along the rays of tiles t, (Q, 64)."""
        prim = self.found.prim.index_select(0, k)
        cut, half = self.prims.cut_p4.index_select(0, prim), self.prims.half_p3.index_select(0, prim)
        salt, blur = self.prims.salt_p.index_select(0, prim), self._blur.index_select(0, k)
        matrix = self.found.matrix_k33.index_select(0, k)
        poly = matrix @ self._tile_poly.index_select(0, t)
        hits, start = [], 0
        for shape, number in enumerate(counts):
            part = slice(start, start + number)
            start += number
            if number:
                o, d = self._tile_rays(k[part], t[part], poly[part], matrix[part], basis)
                hits.append(intersect(shape, o, d, cut[part], half[part], salt[part], blur[part]))
        return torch.cat(hits) if len(hits) > 1 else hits[0]

    def _tile_rays(
        self, k: torch.Tensor, t: torch.Tensor, poly: torch.Tensor, matrix: torch.Tensor, basis: torch.Tensor
    ) -> tuple[Vec3, Vec3]:
        """Origins and directions in shape coordinates: of Q pairs' 64 rays (Q, 64), or (Q, 1) what all share."""
        # Coordinates first, so that each comes out contiguous.
        planes = (poly.transpose(0, 1).reshape(-1, poly.shape[2]) @ basis).view(3, len(k), _PIXELS)
        x, y, z = planes.unbind(0)
        ox, oy, oz = self.found.origin_k3.index_select(0, k).T[:, :, None].unbind(0)
        if self.views.parallel:
            dx, dy, dz = matrix[:, :, 2].T[:, :, None].unbind(0)
            return (x + ox, y + oy, z + oz), (dx, dy, dz)
        if self.found.drift_k23 is not None:
            drift = self.found.drift_k23[:, 0].index_select(0, k).T
            rows = self._rows(t)[:, None] + basis[2]
            ox, oy, oz = ox + drift[0][:, None] * rows, oy + drift[1][:, None] * rows, oz + drift[2][:, None] * rows
        return (ox, oy, oz), (x, y, z)

    def _rows(self, tile: torch.Tensor) -> torch.Tensor:
        """Rows from the picture's middle to a tile's first, float32."""
        columns, lines = self.views.tiles
        line = torch.div(tile, columns, rounding_mode='floor') % lines
        return (line * TILE).float() - (self.views.height - 1) / 2

    def _wanted_tiles(self, needed_vhw: torch.Tensor) -> torch.Tensor:
        columns, lines = self.views.tiles
        padding = (0, columns * TILE - self.views.width, 0, lines * TILE - self.views.height)
        padded = torch.nn.functional.pad(needed_vhw, padding)
        return padded.view(len(self.views), lines, TILE, columns, TILE).any(4).any(2).flatten()

    def _untile(self, tiles: torch.Tensor) -> torch.Tensor:
        """(V * tiles, 64) to (V, height, width)."""
        columns, lines = self.views.tiles
        grid = tiles.view(len(self.views), lines, columns, TILE, TILE).permute(0, 1, 3, 2, 4)
        whole = grid.reshape(len(self.views), lines * TILE, columns * TILE)
        return whole[:, : self.views.height, : self.views.width].contiguous()
