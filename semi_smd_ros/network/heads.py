# SPDX-License-Identifier: Apache-2.0
"""Dense outputs: log depth, its expected error, sky, semantics.

Log depth = offset + weight x log depth of the estimated ground, the weight 1 where a pixel lies on the ground (so that
the ground's full-resolution ramp comes through) and 0 on upright things. These maps are predicted at stride 4 and
brought to full resolution by convex upsampling (Teed and Deng, "RAFT", 2020): every full-resolution pixel is a learned
convex mixture of its 3x3 coarse neighbours, which keeps edges. `edges` corrects both with finer features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.coarse import GROUND_LOGIT, INITIAL_SCALE, OFFSET
from semi_smd_ros.network.config import NetworkConfig

STRIDE = 4
TAPS = 9
DENSE = 4  # ground logit, log-depth offset, sky logit, log error
MIXTURE_LIMIT = 8.0  # of the mixture logits
# A common factor, which cancels: in FP16 the sum of nine weighted values below 130 stays in range.
MIXTURE_SHIFT = 4.0
INITIAL_SKY = -1.0
INITIAL_LOG_ERROR = -1.0
LOG_ERROR_RANGE = (-5.0, 1.5)  # of the predicted mean |log depth error|: 0.7 % .. a factor of 88


@dataclass(frozen=True)
class Sharper:
    """What finer features add, see `edges`."""

    mixture_mkhw: Tensor
    """To the mixture logits, (M, TAPS*STRIDE*STRIDE, h, w) at stride STRIDE."""
    dense_mchw: Tensor
    """To the dense predictions, (M, DENSE, H, W) at full size."""


def convex_upsample(coarse_mchw: Tensor, mixture_mkhw: Tensor) -> Tensor:
    """(M,C,h,w) and mixture logits (M, TAPS*STRIDE*STRIDE, h, w) to (M,C,STRIDE*h,STRIDE*w).

    The softmax over the nine taps is written out: engines run it along an inner axis far slower than these sums.
    """
    height, width = coarse_mchw.shape[-2:]
    logit = mixture_mkhw.clamp(-MIXTURE_LIMIT, MIXTURE_LIMIT) - MIXTURE_SHIFT
    weights = logit.exp()[:, None].chunk(TAPS, dim=2)
    padded = functional.pad(coarse_mchw, (1, 1, 1, 1), mode='replicate')[:, :, None]
    taps = [padded[..., row : row + height, column : column + width] for row in range(3) for column in range(3)]
    mixed = sum((w * tap for w, tap in zip(weights[1:], taps[1:])), start=weights[0] * taps[0])
    total = sum(weights[1:], start=weights[0])
    return functional.pixel_shuffle((mixed / total).flatten(1, 2), STRIDE)


class DenseHeads(nn.Module):
    """Decoder features (M,C,h,w) to dense predictions (M,H,W) and semantic logits at stride 4.

    Returns (ground weight 0..1, log-depth offset, sky logit, log error) at full size, then (M,19,h,w).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.decoder_widths[1]
        self.dense = nn.Conv2d(width, DENSE, 3, padding=1)
        self.mixture = nn.Conv2d(width, TAPS * STRIDE * STRIDE, 1)
        self.semantics = nn.Conv2d(width, len(config.classes), 1)
        with torch.no_grad():  # an untrained network's depth is about the ground's
            self.dense.weight.mul_(INITIAL_SCALE)
            assert self.dense.bias is not None
            self.dense.bias.copy_(torch.tensor((GROUND_LOGIT, OFFSET, INITIAL_SKY, INITIAL_LOG_ERROR)))

    def forward(self, feature_mchw: Tensor, sharper: Sharper | None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        coarse, mixture = self.dense(feature_mchw).float(), self.mixture(feature_mchw).float()
        if sharper is None:
            full = convex_upsample(coarse, mixture)
        else:
            full = convex_upsample(coarse, mixture + sharper.mixture_mkhw) + sharper.dense_mchw
        ground_logit, offset, sky_logit, log_error = full.unbind(1)
        semantic_logit = self.semantics(feature_mchw).float()
        return torch.sigmoid(ground_logit), offset, sky_logit, log_error.clamp(*LOG_ERROR_RANGE), semantic_logit
