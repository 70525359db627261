# SPDX-License-Identifier: Apache-2.0
"""FP16 on any machine: every result inside the modules that run in FP16 is rounded to FP16, weights included."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from semi_smd_ros.network.export import FP16_SCOPES
from semi_smd_ros.network.model import SemiSmdNetwork


class HalfPrecision(TorchDispatchMode):
    """Rounds while it is `inside`; `overflows` names the operations whose finite results FP16 cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.rounded = 0
        self.overflows: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return tree_map(lambda value: self._round(value, str(func)), result) if self.inside else result

    def _round(self, value: Any, name: str) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        half = value.half().float()
        self.rounded += 1
        if not torch.equal(half.isfinite(), value.isfinite()):
            self.overflows.append(name)
        return half


@contextmanager
def half_precision(network: SemiSmdNetwork) -> Iterator[tuple[SemiSmdNetwork, HalfPrecision]]:
    """A copy of the network whose FP16 modules round, while the context lasts."""
    rounding = HalfPrecision()
    other = copy.deepcopy(network)

    def enter(*_: Any) -> None:
        rounding.inside += 1

    def leave(*_: Any) -> None:
        rounding.inside -= 1

    for name in FP16_SCOPES:
        part = getattr(other, name)
        part.half().float()
        part.register_forward_pre_hook(enter)
        part.register_forward_hook(leave)
    with torch.no_grad(), rounding:
        yield other, rounding
