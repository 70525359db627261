# SPDX-License-Identifier: Apache-2.0
"""Which view is used where in a run: a function of seed and place alone, so that a resumed run sees the same.

A run is a row of *slots*, `batch` of them a step for every process. What fills a slot depends on its number, never on
which worker was quicker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Schedule(Protocol):
    """Slot number (0, 1, ...) to view number (0, 1, ...)."""

    def view(self, slot: int) -> int: ...


@dataclass(frozen=True)
class FreshViews:
    """Every `uses`-th slot has a view never used before; those between have earlier ones once more.

    View i is used in the groups of `uses` slots number i, i + spacing, i + 2 spacing, ...: `uses` times, each time
    beside another one's first use. Until there are earlier views enough, those there are come more often.
    """

    uses: int
    spacing: int

    def view(self, slot: int) -> int:
        group, use = divmod(slot, self.uses)
        view = group - use * self.spacing
        return view if view >= 0 else view % (group + 1)

    @property
    def kept(self) -> int:
        """How many of the newest views may still be asked for."""
        return (self.uses - 1) * self.spacing + 1


@dataclass(frozen=True)
class Epochs:
    """The same `count` views again and again, each time in another order, which the seed decides."""

    count: int
    seed: int

    def view(self, slot: int) -> int:
        epoch, place = divmod(slot, self.count)
        return int(np.random.default_rng([self.seed, epoch]).permutation(self.count)[place])


def slots_of(step: int, batch: int, rank: int, processes: int) -> range:
    """The slots of one process in one step; all processes together take `batch` x `processes` slots."""
    first = (step * processes + rank) * batch
    return range(first, first + batch)
