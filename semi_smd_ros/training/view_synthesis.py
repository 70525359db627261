# SPDX-License-Identifier: Apache-2.0
"""View synthesis: a picture rebuilt from another camera's or another instant's, by depth, pose and intrinsics.

A pixel p = (u, v, 1) of the target with Z depth 1 / rho shows the point K_t^-1 p / rho. In the source's camera that
is R K_t^-1 p / rho + t, so up to a positive factor its pixel is A p + rho K_s t with A = K_s R K_t^-1, and its Z
depth there is the third component of that over rho (plane and parallax; Hartley and Zisserman, "Multiple View
Geometry", ch. 13). `cam_source_T_cam_target = inv(base_T_cam_source) @ source_T_now @ base_T_cam_target`: with the
vehicle's motion this is a temporal pair (the same camera), a spatio-temporal pair (another camera, another instant)
or, with none, a spatial pair. Pixel centres lie at integer coordinates. Inverse depth is what is sampled, as bilinear
interpolation of it is exact on planes. Run it outside autocast (`network.linear.full_precision`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from semi_smd_ros.network.geometry import heading_bn2, neighbour_mask

NEAREST = 0.1  # metres in front of the source's camera
BORDER = 0.01  # pixels outside the picture that rounding may cost
OCCLUDED = 0.25  # log ratio: the source sees something this much nearer than the point (a factor of 1.28)
MOST_NEIGHBOURS = 3
SMALLEST_RATIO = 1e-4  # of Z depths, in divisions and logarithms
COARSE = 4  # pixels; how finely the columns of an overlap are found


@dataclass(frozen=True)
class Views:
    """M instants of rigs of N cameras."""

    image_mn3hw: Tensor
    inverse_depth_mnhw: Tensor
    """1 / metres, positive everywhere."""
    usable_mnhw: Tensor
    """Bool: the camera is valid, and the pixel shows neither the ego vehicle nor the sky."""
    intrinsics_mn33: Tensor
    base_T_cam_mn44: Tensor


@dataclass(frozen=True)
class Pairs:
    """S sources of every camera of B rigs, and the columns of its picture that they are compared in."""

    source_bns: Tensor
    """Index of the source's camera."""
    exists_bns: Tensor
    """Bool; False fills up."""
    start_bns: Tensor
    """First column of the w that every pair has."""
    width: int

    def repeated(self, times: int) -> Pairs:
        """The same pairs for `times` instants, one after another in the first axis."""
        source, exists, start = (
            part.repeat(times, 1, 1) for part in (self.source_bns, self.exists_bns, self.start_bns)
        )
        return Pairs(source, exists, start, self.width)

    @property
    def column_bnsw(self) -> Tensor:
        return self.start_bns[..., None] + torch.arange(self.width, device=self.start_bns.device)

    def cut(self, map_mnhw: Tensor) -> Tensor:
        """(M,N,...,H,W) to (M,N,S,...,H,w): every pair's columns."""
        sources, middle = self.source_bns.shape[2], map_mnhw.shape[2:-1]
        column = self.column_bnsw.reshape(*self.column_bnsw.shape[:3], *(1 for _ in middle), self.width)
        column = column.expand(-1, -1, -1, *middle, -1)
        return map_mnhw[:, :, None].expand(-1, -1, sources, *map_mnhw.shape[2:]).gather(-1, column)


@dataclass(frozen=True)
class Warp:
    """Targets and what S sources make of them, in each pair's columns; only where `visible_mnshw`."""

    target_mns3hw: Tensor
    image_mns3hw: Tensor
    log_depth_mnshw: Tensor
    """Of the target's points, in the source's camera."""
    source_log_depth_mnshw: Tensor
    """What the source's own depth says where it sees the point; gradients flow to it."""
    visible_mnshw: Tensor
    """Bool: usable in both views, in front of the source's camera, inside its picture and not occluded."""


def rigid_inverse(transform: Tensor) -> Tensor:
    """The inverse of rigid transforms (...,4,4), without a solver."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    translation = -(rotation * transform[..., None, :3, 3]).sum(-1, keepdim=True)
    return torch.cat((torch.cat((rotation, translation), dim=-1), transform[..., 3:, :]), dim=-2)


def own_pairs(cameras: int, rigs: int, width: int, device: torch.device) -> Pairs:
    """Every camera with itself, in all columns."""
    camera = torch.arange(cameras, device=device)[:, None].expand(rigs, -1, -1)
    return Pairs(camera, torch.ones_like(camera, dtype=torch.bool), torch.zeros_like(camera), width)


def neighbour_pairs(intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, width: int) -> Pairs:
    """The cameras whose horizontal field of view overlaps each camera's, nearest in heading first, in all columns.

    S is 1 .. MOST_NEIGHBOURS, whatever the rigs need.
    """
    sees = neighbour_mask(intrinsics_bn33, base_T_cam_bn44, width, 0.0)
    count = sees.shape[-1]
    sees = sees & ~torch.eye(count, dtype=torch.bool, device=sees.device)
    heading = heading_bn2(base_T_cam_bn44)
    cosine = (heading[:, :, None] * heading[:, None]).sum(-1)
    most = int(sees.sum(-1).max().clamp(1, min(MOST_NEIGHBOURS, count)))
    _, index = torch.where(sees, cosine, torch.full_like(cosine, -2)).topk(most, dim=-1)
    return Pairs(index, sees.gather(-1, index), torch.zeros_like(index), width)


def of_sources(value_mn: Tensor, source_mns: Tensor) -> Tensor:
    """Pick the sources' entries: (M,N,...) to (M,N,S,...)."""
    instant = torch.arange(value_mn.shape[0], device=value_mn.device)[:, None, None]
    return value_mn[instant, source_mns]


def source_T_target(target: Views, source: Views, pairs: Pairs, source_T_now_mn44: Tensor) -> Tensor:
    """Transforms from the targets' cameras to their sources', (M,N,S,4,4)."""
    pose = source_T_now_mn44 @ target.base_T_cam_mn44
    return rigid_inverse(of_sources(source.base_T_cam_mn44, pairs.source_bns)) @ pose[:, :, None]


def project(
    target: Views, source: Views, pairs: Pairs, source_T_now_mn44: Tensor, inverse_depth_mnshw: Tensor, every: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where the sources see the target's points: pixel u and v, Z depth over the target's own, and whether inside.

    (M,N,S,H,w) each, of the pairs' columns and all rows, or of one in `every` of both. The ratio is negative behind the
    source's camera. Inside: in front of the source's camera and in its picture.
    """
    relative = source_T_target(target, source, pairs, source_T_now_mn44)
    intrinsics = of_sources(source.intrinsics_mn33, pairs.source_bns)
    linear = intrinsics @ relative[..., :3, :3] @ torch.linalg.inv(target.intrinsics_mn33)[:, :, None]
    parallax = (intrinsics @ relative[..., :3, 3:])[..., 0]
    height, width = source.inverse_depth_mnhw.shape[-2:]
    at_u = pairs.column_bnsw[..., None, ::every].to(linear.dtype)
    at_v = torch.arange(0, height, every, device=linear.device, dtype=linear.dtype)[:, None]
    x, y, ratio = (
        linear[..., row, 0, None, None] * at_u
        + (linear[..., row, 1, None, None] * at_v + linear[..., row, 2, None, None])
        + parallax[..., row, None, None] * inverse_depth_mnshw
        for row in range(3)
    )
    divisor = ratio.clamp(min=SMALLEST_RATIO)
    u, v = x / divisor, y / divisor
    inside = (u > -BORDER) & (u < width - 1 + BORDER) & (v > -BORDER) & (v < height - 1 + BORDER)
    return u, v, ratio, inside & (ratio > NEAREST * inverse_depth_mnshw)


@torch.no_grad()
def columns_that_meet(target: Views, source: Views, pairs: Pairs, source_T_now_mn44: Tensor) -> Tensor:
    """Which columns (one in COARSE) hold points that the source's picture holds as well, (M,N,S,w) bool."""
    inverse_depth, usable = (
        pairs.cut(value)[..., ::COARSE, ::COARSE] for value in (target.inverse_depth_mnhw, target.usable_mnhw)
    )
    inside = project(target, source, pairs, source_T_now_mn44, inverse_depth, every=COARSE)[3]
    return (inside & usable & pairs.exists_bns[..., None, None]).any(-2)


def cut_to_columns(pairs: Pairs, meets_bnsw: Tensor) -> Pairs:
    """The pairs with only the columns they need (`meets_bnsw` tells one in COARSE of all), as many as the widest."""
    columns = meets_bnsw.shape[-1]
    column = torch.arange(columns, device=meets_bnsw.device)
    first = torch.where(meets_bnsw, column, columns).amin(-1)
    last = torch.where(meets_bnsw, column, -1).amax(-1)
    width = min(pairs.width, COARSE * max(2, int((last - first).max()) + 2))
    start = (COARSE * (first - 1) + COARSE // 2).clamp(0, pairs.width - width)
    return Pairs(pairs.source_bns, pairs.exists_bns & (last >= 0), start, width)


def warp(target: Views, source: Views, pairs: Pairs, source_T_now_mn44: Tensor) -> Warp:
    """Rebuild every target from its sources.

    Args:
        target, source: the same M rigs, at the same or at different instants.
        pairs: of these M rigs.
        source_T_now_mn44: the vehicle's base from the target's instant to the source's, metres; N is 1, or every target
            has its own opinion of it.
    """
    inverse_depth, usable = pairs.cut(target.inverse_depth_mnhw), pairs.cut(target.usable_mnhw)
    u, v, ratio, inside = project(target, source, pairs, source_T_now_mn44, inverse_depth)
    log_depth = ratio.clamp(min=SMALLEST_RATIO).log() - inverse_depth.log()

    height, width = source.inverse_depth_mnhw.shape[-2:]
    channels = (source.image_mn3hw, source.inverse_depth_mnhw[:, :, None], source.usable_mnhw[:, :, None].to(u.dtype))
    sources = of_sources(torch.cat(channels, dim=2), pairs.source_bns)
    grid = torch.stack((2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1), dim=-1).clamp(-2, 2)
    sampled = functional.grid_sample(
        sources.flatten(0, 2), grid.flatten(0, 2), mode='bilinear', padding_mode='border', align_corners=True
    ).reshape(*u.shape[:3], 5, *u.shape[-2:])
    image, source_log_depth = sampled[:, :, :, :3], -sampled[:, :, :, 3].log()

    usable = usable & (sampled[:, :, :, 4] > 0.999) & pairs.exists_bns[..., None, None]
    visible = inside & usable & (log_depth - source_log_depth < OCCLUDED)
    return Warp(pairs.cut(target.image_mn3hw), image, log_depth, source_log_depth, visible)
