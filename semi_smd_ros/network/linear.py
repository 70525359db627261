# SPDX-License-Identifier: Apache-2.0
"""Small linear systems by elementwise operations, which every inference engine has and autocast leaves in FP32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

SMALLEST_DIAGONAL = 1e-20


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Keeps matrix products in FP32 under autocast."""
    if not torch.amp.is_autocast_available(device.type):  # the meta device, where costs are counted
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def identity(size: int, device: torch.device) -> Tensor:
    """The identity matrix, as a constant of an exported graph (`torch.eye` would become an operator there)."""
    return torch.tensor([[float(row == column) for column in range(size)] for row in range(size)], device=device)


def solve_positive_definite(matrix_bnn: Tensor, right_bn: Tensor) -> Tensor:
    """x with matrix x = right, for symmetric positive definite matrices of fixed small size: (B,n).

    Scaled to a unit diagonal, then Gauss-Jordan elimination, which needs no pivoting there (Golub and Van Loan,
    "Matrix Computations", 4.2). A zero right-hand side gives exact zeros.
    """
    size = matrix_bnn.shape[-1]
    diagonal = torch.stack([matrix_bnn[:, i, i] for i in range(size)], dim=-1)
    scale = diagonal.clamp(min=SMALLEST_DIAGONAL).rsqrt()
    scaled = matrix_bnn * scale[:, :, None] * scale[:, None, :]
    system = torch.cat((scaled, (right_bn * scale)[..., None]), dim=-1)
    unit = identity(size, matrix_bnn.device)
    for k in range(size):
        pivot_row = system[:, k : k + 1] / system[:, k : k + 1, k : k + 1]
        # row k becomes the pivot row itself, all others lose their column k
        system = system - (system[:, :, k : k + 1] - unit[None, :, k : k + 1]) * pivot_row
    return system[:, :, size] * scale
