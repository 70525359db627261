# SPDX-License-Identifier: Apache-2.0
"""From a batch to loss terms: the network over the instants in order, then the losses of the chosen supervision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semi_smd_ros.network.config import IGNORE_CLASS
from semi_smd_ros.network.model import NetworkInput, NetworkOutput, SemiSmdNetwork
from semi_smd_ros.training.batch import Augmentation, Batch, drop_cameras, make_batch, seen_images
from semi_smd_ros.training.config import TrainConfig
from semi_smd_ros.training.losses import LossWeights, frame_losses
from semi_smd_ros.training.samples import Sample
from semi_smd_ros.training.semi_losses import TeacherLabels, semi_supervised_losses


def frame_input(batch: Batch, time: int, memory: Tensor, memory_valid: float) -> NetworkInput:
    valid = torch.full((batch.images_tbn3hw.shape[1],), memory_valid, device=memory.device)
    return NetworkInput(
        batch.images_tbn3hw[time],
        batch.intrinsics_bn33,
        batch.base_T_cam_bn44,
        batch.camera_valid_tbn[time],
        memory,
        valid,
    )


def run_sequence(network: SemiSmdNetwork, batch: Batch) -> list[NetworkOutput]:
    """Outputs of every instant, with memory carried (gradients flow through it)."""
    times, rigs, cameras, _, height, width = batch.images_tbn3hw.shape
    memory = network.empty_memory(rigs, cameras, height, width).to(batch.images_tbn3hw.device)
    outputs: list[NetworkOutput] = []
    for instant in range(times):
        outputs.append(network(frame_input(batch, instant, memory, 1.0 if instant else 0.0)))
        memory = outputs[-1].memory_bnchw
    return outputs


def supervised_losses(outputs: Sequence[NetworkOutput], batch: Batch, weights: LossWeights) -> dict[str, Tensor]:
    """Terms against dense truth, averaged over the instants that have them."""
    sums: dict[str, list[Tensor]] = {}
    for instant, output in enumerate(outputs):
        for name, value in frame_losses(output, batch, instant, weights, has_memory=instant > 0).items():
            sums.setdefault(name, []).append(value)
    return {name: torch.stack(values).mean() for name, values in sums.items()}


def teacher_labels(batch: Batch, semantics: bool = True) -> TeacherLabels | None:
    """What the teacher says of a batch; None without one. Without `semantics` its classes are left out."""
    if batch.teacher_disparity_tbnhw is None or batch.teacher_semantics_tbnhw is None:
        return None
    known = torch.isfinite(batch.teacher_disparity_tbnhw)
    classes = batch.teacher_semantics_tbnhw
    return TeacherLabels(
        torch.where(known, batch.teacher_disparity_tbnhw, torch.zeros_like(batch.teacher_disparity_tbnhw)),
        known,
        classes if semantics else torch.full_like(classes, IGNORE_CLASS),
    )


@dataclass(frozen=True)
class Lesson:
    """A batch as the losses take it, and its pictures as the network sees them, in changed colours."""

    batch: Batch
    seen_tbn3hw: Tensor

    def tensors(self) -> dict[str, Tensor | None]:
        """Everything by name; a module takes it across devices and processes."""
        return {**vars(self.batch), 'seen_tbn3hw': self.seen_tbn3hw}


def make_lesson(samples: Sequence[Sample], augmentation: Augmentation, generator: np.random.Generator) -> Lesson:
    """Stack and augment. Colours are changed for the network alone: the losses compare true pictures."""
    plain = replace(augmentation, colour=0.0, noise=0.0, missing_camera=0.0)
    batch = make_batch(samples, plain, generator)
    seen = seen_images(batch, augmentation, generator)
    drop_cameras(batch.camera_valid_tbn, augmentation.missing_camera, generator)
    return Lesson(batch, seen)


class Objective(nn.Module):
    """The network with its losses as one module, so that processes can share it: tensors in, loss terms out."""

    def __init__(self, network: SemiSmdNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config

    def forward(self, lesson: dict[str, Any]) -> dict[str, Tensor]:
        """Weighted terms of `Lesson.tensors`; their sum is the loss."""
        values = dict(lesson)
        seen = values.pop('seen_tbn3hw')
        batch = Batch(**values)
        outputs = run_sequence(self.network, replace(batch, images_tbn3hw=seen))
        if self.config.supervision == 'supervised':
            return supervised_losses(outputs, batch, self.config.losses)
        teacher = teacher_labels(batch, self.config.teacher_semantics)
        return semi_supervised_losses(outputs, batch, teacher, self.config.semi_losses)
