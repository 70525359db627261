# SPDX-License-Identifier: Apache-2.0
"""What a teacher gets to see: pictures resized and normalised; and its answers resized back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from semi_smd_ros.runtime import ModelError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class InputSize:
    """Which size a picture gets. One of: fixed (`height`, `width`), its shorter edge, its height, or its own size.

    `height`, `width`: the size; with `keep_aspect` the picture is scaled by whichever of the two changes it less (as in
    MiDaS). `shortest`, `longest`: the shorter edge's length, unless the longer edge would pass `longest`. `height`
    alone: the aspect is kept. `multiple`: both edges become multiples of it, the nearest or, with `round_up`, the next.
    """

    height: int | None = None
    width: int | None = None
    keep_aspect: bool = False
    shortest: int | None = None
    longest: int | None = None
    multiple: int = 1
    round_up: bool = False

    def of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width for a picture of `height` x `width`."""
        if self.shortest is not None:
            scale = self.shortest / min(height, width)
            if self.longest is not None:
                scale = min(scale, self.longest / max(height, width))
            down, across = scale, scale
        elif self.height is not None and self.width is not None:
            down, across = self.height / height, self.width / width
            if self.keep_aspect:
                down = across = min(down, across, key=lambda scale: abs(1 - scale))
        elif self.height is not None:
            down = across = self.height / height
        else:
            down = across = 1.0
        return self._rounded(down * height), self._rounded(across * width)

    def _rounded(self, length: float) -> int:
        cells = length / self.multiple
        # 512 * (1024 / 512) may miss 1024 by a rounding error, which must not become another cell.
        whole = math.ceil(cells - 1e-6) if self.round_up else round(cells)
        return max(1, whole) * self.multiple


@dataclass(frozen=True)
class Preprocessing:
    """Pictures to a model's input: resized, scaled from 0..255 by `factor`, then (x - `mean`) / `std` a channel.

    `resampling`: 'bilinear', 'bicubic' (both averaging where the picture shrinks) or 'nearest'. `bgr`: the model's
    first channel is blue; `mean` and `std` follow the model's order.
    """

    size: InputSize = InputSize()
    resampling: str = 'bilinear'
    factor: float = 1 / 255
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    bgr: bool = False

    def __call__(self, images_mhw3: Tensor) -> Tensor:
        """(M,H,W,3) uint8 RGB to (M,3,h,w) float32 on the same device."""
        images = images_mhw3.movedim(3, 1).float()
        size = self.size.of(images.shape[2], images.shape[3])
        images = resized(images, size, self.resampling).clamp(0, 255) * self.factor
        if self.bgr:
            images = images.flip(1)
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std


def resized(maps_mchw: Tensor, size_hw: tuple[int, int], mode: str = 'bilinear') -> Tensor:
    """Resize (M,C,H,W); pixel areas map onto each other (align_corners=False), and what shrinks is averaged."""
    if tuple(maps_mchw.shape[2:]) == tuple(size_hw):
        return maps_mchw
    if mode == 'nearest':
        return interpolate(maps_mchw, size_hw, mode='nearest-exact')
    return interpolate(maps_mchw, size_hw, mode=mode, align_corners=False, antialias=True)


def as_disparity(predicted: Tensor, output: str, name: str) -> Tensor:
    """What a model predicts, as inverse depth.

    Of `output` 'depth', 0 where it is infinite, NaN where it is not above zero. Of 'disparity', as it is; raises
    ModelError, naming the model, where it is not finite.
    """
    if output == 'depth':
        return torch.where(predicted > 0, 1 / predicted, torch.full_like(predicted, torch.nan))
    check_numbers(torch.isfinite(predicted), name)
    return predicted


def check_numbers(is_number: Tensor, name: str) -> None:
    """Raise ModelError, naming the model, unless all of its answer is numbers."""
    if not bool(is_number.all()):
        share = 1 - float(is_number.float().mean())
        raise ModelError(
            f'{name}: {share:.0%} of its answer are no numbers; expected finite ones: run it in float32 or bfloat16 '
            '(float16 overflows in some models), or copy the model again'
        )
