# SPDX-License-Identifier: Apache-2.0
"""Metric cues from intrinsics and extrinsics: rays, camera height, depth of the ground, neighbours.

Directions are given in each camera's *heading frame*: `base` turned about its vertical axis until x is the camera's
horizontal viewing direction. A rig turned about the vertical axis therefore gives the same cues.
Pixel centres lie at integer coordinates. `bn` are the batch of rigs and the cameras of a rig.
Nothing here uses matrix products: under bf16 autocast they would lose the precision that metric scale needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

MIN_CAMERA_HEIGHT = 0.05  # metres above the ground; a lower camera sees no usable ground plane
SMALLEST_AXIS = 1e-3  # horizontal part of a unit axis below which it has no azimuth
SEEN_SLOPE = 4.0  # `sees_ground` is 1 up to `far` / (1 + 1 / SEEN_SLOPE)
PIXEL_CHANNELS = 7
TOKEN_CHANNELS = 8


def heading_bn2(base_T_cam_bn44: Tensor) -> Tensor:
    """(cos, sin) of the azimuth of every camera's optical axis in `base`.

    A camera that looks straight down or up has none: there it is the azimuth of the picture's upper edge.
    """
    axis_xy, upper_xy = base_T_cam_bn44[..., :2, 2], -base_T_cam_bn44[..., :2, 1]
    has_azimuth = axis_xy.square().sum(-1, keepdim=True) > SMALLEST_AXIS**2
    axis_xy = torch.where(has_azimuth, axis_xy, upper_xy)
    return axis_xy / axis_xy.square().sum(-1, keepdim=True).sqrt()


def to_heading_frame(vector_base: tuple[Tensor, Tensor], heading_bn2: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the x and y of base vectors (shapes (B,N,...)) into forward and left of the cameras' heading frames."""
    x, y = vector_base
    shape = heading_bn2.shape[:2] + (1,) * (x.dim() - 2)
    cos, sin = heading_bn2[..., 0].reshape(shape), heading_bn2[..., 1].reshape(shape)
    return cos * x + sin * y, cos * y - sin * x


def from_heading_frame(vector_heading: tuple[Tensor, Tensor], heading_bn2: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `to_heading_frame`: forward and left to x and y of `base`."""
    opposite = torch.stack((heading_bn2[..., 0], -heading_bn2[..., 1]), dim=-1)
    return to_heading_frame(vector_heading, opposite)


@dataclass(frozen=True)
class RayGrid:
    """Rays of a regular grid of pixels, one per `stride` x `stride` cell; maps are made when they are asked for.

    A map that is linear in the pixel's position is the sum of a row and a column, so it costs one addition a pixel.
    """

    x_bn1w: Tensor
    """Normalised image coordinates: a pixel's ray is (x, y, 1) per metre of Z depth in the camera's frame."""
    y_bnh1: Tensor
    base_T_cam_bn44: Tensor
    far: float

    def linear(self, factor_bn3: Tensor) -> Tensor:
        """factor . (x, y, 1) for every ray, (B,N,h,w)."""
        a, b, c = (factor_bn3[..., i, None, None] for i in range(3))
        return (a * self.x_bn1w + c) + b * self.y_bnh1

    @cached_property
    def ray_base_bn3hw(self) -> Tensor:
        """Rays per metre of Z depth, in `base`."""
        return torch.stack([self.linear(self.base_T_cam_bn44[..., row, :3]) for row in range(3)], dim=2)

    @cached_property
    def direction_bn3hw(self) -> Tensor:
        """Unit length, in the camera's heading frame (forward, left, up)."""
        rotation = self.base_T_cam_bn44[..., :3, :3]
        forward, left = to_heading_frame((rotation[..., 0, :], rotation[..., 1, :]), heading_bn2(self.base_T_cam_bn44))
        ray = [self.linear(row) for row in (forward, left, rotation[..., 2, :])]
        length = (self.x_bn1w.square() + (self.y_bnh1.square() + 1)).sqrt()
        return torch.stack(ray, dim=2) / length[:, :, None]

    def descent(self, ground_b3: Tensor | None) -> tuple[Tensor, Tensor]:
        """Height of the camera over the ground (B,N,1,1), and the loss of height per metre of Z depth (B,N,h,w).

        The ground is z = a x + b y + c of `base` with (a, b, c) = `ground_b3`, None is the flat z = 0. With the camera
        at o and its ray d per metre, o + t d lies on it for t = (o_z - a o_x - b o_y - c) / (a d_x + b d_y - d_z).
        """
        pose = self.base_T_cam_bn44
        down, height = -pose[..., 2, :3], pose[..., 2, 3]
        if ground_b3 is not None:
            a, b, c = (ground_b3[:, i, None] for i in range(3))
            down = down + a[..., None] * pose[..., 0, :3] + b[..., None] * pose[..., 1, :3]
            height = height - a * pose[..., 0, 3] - b * pose[..., 1, 3] - c
        return height.clamp(min=MIN_CAMERA_HEIGHT)[..., None, None], self.linear(down)

    def ground_depth(self, ground_b3: Tensor | None = None) -> Tensor:
        """Z depth of the ground in metres, (B,N,h,w); `far` where the ray meets none nearer. See `descent`."""
        height, descent = self.descent(ground_b3)
        # the floor of the divisor makes it min(depth, far) everywhere
        return height / torch.maximum(descent, height / self.far)

    def log_ground_depth(self, ground_b3: Tensor | None = None) -> Tensor:
        """The logarithm of `ground_depth`."""
        height, descent = self.descent(ground_b3)
        return height.log() - torch.maximum(descent, height / self.far).log()

    def sees_ground(self, ground_b3: Tensor | None = None) -> Tensor:
        """1 where the ground is well nearer than `far`, fading to 0 there: a step would turn rounding of the estimated
        ground into another depth."""
        height, descent = self.descent(ground_b3)
        return ((descent * (self.far / height) - 1) * SEEN_SLOPE).clamp(0.0, 1.0)

    @property
    def ground_depth_bnhw(self) -> Tensor:
        """Z depth of the flat ground, metres."""
        return self.ground_depth()

    @property
    def sees_ground_bnhw(self) -> Tensor:
        return self.sees_ground()

    def ground_channels(self, ground_b3: Tensor | None = None) -> Tensor:
        """Log depth of the ground, of order one, and whether it is seen: (B,N,2,h,w)."""
        return torch.stack((0.5 * self.log_ground_depth(ground_b3) - 1, self.sees_ground(ground_b3)), dim=2)


def ray_grid(
    intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, height: int, width: int, stride: int, far: float
) -> RayGrid:
    """Rays through the centres of `stride`-sized cells of a height x width image."""
    device = intrinsics_bn33.device
    offset = (stride - 1) / 2
    u = torch.arange(width // stride, device=device, dtype=torch.float32) * stride + offset
    v = torch.arange(height // stride, device=device, dtype=torch.float32) * stride + offset
    x, y = normalised(intrinsics_bn33, u.reshape(1, 1, -1), v.reshape(1, 1, -1))
    return RayGrid(x[:, :, None, :], y[:, :, :, None], base_T_cam_bn44, far)


def normalised(intrinsics_bn33: Tensor, u_bnq: Tensor, v_bnq: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel positions to normalised image coordinates, (B,N,Q) each."""
    k = intrinsics_bn33[..., None]
    return (u_bnq - k[:, :, 0, 2]) / k[:, :, 0, 0], (v_bnq - k[:, :, 1, 2]) / k[:, :, 1, 1]


def pixel_channels(rays: RayGrid, intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor) -> Tensor:
    """The PIXEL_CHANNELS geometry channels that enter the encoder, each of order one, (B,N,7,h,w).

    Ray direction (3; the third is the sine of the elevation), log depth of the flat ground, whether it is seen,
    log camera height, log focal length relative to the image width. Scale comes from the height and ground depth.
    """
    ground = rays.ground_channels()
    height = base_T_cam_bn44[..., 2, 3].clamp(min=MIN_CAMERA_HEIGHT)
    view = rays.x_bn1w[:, :, 0, -1] - rays.x_bn1w[:, :, 0, 0]  # picture's width over focal length, but for one cell
    constants = torch.stack((height.log() - 0.4, -view.log()), dim=2)
    planes = constants[..., None, None].expand(-1, -1, -1, *ground.shape[-2:])
    return torch.cat((rays.direction_bn3hw, ground, planes), dim=2)


def token_channels(rays: RayGrid, base_T_cam_bn44: Tensor) -> Tensor:
    """What identifies a token's place in space: ray (3), camera origin in its heading frame (3), ground (2)."""
    origin_x, origin_y = base_T_cam_bn44[..., 0, 3], base_T_cam_bn44[..., 1, 3]
    forward, left = to_heading_frame((origin_x, origin_y), heading_bn2(base_T_cam_bn44))
    origin = torch.stack((forward, left, base_T_cam_bn44[..., 2, 3]), dim=2)[..., None, None]
    ground = rays.ground_channels()
    return torch.cat((rays.direction_bn3hw, origin.expand(-1, -1, -1, *ground.shape[-2:]), ground), dim=2)


def ray_angles(direction_bnl3: Tensor, base_T_cam_bn44: Tensor) -> tuple[Tensor, Tensor]:
    """(cos, sin) of azimuth in `base` and of elevation of unit rays in the heading frame, each (B,N,L,2)."""
    forward, left, up = direction_bnl3.unbind(-1)
    # before the root for its gradient, which is infinite at 0; behind it for FP16, in which 1e-12 is 0
    horizontal = (forward.square() + left.square()).clamp(min=1e-12).sqrt().clamp(min=1e-6)
    x, y = from_heading_frame((forward, left), heading_bn2(base_T_cam_bn44))
    return torch.stack((x, y), dim=-1) / horizontal[..., None], torch.stack((horizontal, up), dim=-1)


def neighbour_mask(intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, width: int, margin_rad: float) -> Tensor:
    """(B,N,N) bool: horizontal fields of view that overlap, or miss by less than the margin. The diagonal is True."""
    heading = heading_bn2(base_T_cam_bn44)
    cosine = (heading[:, :, None] * heading[:, None, :]).sum(-1)
    half_view = torch.atan(0.5 * width / intrinsics_bn33[..., 0, 0])
    limit = half_view[:, :, None] + half_view[:, None, :] + margin_rad
    camera = torch.arange(cosine.shape[1], device=cosine.device)
    return (torch.acos(cosine.clamp(-1.0, 1.0)) <= limit) | (camera[:, None] == camera)


def split_cameras(map_m: Tensor, batch: int) -> Tensor:
    """Undo `flatten(0, 1)`: (B*N, ...) to (B, N, ...). (`Tensor.unflatten` would fix N in an exported graph.)"""
    return map_m.reshape(batch, -1, *map_m.shape[1:])
