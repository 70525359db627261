# SPDX-License-Identifier: Apache-2.0
"""From primitives to a G-buffer: depth and primitive per pixel centre, by exact ray intersection.

The picture is cut into 8x8 tiles. Every (tile, primitive) pair that could meet is listed with vector operations,
nearest primitives first; the pairs' 64 rays are intersected together, shape by shape, and scattered into the
depth buffer by minimum. Pairs behind everything a tile already holds are dropped. There is no loop over pixels or
primitives, so the same code serves a CPU and a GPU. Colour is computed later, once per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .intersect import intersect
from .primitives import QUAD, SHAPES
from .vectors import Vec3

TILE = 8
FAR = 1e9
_NEAR = 0.05
_MAX_PAIRS = 3072
_CORNERS = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count('1') == 1]


@dataclass(frozen=True)
class Rays:
    """Pixel (u, v) sees origin + u*origin_u + v*origin_v along direction + u*direction_u + v*direction_v.

    All in world coordinates, (3,) float64. The ray parameter is depth along `axis`. A pinhole has origin_u =
    origin_v = 0, a parallel projection direction_u = direction_v = 0.
    """

    width: int
    height: int
    origin: np.ndarray
    origin_u: np.ndarray
    origin_v: np.ndarray
    direction: np.ndarray
    direction_u: np.ndarray
    direction_v: np.ndarray
    project_34: np.ndarray  # world to (u*w, v*w, w) for a pinhole; to (u, v, depth) for a parallel projection
    parallel: bool

    @staticmethod
    def pinhole(k_33: np.ndarray, world_t_cam: np.ndarray, width: int, height: int) -> Rays:
        """Rays of a pinhole; the ray parameter is depth along the optical axis, metres."""
        rotation, origin = world_t_cam[:3, :3], world_t_cam[:3, 3]
        inverse = rotation @ np.linalg.inv(k_33)
        zero = np.zeros(3)
        project = k_33 @ np.concatenate([rotation.T, (-rotation.T @ origin)[:, None]], axis=1)
        return Rays(width, height, origin, zero, zero, inverse[:, 2], inverse[:, 0], inverse[:, 1], project, False)

    @staticmethod
    def parallel_light(towards: np.ndarray, centre: np.ndarray, span: float, size: int, back: float) -> Rays:
        """Rays of a light far away in direction `towards`; a square of `span` metres about `centre`."""
        up = np.array([0.0, 1.0, 0.0]) if abs(towards[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
        right = np.cross(up, towards)
        right /= np.linalg.norm(right)
        down = np.cross(towards, right)
        pixel = span / size
        corner = centre + towards * back - (right + down) * (span - pixel) / 2
        rows = np.stack([right / pixel, down / pixel, -towards])
        project = np.concatenate([rows, -(rows @ corner)[:, None]], axis=1)
        zero = np.zeros(3)
        return Rays(size, size, corner, right * pixel, down * pixel, -towards, zero, zero, project, True)

    def corners(self) -> Rays:
        """The same view sampled at the pixels' corners: one column and line more, half a pixel up and left."""
        return Rays(
            self.width + 1,
            self.height + 1,
            self.origin,
            self.origin_u,
            self.origin_v,
            self.direction - 0.5 * self.direction_u - 0.5 * self.direction_v,
            self.direction_u,
            self.direction_v,
            np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]) @ self.project_34,
            self.parallel,
        )


@dataclass(frozen=True)
class WorldPrimitives:
    """The primitives of one instant in world coordinates (P rows), on the renderer's device."""

    shape: torch.Tensor  # (P,) int64
    centre_p3: torch.Tensor  # float64
    axes_p33: torch.Tensor  # float64
    inverse_p33: torch.Tensor  # float64
    half_p3: torch.Tensor  # float32, lengths of the half axes
    cut_p4: torch.Tensor  # float32
    salt_p: torch.Tensor  # float32


@dataclass(frozen=True)
class GBuffer:
    """What each pixel centre hits. Depth is FAR and primitive -1 where nothing is hit."""

    depth_hw: torch.Tensor  # float32
    primitive_hw: torch.Tensor  # int64
    coefficients_p18: torch.Tensor  # float32, ray maps into object coordinates: o, o_u, o_v, d, d_u, d_v


def ray_coefficients(prims: WorldPrimitives, rays: Rays) -> torch.Tensor:
    """Each primitive's own coordinates of the ray map: (P, 18) float32, six 3-vectors."""
    device = prims.centre_p3.device
    stack = np.stack(
        [rays.origin, rays.origin_u, rays.origin_v, rays.direction, rays.direction_u, rays.direction_v], axis=1
    )
    world = torch.as_tensor(stack, device=device).expand(len(prims.shape), 3, 6).clone()
    world[:, :, 0] -= prims.centre_p3
    return (prims.inverse_p33 @ world).transpose(1, 2).reshape(-1, 18).float()


def _bounds(prims: WorldPrimitives, rays: Rays) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounding rectangle in pixels, (P, 4) as u0 v0 u1 v1, and the least depth (P,)."""
    device = prims.centre_p3.device
    project = torch.as_tensor(rays.project_34, dtype=torch.float64, device=device)
    centre = prims.centre_p3 @ project[:, :3].T + project[:, 3]
    axes = project[:, :3] @ prims.axes_p33
    corners = _CORNERS.to(device=device, dtype=torch.float64).T  # 3, 8
    flat = (prims.shape != QUAD).double()[:, None, None]
    scaled = torch.cat([corners[None, :2].expand(len(flat), 2, 8), corners[None, 2:] * flat], dim=1)
    points = (centre[:, :, None] + axes @ scaled).float()  # P, 3, 8
    if rays.parallel:
        u, v, depth = points[:, 0], points[:, 1], points[:, 2]
        rect = torch.stack([u.amin(1), v.amin(1), u.amax(1), v.amax(1)], dim=1)
        return rect, depth.amin(1)
    a, b = (list(side) for side in zip(*_EDGES, strict=True))
    wa, wb = points[:, 2, a], points[:, 2, b]
    # Where an edge crosses the near plane its crossing bounds the visible part; elsewhere take a corner twice.
    fraction = ((_NEAR - wa) / torch.where((wb - wa).abs() < 1e-9, torch.ones_like(wa), wb - wa)).clamp(0.0, 1.0)
    crossing = points[:, :, a] + (points[:, :, b] - points[:, :, a]) * fraction[:, None]
    every = torch.cat([points, crossing], dim=2)
    w = every[:, 2]
    visible = w > _NEAR * 0.999
    safe = w.clamp(min=_NEAR * 0.999)
    u, v = every[:, 0] / safe, every[:, 1] / safe
    big = 1e9
    rect = torch.stack(
        [
            torch.where(visible, u, big).amin(1),
            torch.where(visible, v, big).amin(1),
            torch.where(visible, u, -big).amax(1),
            torch.where(visible, v, -big).amax(1),
        ],
        dim=1,
    )
    return rect, torch.where(visible, w, big).amin(1)


def _pairs(
    prims: WorldPrimitives, rays: Rays, coefficients: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Candidate (primitive, tile column, tile row), nearest primitive first, and least depths (P,)."""
    rect, least = _bounds(prims, rays)
    limit = torch.tensor([rays.width - 1, rays.height - 1], device=rect.device, dtype=rect.dtype)
    low = rect[:, :2].clamp(-1e6, 1e6).ceil().clamp(min=0.0)
    high = torch.minimum(rect[:, 2:].clamp(-1e6, 1e6).floor(), limit)
    kept = ((high >= low).all(1) & (least < FAR)).nonzero()[:, 0]
    kept = kept[torch.sort(least[kept], stable=True).indices]
    first = (low[kept] / TILE).floor().long()
    last = (high[kept] / TILE).floor().long()
    count = last - first + 1
    total = count[:, 0] * count[:, 1]
    row = torch.repeat_interleave(torch.arange(len(kept), device=rect.device), total)
    local = torch.arange(len(row), device=rect.device) - (torch.cumsum(total, 0) - total)[row]
    # Integer division is slow; this float one is exact for any picture's number of tiles.
    across = count[:, 0].index_select(0, row)
    down = ((local.double() + 0.5) / across).floor().long()
    column = first[:, 0].index_select(0, row) + local - down * across
    line = first[:, 1].index_select(0, row) + down
    prim = kept[row]
    if not rays.parallel:
        keep = _frustum_test(coefficients, prim, column, line)
        prim, column, line = prim[keep], column[keep], line[keep]
    return prim, column, line, least


def _frustum_test(
    coefficients: torch.Tensor, prim: torch.Tensor, column: torch.Tensor, line: torch.Tensor
) -> torch.Tensor:
    """Indices of the pairs whose tile pyramid may meet the primitive's cube (separating side planes)."""
    c = coefficients.index_select(0, prim)
    u0, v0 = (column * TILE).float()[:, None] - 0.5, (line * TILE).float()[:, None] - 0.5
    o, d, du, dv = c[:, 0:3], c[:, 9:12], c[:, 12:15], c[:, 15:18]
    top_left = d + u0 * du + v0 * dv
    top_right, low_left = top_left + TILE * du, top_left + TILE * dv
    low_right = top_right + TILE * dv
    ring = (top_left, top_right, low_right, low_left)
    inside = torch.linalg.cross(top_left, top_right)
    # The pyramid's side planes face inwards or outwards depending on the map's handedness.
    sign = torch.sign((inside * low_right).sum(1))
    hit = torch.ones(len(prim), dtype=torch.bool, device=prim.device)
    for a, b in zip(ring, (*ring[1:], ring[0]), strict=True):
        normal = torch.linalg.cross(a, b)
        hit &= normal.abs().sum(1) - sign * (normal * o).sum(1) >= 0.0
    return hit.nonzero()[:, 0]


def rasterise(prims: WorldPrimitives, rays: Rays, pixel_scale: float, needed_hw: torch.Tensor | None = None) -> GBuffer:
    """The G-buffer of one view.

    Args:
        prims: the scene at one instant.
        rays: the view.
        pixel_scale: metres a pixel covers per metre of depth (0 for a parallel view).
        needed_hw: where given, tiles without a True pixel are left empty.
    """
    device = prims.centre_p3.device
    columns, lines = -(-rays.width // TILE), -(-rays.height // TILE)
    coefficients = ray_coefficients(prims, rays)
    prim, column, line, least = _pairs(prims, rays, coefficients)
    if needed_hw is not None:
        padding = (0, columns * TILE - rays.width, 0, lines * TILE - rays.height)
        padded = torch.nn.functional.pad(needed_hw, padding)
        wanted = padded.view(lines, TILE, columns, TILE).any(3).any(1).flatten()
        keep = wanted[line * columns + column].nonzero()[:, 0]
        prim, column, line = prim[keep], column[keep], line[keep]
    rank = torch.zeros(len(prims.shape), dtype=torch.long, device=device)
    order = torch.unique_consecutive(prim)
    rank[order] = torch.arange(1, len(order) + 1, device=device)
    tile = line * columns + column
    corner = torch.stack([column, line], dim=1).float() * TILE
    depth = torch.full((columns * lines, TILE * TILE), FAR, device=device)
    winner = torch.zeros_like(depth)  # rank of the primitive, 0 for none
    steps = torch.arange(TILE * TILE, device=device)
    basis = torch.stack([torch.ones(TILE * TILE, device=device), (steps % TILE).float(), (steps // TILE).float()])
    for start in range(0, len(prim), _MAX_PAIRS):
        part = slice(start, start + _MAX_PAIRS)
        keep = (least[prim[part]] < depth.amax(1)[tile[part]]).nonzero()[:, 0]
        p, t, at = prim[part][keep], tile[part][keep], corner[part][keep]
        shape = prims.shape[p]
        done = []
        for kind in range(SHAPES):
            mine = (shape == kind).nonzero()[:, 0]
            if len(mine) == 0:
                continue
            q, where = p[mine], t[mine]
            origin, direction = _tile_rays(coefficients[q], at[mine], basis, rays.parallel)
            blur = least[q].clamp(min=0.1) * pixel_scale
            hit = intersect(kind, origin, direction, prims.cut_p4[q], prims.half_p3[q], prims.salt_p[q], blur)
            depth.scatter_reduce_(0, where[:, None].expand(-1, TILE * TILE), hit, 'amin')
            done.append((hit, where, rank[q]))
        # Later chunks have higher ranks, so a pixel won again is overwritten by taking the maximum.
        for hit, where, ranks in done:
            won = (hit <= depth.index_select(0, where)).float() * ranks.float()[:, None]
            winner.scatter_reduce_(0, where[:, None].expand(-1, TILE * TILE), won, 'amax')
    lookup = torch.cat([torch.full((1,), -1, dtype=torch.long, device=device), order])
    primitive = lookup[winner.long()]
    primitive[depth >= FAR] = -1
    return GBuffer(_untile(depth, columns, lines, rays), _untile(primitive, columns, lines, rays), coefficients)


def _tile_rays(c: torch.Tensor, corner: torch.Tensor, basis: torch.Tensor, parallel: bool) -> tuple[Vec3, Vec3]:
    """Origin and direction in object coordinates: of Q pairs' 64 rays (Q, 64), or (Q, 1) what all share."""
    six = c.view(-1, 6, 3)
    u0, v0 = corner[:, :1], corner[:, 1:]
    k = 0 if parallel else 3
    at_corner = six[:, k] + u0 * six[:, k + 1] + v0 * six[:, k + 2]
    planes = torch.stack([at_corner, six[:, k + 1], six[:, k + 2]], dim=2).permute(1, 0, 2).reshape(-1, 3) @ basis
    x, y, z = planes.view(3, len(c), TILE * TILE).unbind(0)
    fx, fy, fz = six[:, 3 - k].T.unsqueeze(2).unbind(0)
    return ((x, y, z), (fx, fy, fz)) if parallel else ((fx, fy, fz), (x, y, z))


def _untile(tiles: torch.Tensor, columns: int, lines: int, rays: Rays) -> torch.Tensor:
    """(tiles, 64) to (height, width)."""
    picture = tiles.view(lines, columns, TILE, TILE).permute(0, 2, 1, 3).reshape(lines * TILE, columns * TILE)
    return picture[: rays.height, : rays.width].contiguous()
