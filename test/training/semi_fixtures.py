# SPDX-License-Identifier: Apache-2.0
"""Rendered instants, the truth as if a network had said it, and a teacher that lacks but scale and shift."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch, make_batch
from semi_smd_ros.training.correspondence import cell_centres
from semi_smd_ros.training.samples import render_sample
from semi_smd_ros.training.scene import TeacherLabels

SIZE = (96, 160)
FAR = 250.0


@cache
def rendered(seed: int, frames: int = 3) -> Batch:
    """Not to be written to."""
    return make_batch([render_sample(seed, *SIZE, frames)], None, np.random.default_rng(0))


def outputs_of(batch: Batch, depth_factor: float = 1.0, motion_factor: float = 1.0) -> list[NetworkOutput]:
    """The truth of every instant, all depths and the travelled way multiplied."""
    outputs = []
    for depth, ground, motion in zip(batch.depth_tbnhw, batch.ground_tb3, batch.prev_T_now_tb44):
        rigs, cameras, height, width = depth.shape
        log_depth = torch.where(torch.isfinite(depth), depth_factor * depth, torch.full_like(depth, FAR)).log()
        moved = motion.clone()
        moved[:, :3, 3] *= motion_factor
        outputs.append(
            NetworkOutput(
                log_depth_bnhw=log_depth,
                sky_logit_bnhw=torch.zeros_like(depth),
                log_error_bnhw=torch.zeros_like(depth),
                semantic_logit_bnkhw=torch.zeros(rigs, cameras, 19, height // 4, width // 4),
                coarse_log_depth_bnhw=cell_centres(log_depth, 16),
                coarse_semantic_logit_bnkhw=torch.zeros(rigs, cameras, 19, height // 16, width // 16),
                ground_b3=ground,
                match_logit_bnqk=None,
                past_usable_bn=torch.ones(rigs, cameras, dtype=torch.bool),
                memory_bnchw=torch.zeros(()),
                ego_motion_b44=moved,
            )
        )
    return outputs


def with_log_depth(outputs: list[NetworkOutput], log_depth_tbnhw: Tensor) -> list[NetworkOutput]:
    return [replace(output, log_depth_bnhw=depth) for output, depth in zip(outputs, log_depth_tbnhw)]


def teacher_of(batch: Batch, scale: float = 3.0, shift: float = 0.2) -> TeacherLabels:
    known = torch.isfinite(batch.depth_tbnhw)
    disparity = torch.where(known, scale / batch.depth_tbnhw + shift, torch.full_like(batch.depth_tbnhw, torch.nan))
    return TeacherLabels(disparity, known, batch.semantics_tbnhw)
