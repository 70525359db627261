# SPDX-License-Identifier: Apache-2.0
"""From fused features at stride 16 back to stride 4, with the encoder's finer features added on the way.

Geometry comes in where it is known: the depth that triangulation found at stride 16, what motion stereo found at
stride 8, the ground at strides 8 and 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.encoder import ResidualBlock, conv_norm

DEPTH_CUES = 3  # channels at stride 16
GROUND_CUES = 2  # channels at strides 8 and 4


class UpStep(nn.Module):
    """Double the resolution and merge with the encoder's features of that resolution."""

    def __init__(self, coarse: int, skip: int, outputs: int, residual: bool) -> None:
        super().__init__()
        self.from_coarse = conv_norm(coarse, outputs, kernel=1)
        self.from_skip = conv_norm(skip, outputs, kernel=1)
        self.merge = nn.Sequential(conv_norm(outputs, outputs), nn.ReLU())
        self.refine = ResidualBlock(outputs) if residual else nn.Identity()

    def forward(self, coarse_mchw: Tensor, skip_mchw: Tensor, added_mchw: Tensor | None = None) -> Tensor:
        up = functional.interpolate(self.from_coarse(coarse_mchw), scale_factor=2.0, mode='bilinear')
        both = up + self.from_skip(skip_mchw)
        both = both if added_mchw is None else both + added_mchw
        return self.refine(self.merge(functional.relu(both)))


class Decoder(nn.Module):
    """Fused features and depth cues (stride 16), the encoder's pyramid and ground cues, to features at stride 4."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        at_8, at_4 = config.decoder_widths
        self.to_8 = UpStep(config.widths[2] + DEPTH_CUES, config.widths[1] + GROUND_CUES, at_8, residual=True)
        self.to_4 = UpStep(at_8, config.widths[0] + GROUND_CUES, at_4, residual=False)

    def forward(
        self,
        fused_mchw: Tensor,
        depth_cue_m3hw: Tensor,
        pyramid: list[Tensor],
        ground_8_m2hw: Tensor,
        ground_4_m2hw: Tensor,
        sweep_mchw: Tensor | None,
    ) -> Tensor:
        coarse, skip = torch.cat((fused_mchw, depth_cue_m3hw), dim=1), torch.cat((pyramid[1], ground_8_m2hw), dim=1)
        at_8 = self.to_8(coarse, skip, sweep_mchw)
        return self.to_4(at_8, torch.cat((pyramid[0], ground_4_m2hw), dim=1))
