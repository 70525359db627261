# SPDX-License-Identifier: Apache-2.0
"""Where a camera's cells were in its previous picture, from true depth and motion, and the loss of matching them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from semi_smd_ros.network.config import FEATURE_STRIDE
from semi_smd_ros.network.linear import full_precision

KEY_STRIDE = FEATURE_STRIDE // 2
SAME_SURFACE = 0.1  # relative difference of depths up to which a point is taken as seen in both pictures


def cell_centres(map_bnhw: Tensor, stride: int) -> Tensor:
    """The pixel nearest every cell's centre, (B,N,H/stride,W/stride)."""
    return map_bnhw[..., stride // 2 :: stride, stride // 2 :: stride]


def previous_pixels(
    depth_bnhw: Tensor, intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, prev_T_now_b44: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`carried` for the cells of stride 16 of a depth map, NaN where it is unknown."""
    return carried(cell_centres(depth_bnhw, FEATURE_STRIDE), intrinsics_bn33, base_T_cam_bn44, prev_T_now_b44[:, None])


def carried(
    depth_bnhw: Tensor, intrinsics_bn33: Tensor, base_T_cam_bn44: Tensor, prev_T_now_bn44: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Pixel (u, v) and Z depth at t-1 of what the cells of stride 16 show at t, (B,N,Q) each, from the cells' depth.

    cam_prev_T_cam = inv(base_T_cam) @ prev_T_now @ base_T_cam, for things that stand still. The motion is (B,1,4,4), or
    one for each camera.
    """
    rows, columns = depth_bnhw.shape[-2:]
    offset = (FEATURE_STRIDE - 1) / 2
    u = torch.arange(columns, device=depth_bnhw.device) * FEATURE_STRIDE + offset
    v = torch.arange(rows, device=depth_bnhw.device) * FEATURE_STRIDE + offset
    pixel = torch.stack((u.repeat(rows), v.repeat_interleave(columns), torch.ones_like(u).repeat(rows)))
    with full_precision(depth_bnhw.device):  # bfloat16 tells pixels apart only up to 256
        point = torch.linalg.inv(intrinsics_bn33) @ pixel * depth_bnhw.flatten(2)[:, :, None]
        motion = torch.linalg.inv(base_T_cam_bn44) @ prev_T_now_bn44 @ base_T_cam_bn44
        seen = intrinsics_bn33 @ (motion[..., :3, :3] @ point + motion[..., :3, 3:])
    z = seen[:, :, 2]
    return seen[:, :, 0] / z, seen[:, :, 1] / z, z


def matching_loss(
    match_logit_bnqk: Tensor,
    usable_bn: Tensor,
    depth_bnhw: Tensor,
    past_depth_bnhw: Tensor,
    moving_bnhw: Tensor,
    intrinsics_bn33: Tensor,
    base_T_cam_bn44: Tensor,
    prev_T_now_b44: Tensor,
) -> Tensor:
    """Cross-entropy of the match against the true place, shared out bilinearly over the four nearest cells of t-1.

    Left out: sky, the ego vehicle, what moves by itself (`moving_bnhw` at stride 4), and what lay outside the previous
    picture or was hidden there. 0 where nothing is left.
    """
    height, width = depth_bnhw.shape[-2:]
    rows, columns = height // KEY_STRIDE, width // KEY_STRIDE
    u, v, z = previous_pixels(depth_bnhw, intrinsics_bn33, base_T_cam_bn44, prev_T_now_b44)
    moving = cell_centres(moving_bnhw, FEATURE_STRIDE // (height // moving_bnhw.shape[-2])).flatten(2)
    known = torch.isfinite(z) & (z > 0) & usable_bn[..., None] & ~moving
    x, y = (u - (KEY_STRIDE - 1) / 2) / KEY_STRIDE, (v - (KEY_STRIDE - 1) / 2) / KEY_STRIDE
    known &= (x >= 0) & (x <= columns - 1) & (y >= 0) & (y <= rows - 1)
    x, y, u, v = (torch.where(known, value, torch.zeros_like(value)) for value in (x, y, u, v))
    index = v.round().long().clamp(0, height - 1) * width + u.round().long().clamp(0, width - 1)
    surface = past_depth_bnhw.flatten(2).gather(2, index)
    known &= (surface / torch.where(known, z, torch.ones_like(z))).log().abs() < SAME_SURFACE

    return cell_cross_entropy(match_logit_bnqk, x, y, known, rows, columns)


def cell_cross_entropy(
    match_logit_bnqk: Tensor, x: Tensor, y: Tensor, known_bnq: Tensor, rows: int, columns: int
) -> Tensor:
    """Cross-entropy of the match against places (x, y) in cells of stride 8, `rows` x `columns` of them, shared out
    bilinearly over the four nearest; mean over those that are known and inside, 0 where there are none."""
    known = known_bnq & (x >= 0) & (x <= columns - 1) & (y >= 0) & (y <= rows - 1)
    x, y = (torch.where(known, value, torch.zeros_like(value)) for value in (x, y))
    log_share = functional.log_softmax(match_logit_bnqk.float(), dim=-1)
    left, top = x.floor().clamp(max=columns - 2), y.floor().clamp(max=rows - 2)
    loss = torch.zeros_like(x)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = (1 - (x - left - right).abs()) * (1 - (y - top - down).abs())
        key = ((top + down) * columns + left + right).long()
        loss = loss - weight * log_share.gather(3, key[..., None])[..., 0]
    return (loss * known).sum() / known.sum().clamp(min=1)
