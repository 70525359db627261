# SPDX-License-Identifier: Apache-2.0
"""What the confidence head learns without truth: a Laplace likelihood of the errors that can be seen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.consistency import largest_difference
from semi_smd_ros.training.losses import masked_mean
from semi_smd_ros.training.scene import Scene, TeacherLabels, everywhere, pooled
from semi_smd_ros.training.teacher_alignment import aligned_residual


@torch.no_grad()
def visible_error(scene: Scene, teacher: TeacherLabels | None, stride: int) -> tuple[Tensor, Tensor]:
    """|log depth error| as far as it can be seen, and where anything tells it, (T,B,N,H,W).

    The larger of the residual against the aligned teacher, which shows wrong shapes but not a wrong scale of all, and
    the largest disagreement with another view, which shows wrong places but not what is wrong in the same way in all
    views: each sees but a part of the error, so the larger is nearer to it.
    """
    error, known = largest_difference(scene)
    if teacher is not None:
        told = everywhere(teacher.disparity_known_tbnhw, stride) & scene.usable_tbnhw
        disparity = torch.where(teacher.disparity_known_tbnhw, teacher.disparity_tbnhw.float(), 0.0)
        maps = (scene.inverse_depth_tbnhw, pooled(disparity, stride), told)
        residual, fits = aligned_residual(*(value.flatten(0, 2) for value in maps))
        told = told & fits.reshape(*told.shape[:3], 1, 1)
        error = torch.maximum(error, torch.where(told, residual.reshape(error.shape), torch.zeros_like(error)))
        known = known | told
    return error, known & scene.usable_tbnhw


def confidence_loss(
    outputs: Sequence[NetworkOutput], scene: Scene, teacher: TeacherLabels | None, stride: int
) -> Tensor:
    """Mean negative log likelihood |error| / scale + log scale of a Laplace distribution; only the scale learns."""
    error, known = visible_error(scene, teacher, stride)
    log_scale = pooled(torch.stack([output.log_error_bnhw.float() for output in outputs]), stride)
    return masked_mean(error * (-log_scale).exp() + log_scale, known)
