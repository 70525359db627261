# SPDX-License-Identifier: Apache-2.0
"""The encoder shared by all cameras: RGB, and geometry channels at stride 2, to features at strides 2, 4, 8 and 16.

The geometry channels join after the stem, or after the whole of a pretrained encoder: they are smooth, so full
resolution would only cost time, and weights that were trained on RGB alone keep seeing what they know.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import EFFICIENTNETS, NetworkConfig
from semi_smd_ros.network.efficientnet import EfficientNetLite, read_published
from semi_smd_ros.network.geometry import PIXEL_CHANNELS

CUE_STRIDE = 2
UNUSED_IMAGENET = ('layer4.', 'fc.')  # stride 32 and the classifier
IMAGENET_RGB = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation that published ResNet weights expect."""
CENTRED_RGB = ((0.498, 0.498, 0.498), (0.502, 0.502, 0.502))
"""127 and 128 of 255: those of EfficientNet-Lite."""


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


class ResidualEncoder(nn.Module):
    """A light residual encoder. RGB (M,3,H,W) or None for a blind network, and cues (M,7,H/2,W/2)."""

    normalisation = IMAGENET_RGB

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        inputs = PIXEL_CHANNELS
        if config.sees_images:
            self.stem = nn.Sequential(conv_norm(3, config.stem_width, stride=2), nn.ReLU())
            inputs += config.stem_width
        self.width_at_2 = inputs
        stages = []
        for width, blocks in zip(config.widths, config.blocks, strict=True):
            stages.append(
                nn.Sequential(
                    conv_norm(inputs, width, stride=2), nn.ReLU(), *(ResidualBlock(width) for _ in range(blocks))
                )
            )
            inputs = width
        self.stages = nn.ModuleList(stages)

    def forward(self, rgb_m3hw: Tensor | None, cue_mchw: Tensor) -> tuple[Tensor, list[Tensor]]:
        at_2 = feature = cue_mchw if rgb_m3hw is None else torch.cat((self.stem(rgb_m3hw), cue_mchw), dim=1)
        pyramid = []
        for stage in self.stages:
            feature = stage(feature)
            pyramid.append(feature)
        return at_2, pyramid


class BasicBlock(nn.Module):
    """The residual block of ResNet-18 and -34 (He et al., 2016), with torchvision's parameter names."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = conv_norm(inputs, width, kernel=1, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, feature_mchw: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(feature_mchw)))
        return functional.relu(self.downsample(feature_mchw) + self.bn2(self.conv2(inner)))


class ResNetEncoder(nn.Module):
    """ResNet-18 or -34 up to stride 16. The geometry channels are added where its stem ends."""

    normalisation = IMAGENET_RGB

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.cues = nn.Conv2d(PIXEL_CHANNELS, 64, 3, padding=1)
        inputs = 64
        layers: list[nn.Sequential] = []
        for index, (width, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            first = BasicBlock(inputs, width, stride=2 if index else 1)
            layers.append(nn.Sequential(first, *(BasicBlock(width, width, stride=1) for _ in range(count - 1))))
            inputs = width
        self.layer1, self.layer2, self.layer3 = layers
        self.width_at_2 = 64

    def forward(self, rgb_m3hw: Tensor, cue_mchw: Tensor) -> tuple[Tensor, list[Tensor]]:
        stem = functional.relu(self.bn1(self.conv1(rgb_m3hw)) + self.cues(cue_mchw))
        at_4 = self.layer1(functional.max_pool2d(stem, 3, 2, 1))
        at_8 = self.layer2(at_4)
        return stem, [at_4, at_8, self.layer3(at_8)]

    def load_imagenet(self, path: Path) -> None:
        """Load published ImageNet weights with torchvision's names from .safetensors.

        What lies behind stride 16 is left out. Raises ValueError when names or shapes differ.
        """
        weights = read_published(path)
        weights = {name: value for name, value in weights.items() if not name.startswith(UNUSED_IMAGENET)}
        own = self.state_dict()
        expected = {name for name in own if not name.startswith('cues.') and not name.endswith('num_batches_tracked')}
        found = {name for name in weights if not name.endswith('num_batches_tracked')}
        wrong = sorted(expected ^ found) or sorted(name for name in expected if own[name].shape != weights[name].shape)
        if wrong:
            raise ValueError(f'{path}: not the weights of this encoder: {", ".join(wrong[:5])} differ')
        self.load_state_dict({name: weights[name] for name in expected}, strict=False)


class EfficientNetEncoder(nn.Module):
    """An EfficientNet-Lite on RGB alone; its features meet the geometry channels at strides 4, 8 and 16.

    Those of stride 32, which see most of the picture, are added at stride 16.
    """

    normalisation = CENTRED_RGB

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(config.encoder)
        self.width_at_2, *widths, at_32 = self.backbone.widths
        pairs = zip(widths, config.widths, strict=True)
        self.join = nn.ModuleList(conv_norm(own + PIXEL_CHANNELS, width, kernel=1) for own, width in pairs)
        self.from_32 = conv_norm(at_32, config.widths[2], kernel=1)
        refine = zip(config.widths, config.blocks, strict=True)
        self.refine = nn.ModuleList(nn.Sequential(*(ResidualBlock(width) for _ in range(n))) for width, n in refine)

    def forward(self, rgb_m3hw: Tensor, cue_mchw: Tensor) -> tuple[Tensor, list[Tensor]]:
        at_2, *features, at_32 = self.backbone(rgb_m3hw)
        joined = []
        for feature, join in zip(features, self.join, strict=True):
            cue_mchw = functional.avg_pool2d(cue_mchw, 2)
            joined.append(join(torch.cat((feature, cue_mchw), dim=1)))
        joined[-1] = joined[-1] + functional.interpolate(self.from_32(at_32), scale_factor=2.0, mode='bilinear')
        refined = zip(joined, self.refine, strict=True)
        return at_2, [refine(functional.relu(feature)) for feature, refine in refined]

    def load_imagenet(self, path: Path) -> None:
        """Load published weights; see `EfficientNetLite.load_imagenet`."""
        self.backbone.load_imagenet(path)

    def keep_pretrained(self) -> None:
        """See `EfficientNetLite.keep_pretrained`."""
        self.backbone.keep_pretrained()


Encoder = ResidualEncoder | ResNetEncoder | EfficientNetEncoder


def make_encoder(config: NetworkConfig) -> Encoder:
    """The encoder that the config names; called with (rgb, cues), it returns features at stride 2, and a list of
    those at strides 4, 8 and 16.

    `width_at_2` is the number of channels at stride 2, `normalisation` the mean and the standard deviation per channel
    of the RGB that it expects.
    """
    if config.encoder in EFFICIENTNETS:
        return EfficientNetEncoder(config)
    return ResidualEncoder(config) if config.encoder == 'residual' else ResNetEncoder(config)
