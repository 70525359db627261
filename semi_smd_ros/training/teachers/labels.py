# SPDX-License-Identifier: Apache-2.0
"""What the teachers say of one training sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TeacherLabels:
    """Of T moments and N cameras, in the layout of `training.samples.Sample`."""

    disparity_tnhw: np.ndarray
    """float32 relative inverse depth, scale and shift unknown in every picture (see `interface`); NaN unknown."""
    semantics_tnhw: np.ndarray
    """uint8 class index at stride 4, 255 ignored."""

    def mirrored(self) -> TeacherLabels:
        """The labels of `training.batch.mirrored(sample)`."""
        return TeacherLabels(self.disparity_tnhw[..., ::-1], self.semantics_tnhw[..., ::-1])


def stack_labels(labels: Sequence[TeacherLabels]) -> tuple[Tensor, Tensor]:
    """Of B samples: disparity (T,B,N,H,W) float32 and semantics (T,B,N,h,w) int64, as in `training.batch.Batch`."""
    disparity = np.stack([one.disparity_tnhw for one in labels], axis=1)
    semantics = np.stack([one.semantics_tnhw for one in labels], axis=1)
    return torch.from_numpy(disparity).float(), torch.from_numpy(semantics).long()
