# SPDX-License-Identifier: Apache-2.0
"""Metric cues from intrinsics and extrinsics: rays, camera height, distance to the flat ground, neighbours.

Directions are given in each camera's *heading frame*: `base` turned about its vertical axis until x is the camera's
horizontal viewing direction. A rig turned about the vertical axis therefore gives the same cues.
Pixel centres lie at integer coordinates. `bn` are the batch of rigs and the cameras of a rig.
Nothing here uses matrix products: under bf16 autocast they would lose the precision that metric scale needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MIN_CAMERA_HEIGHT = 0.05  # metres; a lower camera sees no usable ground plane
PIXEL_CHANNELS = 7
TOKEN_CHANNELS = 8


@dataclass(frozen=True)
class RayGrid:
    """Rays of a regular grid of pixels, one per `stride` x `stride` cell."""

    direction_bn3hw: Tensor
    """Unit length, in the camera's heading frame (forward, left, up)."""
    ground_depth_bnhw: Tensor
    """Z depth of the flat ground, metres, `far` where the ray meets no ground nearer."""
    sees_ground_bnhw: Tensor
    """1 where the flat ground is nearer than `far`, else 0."""


def heading_bn2(base_T_cam_bn44: Tensor) -> Tensor:
    """(cos, sin) of the azimuth of every camera's optical axis in `base`."""
    axis_xy = base_T_cam_bn44[..., :2, 2]
    return axis_xy / axis_xy.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-6)


def to_heading_frame(vector_base: tuple[Tensor, Tensor], heading_bn2: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the x and y of base vectors (shapes (B,N,...)) into forward and left of the cameras' heading frames."""
    x, y = vector_base
    shape = heading_bn2.shape[:2] + (1,) * (x.dim() - 2)
    cos, sin = heading_bn2[..., 0].reshape(shape), heading_bn2[..., 1].reshape(shape)
    return cos * x + sin * y, cos * y - sin * x


def ray_grid(
    intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, height: int, width: int, stride: int, far: float
) -> RayGrid:
    """Rays through the centres of `stride`-sized cells of a height x width image."""
    device = intrinsics_bn33.device
    offset = (stride - 1) / 2
    u = (torch.arange(width // stride, device=device) * stride + offset).reshape(1, 1, 1, -1)
    v = (torch.arange(height // stride, device=device) * stride + offset).reshape(1, 1, -1, 1)
    k = intrinsics_bn33[..., None, None]  # (B,N,3,3,1,1)
    x = ((u - k[:, :, 0, 2]) / k[:, :, 0, 0]).expand(-1, -1, height // stride, -1)
    y = ((v - k[:, :, 1, 2]) / k[:, :, 1, 1]).expand(-1, -1, -1, width // stride)
    rotation = base_T_cam_bn44[..., None, None]  # (B,N,4,4,1,1)
    base_x, base_y, base_z = (  # per metre of Z depth
        rotation[:, :, row, 0] * x + rotation[:, :, row, 1] * y + rotation[:, :, row, 2] for row in range(3)
    )
    camera_height = base_T_cam_bn44[..., 2, 3, None, None].clamp(min=MIN_CAMERA_HEIGHT)
    # height / descent per metre of depth; the floor of the divisor makes it min(ground depth, far) everywhere
    ground_depth = camera_height / torch.maximum(-base_z, camera_height / far)
    forward, left = to_heading_frame((base_x, base_y), heading_bn2(base_T_cam_bn44))
    length = (x.square() + y.square() + 1).sqrt()
    return RayGrid(
        direction_bn3hw=torch.stack((forward, left, base_z), dim=2) / length[:, :, None],
        ground_depth_bnhw=ground_depth,
        sees_ground_bnhw=(-base_z > camera_height / far).to(x.dtype),
    )


def pixel_channels(rays: RayGrid, intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor) -> Tensor:
    """The PIXEL_CHANNELS geometry channels that enter the encoder beside RGB, each of order one, (B,N,7,h,w).

    Ray direction (3; the third is the sine of the elevation), log depth of the flat ground, whether it is seen,
    log camera height, log focal length relative to the image width. Scale comes from the height and ground depth.
    """
    height = base_T_cam_bn44[..., 2, 3].clamp(min=MIN_CAMERA_HEIGHT)
    image_width = rays.ground_depth_bnhw.shape[-1]
    constants = torch.stack((height.log() - 0.4, (intrinsics_bn33[..., 0, 0] / image_width).log()), dim=2)
    planes = constants[..., None, None].expand(-1, -1, -1, *rays.ground_depth_bnhw.shape[-2:])
    ground = torch.stack((0.5 * rays.ground_depth_bnhw.log() - 1, rays.sees_ground_bnhw), dim=2)
    return torch.cat((rays.direction_bn3hw, ground, planes), dim=2)


def token_channels(rays: RayGrid, base_T_cam_bn44: Tensor) -> Tensor:
    """What identifies a token's place in space: ray (3), camera origin in its heading frame (3), ground (2)."""
    origin_x, origin_y = base_T_cam_bn44[..., 0, 3], base_T_cam_bn44[..., 1, 3]
    forward, left = to_heading_frame((origin_x, origin_y), heading_bn2(base_T_cam_bn44))
    origin = torch.stack((forward, left, base_T_cam_bn44[..., 2, 3]), dim=2)[..., None, None]
    ground = torch.stack((0.5 * rays.ground_depth_bnhw.log() - 1, rays.sees_ground_bnhw), dim=2)
    size = rays.ground_depth_bnhw.shape[-2:]
    return torch.cat((rays.direction_bn3hw, origin.expand(-1, -1, -1, *size), ground), dim=2)


def ray_angles(rays: RayGrid, base_T_cam_bn44: Tensor) -> tuple[Tensor, Tensor]:
    """(cos, sin) of azimuth in `base` and of elevation of every ray, each (B,N,2,h,w)."""
    forward, left, up = rays.direction_bn3hw.unbind(2)
    horizontal = (forward.square() + left.square()).sqrt().clamp(min=1e-6)
    heading = heading_bn2(base_T_cam_bn44)[..., None, None]
    cos, sin = heading[:, :, 0], heading[:, :, 1]
    azimuth = torch.stack((cos * forward - sin * left, sin * forward + cos * left), dim=2) / horizontal[:, :, None]
    return azimuth, torch.stack((horizontal, up), dim=2)


def neighbour_mask(intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, width: int, margin_rad: float) -> Tensor:
    """(B,N,N) bool: horizontal fields of view that overlap, or miss by less than the margin. The diagonal is True."""
    heading = heading_bn2(base_T_cam_bn44)
    cosine = (heading[:, :, None] * heading[:, None, :]).sum(-1)
    half_view = torch.atan(0.5 * width / intrinsics_bn33[..., 0, 0])
    limit = half_view[:, :, None] + half_view[:, None, :] + margin_rad
    return torch.acos(cosine.clamp(-1.0, 1.0)) <= limit


def split_cameras(map_m: Tensor, batch: int) -> Tensor:
    """Undo `flatten(0, 1)`: (B*N, ...) to (B, N, ...). (`Tensor.unflatten` would fix N in an exported graph.)"""
    return map_m.reshape(batch, -1, *map_m.shape[1:])
