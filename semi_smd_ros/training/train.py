# SPDX-License-Identifier: Apache-2.0
"""Command line of the trainer: `semi-smd train`."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.synthetic import Photographs
from semi_smd_ros.network.checkpoint import CheckpointError
from semi_smd_ros.training.beginning import warn_of_untaught_sky
from semi_smd_ros.training.config import TrainConfig, load_train_config, with_stage_minutes
from semi_smd_ros.training.fabric import make_fabric
from semi_smd_ros.training.pool import PoolError
from semi_smd_ros.training.settings import ConfigError
from semi_smd_ros.training.trainer import LOG_EVERY, STATE_FILE, Trainer


@dataclass(frozen=True)
class Machines:
    """Where to train; see Fabric: accelerator 'cpu', 'gpu' or 'auto', devices of each of `nodes` ('auto': all)."""

    accelerator: str = 'auto'
    devices: int | str = 1
    nodes: int = 1


def train(
    folder: Path,
    config: TrainConfig,
    resume: bool = False,
    threads: int = 1,
    command: str = '',
    weights: Path | None = None,
    imagenet: Path | None = None,
    machines: Machines | None = None,
    log_every: int = LOG_EVERY,
) -> Path:
    """Train into `folder` with a progress bar, from `weights` or `imagenet` if given; returns the best checkpoint's
    path. With several devices this process starts the others, which run the same command.

    Raises CheckpointError for weights or a run of another network or encoder, ConfigError for machines that are not
    there, DataError for photographs that cannot be used, FileExistsError when the folder already holds a run and
    `resume` is not set.
    """
    if config.photographs:  # rather now than in a process that renders
        Photographs.read(Path(config.photographs))
    machines = machines or Machines('cpu')
    fabric = make_fabric(config, machines.accelerator, machines.devices, machines.nodes)
    fabric.launch()
    fabric.barrier()
    if not resume and (folder / STATE_FILE).exists():
        raise FileExistsError(f'{folder} already holds a run; continue it with --resume or choose another folder')
    torch.set_num_threads(threads)
    trainer = Trainer(config, config.network_config, folder, command, fabric, log_every)
    if weights is not None:
        trainer.start_from(weights)
    if imagenet is not None:
        trainer.start_from_imagenet(imagenet)
    if resume:
        trainer.resume()
    if fabric.is_global_zero:
        warn_of_untaught_sky(config)
    share = TextColumn('{task.percentage:.0f}%')
    columns = (TextColumn('{task.description}'), BarColumn(), share, TimeRemainingColumn())
    with Progress(*columns, refresh_per_second=1, disable=not fabric.is_global_zero) as progress:
        task = progress.add_task('preparing the first frames', total=config.budget)
        trainer.run(lambda done, text: progress.update(task, completed=done, description=text))
    return folder / 'best.safetensors'


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='semi-smd train', description='Train a network: on synthetic frames rendered meanwhile, or on recordings.'
    )
    parser.add_argument('config', type=Path, help='what to train and how: a file of configs/, or your own')
    parser.add_argument('folder', type=Path, help="the run's folder: checkpoints, log, rendered frames")
    parser.add_argument('--minutes', type=float, help="wall-clock budget, shared out as the config's stages are")
    parser.add_argument('--data', help="address of a source (ddad:PATH, nuscenes:PATH, rosbag:PATH) for the config's")
    parser.add_argument('--labels', help='folder of the teacher labels of that source (semi-smd label)')
    parser.add_argument('--workers', type=int, help="rendering processes instead of the config's")
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of each training process')
    parser.add_argument('--accelerator', default='auto', help='cpu, gpu or auto')
    parser.add_argument('--devices', default='1', help='how many of them, one process each, or auto for all')
    parser.add_argument('--nodes', type=int, default=1, help='machines; start the command on each, as Fabric says')
    parser.add_argument('--log-every', type=int, default=LOG_EVERY, help='steps from one line of the log to the next')
    parser.add_argument('--weights', type=Path, help='begin with the weights of this checkpoint (.safetensors)')
    parser.add_argument('--imagenet', type=Path, help='begin with these published ImageNet weights of its encoder')
    parser.add_argument('--resume', action='store_true', help='continue the run in the folder')
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    begins = [name for name in ('weights', 'imagenet', 'resume') if getattr(options, name)]
    if len(begins) > 1:
        parser.error(f'got --{" and --".join(begins)}; expected one of them, since each says how the run begins')
    logging.basicConfig(level=logging.INFO, format='%(message)s', handlers=[RichHandler(show_path=False)])
    try:
        config = load_train_config(options.config)
        if options.minutes is not None:
            config = with_stage_minutes(config, options.minutes)
        given_options = {name: getattr(options, name) for name in ('workers', 'data', 'labels')}
        config = replace(config, **{name: value for name, value in given_options.items() if value is not None})
    except ConfigError as error:
        parser.error(str(error))
    given = sys.argv[1:] if arguments is None else arguments
    command = 'semi-smd train ' + shlex.join(given)
    devices = int(options.devices) if options.devices.isdecimal() else options.devices
    machines = Machines(options.accelerator, devices, options.nodes)
    begin = (options.weights, options.imagenet)
    try:
        train(
            options.folder, config, options.resume, options.threads, command, *begin, machines, options.log_every
        )  # fmt: skip
    except (CheckpointError, ConfigError, DataError, FileExistsError, FileNotFoundError) as error:
        parser.error(str(error))
    except (FloatingPointError, PoolError) as error:
        logging.error('%s', error)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
