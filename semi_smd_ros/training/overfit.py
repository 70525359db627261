# SPDX-License-Identifier: Apache-2.0
"""The check of an installation: `semi-smd overfit` learns a few frames by heart, and throws the weights away.

Everything that training needs takes part: a source is read and rectified, LiDAR falls on pixels, pictures are warped
into each other, the network learns, is validated and saved. A machinery that is right reaches the bound; one with a
wrong sign anywhere does not.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.training.batch import Augmentation
from semi_smd_ros.training.config import Stage, TrainConfig
from semi_smd_ros.training.fabric import make_fabric
from semi_smd_ros.training.semi_losses import SemiLossWeights
from semi_smd_ros.training.settings import ConfigError
from semi_smd_ros.training.trainer import Trainer

BOUND = 0.08
STEPS = 400
SIZE = (96, 160)


@dataclass(frozen=True)
class Overfit:
    """AbsRel and share within a factor 1.25 on the frames that were learned, and what it took."""

    abs_rel: float
    d1: float
    steps: int
    seconds: float
    cpu_seconds: float


def overfit_config(address: str, steps: int, size: tuple[int, int]) -> TrainConfig:
    """Self-supervision and LiDAR on a source's own moments, without augmentation."""
    return TrainConfig(
        network='small_residual',
        network_changes={'prior_far': 30.0},
        data=address,
        supervision='semi',
        stages=(Stage(*size, steps=steps),),
        learning_rate=1e-2,
        final_learning_rate=5e-4,
        weight_decay=0.0,
        average=0.95,
        workers=0,
        augmentation=Augmentation(
            mirror=0.0, colour=0.0, noise=0.0, missing_camera=0.0, rotation_noise_deg=0.0, common_tilt_deg=0.0,
            translation_noise_m=0.0,
        ),
        semi_losses=SemiLossWeights(
            lidar=5.0, temporal=0.3, spatio_temporal=0.0, temporal_depth=0.0, reconstruction=0.0, smoothness=0.0,
            stride=4,
        ),
    )  # fmt: skip


def overfit(
    address: str,
    steps: int = STEPS,
    size: tuple[int, int] = SIZE,
    on_progress: Callable[[float, str], None] | None = None,
    accelerator: str = 'cpu',
) -> Overfit:
    """Learn the moments of the source at `address` by heart.

    Raises DataError where it cannot be used, ConfigError for an accelerator that is not there.
    """
    began, began_cpu = time.monotonic(), time.process_time()
    config = overfit_config(address, steps, size)
    with tempfile.TemporaryDirectory() as folder:
        fabric = make_fabric(config, accelerator)
        run = Trainer(config, config.network_config, Path(folder), f'semi-smd overfit {address}', fabric)
        run.run(on_progress or (lambda done, text: None))
        _, card = load_checkpoint(Path(folder) / 'last.safetensors')
    scores = card['scores']
    if 'abs_rel' not in scores:
        raise DataError(
            f'{address}: has no LiDAR or other depth; the check needs a source with some, such as ddad:PATH'
        )
    spent = (time.monotonic() - began, time.process_time() - began_cpu)
    return Overfit(scores['abs_rel'], scores['d1'], steps, *spent)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='semi-smd overfit', description=(__doc__ or '').split('\n')[0])
    parser.add_argument('source', help='a short source with depth: ddad:PATH of one scene, nuscenes:PATH, rosbag:PATH')
    parser.add_argument('--steps', type=int, default=STEPS)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--accelerator', default='auto', help='cpu, gpu or auto')
    parser.add_argument('--bound', type=float, default=BOUND, help='AbsRel to stay below')
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format='%(message)s')
    torch.set_num_threads(options.threads)
    try:
        with Progress(refresh_per_second=1) as progress:
            task = progress.add_task('reading', total=options.steps)
            found = overfit(
                options.source,
                options.steps,
                on_progress=lambda done, text: progress.update(task, completed=done, description=text),
                accelerator=options.accelerator,
            )
    except (ConfigError, DataError) as error:
        parser.error(str(error))
    good = found.abs_rel < options.bound
    sys.stdout.write(
        f'AbsRel {found.abs_rel:.3f} on its own frames, {"below" if good else "NOT below"} {options.bound:g}; '
        f'd<1.25 {found.d1:.3f}; {found.steps} steps, {found.seconds:.0f} s ({found.cpu_seconds:.0f} s of CPU)\n'
    )
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
