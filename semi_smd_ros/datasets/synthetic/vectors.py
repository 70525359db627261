# SPDX-License-Identifier: Apache-2.0
"""Three-vectors kept as three separate tensors: contiguous planes are what a CPU works on fastest."""

from __future__ import annotations

from typing import TypeAlias

import torch

Vec3: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def dot(a: Vec3, b: Vec3) -> torch.Tensor:
    """Inner product, any broadcastable shapes."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def normalise(a: Vec3) -> Vec3:
    """Unit vectors along a."""
    inverse = torch.rsqrt(dot(a, a).clamp(min=1e-20))
    return a[0] * inverse, a[1] * inverse, a[2] * inverse


def smoothstep(x: torch.Tensor) -> torch.Tensor:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
