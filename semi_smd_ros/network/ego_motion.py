# SPDX-License-Identifier: Apache-2.0
"""One rigid, metric motion of the vehicle from the features of all cameras at t-1 and t.

Each camera votes for the vehicle's motion, in its own heading frame, from a local correlation of its two feature maps;
the votes are turned into `base` and averaged with learned weights, so that a camera that sees little can stand back.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.encoder import conv_norm
from semi_smd_ros.network.fusion import MASKED
from semi_smd_ros.network.geometry import TOKEN_CHANNELS, heading_bn2, split_cameras

RADIUS = 2  # cells of stride 16 searched in each direction
MATCH_WIDTH = 32
ROTATION_UNIT = 0.05  # radians per unit of network output, so that both kinds of output are of order one


def correlation(now_mchw: Tensor, past_mchw: Tensor) -> Tensor:
    """Mean product of features at t with those at t-1 shifted by up to RADIUS cells: (M, (2 RADIUS + 1)^2, h, w)."""
    height, width = now_mchw.shape[-2:]
    padded = functional.pad(past_mchw, (RADIUS, RADIUS, RADIUS, RADIUS))
    shifts = range(2 * RADIUS + 1)
    products = [
        (now_mchw * padded[:, :, row : row + height, column : column + width]).mean(1, keepdim=True)
        for row in shifts
        for column in shifts
    ]
    return torch.cat(products, dim=1)


def rigid_transform(translation_b3: Tensor, rotation_b3: Tensor) -> Tensor:
    """(B,4,4) from metres and a rotation given as twice the vector part of a quaternion (1, rotation / 2).

    For the small turns between two frames this is the rotation vector; zeros give the exact identity.
    """
    half = 0.5 * rotation_b3
    norm = (1 + half.square().sum(-1, keepdim=True)).sqrt()
    w = (1 / norm)[:, 0]
    x, y, z = (half / norm).unbind(-1)
    one, zero = torch.ones_like(w), torch.zeros_like(w)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), translation_b3[:, 0]),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), translation_b3[:, 1]),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), translation_b3[:, 2]),
        (zero, zero, zero, one),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)


class EgoMotionHead(nn.Module):
    """`prev_T_now` of the base, (B,4,4), metres. The identity where no camera was valid at both times."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        feature_width, width = config.widths[2], config.pose_width
        self.match_now = nn.Conv2d(feature_width, MATCH_WIDTH, 1)
        self.match_past = nn.Conv2d(feature_width, MATCH_WIDTH, 1)
        inputs = 2 * MATCH_WIDTH + (2 * RADIUS + 1) ** 2 + TOKEN_CHANNELS
        self.trunk = nn.Sequential(
            conv_norm(inputs, width), nn.ReLU(), conv_norm(width, width, stride=2), nn.ReLU(), conv_norm(width, width),
            nn.ReLU(),
        )  # fmt: skip
        self.vote = nn.Sequential(nn.Linear(width + 2, width), nn.ReLU(), nn.Linear(width, 7))

    def forward(
        self,
        now_bnchw: Tensor,
        past_bnchw: Tensor,
        place_bnchw: Tensor,
        base_T_cam_bn44: Tensor,
        usable_bn: Tensor,
    ) -> Tensor:
        """`usable_bn` is True for cameras that are valid now and were at t-1; `place_bnchw` are `token_channels`."""
        now, past = self.match_now(now_bnchw.flatten(0, 1)), self.match_past(past_bnchw.flatten(0, 1))
        stacked = torch.cat((now, past, correlation(now, past), place_bnchw.flatten(0, 1)), dim=1)
        pooled = split_cameras(self.trunk(stacked).mean((-2, -1)), now_bnchw.shape[0])
        heading = heading_bn2(base_T_cam_bn44)
        vote_bn7 = self.vote(torch.cat((pooled, heading), dim=-1)).float()

        weight_bn = torch.softmax(vote_bn7[..., 6] + (~usable_bn).to(torch.float32) * MASKED, dim=1)
        weight_bn = weight_bn * usable_bn.to(torch.float32)
        cos, sin = heading.unbind(-1)
        forward, left, up, roll, pitch, yaw = vote_bn7[..., :6].unbind(-1)
        translation = torch.stack((cos * forward - sin * left, sin * forward + cos * left, up), dim=-1)
        rotation = torch.stack((cos * roll - sin * pitch, sin * roll + cos * pitch, yaw), dim=-1) * ROTATION_UNIT
        return rigid_transform((weight_bn[..., None] * translation).sum(1), (weight_bn[..., None] * rotation).sum(1))
