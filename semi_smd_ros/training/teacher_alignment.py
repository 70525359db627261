# SPDX-License-Identifier: Apache-2.0
"""The teacher's inverse depth brought to the prediction's scale and shift, to tell where the two differ."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 4
ROBUST = 0.1  # relative residual at which a pixel's weight falls to one half
FARTHEST = 250.0  # metres; what the aligned teacher puts beyond counts as this far
FEWEST_PIXELS = 64


@torch.no_grad()
def aligned_residual(inverse_depth_mhw: Tensor, teacher_mhw: Tensor, known_mhw: Tensor) -> tuple[Tensor, Tensor]:
    """|log(prediction / aligned teacher)| (M,H,W), and for which pictures it means something, (M,) bool.

    The map d -> p d + q of every picture minimises the relative residual (p d + q) / rho - 1, by least squares
    reweighted with Cauchy weights (Holland and Welsch, 1977): its normal equations are those of two unknowns. A fit
    with p <= 0 (a teacher that says near where the prediction says far) means nothing, nor one of too few pixels.
    """
    ours, theirs, known = (map_mhw.flatten(1) for map_mhw in (inverse_depth_mhw, teacher_mhw, known_mhw))
    weight = known.to(ours.dtype)
    one, count = torch.where(known, 1 / ours, torch.zeros_like(ours)), weight.sum(1)
    mean = (weight * theirs.nan_to_num()).sum(1, keepdim=True) / count.clamp(min=1)[:, None]
    centred = torch.where(known, theirs - mean, torch.zeros_like(ours))
    scale = centred.abs().sum(1, keepdim=True) / count.clamp(min=1)[:, None]
    shape = centred / scale.clamp(min=1e-12)
    slope = one * shape
    p = q = residual = torch.zeros_like(count)
    for _ in range(ROUNDS):
        a, b, c = ((weight * x * y).sum(1) for x, y in ((slope, slope), (slope, one), (one, one)))
        d, e = ((weight * x).sum(1) for x in (slope, one))
        determinant = (a * c - b * b).clamp(min=1e-20)
        p, q = (c * d - b * e) / determinant, (a * e - b * d) / determinant
        residual = p[:, None] * slope + q[:, None] * one - 1
        weight = known / (1 + (residual / ROBUST).square())
    aligned = (p[:, None] * shape + q[:, None]).clamp(min=1 / FARTHEST)
    log_ratio = torch.where(known, (ours / aligned).log().abs(), torch.zeros_like(ours))
    return log_ratio.reshape(inverse_depth_mhw.shape), (count >= FEWEST_PIXELS) & (p > 0) & (scale[:, 0] > 0)
