# SPDX-License-Identifier: Apache-2.0
"""Global matching of every camera with itself at t-1 (after Xu et al., "GMFlow", CVPR 2022).

Every cell of stride 16 at t is compared with every cell of stride 8 of the same camera at t-1. The softmax over the
latter gives where the cell's content was, and how sure that is. Positions are in cells of stride 16 from the image's
centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import FEATURE_STRIDE, NetworkConfig
from semi_smd_ros.network.geometry import normalised, split_cameras
from semi_smd_ros.network.linear import full_precision

INITIAL_SCALE = 10.0  # logit of two equal features
LARGEST_SCALE = 50.0  # keeps logits in FP16's range
INITIAL_STILL = 0.02  # logit lost per squared cell of displacement
SHARPNESS = 2.0  # the expected position is taken under the squared probabilities: far tails bend it less


@dataclass(frozen=True)
class Match:
    """Where the Q cells of every camera were at t-1."""

    x_bnq: Tensor
    """Normalised image coordinates at t-1."""
    y_bnq: Tensor
    confidence_bnq: Tensor
    """1 for a sharp maximum, towards 0 for a flat distribution."""
    logit_bnqk: Tensor


def cell_positions(height: int, width: int, cells: int, device: torch.device) -> Tensor:
    """Centres of height x width cells, `cells` of which make one of stride 16, from the image's centre: (2,h*w)."""
    x = (torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2) / cells
    y = (torch.arange(height, device=device, dtype=torch.float32) - (height - 1) / 2) / cells
    return torch.stack((x[None].expand(height, width), y[:, None].expand(height, width))).flatten(1)


class TemporalMatching(nn.Module):
    """Match features of an instant, and the matching of two instants."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.width = config.match_width
        self.query_16 = nn.Conv2d(config.widths[2], self.width, 1)
        self.query_8 = nn.Conv2d(config.widths[1], self.width, 1)
        self.key_16 = nn.Conv2d(config.widths[2], 4 * self.width, 1)
        self.key_8 = nn.Conv2d(config.widths[1], self.width, 1)
        self.log_scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))
        self.log_still = nn.Parameter(torch.tensor(math.log(INITIAL_STILL)))

    def features(self, pyramid: list[Tensor], batch: int) -> tuple[Tensor, Tensor]:
        """Encoder features to unit queries (B,N,Q,M) and unit keys packed 2x2 at stride 16, (B,N,4M,h,w)."""
        at_8, at_16 = pyramid[1], pyramid[2]
        query = self.query_16(at_16) + self.query_8(functional.avg_pool2d(at_8, 2))
        key = functional.pixel_shuffle(self.key_16(at_16), 2) + self.key_8(at_8)
        query, key = unit_length(query.float()), unit_length(key.float())
        queries = split_cameras(query, batch).flatten(3).transpose(2, 3)
        return queries, split_cameras(functional.pixel_unshuffle(key, 2), batch)

    def forward(self, query_bnqm: Tensor, past_bnmhw: Tensor, intrinsics_bn33: Tensor) -> Match:
        """Queries at t against packed keys of t-1. The answer means nothing for a camera without memory."""
        height, width = past_bnmhw.shape[-2:]
        batch, device = query_bnqm.shape[0], query_bnqm.device
        key = split_cameras(functional.pixel_shuffle(past_bnmhw.flatten(0, 1), 2), batch).flatten(3)  # (B,N,M,K)
        at_q, at_k = cell_positions(height, width, 1, device), cell_positions(2 * height, 2 * width, 2, device)
        # -still |q - k|^2, but for the part that is the same for all keys, as three more channels of the product
        still = self.log_still.exp()
        query_place = torch.cat((2 * at_q.T, -torch.ones_like(at_q.T[:, :1])), dim=1) * still
        key_place = torch.cat((at_k, at_k.square().sum(0, keepdim=True)))
        scale = self.log_scale.exp().clamp(max=LARGEST_SCALE)
        shape = (batch, past_bnmhw.shape[1], -1, -1)
        query = torch.cat((query_bnqm * scale, query_place.expand(*shape)), dim=3) * SHARPNESS
        key = torch.cat((key, key_place.expand(*shape)), dim=2)
        with full_precision(device):
            sharp_logit = query.float() @ key.float()
            x, y, square = (torch.softmax(sharp_logit, dim=-1) @ key_place.T).unbind(-1)
        spread = (square - x.square() - y.square()).clamp(min=0)  # squared cells
        u = (x + (width - 1) / 2) * FEATURE_STRIDE + (FEATURE_STRIDE - 1) / 2
        v = (y + (height - 1) / 2) * FEATURE_STRIDE + (FEATURE_STRIDE - 1) / 2
        return Match(*normalised(intrinsics_bn33, u, v), 1 / (1 + spread), sharp_logit / SHARPNESS)


def unit_length(feature_mchw: Tensor) -> Tensor:
    """Divide by the length over channels."""
    return feature_mchw / (feature_mchw.square().sum(1, keepdim=True) + 1e-6).sqrt()
