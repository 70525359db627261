# SPDX-License-Identifier: Apache-2.0
"""From fused features at stride 16 back to stride 4, with the encoder's finer features added on the way."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.encoder import ResidualBlock, conv_norm


class UpStep(nn.Module):
    """Double the resolution and merge with the encoder's features of that resolution."""

    def __init__(self, coarse: int, skip: int, outputs: int, residual: bool) -> None:
        super().__init__()
        self.from_coarse = conv_norm(coarse, outputs, kernel=1)
        self.from_skip = conv_norm(skip, outputs, kernel=1)
        self.merge = nn.Sequential(conv_norm(outputs, outputs), nn.ReLU())
        self.refine = ResidualBlock(outputs) if residual else nn.Identity()

    def forward(self, coarse_mchw: Tensor, skip_mchw: Tensor) -> Tensor:
        up = functional.interpolate(self.from_coarse(coarse_mchw), scale_factor=2.0, mode='bilinear')
        return self.refine(self.merge(functional.relu(up + self.from_skip(skip_mchw))))


class Decoder(nn.Module):
    """Fused features (stride 16) and the encoder's pyramid (strides 4, 8, 16) to features at stride 4."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        at_8, at_4 = config.decoder_widths
        self.to_8 = UpStep(config.widths[2], config.widths[1], at_8, residual=True)
        self.to_4 = UpStep(at_8, config.widths[0], at_4, residual=False)

    def forward(self, fused_mchw: Tensor, pyramid: list[Tensor]) -> Tensor:
        return self.to_4(self.to_8(fused_mchw, pyramid[1]), pyramid[0])
