# SPDX-License-Identifier: Apache-2.0
"""How fast the synthetic world renders: one process, two worker processes, and many views in one batch.

Both times are shown: what a clock on the wall says, and beside it the processor's own seconds, which other work on
the machine hardly changes.

    python benchmarks/synthetic.py                 one core, two cores, and the batch path on the CPU
    python benchmarks/synthetic.py --device cuda   the batch path on a GPU, with 1, 2 and 4 processes that share it,
                                                   and one that worker processes feed

The demand is six 192x320 views in 0.6 s on two cores. Every rendered scene is a new one, so the times include its
making, but for the batch path: there the host's part (`prepare`) is done beforehand and timed apart, with how many
tensor operations a batch takes. Last comes the whole of it: worker processes prepare while this one renders. Where the
host's part over the workers takes longer than a batch's set, it holds the device back.

On a device memory goes with the views that are rendered together, about 50 MB for each of 192x320 (measured on a CPU
with a GPU's chunks), so at most about 10 GB; see `render_prepared`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from semi_smd_ros.datasets.synthetic import (
    ScenePlan,
    SyntheticRig,
    ddad_like_rig,
    prepare,
    random_rig,
    render_prepared,
    render_sequence,
)
from semi_smd_ros.datasets.synthetic.capture import Setup

HEIGHT, WIDTH, CAMERAS = 192, 320, 6
LIMIT_S = 0.6
FIRST_SEED = 30_000


def rig_of(seed: int) -> SyntheticRig:
    """Half of the seeds like DDAD, half random."""
    if seed % 2:
        return random_rig(np.random.default_rng(seed), HEIGHT, WIDTH, CAMERAS)
    return ddad_like_rig(HEIGHT, WIDTH)


def set_times(seeds: range, frames: int = 1) -> np.ndarray:
    """Wall and processor seconds for each seed's scene, (seeds, 2): a set of six views, or the mean over `frames`."""
    torch.set_num_threads(1)
    render_sequence(FIRST_SEED - 1, rig_of(0), frames=1)
    times = []
    for seed in seeds:
        wall, processor = time.perf_counter(), time.process_time()
        render_sequence(seed, rig_of(seed), frames=frames)
        times.append((time.perf_counter() - wall, time.process_time() - processor))
    return np.array(times) / frames


def host_times(seeds: range) -> tuple[float, float]:
    """Seconds of this processor for one scene's plan, and for the rest of the host's part of a set."""
    start = time.process_time()
    plans = [ScenePlan.draw(seed) for seed in seeds]
    middle = time.process_time()
    for seed, plan in zip(seeds, plans, strict=True):
        prepare(plan, rig_of(seed), 1)
    return (middle - start) / len(seeds), (time.process_time() - middle) / len(seeds)


class Operations(TorchDispatchMode):
    """Counts tensor operations, views included."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(seeds: range, device: str) -> int:
    """Tensor operations that one batch takes."""
    prepared = [one_set(seed) for seed in seeds]
    with Operations() as counted:
        render_prepared(prepared, device)
    return counted.count


def one_set(seed: int) -> list[Setup]:
    """The host's part of one set."""
    torch.set_num_threads(1)
    return prepare(seed, rig_of(seed), 1)


def fed_time(size: int, device: str, batches: int, workers: int) -> float:
    """Seconds a set when worker processes prepare what this one renders, `size` sets at a time."""
    count = size * (batches + 1)
    start = 0.0
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        # They may run ahead: what waits is a few megabytes a set.
        sets = pool.imap(one_set, range(FIRST_SEED, FIRST_SEED + count), chunksize=1)
        for batch in range(batches + 1):
            render_prepared([next(sets) for _ in range(size)], device)
            if batch == 0:  # warms up
                start = time.perf_counter()
    return (time.perf_counter() - start) / (size * batches)


def batch_time(job: tuple[range, str, int]) -> float:
    """Seconds for one batch of all seeds' scenes, prepared beforehand; the mean of some repeats after a first one."""
    seeds, device, repeats = job
    prepared = [one_set(seed) for seed in seeds]
    render_prepared(prepared, device)
    start = time.perf_counter()
    for _ in range(repeats):
        # The pictures come back as arrays, so the device has finished when the call returns.
        render_prepared(prepared, device)
    return (time.perf_counter() - start) / repeats


def shared_batch_time(size: int, device: str, repeats: int, processes: int) -> float:
    """Seconds a set when some processes render batches of `size` scenes on one device at the same time."""
    jobs = [(range(FIRST_SEED + k * size, FIRST_SEED + (k + 1) * size), device, repeats) for k in range(processes)]
    if processes == 1:
        return batch_time(jobs[0]) / size
    with multiprocessing.get_context('spawn').Pool(processes) as pool:
        return statistics.mean(pool.map(batch_time, jobs, chunksize=1)) / (size * processes)


def report(what: str, seconds: float, processor: float | None = None, limit_s: float | None = None) -> None:
    """One line of the table, with a verdict where there is a demand."""
    line = f'{what:<44} {seconds:6.3f} s a set  {CAMERAS / seconds:8.1f} views/s'
    if limit_s is not None:
        line += f'  {"within" if seconds <= limit_s else "OVER"} {limit_s} s'
    print(line + ('' if processor is None else f'   (processor {processor:.3f} s)'))  # noqa: T201


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cpu', help='where the batch path renders: cpu, cuda, cuda:1, ...')
    parser.add_argument('--scenes', type=int, default=16, help='scenes to measure, one by one and with two processes')
    parser.add_argument('--batches', type=int, nargs='+', help='scenes in a batch; several to compare')
    parser.add_argument('--processes', type=int, nargs='+', help='processes that share the device; several to compare')
    parser.add_argument(
        '--workers', type=int, default=max(1, (os.cpu_count() or 2) - 1), help='processes that prepare scenes'
    )
    arguments = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + arguments.scenes)
    on_gpu = arguments.device != 'cpu'
    where = torch.cuda.get_device_name(arguments.device) if on_gpu else 'CPU'
    print(f'sets of {CAMERAS} views of {HEIGHT}x{WIDTH}; torch {torch.__version__}; {where}')  # noqa: T201
    if not on_gpu:
        times = set_times(seeds)
        report('one process of one thread, mean', *times.mean(0))
        report('one process of one thread, slowest scene', *times.max(0))
        report('the same, sequences of 4 frames', *set_times(seeds[: max(1, len(seeds) // 4)], 4).mean(0))
        halves = [seeds[0::2], seeds[1::2]]
        with multiprocessing.get_context('spawn').Pool(2) as pool:
            # The slower worker decides; imports and warming up are not part of it.
            both = pool.map(set_times, halves, chunksize=1)
        report('two worker processes', max(t[:, 0].sum() for t in both) / len(seeds), limit_s=LIMIT_S)
    plan, rest = host_times(seeds)
    print(f"the host's part: {plan:.3f} s for a scene's plan and {rest:.3f} s for the rest of a set")  # noqa: T201
    for size in arguments.batches or ([8, 32, 64] if on_gpu else [4]):
        for processes in arguments.processes or ([1, 2, 4] if on_gpu else [1]):
            seconds = shared_batch_time(size, arguments.device, 5 if on_gpu else 1, processes)
            report(f'batches of {size} scenes on {arguments.device}, {processes} process(es)', seconds)
        count = operations(range(FIRST_SEED, FIRST_SEED + size), arguments.device)
        print(f'   a batch of {size} scenes takes {count} tensor operations')  # noqa: T201
        seconds = fed_time(size, arguments.device, 5 if on_gpu else 1, arguments.workers)
        report(f'batches of {size} scenes fed by {arguments.workers} worker(s)', seconds)


if __name__ == '__main__':
    main()
