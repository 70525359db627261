# SPDX-License-Identifier: Apache-2.0
"""Motion blur: every pixel is averaged along its own image motion during the exposure.

The model: the image velocity of what a pixel's centre sees, from exact depth, the camera's velocity and spin and the
thing's own velocity, is taken as constant over the exposure and over the blur's reach, and the picture is averaged
along it, centred on the pixel. That is exact where depth is smooth and nothing covers or uncovers. Along the outline
of something that moves against its background, the blur stays within each one's own pixels.
"""

from __future__ import annotations

import torch

from .rasterise import GBuffer, Raster
from .views import Views

_TAPS = 7
_SHORTEST_PX = 0.6
_LONGEST = 0.1  # of the picture's width


def image_velocity(raster: Raster, buffer: GBuffer) -> torch.Tensor:
    """Velocity of what each pixel sees, (V, 2, H, W) float32 pixels per second."""
    views, found = raster.views, raster.found
    ray = views.rays()
    x, y, z = ray.unbind(1)
    candidate = buffer.candidate_vhw
    # Against the camera: what a candidate's own velocity leaves of the camera's, in camera coordinates.
    velocity = raster.prims.velocity_p3.index_select(0, found.prim) - views.velocity_v3.index_select(0, found.view)
    relative = (velocity[:, None] @ views.rotation_v33.index_select(0, found.view))[:, 0].float()
    # Only what moves by itself needs a look-up; all else has the view's own velocity.
    still = (-(views.velocity_v3[:, None] @ views.rotation_v33)[:, 0]).float()
    own = [still[:, k, None, None].expand(candidate.shape).clone() for k in range(3)]
    moves = raster.prims.velocity_p3.index_select(0, found.prim).abs().amax(1) > 0.01
    at = moves.index_select(0, candidate.clamp(min=0).view(-1)) & (candidate.view(-1) >= 0)
    where = at.nonzero()[:, 0]
    chosen = candidate.view(-1).index_select(0, where)
    for k in range(3):
        own[k].view(-1).index_copy_(0, where, relative[:, k].index_select(0, chosen))
    inverse = torch.where(candidate >= 0, buffer.depth_vhw.reciprocal(), 0.0)
    spin = views.spin_v3.float()[:, :, None, None]
    ax = own[0] * inverse - (spin[:, 1] * z - spin[:, 2] * y)
    ay = own[1] * inverse - (spin[:, 2] * x - spin[:, 0] * z)
    az = own[2] * inverse - (spin[:, 0] * y - spin[:, 1] * x)
    return _to_pixels(views, ax - x * az, ay - y * az)


def _to_pixels(views: Views, dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
    """From normalised to pixel velocities, by each tile's own scale."""
    poly = views.poly_vtck
    middle = 3.5
    j = []
    for axis in (0, 1):
        du, dv = poly[:, :, axis, 1], poly[:, :, axis, 2]
        if poly.shape[3] > 3:
            du = du + 2 * middle * poly[:, :, axis, 3] + middle * poly[:, :, axis, 4]
            dv = dv + middle * poly[:, :, axis, 4] + 2 * middle * poly[:, :, axis, 5]
        j.append((du, dv))
    determinant = (j[0][0] * j[1][1] - j[0][1] * j[1][0]).reciprocal()
    columns, lines = views.tiles

    def spread(per_tile: torch.Tensor) -> torch.Tensor:
        grid = per_tile.view(len(views), lines, columns)
        grid = grid.repeat_interleave(8, dim=1)[:, : views.height]
        return grid.repeat_interleave(8, dim=2)[:, :, : views.width]

    u = spread(j[1][1] * determinant) * dx - spread(j[0][1] * determinant) * dy
    v = spread(j[0][0] * determinant) * dy - spread(j[1][0] * determinant) * dx
    return torch.stack([u, v], dim=1)


def blurred(picture_v3hw: torch.Tensor, velocity_v2hw: torch.Tensor, seconds_v: torch.Tensor) -> torch.Tensor:
    """Linear pictures averaged along their motion during the exposure of `seconds_v` (V,)."""
    count, _, height, width = picture_v3hw.shape
    shift = velocity_v2hw * seconds_v[:, None, None, None]
    length = (shift[:, 0] * shift[:, 0] + shift[:, 1] * shift[:, 1]).sqrt()
    where = (length.view(-1) > _SHORTEST_PX).nonzero()[:, 0]
    if len(where) == 0:
        return picture_v3hw
    pixels = height * width
    view = torch.div(where, pixels, rounding_mode='floor')
    place = where - view * pixels
    row = torch.div(place, width, rounding_mode='floor')
    u, v = (place - row * width).float(), row.float()
    scale = (_LONGEST * width / length.view(-1).index_select(0, where)).clamp(max=1.0)
    plane = view * (2 * pixels) + where
    du = shift.view(-1).index_select(0, where + view * pixels) * scale
    dv = shift.view(-1).index_select(0, where + (view + 1) * pixels) * scale
    source = picture_v3hw.reshape(-1)
    total = [torch.zeros_like(du) for _ in range(3)]
    first = view * (3 * pixels)
    for tap in range(_TAPS):
        at = (tap + 0.5) / _TAPS - 0.5
        column = (u + at * du).round().clamp(0, width - 1)
        line = (v + at * dv).round().clamp(0, height - 1)
        index = first + (line * width + column).long()
        for k in range(3):
            total[k] += source.index_select(0, index + k * pixels)
    result = source.clone()
    for k in range(3):
        result.index_copy_(0, plane + k * pixels, total[k] * (1.0 / _TAPS))
    return result.view(count, 3, height, width)
