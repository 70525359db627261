# SPDX-License-Identifier: Apache-2.0
"""What one instant hands to the next: one tensor at stride 16, so that the runtime need not know what it holds.

Channels: whether the camera was valid (1), the ground's slopes forward and left in the camera's heading frame and its
height (3), coarse log depth (1), fused features (C), features of 2x2 cells of stride 8 for matching (4 M), of
4x4 cells of stride 4 for motion stereo (16 S).
Everything is in the camera's own frame, so a memory fits any order and any yaw of the rig.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semi_smd_ros.network.config import MEMORY_HEADER
from semi_smd_ros.network.geometry import from_heading_frame, heading_bn2, to_heading_frame


@dataclass(frozen=True)
class Memory:
    """The last instant as a network may use it: zeros wherever it is unusable."""

    usable_bn: Tensor
    """Bool: this camera is valid now, and was then."""
    ground_b3: Tensor
    ground_known_b: Tensor
    """1 where some camera is usable, else 0."""
    log_depth_bn1hw: Tensor
    feature_bnchw: Tensor
    match_bnmhw: Tensor
    sweep_bnshw: Tensor


def remember(
    valid_bn: Tensor,
    ground_b3: Tensor,
    base_T_cam_bn44: Tensor,
    log_depth_bnhw: Tensor,
    feature_bnchw: Tensor,
    match_bnmhw: Tensor,
    sweep_bnshw: Tensor,
) -> Tensor:
    """Pack the memory, (B,N,C,h,w) in FP32."""
    size = log_depth_bnhw.shape[-2:]
    # the ground as one plane a camera: shape (B,N) each
    slope_x, slope_y, height = (ground_b3[:, i, None] + torch.zeros_like(base_T_cam_bn44[..., 0, 0]) for i in range(3))
    forward, left = to_heading_frame((slope_x, slope_y), heading_bn2(base_T_cam_bn44))
    header = torch.stack((valid_bn.to(torch.float32), forward, left, height), dim=2)[..., None, None]
    parts = (header.expand(-1, -1, -1, *size), log_depth_bnhw[:, :, None], feature_bnchw, match_bnmhw, sweep_bnshw)
    # what a network lacks has no channels, and leaves no empty tensor in an exported graph
    return torch.cat([part.float() for part in parts if part.shape[2]], dim=2)


def recall(
    memory_bnchw: Tensor,
    memory_valid_b: Tensor,
    valid_bn: Tensor,
    base_T_cam_bn44: Tensor,
    feature_width: int,
    match_width: int,
) -> Memory:
    """Unpack the memory; what may not be used comes back as zeros, whatever the buffer holds (even NaN)."""
    usable_bn = (memory_valid_b > 0.5)[:, None] & (memory_bnchw[:, :, 0, 0, 0] > 0.5) & valid_bn
    kept = torch.where(usable_bn[..., None, None, None], memory_bnchw, torch.zeros_like(memory_bnchw))
    usable = usable_bn.to(kept.dtype)
    count = usable.sum(1)
    forward, left, height = (kept[:, :, channel, 0, 0] for channel in (1, 2, 3))
    x, y = from_heading_frame((forward, left), heading_bn2(base_T_cam_bn44))
    ground = torch.stack((x, y, height), dim=-1).sum(1) / count.clamp(min=1)[:, None]
    end = MEMORY_HEADER + feature_width
    matched = end + 4 * match_width
    return Memory(
        usable_bn=usable_bn,
        ground_b3=ground,
        ground_known_b=count.clamp(max=1),
        log_depth_bn1hw=kept[:, :, MEMORY_HEADER - 1 : MEMORY_HEADER],
        feature_bnchw=kept[:, :, MEMORY_HEADER:end],
        match_bnmhw=kept[:, :, end:matched],
        sweep_bnshw=kept[:, :, matched:],
    )
