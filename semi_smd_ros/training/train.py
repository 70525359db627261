# SPDX-License-Identifier: Apache-2.0
"""Command line of the trainer: `semi-smd train`."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from semi_smd_ros.network.config import CONFIGS
from semi_smd_ros.training.trainer import STATE_FILE, TrainConfig, Trainer, with_stage_minutes


def train(
    folder: Path,
    config: TrainConfig,
    network: str = 'small',
    resume: bool = False,
    threads: int = 1,
    command: str = '',
    weights: Path | None = None,
) -> Path:
    """Train `network` into `folder` with a progress bar, from `weights` if given; returns the best checkpoint's path.

    Raises KeyError for an unknown network, CheckpointError for weights of another, FileExistsError when the folder
    already holds a run and `resume` is not set.
    """
    if network not in CONFIGS:
        raise KeyError(f'unknown network {network!r}; known: {", ".join(CONFIGS)}')
    if not resume and (folder / STATE_FILE).exists():
        raise FileExistsError(f'{folder} already holds a run; continue it with --resume or choose another folder')
    torch.set_num_threads(threads)
    trainer = Trainer(config, CONFIGS[network], folder, command)
    if weights is not None:
        trainer.start_from(weights)
    if resume:
        trainer.resume()
    share = TextColumn('{task.percentage:.0f}%')
    columns = (TextColumn('{task.description}'), BarColumn(), share, TimeRemainingColumn())
    with Progress(*columns, refresh_per_second=1) as progress:
        task = progress.add_task('rendering the first frames', total=config.minutes)
        trainer.run(lambda minutes, text: progress.update(task, completed=minutes, description=text))
    return folder / 'best.safetensors'


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='semi-smd train', description='Train the network on synthetic frames rendered while it trains.'
    )
    parser.add_argument('folder', type=Path, help="the run's folder: checkpoints, log, rendered frames")
    parser.add_argument('--network', default='small', choices=sorted(CONFIGS))
    parser.add_argument('--minutes', type=float, default=TrainConfig().minutes, help='wall-clock budget')
    parser.add_argument('--learning-rate', type=float, default=TrainConfig.learning_rate)
    parser.add_argument('--seed', type=int, default=TrainConfig.seed)
    parser.add_argument('--workers', type=int, default=TrainConfig.workers, help='rendering processes')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of the training process')
    parser.add_argument('--weights', type=Path, help='begin with the weights of this checkpoint (.safetensors)')
    parser.add_argument('--resume', action='store_true', help='continue the run in the folder')
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[RichHandler(show_path=False)])
    config = replace(
        with_stage_minutes(TrainConfig(), options.minutes),
        learning_rate=options.learning_rate,
        seed=options.seed,
        workers=options.workers,
    )
    given = sys.argv[1:] if arguments is None else arguments
    command = 'semi-smd train ' + shlex.join(given)
    train(options.folder, config, options.network, options.resume, options.threads, command, options.weights)
    return 0


if __name__ == '__main__':
    sys.exit(main())
