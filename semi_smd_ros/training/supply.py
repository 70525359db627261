# SPDX-License-Identifier: Apache-2.0
"""Batches of samples in the order that a schedule says, prepared ahead by worker processes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import DataLoader, Dataset

from semi_smd_ros.training.pool import WORKER_NICENESS
from semi_smd_ros.training.samples import Sample
from semi_smd_ros.training.schedule import Schedule, slots_of
from semi_smd_ros.training.views import Views

AHEAD = 4  # batches that every worker has ready


@dataclass(frozen=True)
class Turn:
    """Whose batches: those of process `rank` of `processes`, from `first_step` on, `batch` samples each; the slots of
    step 0 begin with `first_slot`."""

    first_slot: int
    first_step: int
    batch: int
    rank: int = 0
    processes: int = 1

    def __iter__(self) -> Iterator[list[int]]:
        """The slots of every step, without end."""
        for step in itertools.count(self.first_step):
            yield [self.first_slot + slot for slot in slots_of(step, self.batch, self.rank, self.processes)]


class Slots(Dataset[Sample]):
    """Slot number to sample."""

    def __init__(self, views: Views, schedule: Schedule) -> None:
        self.views, self.schedule = views, schedule

    def __getitem__(self, slot: int) -> Sample:
        return self.views.view(self.schedule.view(slot))


def supply(views: Views, schedule: Schedule, turn: Turn, workers: int) -> Generator[list[Sample], None, None]:
    """Batches without end, the same ones whatever `workers` is; they end when the iterator is closed.

    With 0 workers the samples are made in this process, as they are asked for.
    """
    loader: DataLoader[Sample] = DataLoader(
        Slots(views, schedule),
        batch_sampler=turn,
        collate_fn=as_list,
        num_workers=workers,
        worker_init_fn=be_modest,
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context='spawn' if workers else None,
        generator=torch.Generator(),  # or it would draw from the one that the network's weights come from
    )
    yield from loader


def as_list(samples: list[Sample]) -> list[Sample]:
    return samples


def be_modest(worker: int) -> None:
    """Workers yield to the training process."""
    os.nice(WORKER_NICENESS)
    torch.set_num_threads(1)
