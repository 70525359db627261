# SPDX-License-Identifier: Apache-2.0
"""Motion stereo: every cell looks where it would have been seen at t-1, for each of several depths.

The solved ego-motion and the extrinsics say where, so one search along a line per cell is left; features of t-1 come
from the memory, and no picture is encoded twice. Cells are compared at stride 4, where ten percent of depth move them
enough to be seen, and four of them are taken together at stride 8, where the decoder learns of it. The depths lie
around the one that the cell's camera tells from one picture. After Collins, "A space-sweep approach to true multi-image
matching", CVPR 1996, and, with learned features and a previous frame, Watson et al., "The temporal opportunist:
self-supervised multi-frame monocular depth", CVPR 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import FEATURE_STRIDE, NetworkConfig
from semi_smd_ros.network.ego_motion import transform
from semi_smd_ros.network.encoder import conv_norm
from semi_smd_ros.network.geometry import RayGrid, split_cameras
from semi_smd_ros.network.matching import unit_length

STRIDE = 8  # of what is said
FINE = 4  # of what is compared
# Natural logarithms of the depths tried, over the depth in the middle: closer together where it is likely right.
STEPS = (-1.1, -0.75, -0.5, -0.32, -0.18, -0.06, 0.06, 0.18, 0.32, 0.5, 0.75, 1.1)
NEAREST = 0.05  # metres before the camera at t-1; what lies nearer, or behind it, was not seen
OUTSIDE = 3.0  # grid coordinate of what was not seen, beyond the picture's -1..1
CUES = 3
HIDDEN = 48
CONTRAST = 5.0  # of similarities, whose differences are small, before the first layer
HALF_SHIFT = 0.1  # cells of FINE of shift between the two middle depths at which the shift's channel is one half


@dataclass(frozen=True)
class Sweep:
    """What motion stereo says; means something only where `Memory.usable_bn`."""

    middle_bnhw: Tensor
    """Logarithm of the depth around which was searched, at stride 8; detached."""
    logit_bndhw: Tensor
    """Of each of STEPS."""


class PlaneSweep(nn.Module):
    """Features to compare, the comparison, and what it gives the decoder at stride 8."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = config.sweep_width
        self.limits = math.log(config.depth_min), math.log(config.depth_max)
        self.from_4 = nn.Conv2d(config.widths[0], self.width, 3, padding=1)
        self.from_8 = nn.Conv2d(config.widths[1], self.width, 1)
        self.first = conv_norm(len(STEPS) + 2 + config.widths[1], HIDDEN)
        self.second = conv_norm(HIDDEN, HIDDEN)
        self.logit = nn.Conv2d(HIDDEN, len(STEPS), 1)
        self.to_decoder = nn.Conv2d(HIDDEN + CUES, config.decoder_widths[0], 1, bias=False)
        nn.init.zeros_(self.to_decoder.weight)  # an untrained sweep changes nothing

    def features(self, pyramid: list[Tensor]) -> Tensor:
        """Unit features at stride 4 from the encoder's at strides 4 and 8, (B*N,S,h,w)."""
        coarse = functional.interpolate(self.from_8(pyramid[1]), scale_factor=2.0, mode='bilinear')
        return unit_length((self.from_4(pyramid[0]) + coarse).float())

    def forward(
        self,
        now_mshw: Tensor,
        past_msqw: Tensor,
        usable_bn: Tensor,
        coarse_log_depth_bnhw: Tensor,
        at_8_mchw: Tensor,
        fine_rays: RayGrid,
        log_ground_bnhw: Tensor,
        intrinsics_bn33: Tensor,
        motion_bn44: Tensor,
    ) -> tuple[Tensor, Sweep]:
        """What is added in the decoder at stride 8 (B*N,C,h,w), exactly 0 where the memory is unusable, and the sweep.

        `past_msqw` are `features` of t-1 packed 4x4 at stride 16; `fine_rays` are those of stride 4, `log_ground_bnhw`
        is at stride 8.
        """
        batch, size = usable_bn.shape[0], now_mshw.shape[-2:]
        coarse = coarse_log_depth_bnhw.detach().clamp(*self.limits)
        fine, middle = (enlarged(coarse, FEATURE_STRIDE // stride) for stride in (FINE, STRIDE))
        grid_mdq2, shift_m1hw = seen_before(fine_rays, fine, intrinsics_bn33, motion_bn44)
        past = functional.grid_sample(unpacked(past_msqw), grid_mdq2, align_corners=False)
        alike = (now_mshw.flatten(2)[:, :, None] * past).sum(1).reshape(-1, len(STEPS), *size)
        inside = (grid_mdq2.abs().amax(-1) < 1).to(alike.dtype).mean(1).reshape(-1, 1, *size)
        compared = functional.avg_pool2d(torch.cat((CONTRAST * alike, inside, shift_m1hw), dim=1), STRIDE // FINE)
        found = torch.cat((compared, at_8_mchw.to(alike.dtype)), dim=1)
        hidden = functional.relu(self.first(found))
        hidden = functional.relu(hidden + self.second(hidden))
        logit = split_cameras(self.logit(hidden).float(), batch)
        share = torch.softmax(logit, dim=2)
        steps = torch.tensor(STEPS, device=share.device)[:, None, None]
        log_depth = middle + (share * steps).sum(2)
        cues = torch.stack((log_depth - log_ground_bnhw, log_depth - middle, share.square().sum(2)), dim=2)
        usable = usable_bn.flatten().to(hidden.dtype)[:, None, None, None]
        added = self.to_decoder(torch.cat((hidden, cues.flatten(0, 1).to(hidden.dtype)), dim=1) * usable)
        return added, Sweep(middle, logit)


def packed(feature_mshw: Tensor) -> Tensor:
    """`PlaneSweep.features` as the memory keeps them, at stride 16."""
    return functional.pixel_unshuffle(feature_mshw, FEATURE_STRIDE // FINE)


def unpacked(feature_mshw: Tensor) -> Tensor:
    """The inverse of `packed`."""
    return functional.pixel_shuffle(feature_mshw, FEATURE_STRIDE // FINE)


def enlarged(log_depth_bnhw: Tensor, factor: int) -> Tensor:
    """A map at a finer stride."""
    return functional.interpolate(log_depth_bnhw, scale_factor=float(factor), mode='bilinear')


def seen_before(
    rays: RayGrid, middle_bnhw: Tensor, intrinsics_bn33: Tensor, motion_bn44: Tensor
) -> tuple[Tensor, Tensor]:
    """Where cells of stride FINE at `middle_bnhw` (log Z depth) + STEPS were in their camera's picture at t-1.

    `motion_bn44` is `prev_T_now` of the base, (B,1,4,4) or one for each camera. Returns grid coordinates (B*N,D,Q,2),
    -1..1 from edge to edge of the picture, and how far the two middle depths lie apart there: (B*N,1,h,w), 0..1.
    """
    pose = rays.base_T_cam_bn44
    height, width = middle_bnhw.shape[-2:]
    origin = pose[..., :3, 3:]
    # z metres along the ray end at e + z g of the camera at t-1
    e = into_camera(pose, transform(motion_bn44, origin) - origin)
    turned = transform(motion_bn44, rays.ray_base_bn3hw.flatten(3)) - motion_bn44[..., :3, 3:]
    g = into_camera(pose, turned)
    steps = torch.tensor(STEPS, device=e.device)
    depth_bndq = (middle_bnhw.flatten(2)[:, :, None] + steps[:, None]).exp()
    x, y, z = (e[:, :, i, None] + depth_bndq * g[:, :, i, None] for i in range(3))
    before = z.clamp(min=NEAREST)
    k = intrinsics_bn33[..., None, None]
    u, v = k[:, :, 0, 0] * x / before + k[:, :, 0, 2], k[:, :, 1, 1] * y / before + k[:, :, 1, 2]
    across, along = (2 * u + 1) / (FINE * width) - 1, (2 * v + 1) / (FINE * height) - 1
    grid = torch.stack((across, along), dim=-1).clamp(-OUTSIDE, OUTSIDE)
    grid = torch.where((z > NEAREST)[..., None], grid, torch.full_like(grid, OUTSIDE))
    one = len(STEPS) // 2
    shift = ((u[:, :, one] - u[:, :, one - 1]).square() + (v[:, :, one] - v[:, :, one - 1]).square()).sqrt() / FINE
    shift = torch.where(before[:, :, one - 1] > NEAREST, shift, torch.zeros_like(shift))
    return grid.flatten(0, 1), (shift / (shift + HALF_SHIFT)).reshape(-1, 1, height, width)


def into_camera(base_T_cam_bn44: Tensor, vector_bn3q: Tensor) -> Tensor:
    """Directions of `base` in the cameras' frames, (B,N,3,Q)."""
    return (base_T_cam_bn44[..., :3, :3, None] * vector_bn3q[:, :, :, None]).sum(2)


def sweep_loss(sweep: Sweep, target_bnhw: Tensor, weight_bnhw: Tensor) -> Tensor:
    """Weighted mean of the cross entropy against the true log depths at stride 8, shared by the two steps around it."""
    steps = torch.tensor(STEPS, device=target_bnhw.device)
    wanted = (target_bnhw - sweep.middle_bnhw).clamp(STEPS[0], STEPS[-1])
    upper = torch.searchsorted(steps, wanted).clamp(1, len(STEPS) - 1)
    lower = upper - 1
    share = (wanted - steps[lower]) / (steps[upper] - steps[lower])
    log_share = torch.log_softmax(sweep.logit_bndhw, dim=2)
    entropy = -torch.lerp(
        log_share.gather(2, lower[:, :, None])[:, :, 0], log_share.gather(2, upper[:, :, None])[:, :, 0], share
    )
    return (entropy * weight_bnhw).sum() / weight_bnhw.sum().clamp(min=1)
