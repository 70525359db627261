# SPDX-License-Identifier: Apache-2.0
"""Which instant each point belongs to, and what depends on it: numbers for one instant, tensors for many.

Points of many scenes are shaded together, so that a batch takes as many tensor operations as one scene does. What a
scene decides (its light, paint on its road) is a number where all points belong to one instant, and looked up per
point where they do not; arithmetic on either reads the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch

Value: TypeAlias = 'float | torch.Tensor'


@dataclass(frozen=True)
class Slots:
    """The instants that N points belong to."""

    instants: tuple[int, ...]  # each once, ascending
    index: torch.Tensor | None = None  # (N,) int64, the instant of each point; None where there is only one

    @staticmethod
    def of(owners: Sequence[int], owner_v: torch.Tensor, view: torch.Tensor) -> Slots:
        """Of points seen by `view` (N,), among views that belong to the instants `owners`, also as a tensor (V,)."""
        instants = tuple(sorted(set(owners)))
        return Slots(instants, None if len(instants) == 1 else owner_v.index_select(0, view))

    def pick(self, where: torch.Tensor | slice) -> Slots:
        """Those of some of the points, given by their indices or as a part."""
        if self.index is None:
            return self
        return Slots(
            self.instants, self.index[where] if isinstance(where, slice) else self.index.index_select(0, where)
        )


class Table:
    """Rows of K numbers, one row for each instant."""

    def __init__(self, rows: Sequence[Sequence[float]], device: torch.device) -> None:
        self._rows = rows
        many = len(rows) > 1
        self._values_ki = torch.tensor(rows, dtype=torch.float32, device=device).T.contiguous() if many else None

    def at(self, slots: Slots) -> Sequence[Value]:
        """The K numbers of one instant, or K tensors (N,) of the points' own."""
        if slots.index is None or self._values_ki is None:
            return self._rows[slots.instants[0]]
        return self._values_ki.index_select(1, slots.index).unbind(0)
