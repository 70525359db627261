# SPDX-License-Identifier: Apache-2.0
"""Which primitives may show in which tiles of which views: bounds, then (primitive, tile) pairs, nearest first.

Everything runs over all views together. A *candidate* is a primitive in a view. Bounds live in the normalised image
plane (x, y at Z = 1), so one code serves every lens: a pixel column has a least and a greatest x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .lens import TILE
from .primitives import FLAT_SHAPES
from .views import Views

FAR = 1e9
_NEAR = 0.05
_BIG = 1e9
_CORNERS = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_EDGES = torch.tensor([(a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count('1') == 1])


@dataclass(frozen=True)
class WorldPrimitives:
    """The primitives of one or more instants in world coordinates (P rows), on the renderer's device."""

    shape: torch.Tensor  # (P,) int64
    centre_p3: torch.Tensor  # float64
    axes_p33: torch.Tensor  # float64, columns are the half axes
    inverse_p33: torch.Tensor  # float64
    half_p3: torch.Tensor  # float32, lengths of the half axes
    cut_p4: torch.Tensor  # float32
    salt_p: torch.Tensor  # float32
    velocity_p3: torch.Tensor  # float64, m/s


@dataclass(frozen=True)
class Candidates:
    """Primitives in views, K rows, nearest first."""

    view: torch.Tensor  # (K,) int64
    prim: torch.Tensor  # (K,) int64
    least: torch.Tensor  # (K,) float32, no hit can be nearer
    matrix_k33: torch.Tensor  # float32: camera coordinates to the shape's own
    origin_k3: torch.Tensor  # float32: the camera's centre in shape coordinates (for parallel light, the corner)
    drift_k23: torch.Tensor | None  # float32 motion a row of a rolling shutter: in shape and in camera coordinates
    box_k43: torch.Tensor  # float32: centre and half axes in camera coordinates
    rect_k4: torch.Tensor  # int64 pixels: first column, first row, last column, last row

    def __len__(self) -> int:
        return len(self.view)


def candidates(prims: WorldPrimitives, spans: Sequence[tuple[int, int]], views: Views) -> Candidates:
    """The primitives that may show in each view; view k sees primitives spans[k] = (first, past the last)."""
    view, prim = _each_in_its_views(spans, prims.centre_p3.device)
    turned = torch.cat(
        [
            (prims.centre_p3.index_select(0, prim) - views.origin_v3.index_select(0, view))[:, None],
            prims.axes_p33.transpose(1, 2).index_select(0, prim),
        ],
        dim=1,
    ) @ views.rotation_v33.index_select(0, view)
    centre, axes = turned[:, 0].contiguous(), turned[:, 1:].contiguous()
    kept = _roughly_visible(centre, axes, view, views)
    view, prim, centre, axes = view[kept], prim[kept], centre[kept], axes[kept]
    solid = torch.ones(len(prim), dtype=torch.float64, device=prim.device)
    for shape in FLAT_SHAPES:
        solid = solid * (prims.shape[prim] != shape)
    axes = torch.cat([axes[:, :2], axes[:, 2:] * solid[:, None, None]], dim=1)
    rect, least = _bounds(centre, axes, view, views)
    drift = None
    if views.drift_v3 is not None:
        drift = views.drift_v3[view] - prims.velocity_p3[prim] * views.row_s_v[view, None]
        rect, least = _widened(rect, least, drift, view, views)
    pixels = _pixel_rect(rect, view, views)
    kept = ((pixels[:, 2:] >= pixels[:, :2]).all(1) & (least < FAR)).nonzero()[:, 0]
    kept = kept[torch.sort(least[kept], stable=True).indices]
    view, prim = view[kept], prim[kept]
    inverse = prims.inverse_p33[prim]
    away = views.origin_v3[view] - prims.centre_p3[prim]
    return Candidates(
        view=view,
        prim=prim,
        least=least[kept],
        matrix_k33=(inverse @ views.rotation_v33[view]).float(),
        origin_k3=(inverse @ away[:, :, None])[:, :, 0].float(),
        drift_k23=None if drift is None else _both(drift[kept], inverse, views.rotation_v33[view]),
        box_k43=torch.cat([centre[kept][:, None], axes[kept]], dim=1).float(),
        rect_k4=pixels[kept],
    )


def _each_in_its_views(spans: Sequence[tuple[int, int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """All (view, primitive) pairs that `spans` allows, view by view: two (K,) int64."""
    first, past = torch.tensor(spans, device=device).unbind(1)
    count = past - first
    # How many there are is known here, so that the device need not be waited for.
    total = sum(b - a for a, b in spans)
    view = torch.repeat_interleave(count, output_size=total)
    shift = first - (torch.cumsum(count, 0) - count)
    return view, torch.arange(total, device=device) + shift.index_select(0, view)


def _both(drift: torch.Tensor, inverse: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """World vectors (K, 3) in shape and in camera coordinates, (K, 2, 3)."""
    maps = torch.stack([inverse, rotation.transpose(1, 2)], dim=1)
    return (maps @ drift[:, None, :, None])[..., 0].float()


def _roughly_visible(centre: torch.Tensor, axes: torch.Tensor, view: torch.Tensor, views: Views) -> torch.Tensor:
    """Indices of those whose bounding sphere meets the view's frustum: a surround rig's quarter is left."""
    reach = axes.norm(dim=2).sum(1)
    first_x, last_x = views.limits_x_vw[0][:, 0][view], views.limits_x_vw[1][:, -1][view]
    first_y, last_y = views.limits_y_vh[0][:, 0][view], views.limits_y_vh[1][:, -1][view]
    x, y, z = centre.unbind(1)
    if views.parallel:
        inside = (x + reach > first_x) & (x - reach < last_x) & (y + reach > first_y) & (y - reach < last_y)
        return inside.nonzero()[:, 0]
    slack = views.turn_v[view]
    if views.drift_v3 is not None:
        reach = reach + 0.5 * views.height * (views.drift_v3[view].norm(dim=1) + 60.0 * views.row_s_v[view])
    inside = z + reach > _NEAR
    for low, high, c in ((first_x, last_x, x), (first_y, last_y, y)):
        low = low - slack * (1.0 + low * low)
        high = high + slack * (1.0 + high * high)
        inside &= (c - low * z) > -reach * (1.0 + low * low).sqrt()
        inside &= (high * z - c) > -reach * (1.0 + high * high).sqrt()
    return inside.nonzero()[:, 0]


def _bounds(
    centre: torch.Tensor, axes: torch.Tensor, view: torch.Tensor, views: Views
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounding rectangle in the normalised plane, (K, 4) as x0 y0 x1 y1 float64, and the least depth (K,) float32."""
    corners = _CORNERS.to(device=centre.device, dtype=torch.float64)  # 8, 3
    points = (centre[:, None] + corners @ axes).transpose(1, 2).contiguous()  # K, 3, 8
    depth = points[:, 2]
    least = depth.amin(1)
    if views.parallel:
        return torch.cat([points[:, :2].amin(2), points[:, :2].amax(2)], dim=1), least.float()
    plane = points[:, :2] / depth.clamp(min=_NEAR)[:, None]
    rect = torch.cat([plane.amin(2), plane.amax(2)], dim=1)
    crossing = (least < _NEAR).nonzero()[:, 0]
    if len(crossing):
        rect[crossing], least[crossing] = _clipped(points[crossing])
    return rect, least.float()


def _clipped(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounds of boxes that reach behind the near plane: where their edges cross it bounds the visible part."""
    a, b = (points.index_select(2, side) for side in _EDGES.to(points.device).unbind(1))
    wa, wb = a[:, 2], b[:, 2]
    # Edges that do not cross take a corner twice.
    fraction = ((_NEAR - wa) / torch.where((wb - wa).abs() < 1e-9, torch.ones_like(wa), wb - wa)).clamp(0.0, 1.0)
    cut = a + (b - a) * fraction[:, None]
    every = torch.cat([points, cut], dim=2)
    w = every[:, 2]
    visible = (w > _NEAR * 0.999)[:, None]
    plane = every[:, :2] / w.clamp(min=_NEAR * 0.999)[:, None]
    rect = torch.cat(
        [torch.where(visible, plane, _BIG).amin(2), torch.where(visible, plane, -_BIG).amax(2)],
        dim=1,
    )
    return rect, torch.where(visible[:, 0], w, _BIG).amin(1)


def _widened(
    rect: torch.Tensor, least: torch.Tensor, drift: torch.Tensor, view: torch.Tensor, views: Views
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bounds that hold for every row of a rolling shutter, while things move by `drift` (K, 3) metres a row."""
    moved = drift.norm(dim=1) * views.height * 0.5
    turn = views.turn_v[view]
    near = (least.double() * (1.0 - turn) - moved).clamp(min=_NEAR)
    far_out = rect.abs().clamp(max=50.0).amax(1)
    margin = (turn * (1.0 + far_out * far_out) + moved * (1.0 + far_out) / near)[:, None] * 1.1
    wide = torch.cat([rect[:, :2] - margin, rect[:, 2:] + margin], dim=1)
    return wide, torch.where(least < FAR, near, least.double()).float()


def _pixel_rect(rect: torch.Tensor, view: torch.Tensor, views: Views) -> torch.Tensor:
    """First column, first row, last column and last row whose pixel centres may lie inside, (K, 4) int64."""
    columns = []
    for axis, (low, high) in enumerate((views.limits_x_vw, views.limits_y_vh)):
        # One search serves all views: each has its own stretch of a common ascending axis.
        limit = 1000.0
        offset = torch.arange(len(views), device=view.device, dtype=torch.float64) * (4.0 * limit)
        size = low.shape[1]
        least = rect[:, axis].clamp(-limit, limit) + offset[view]
        most = rect[:, axis + 2].clamp(-limit, limit) + offset[view]
        first = torch.searchsorted((high + offset[:, None]).flatten(), least, right=False) - view * size
        last = torch.searchsorted((low + offset[:, None]).flatten(), most, right=True) - 1 - view * size
        columns.append((first.clamp(min=0), last.clamp(max=size - 1)))
    return torch.stack([columns[0][0], columns[1][0], columns[0][1], columns[1][1]], dim=1)


def pairs(found: Candidates, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """(candidate, tile) pairs that may meet, nearest candidate first; tiles count through all views."""
    columns, lines = views.tiles
    first = torch.div(found.rect_k4[:, :2], TILE, rounding_mode='floor')
    last = torch.div(found.rect_k4[:, 2:], TILE, rounding_mode='floor')
    count = last - first + 1
    total = count[:, 0] * count[:, 1]
    row = torch.repeat_interleave(torch.arange(len(found), device=total.device), total)
    local = torch.arange(len(row), device=row.device) - (torch.cumsum(total, 0) - total).index_select(0, row)
    # Integer division is slow; this float one is exact for any picture's number of tiles.
    across = count[:, 0].index_select(0, row)
    down = ((local.double() + 0.5) / across).floor().long()
    start = (found.view * lines + first[:, 1]) * columns + first[:, 0]
    tile = start.index_select(0, row) + down * columns + (local - down * across)
    if views.parallel:
        return row, tile
    kept = _meets_pyramid(found, views, row, tile)
    return row.index_select(0, kept), tile.index_select(0, kept)


def _meets_pyramid(found: Candidates, views: Views, row: torch.Tensor, tile: torch.Tensor) -> torch.Tensor:
    """Indices of the pairs whose tile pyramid may meet the primitive's box (separating side planes)."""
    ends = torch.tensor([[-0.5, -0.5], [TILE - 0.5, -0.5], [TILE - 0.5, TILE - 0.5], [-0.5, TILE - 0.5]])
    a, b = ends.T.to(views.poly_vtck.device)
    terms = torch.stack([torch.ones_like(a), a, b, a * a, a * b, b * b])[: views.poly_vtck.shape[3]]
    ring = (views.poly_vtck @ terms).reshape(-1, 3, 4)
    inward = torch.linalg.cross(ring, ring.roll(-1, dims=2), dim=1)  # 3 planes' coordinates x 4 sides
    normal = inward.index_select(0, tile)
    box = found.box_k43.index_select(0, row)
    if views.drift_v3 is not None:
        box = _box_of_rows(box, found, views, row, tile)
    hit = None
    for side in range(4):
        n = normal[:, :, side]
        middle = (box[:, 0] * n).sum(1)
        reach = (box[:, 1:] * n[:, None]).sum(2).abs().sum(1)
        meets = middle + reach >= 0.0
        hit = meets if hit is None else hit & meets
    assert hit is not None
    return hit.nonzero()[:, 0]


def _box_of_rows(
    box: torch.Tensor, found: Candidates, views: Views, row: torch.Tensor, tile: torch.Tensor
) -> torch.Tensor:
    """Boxes as the rows of a tile see them under a rolling shutter: moved, and longer by the motion within the tile."""
    assert found.drift_k23 is not None
    columns, lines = views.tiles
    drift = found.drift_k23[:, 1].index_select(0, row)
    line = torch.div(tile, columns, rounding_mode='floor') % lines
    middle = (line.float() * TILE + (TILE - 1) / 2 - (views.height - 1) / 2)[:, None]
    moved = (box[:, 0] - drift * middle)[:, None]
    return torch.cat([moved, box[:, 1:], (drift * (TILE / 2))[:, None]], dim=1)
