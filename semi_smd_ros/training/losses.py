# SPDX-License-Identifier: Apache-2.0
"""Supervised losses. Pixels of the ego vehicle (NaN), of missing cameras and, for depth, of the sky stay out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from semi_smd_ros.network.config import FEATURE_STRIDE, IGNORE_CLASS
from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.network.plane_sweep import STRIDE as SWEEP_STRIDE
from semi_smd_ros.network.plane_sweep import sweep_loss
from semi_smd_ros.training.batch import Batch
from semi_smd_ros.training.correspondence import cell_centres, matching_loss
from semi_smd_ros.training.samples import SEMANTIC_STRIDE

THINGS = (5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18)  # pole, light, sign, people and vehicles
GROUND_RADIUS = 10.0
STEEPEST = 1.0  # log error beyond which the relative error grows linearly: a depth ten times too large stays bounded


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms, and the range of depths in metres that are supervised."""

    depth: float = 1.0
    thing: float = 3.0
    """How much more a pixel of a thing (car, person, pole, ...) weighs in the depth term: few pixels, but what a
    vehicle must not drive into; without it near things come out transparent."""
    relative: float = 0.75
    """Share of the relative error in the depth term, the rest being |log(d / true)|: see `depth_error`."""
    gradient: float = 0.5
    confidence: float = 0.1
    sky: float = 0.3
    false_sky: float = 4.0
    """How much worse it is to call a thing sky (a wall at 5 m vanishes) than to miss sky."""
    semantics: float = 0.15
    coarse: float = 0.3
    """Of depth and semantics at stride 16, against those at full resolution."""
    ground: float = 0.5
    matching: float = 0.1
    sweep: float = 0.1
    """Of motion stereo, against the true depths at stride 8: of moving things too, whose matches it must learn to
    distrust."""
    translation: float = 0.5
    rotation: float = 10.0
    depth_range: tuple[float, float] = (0.5, 200.0)


def weighted_mean(value: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of `value`; 0 where all weights are 0."""
    return (value * weight).sum() / weight.sum().clamp(min=1)


def masked_mean(value: Tensor, mask: Tensor) -> Tensor:
    """Mean of `value` where `mask`; 0 where the mask is empty."""
    return weighted_mean(value, mask.to(value.dtype))


def thing_weight(labels_bnhw: Tensor, weight: float) -> Tensor:
    """`weight` where the label (stride 4) is a thing, else 1, at full resolution: (B,N,4h,4w)."""
    is_thing = torch.isin(labels_bnhw, torch.tensor(THINGS, device=labels_bnhw.device))
    full = is_thing.repeat_interleave(SEMANTIC_STRIDE, -1).repeat_interleave(SEMANTIC_STRIDE, -2)
    return 1 + (weight - 1) * full.to(torch.float32)


def depth_error(log_error: Tensor, relative: float) -> Tensor:
    """|log(d / true)|, a share `relative` of it replaced by |d / true - 1|, of `log_error` = log(d / true).

    |log| alone is least at the median of what the depth may be. The relative error is least at a nearer one, the more
    so the less is known: of two depths equally likely, taking the far one for the near costs more than the reverse.
    """
    capped = log_error.clamp(max=STEEPEST)
    too_large = math.exp(STEEPEST) * (log_error - capped)
    return torch.lerp(log_error.abs(), capped.expm1().abs() + too_large, relative)


def gradient_loss(error_bnhw: Tensor, known_bnhw: Tensor, scales: int = 3) -> Tensor:
    """Mean |difference| of the log-depth error between pixels 1, 2, 4, ... apart (Eigen and Fergus, 2015)."""
    total = error_bnhw.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        right = error_bnhw[..., :, step:] - error_bnhw[..., :, :-step]
        down = error_bnhw[..., step:, :] - error_bnhw[..., :-step, :]
        total = total + masked_mean(right.abs(), known_bnhw[..., :, step:] & known_bnhw[..., :, :-step])
        total = total + masked_mean(down.abs(), known_bnhw[..., step:, :] & known_bnhw[..., :-step, :])
    return total / (2 * scales)


def ground_error(predicted_b3: Tensor, true_b3: Tensor) -> Tensor:
    """Mean |difference of height| of two grounds (a, b, c) at eight points GROUND_RADIUS around, metres: (B,)."""
    angle = torch.arange(8, device=predicted_b3.device) * (math.pi / 4)
    points = torch.stack((GROUND_RADIUS * angle.cos(), GROUND_RADIUS * angle.sin(), torch.ones_like(angle)))
    difference = ((predicted_b3 - true_b3)[:, :, None] * points).sum(1)  # no product: bfloat16 would round it
    return difference.abs().mean(-1)


def frame_losses(
    output: NetworkOutput, batch: Batch, instant: int, weights: LossWeights, has_memory: bool
) -> dict[str, Tensor]:
    """Weighted terms of one instant; matching and motion only where there is a memory to tell them from."""
    depth_bnhw, semantics_bnhw = batch.depth_tbnhw[instant], batch.semantics_tbnhw[instant]
    seen_bn11 = (batch.camera_valid_tbn[instant] > 0.5)[..., None, None]
    nearest, farthest = weights.depth_range
    known = (depth_bnhw > nearest) & (depth_bnhw < farthest) & seen_bn11
    target = torch.where(known, depth_bnhw, torch.ones_like(depth_bnhw)).log()
    error = output.log_depth_bnhw - target

    # The error's scale learns from a detached error: a Laplace likelihood for confidence, plain L1 for depth.
    laplace = error.detach().abs() * torch.exp(-output.log_error_bnhw) + output.log_error_bnhw
    is_sky = torch.isposinf(depth_bnhw)
    sky = functional.binary_cross_entropy_with_logits(
        output.sky_logit_bnhw, is_sky.to(output.sky_logit_bnhw.dtype), reduction='none'
    )
    sky = torch.where(is_sky, sky, weights.false_sky * sky)
    labels = torch.where(seen_bn11, semantics_bnhw, torch.full_like(semantics_bnhw, IGNORE_CLASS))
    entropy = functional.cross_entropy(
        output.semantic_logit_bnkhw.flatten(0, 1), labels.flatten(0, 1), ignore_index=IGNORE_CLASS, reduction='none'
    )
    pixel_weight = known * thing_weight(labels, weights.thing)
    coarse_error = output.coarse_log_depth_bnhw - cell_centres(target, FEATURE_STRIDE)
    coarse_entropy = functional.cross_entropy(
        output.coarse_semantic_logit_bnkhw.flatten(0, 1),
        cell_centres(labels, FEATURE_STRIDE // SEMANTIC_STRIDE).flatten(0, 1),
        ignore_index=IGNORE_CLASS,
    )
    losses = {
        'depth': weights.depth * weighted_mean(depth_error(error, weights.relative), pixel_weight),
        'coarse_depth': weights.coarse
        * weights.depth
        * weighted_mean(coarse_error.abs(), cell_centres(pixel_weight, FEATURE_STRIDE)),
        'coarse_semantics': weights.coarse * weights.semantics * torch.nan_to_num(coarse_entropy),
        'ground': weights.ground * ground_error(output.ground_b3, batch.ground_tb3[instant]).mean(),
        'gradient': weights.gradient * gradient_loss(error, known),
        'confidence': weights.confidence * masked_mean(laplace, known),
        'sky': weights.sky * masked_mean(sky, ~torch.isnan(depth_bnhw) & seen_bn11),
        'semantics': weights.semantics * masked_mean(entropy, labels.flatten(0, 1) != IGNORE_CLASS),
    }
    if has_memory and output.match_logit_bnqk is not None:
        losses['matching'] = weights.matching * matching_loss(
            output.match_logit_bnqk,
            output.past_usable_bn,
            depth_bnhw,
            batch.depth_tbnhw[instant - 1],
            batch.moving_tbnhw[instant],
            batch.intrinsics_bn33,
            batch.base_T_cam_bn44,
            batch.prev_T_now_tb44[instant],
        )
        if output.sweep is not None:
            usable = output.past_usable_bn[..., None, None]
            losses['sweep'] = weights.sweep * sweep_loss(
                output.sweep, cell_centres(target, SWEEP_STRIDE), cell_centres(pixel_weight, SWEEP_STRIDE) * usable
            )
        difference = (output.ego_motion_b44 - batch.prev_T_now_tb44[instant]).abs()
        # log(1 + e): a motion that is far off, as all are before matching has learned, must not drown the rest
        losses['translation'] = weights.translation * difference[:, :3, 3].sum(-1).log1p().mean()
        losses['rotation'] = weights.rotation * difference[:, :3, :3].mean((-1, -2)).log1p().mean()
    return losses


def motion_errors(predicted_b44: Tensor, true_b44: Tensor) -> tuple[Tensor, Tensor]:
    """Translation error in metres and rotation error in degrees of each transform."""
    translation = (predicted_b44[:, :3, 3] - true_b44[:, :3, 3]).norm(dim=-1)
    relative = predicted_b44[:, :3, :3].transpose(1, 2).double() @ true_b44[:, :3, :3].double()
    sine = 0.5 * torch.stack([relative[:, i, j] - relative[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], dim=-1).norm(
        dim=-1
    )
    cosine = 0.5 * (relative.diagonal(dim1=1, dim2=2).sum(-1) - 1)
    return translation, torch.atan2(sine, cosine) * (180 / math.pi)
