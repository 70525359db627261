# SPDX-License-Identifier: Apache-2.0
"""A bounded folder of rendered samples that worker processes keep refreshing while the trainer draws from it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import torch

from semi_smd_ros.datasets.synthetic.photographs import fingerprint
from semi_smd_ros.training.samples import FIRST_TRAINING_SEED, Sample, render_sample

logger = logging.getLogger(__name__)


class PoolError(RuntimeError):
    """A pool that will never hold what is to be drawn from it."""


WORKER_NICENESS = 2  # rendering yields a little to the training process, but must keep up with it
POLL_S = 0.5


def frames_folder(folder: Path, height: int, width: int, photographs: str) -> Path:
    """Where frames of this size, with these photographs ('' for none), are kept in a folder that runs may share."""
    size = f'{height}x{width}'
    return folder / (f'{size}_{fingerprint(Path(photographs))}' if photographs else size)


def sample_path(folder: Path, seed: int) -> Path:
    return folder / f'{seed:09d}.npz'


def stored_samples(folder: Path) -> list[Path]:
    """Complete samples, oldest seed first."""
    return sorted(folder.glob('*.npz'))


def render_forever(
    folder: Path, height: int, width: int, first_seed: int, step: int, capacity: int, photographs: str
) -> None:
    """Worker process: render seeds first_seed, first_seed + step, ...; drop the oldest beyond `capacity`.

    Ends when its parent has gone, so that a killed trainer leaves no renderer behind.
    """
    parent = os.getppid()
    os.nice(WORKER_NICENESS)
    torch.set_num_threads(1)
    seed = first_seed
    while os.getppid() == parent:
        render_sample(seed, height, width, photographs=photographs).save(sample_path(folder, seed))
        seed += step
        for path in stored_samples(folder)[:-capacity]:
            path.unlink(missing_ok=True)


class SamplePool:
    """Draws random samples from a folder that its workers fill. Use as a context manager.

    They are rendered at height x width, half of them with `photographs` (a folder, or '') on surfaces, and halved
    `halvings` times when they are drawn. Process `rank` of `processes` that share the folder renders seeds of its own.
    """

    def __init__(
        self,
        folder: Path,
        height: int,
        width: int,
        workers: int,
        capacity: int,
        minimum: int,
        halvings: int = 0,
        rank: int = 0,
        processes: int = 1,
        photographs: str = '',
    ) -> None:
        self.folder = frames_folder(folder, height, width, photographs)
        self.size = (height, width)
        self.halvings = halvings
        self.capacity, self.minimum = capacity, minimum
        self.count = workers
        self.rank, self.processes, self.photographs = rank, processes, photographs
        self.workers: list[BaseProcess] = []

    def __enter__(self) -> SamplePool:
        self.folder.mkdir(parents=True, exist_ok=True)
        stored = stored_samples(self.folder)
        first = max(FIRST_TRAINING_SEED, int(stored[-1].stem) + 1 if stored else 0)
        context = multiprocessing.get_context('spawn')
        for index in range(self.count):
            mine = first + self.rank * self.count + index
            arguments = (self.folder, *self.size, mine, self.count * self.processes, self.capacity, self.photographs)
            worker = context.Process(target=render_forever, args=arguments, daemon=True)
            worker.start()
            self.workers.append(worker)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            worker.join()
        self.workers.clear()

    def draw(self, generator: np.random.Generator, count: int) -> list[Sample]:
        """`count` different samples, waiting until the pool holds its minimum.

        Raises PoolError when no worker lives to fill it.
        """
        needed = max(self.minimum, count)
        while len(paths := stored_samples(self.folder)) < needed:
            if not self.workers:
                raise PoolError(
                    f'{self.folder} holds {len(paths)} samples where {needed} are needed, and no worker renders more: '
                    'set workers to 1 or more, or pool_minimum and batch to what there is'
                )
            self.check_workers()
            time.sleep(POLL_S)
        self.check_workers()
        samples: list[Sample] = []
        for index in generator.permutation(len(paths)):
            try:
                sample = Sample.load(paths[index])
            except FileNotFoundError:  # a worker has just replaced it by a newer one
                continue
            for _ in range(self.halvings):
                sample = sample.halved()
            samples.append(sample)
            if len(samples) == count:
                return samples
        return self.draw(generator, count)

    def check_workers(self) -> None:
        if self.workers and not any(worker.is_alive() for worker in self.workers):
            codes = [worker.exitcode for worker in self.workers]
            raise PoolError(f'all rendering workers have ended (exit codes {codes}); see their output above')


def held_out_samples(folder: Path, seeds: range, height: int, width: int) -> list[Sample]:
    """Samples of the given seeds, rendered once and then read from `folder`."""
    folder = folder / f'held_out_{height}x{width}'
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        if not sample_path(folder, seed).is_file():
            logger.info('rendering held-out seed %d at %dx%d', seed, height, width)
            render_sample(seed, height, width).save(sample_path(folder, seed))
    return [Sample.load(sample_path(folder, seed)) for seed in seeds]
