# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite up to stride 32: an encoder for RGB that comes with features learned from real pictures.

The lite variants (Google, 2020, after Tan and Le, "EfficientNet", ICML 2019) have neither squeeze-and-excitation nor
swish: plain convolutions and ReLU6, which every inference engine fuses and quantises well.
Padding is symmetric where the original's is TensorFlow's "same"; that shifts the grid on which features are sampled,
not the features.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from semi_smd_ros.network.linear import full_precision

BN_EPSILON = 1e-3  # of the published weights
STEM_WIDTH = 32
WIDTH_MULTIPLE = 8
# (repeats, kernel, stride, expansion, width) of every stage at scale 1
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SCALES = {'efficientnet_lite0': (1.0, 1.0), 'efficientnet_lite1': (1.0, 1.1), 'efficientnet_lite2': (1.1, 1.2)}
"""Factors of width and depth."""
TAPS = (0, 1, 2, 4, 6)
"""Stages that end strides 2, 4, 8, 16 and 32."""
UP_TO_8 = TAPS[2]
UNUSED = ('_conv_head.', '_bn1.', '_fc.')  # what follows the last stage in a published file


def scaled_width(width: int, scale: float) -> int:
    """The nearest multiple of WIDTH_MULTIPLE, but never less than nine tenths of width x scale."""
    wanted = width * scale
    rounded = max(WIDTH_MULTIPLE, int(wanted + WIDTH_MULTIPLE / 2) // WIDTH_MULTIPLE * WIDTH_MULTIPLE)
    return rounded if rounded >= 0.9 * wanted else rounded + WIDTH_MULTIPLE


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and batch norm."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs, eps=BN_EPSILON, momentum=0.01))


class InvertedResidual(nn.Module):
    """Widen, filter every channel on its own, narrow (Sandler et al., "MobileNetV2", CVPR 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Sequential(*conv(inputs, inner, 1), nn.ReLU6()) if expansion > 1 else nn.Identity()
        self.depthwise = nn.Sequential(*conv(inner, inner, kernel, stride, groups=inner), nn.ReLU6())
        self.project = conv(inner, outputs, 1)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, feature_mchw: Tensor) -> Tensor:
        wide = self.expand(feature_mchw)
        with full_precision(wide.device):  # CPUs filter single channels slower in bfloat16 than in FP32
            wide = self.depthwise(wide.float())
        narrow = self.project(wide)
        return feature_mchw + narrow if self.adds else narrow


class EfficientNetLite(nn.Module):
    """Normalised RGB (M,3,H,W) to features at strides 2, 4, 8, 16 and 32, of `widths` channels each."""

    def __init__(self, name: str) -> None:
        super().__init__()
        width_scale, depth_scale = SCALES[name]
        self.stem = nn.Sequential(*conv(3, STEM_WIDTH, 3, stride=2), nn.ReLU6())
        inputs = STEM_WIDTH
        stages = []
        for index, (repeats, kernel, stride, expansion, width) in enumerate(STAGES):
            outputs = scaled_width(width, width_scale)
            if index not in (0, len(STAGES) - 1):  # the lite variants keep the first and the last stage's depth
                repeats = math.ceil(repeats * depth_scale)
            blocks = [InvertedResidual(inputs, outputs, kernel, stride, expansion)]
            blocks += [InvertedResidual(outputs, outputs, kernel, 1, expansion) for _ in range(repeats - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.widths = tuple(scaled_width(STAGES[tap][-1], width_scale) for tap in TAPS)
        self.keeps_statistics = False

    def forward(self, rgb_m3hw: Tensor) -> list[Tensor]:
        feature = self.stem(rgb_m3hw)
        taps = []
        for index, stage in enumerate(self.stages):
            feature = stage(feature)
            if index in TAPS:
                taps.append(feature)
        return taps

    def keep_pretrained(self) -> None:
        """For fine-tuning: batch norm keeps its statistics, and the layers up to stride 8 keep their weights.

        What real pictures taught must survive training on rendered ones: their edges and textures differ most.
        """
        self.keeps_statistics = True
        for part in (self.stem, *self.stages[: UP_TO_8 + 1]):
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> EfficientNetLite:
        super().train(mode)
        if self.keeps_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def load_imagenet(self, path: Path) -> None:
        """Load ImageNet weights with the names of `efficientnet_pytorch` from .safetensors.

        The classifier is left out. Raises ValueError when names or shapes differ.
        """
        weights = read_published(path)
        places = [(s, b) for s, stage in enumerate(self.stages) for b in range(len(stage))]  # type: ignore[arg-type]
        found = {our_name(name, places): value for name, value in weights.items() if not name.startswith(UNUSED)}
        own = self.state_dict()
        wrong = sorted(str(name) for name in own.keys() ^ found.keys()) or sorted(
            name for name in own if own[name].shape != found[name].shape
        )
        if wrong:
            raise ValueError(f'{path}: not the weights of this encoder: {", ".join(wrong[:5])} differ')
        self.load_state_dict(found)


def read_published(path: Path) -> dict[str, Tensor]:
    """A published network's tensors by name. Raises ValueError for what is no .safetensors: nothing is unpickled."""
    try:
        return load_file(str(path))
    except SafetensorError as error:
        raise ValueError(
            f'{path}: not a .safetensors file ({error}); python tools/weights_to_safetensors.py makes one of a .pth'
        ) from error


def our_name(theirs: str, places: list[tuple[int, int]]) -> str:
    """A parameter's name in `efficientnet_pytorch` to ours; `places` are stage and block of their n-th block.

    A name without a counterpart comes back unchanged.
    """
    for pattern, name in (('_conv_stem.', 'stem.0.'), ('_bn0.', 'stem.1.')):
        if theirs.startswith(pattern):
            return name + theirs.removeprefix(pattern)
    block = re.fullmatch(r'_blocks\.(\d+)\._(\w+)\.(\w+)', theirs)
    layers = {
        'expand_conv': 'expand.0', 'bn0': 'expand.1', 'depthwise_conv': 'depthwise.0', 'bn1': 'depthwise.1',
        'project_conv': 'project.0', 'bn2': 'project.1',
    }  # fmt: skip
    if block is None or int(block[1]) >= len(places) or block[2] not in layers:
        return theirs
    stage, index = places[int(block[1])]
    return f'stages.{stage}.{index}.{layers[block[2]]}.{block[3]}'
