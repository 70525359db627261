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

from semi_smd_ros.network.checkpoint import CheckpointError
from semi_smd_ros.network.config import CONFIGS
from semi_smd_ros.training.config import ConfigError, TrainConfig, load_train_config, with_stage_minutes
from semi_smd_ros.training.trainer import STATE_FILE, Trainer


def train(
    folder: Path,
    config: TrainConfig,
    resume: bool = False,
    threads: int = 1,
    command: str = '',
    weights: Path | None = None,
    imagenet: Path | None = None,
) -> Path:
    """Train into `folder` with a progress bar, from `weights` or `imagenet` if given; returns the best checkpoint's
    path.

    Raises CheckpointError for weights of another network or encoder, FileExistsError when the folder already holds a
    run and `resume` is not set.
    """
    if not resume and (folder / STATE_FILE).exists():
        raise FileExistsError(f'{folder} already holds a run; continue it with --resume or choose another folder')
    torch.set_num_threads(threads)
    trainer = Trainer(config, CONFIGS[config.network], folder, command)
    if weights is not None:
        trainer.start_from(weights)
    if imagenet is not None:
        trainer.start_from_imagenet(imagenet)
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
        prog='semi-smd train', description='Train a network on synthetic frames rendered while it trains.'
    )
    parser.add_argument('config', type=Path, help='what to train and how: a file of configs/, or your own')
    parser.add_argument('folder', type=Path, help="the run's folder: checkpoints, log, rendered frames")
    parser.add_argument('--minutes', type=float, help="wall-clock budget, shared out as the config's stages are")
    parser.add_argument('--workers', type=int, help="rendering processes instead of the config's")
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of the training process')
    parser.add_argument('--weights', type=Path, help='begin with the weights of this checkpoint (.safetensors)')
    parser.add_argument('--imagenet', type=Path, help='begin with these published ImageNet weights of its encoder')
    parser.add_argument('--resume', action='store_true', help='continue the run in the folder')
    options = parser.parse_args(arguments)
    begins = [name for name in ('weights', 'imagenet', 'resume') if getattr(options, name)]
    if len(begins) > 1:
        parser.error(f'got --{" and --".join(begins)}; expected one of them, since each says how the run begins')
    logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[RichHandler(show_path=False)])
    try:
        config = load_train_config(options.config)
    except ConfigError as error:
        parser.error(str(error))
    if options.minutes is not None:
        config = with_stage_minutes(config, options.minutes)
    if options.workers is not None:
        config = replace(config, workers=options.workers)
    given = sys.argv[1:] if arguments is None else arguments
    command = 'semi-smd train ' + shlex.join(given)
    try:
        train(options.folder, config, options.resume, options.threads, command, options.weights, options.imagenet)
    except (CheckpointError, FileExistsError, FileNotFoundError) as error:
        parser.error(str(error))
    return 0


if __name__ == '__main__':
    sys.exit(main())
