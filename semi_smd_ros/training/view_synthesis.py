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


@dataclass(frozen=True)
class Views:
    """M instants of rigs of N cameras, as sources and targets."""

    image_mn3hw: Tensor
    inverse_depth_mnhw: Tensor
    """1 / metres, positive everywhere."""
    usable_mnhw: Tensor
    """Bool: the camera is valid, and the pixel shows neither the ego vehicle nor the sky."""
    intrinsics_mn33: Tensor
    base_T_cam_mn44: Tensor


@dataclass(frozen=True)
class Warp:
    """Targets rebuilt from S sources each. Values mean something only where `visible_mnshw`."""

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


def neighbours(intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The cameras whose horizontal field of view overlaps each camera's, nearest in heading first.

    Index (B,N,K) and whether it is one (B,N,K) bool; K is 1 .. MOST_NEIGHBOURS, whatever the rigs need.
    """
    sees = neighbour_mask(intrinsics_bn33, base_T_cam_bn44, width, 0.0)
    count = sees.shape[-1]
    sees = sees & ~torch.eye(count, dtype=torch.bool, device=sees.device)
    heading = heading_bn2(base_T_cam_bn44)
    cosine = (heading[:, :, None] * heading[:, None]).sum(-1)
    most = int(sees.sum(-1).max().clamp(1, min(MOST_NEIGHBOURS, count)))
    _, index = torch.where(sees, cosine, torch.full_like(cosine, -2)).topk(most, dim=-1)
    return index, sees.gather(-1, index)


def of_sources(value_mn: Tensor, source_mns: Tensor) -> Tensor:
    """Pick the sources' entries: (M,N,...) to (M,N,S,...)."""
    instant = torch.arange(value_mn.shape[0], device=value_mn.device)[:, None, None]
    return value_mn[instant, source_mns]


def project(
    target: Views, source: Views, source_mns: Tensor, source_T_now_m44: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel (u, v) and Z depth over the target's Z depth of the target's points in the sources, (M,N,S,H,W) each.

    The ratio is negative behind the source's camera.
    """
    pose = source_T_now_m44[:, None] @ target.base_T_cam_mn44
    relative = rigid_inverse(of_sources(source.base_T_cam_mn44, source_mns)) @ pose[:, :, None]
    intrinsics = of_sources(source.intrinsics_mn33, source_mns)
    linear = intrinsics @ relative[..., :3, :3] @ torch.linalg.inv(target.intrinsics_mn33)[:, :, None]
    parallax = (intrinsics @ relative[..., :3, 3:])[..., 0]
    height, width = target.inverse_depth_mnhw.shape[-2:]
    u = torch.arange(width, device=linear.device, dtype=linear.dtype)
    v = torch.arange(height, device=linear.device, dtype=linear.dtype)[:, None]
    x, y, z = (
        linear[..., row, 0, None, None] * u
        + (linear[..., row, 1, None, None] * v + linear[..., row, 2, None, None])
        + parallax[..., row, None, None] * target.inverse_depth_mnhw[:, :, None]
        for row in range(3)
    )
    divisor = z.clamp(min=1e-4)
    return x / divisor, y / divisor, z


def warp(target: Views, source: Views, source_mns: Tensor, exists_mns: Tensor, source_T_now_m44: Tensor) -> Warp:
    """Rebuild every target from its sources.

    Args:
        target, source: the same M rigs, at the same or at different instants.
        source_mns: the index of each of a camera's S source cameras.
        exists_mns: bool, False for places that are not filled.
        source_T_now_m44: the vehicle's base from the target's instant to the source's, metres.
    """
    u, v, ratio = project(target, source, source_mns, source_T_now_m44)
    height, width = u.shape[-2:]
    log_depth = ratio.clamp(min=1e-4).log() - target.inverse_depth_mnhw.log()[:, :, None]
    inside = (u > -BORDER) & (u < width - 1 + BORDER) & (v > -BORDER) & (v < height - 1 + BORDER)
    in_front = ratio > NEAREST * target.inverse_depth_mnhw[:, :, None]

    channels = (source.image_mn3hw, source.inverse_depth_mnhw[:, :, None], source.usable_mnhw[:, :, None].to(u.dtype))
    sources = of_sources(torch.cat(channels, dim=2), source_mns)
    grid = torch.stack((2 * u / (width - 1) - 1, 2 * v / (height - 1) - 1), dim=-1).clamp(-2, 2)
    sampled = functional.grid_sample(
        sources.flatten(0, 2), grid.flatten(0, 2), mode='bilinear', padding_mode='border', align_corners=True
    ).reshape(*u.shape[:3], 5, height, width)
    source_log_depth = -sampled[:, :, :, 3].log()

    usable = (sampled[:, :, :, 4] > 0.999) & target.usable_mnhw[:, :, None] & exists_mns[..., None, None]
    visible = inside & in_front & usable & (log_depth - source_log_depth < OCCLUDED)
    return Warp(sampled[:, :, :, :3], log_depth, source_log_depth, visible)
