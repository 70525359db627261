# SPDX-License-Identifier: Apache-2.0
"""Where exactly things end: the encoder's features at stride 2 correct what the heads tell at stride 4.

Most of the depth error lies within a few pixels of an edge, where a pixel gets the depth of the wrong side. Stride 4
knows roughly where an edge is; the picture's finer features say which pixels lie on which side of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.encoder import CUE_STRIDE as FINE
from semi_smd_ros.network.encoder import conv_norm
from semi_smd_ros.network.heads import DENSE, STRIDE, TAPS, Sharper


class Edges(nn.Module):
    """Decoder features (M,C,h,w) at stride 4 and the encoder's (M,E,2h,2w) at stride 2 to `Sharper`."""

    def __init__(self, config: NetworkConfig, encoder_width: int) -> None:
        super().__init__()
        width, pixels = config.edge_width, FINE * FINE
        self.from_4 = nn.Conv2d(config.decoder_widths[1], width, 1)
        self.from_2 = nn.Conv2d(encoder_width, width, 1)
        self.merge = nn.Sequential(conv_norm(width, width), nn.ReLU())
        self.mixture = nn.Conv2d(width, TAPS * pixels, 1)
        self.dense = nn.Conv2d(width, DENSE * pixels, 1)
        for layer in (self.mixture, self.dense):  # untrained, it changes nothing
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, feature_mchw: Tensor, at_2_mehw: Tensor) -> Sharper:
        up = functional.interpolate(self.from_4(feature_mchw), scale_factor=float(STRIDE // FINE), mode='bilinear')
        merged = self.merge(functional.relu(up + self.from_2(at_2_mehw)))
        of_pixels = functional.pixel_shuffle(torch.cat((self.mixture(merged), self.dense(merged)), dim=1), FINE)
        mixture_mkhw = functional.pixel_unshuffle(of_pixels[:, :TAPS], STRIDE)
        return Sharper(mixture_mkhw.float(), of_pixels[:, TAPS:].float())
