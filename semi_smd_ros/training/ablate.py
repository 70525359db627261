# SPDX-License-Identifier: Apache-2.0
"""Command line of the ablation: `semi-smd ablate`."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from semi_smd_ros.network.checkpoint import CheckpointError
from semi_smd_ros.training.ablation import AblationConfig, jobs, load_ablation, run_job
from semi_smd_ros.training.ablation_report import markdown, write_json, write_report
from semi_smd_ros.training.beginning import check_published
from semi_smd_ros.training.settings import ConfigError

DEFAULT_CONFIG = Path(__file__).resolve().parents[2] / 'configs' / 'ablation.yaml'  # of the source tree
JSON_FILE, MARKDOWN_FILE = 'ablation.json', 'ablation.md'


def ablate(
    config: AblationConfig,
    out: Path,
    command: str,
    threads: int = 1,
    imagenet: Path | None = None,
    accelerator: str = 'cpu',
) -> list[dict[str, Any]]:
    """Do all jobs that are not done yet, with a progress bar; `out` gets the table after every one of them.

    Raises CheckpointError for `imagenet` weights where an encoder has none, before any job.
    """
    if imagenet is not None:
        for variant in config.variants:
            check_published(variant.applied(config.train).network_config, imagenet)
    torch.set_num_threads(threads)
    out.mkdir(parents=True, exist_ok=True)
    todo = jobs(config, out, imagenet)
    results: list[dict[str, Any]] = []
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), refresh_per_second=1) as progress:
        total = sum(job.config.steps for job in todo)
        task = progress.add_task('preparing the first frames', total=total)
        before = 0
        for number, job in enumerate(todo, 1):
            name = f'{number}/{len(todo)} {job.variant.title}, seed {job.seed}'

            def told(done: float, text: str, name: str = name, before: int = before) -> None:
                progress.update(task, completed=before + done, description=f'{name}: {text}')

            results.append(run_job(job, command, told, accelerator))
            before += job.config.steps
            progress.update(task, completed=before)
            write_json(out / JSON_FILE, config, results, command)
            (out / MARKDOWN_FILE).write_text(markdown(config, results, command), encoding='utf-8')
    return results


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='semi-smd ablate',
        description='Train and evaluate variants of the method on the synthetic world, without ground-truth depth.',
    )
    parser.add_argument('out', type=Path, help='folder of all runs, to be continued if there are some')
    parser.add_argument('--config', type=Path, default=DEFAULT_CONFIG, help='variants and runs (configs/ablation.yaml)')
    parser.add_argument('--report', type=Path, default=Path('docs') / 'ablation.md', help='Markdown file for the table')
    parser.add_argument('--only', nargs='+', help='names of the variants to do, instead of all')
    parser.add_argument('--imagenet', type=Path, help='all variants begin with these published weights of the encoder')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    parser.add_argument('--accelerator', default='auto', help='cpu, gpu or auto')
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format='%(message)s', handlers=[RichHandler(show_path=False)])
    try:
        config = load_ablation(options.config)
        if options.only:
            known = {variant.name: variant for variant in config.variants}
            unknown = sorted(set(options.only) - set(known))
            if unknown:
                raise ConfigError(f'no variants {", ".join(unknown)}; {options.config} has {", ".join(known)}')
            config = replace(config, variants=tuple(known[name] for name in options.only))
    except ConfigError as error:
        parser.error(str(error))
    command = 'semi-smd ablate ' + shlex.join(sys.argv[1:] if arguments is None else arguments)
    try:
        results = ablate(
            config, options.out, command, options.threads, options.imagenet, options.accelerator
        )  # fmt: skip
        write_report(options.report, markdown(config, results, command))
    except (CheckpointError, ConfigError, FileExistsError, FileNotFoundError) as error:
        parser.error(str(error))
    print_table(options.out / MARKDOWN_FILE, options.report)
    return 0


def print_table(table: Path, report: Path) -> None:
    sys.stdout.write(
        table.read_text(encoding='utf-8') + f'\nwritten: {table}, {table.with_suffix(".json")}, {report}\n'
    )


if __name__ == '__main__':
    sys.exit(main())
