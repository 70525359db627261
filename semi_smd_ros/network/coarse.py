# SPDX-License-Identifier: Apache-2.0
"""What the encoder alone can tell at stride 16: depth, semantics, and votes for the ground."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.geometry import split_cameras
from semi_smd_ros.network.ground import VOTES

GROUND_LOGIT = 3.0  # of an untrained network's ground weight: it begins with the ground as its depth
OFFSET = 0.1
INITIAL_SCALE = 0.1  # of the weights of the last layer, against the usual initialisation


@dataclass(frozen=True)
class CoarseOutput:
    """Maps at stride 16, one row of cells after the other where the last axis is q."""

    hidden_bnqc: Tensor
    """Features for the heads of other parts."""
    log_depth_bnhw: Tensor
    semantic_logit_bnkhw: Tensor
    vote_bnvq: Tensor
    """Ground votes, see `ground.GroundPlane`."""
    vote_logit_bnvq: Tensor


class CoarseHeads(nn.Module):
    """Encoder features (B,N,C,h,w) to `CoarseOutput`. Log depth = offset + weight x log depth of the flat ground."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.classes = len(config.classes)
        self.hidden = nn.Conv2d(config.widths[2], config.coarse_width, 1)
        self.depth = nn.Conv2d(config.coarse_width, 2, 1)
        self.semantics = nn.Conv2d(config.coarse_width, self.classes, 1)
        self.ground = nn.Conv2d(config.coarse_width, 2 * VOTES, 1)
        with torch.no_grad():
            for layer in (self.depth, self.ground):
                layer.weight.mul_(INITIAL_SCALE)
                assert layer.bias is not None
                layer.bias.zero_()
            assert self.depth.bias is not None
            self.depth.bias.copy_(torch.tensor((GROUND_LOGIT, OFFSET)))

    def forward(self, feature_bnchw: Tensor, log_ground_bnhw: Tensor) -> CoarseOutput:
        batch = feature_bnchw.shape[0]
        hidden = functional.relu(self.hidden(feature_bnchw.flatten(0, 1)))
        ground_logit, offset = split_cameras(self.depth(hidden).float(), batch).unbind(2)
        votes, vote_logits = split_cameras(self.ground(hidden).float(), batch).flatten(3).chunk(2, dim=2)
        return CoarseOutput(
            hidden_bnqc=split_cameras(hidden, batch).flatten(3).transpose(2, 3),
            log_depth_bnhw=offset + torch.sigmoid(ground_logit) * log_ground_bnhw,
            semantic_logit_bnkhw=split_cameras(self.semantics(hidden).float(), batch),
            vote_bnvq=votes,
            vote_logit_bnvq=vote_logits,
        )
