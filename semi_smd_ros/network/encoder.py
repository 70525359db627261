# SPDX-License-Identifier: Apache-2.0
"""The encoder shared by all cameras: RGB and geometry channels to features at strides 4, 8 and 16."""

from __future__ import annotations

from torch import Tensor, nn

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.geometry import PIXEL_CHANNELS


def input_channels(config: NetworkConfig) -> int:
    """Geometry channels, after RGB unless the network is blind."""
    return PIXEL_CHANNELS + (3 if config.sees_images else 0)


def conv_norm(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and batch norm (folded into the convolution by inference engines)."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around an identity (He et al., 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv_norm(width, width)
        self.second = conv_norm(width, width)
        self.activation = nn.ReLU()

    def forward(self, feature_mchw: Tensor) -> Tensor:
        inner = self.activation(self.first(feature_mchw))
        return self.activation(feature_mchw + self.second(inner))


class Encoder(nn.Module):
    """(M, C, H, W) to features at strides 4, 8 and 16. M counts the images of all rigs, C is `input_channels`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(input_channels(config), config.stem_width, stride=2), nn.ReLU())
        stages = []
        inputs = config.stem_width
        for width, blocks in zip(config.widths, config.blocks, strict=True):
            stages.append(
                nn.Sequential(
                    conv_norm(inputs, width, stride=2), nn.ReLU(), *(ResidualBlock(width) for _ in range(blocks))
                )
            )
            inputs = width
        self.stages = nn.ModuleList(stages)

    def forward(self, input_mchw: Tensor) -> list[Tensor]:
        feature = self.stem(input_mchw)
        pyramid = []
        for stage in self.stages:
            feature = stage(feature)
            pyramid.append(feature)
        return pyramid
