# SPDX-License-Identifier: Apache-2.0
"""`semi-smd evaluate`: a model file on a data set, shown as tables and written as a result folder."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from ..datasets.sample import DataError
from ..datasets.source import OTHER_MAX_DEPTH_M, Source
from ..datasets.sources import open_source
from ..evaluation.protocols import Protocol, protocol_named, source_options
from ..evaluation.report import as_json, markdown, remarks, tables
from ..evaluation.runner import Evaluation, Evaluator
from ..evaluation.sheet import sheet
from ..nodes.resources import model_path
from ..runtime import load_engine
from .folder import own_results, point_latest, timed_folder

RESULTS = ('metrics.json', 'report.md', 'sheet.jpg')
MARKER = '.semi_smd_evaluation'
PARENT = Path('out') / 'evaluate'


def run_evaluation(
    data: str, model: str, protocol: str, limit: int | None, masks: bool | None, out: Path | None, console: Console
) -> dict[str, Any]:
    """Evaluate and write the result folder; returns what metrics.json holds.

    `out`: the result folder; None makes out/evaluate/<time> and points out/evaluate/latest there. The folder appears
    when everything is done; an interrupted run leaves nothing. Raises DataError for data or a protocol that cannot be
    used or when no set can be read, ModelError for a model that cannot be used, FileExistsError for a folder with
    somebody else's results.
    """
    began = time.monotonic()
    folder = timed_folder(PARENT) if out is None else out.resolve()
    own_results(folder, RESULTS, MARKER, 'evaluation')
    path = model_path(model)
    # Opening a data set takes minutes; a model that cannot be used is told before.
    load_engine(path).close()
    options = {'model': model, 'protocol': protocol, 'limit': limit, 'out': out}
    command = ['semi-smd', 'evaluate', '--data', data]
    command += [text for key, value in options.items() if value for text in (f'--{key}', str(value))]
    command += [] if masks is None else ['--masks' if masks else '--no-masks']
    rules = protocol_named(protocol, OTHER_MAX_DEPTH_M, masks)
    columns = (TextColumn('{task.description}'), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        reading = progress.add_task('opening', total=1.0)
        with open_source(
            data,
            lambda what, share: progress.update(reading, description=what, completed=share),
            **source_options(protocol, data),
        ) as source:
            progress.update(reading, visible=False)
            evaluation = _evaluate(source, path, replace(rules, max_depth_m=source.max_depth_m), limit, progress)
    if not evaluation.sets_run:
        told = f'; the first: {evaluation.skipped[0]}' if evaluation.skipped else ''
        raise DataError(f'{data}: no set could be evaluated, {len(evaluation.skipped)} could not be read{told}')
    digest = evaluation.spec.sha256
    metrics = {
        'command': shlex.join(command),
        'data': data,
        **as_json(evaluation),
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        'seconds': round(time.monotonic() - began, 1),
    }
    metrics['model'] = {'path': str(path), 'sha256': digest, **metrics['model']}
    facts = {
        'data': f'`{data}`, {evaluation.sets_run} sets, {len(evaluation.skipped)} unreadable, truth {evaluation.truth}',
        'model': f'`{path.name}` ({evaluation.spec.name} {evaluation.spec.version}), sha256 `{digest[:16]}...`',
        'command': f'`{metrics["command"]}`',
    }
    _write(folder, evaluation, metrics, markdown(evaluation, 'Depth evaluation', facts))
    if out is None:
        point_latest(folder)
    _show(evaluation, facts, folder, console)
    return metrics


def _evaluate(source: Source, model: Path, protocol: Protocol, limit: int | None, progress: Progress) -> Evaluation:
    evaluator = Evaluator(model, protocol)
    total = len(source) if limit is None else min(limit, len(source))
    task = progress.add_task(f'evaluating {total} sets', total=total)
    try:
        return evaluator.run(source, limit, lambda: progress.advance(task))
    finally:
        evaluator.close()


def _write(folder: Path, evaluation: Evaluation, metrics: dict[str, Any], report: str) -> None:
    """Write everything into a folder of another name, then move it into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f'.{folder.name}.{os.getpid()}.part')
    part.mkdir()
    try:
        (part / MARKER).touch()
        (part / 'metrics.json').write_text(json.dumps(metrics, indent=2, allow_nan=False) + '\n', encoding='utf-8')
        picture = sheet(evaluation.picks)
        if picture is not None:
            (part / 'sheet.jpg').write_bytes(picture)
            report += '\n![best, median and worst set: images, depths, errors](sheet.jpg)\n'
        (part / 'report.md').write_text(report, encoding='utf-8')
        if folder.exists():
            earlier = own_results(folder, RESULTS, MARKER, 'evaluation')
            fresh = [file.replace(folder / file.name) for file in part.iterdir()]
            for stale in set(earlier) - set(fresh):
                stale.unlink()
        else:
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _show(evaluation: Evaluation, facts: dict[str, str], folder: Path, console: Console) -> None:
    for key, value in facts.items():
        console.print(f'{key}: {value}', soft_wrap=True, markup=False)
    console.print(evaluation.protocol.text, markup=False)
    for table in tables(evaluation):
        shown = RichTable(title=table.title, caption=table.note or None, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        shown.title_justify = shown.caption_justify = 'left'
        for i, column in enumerate(table.columns):
            shown.add_column(column, justify='right' if i else 'left')
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)
    for line in remarks(evaluation):
        console.print(line, soft_wrap=True, markup=False)
    console.print(f'results: {folder}', soft_wrap=True, markup=False)
