# SPDX-License-Identifier: Apache-2.0
"""`semi-smd label`: what the teachers say of a source's pictures, cached in a folder."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..datasets.sample import DataError
from ..datasets.sources import open_source
from ..training.teachers import Execution, open_depth_teacher, open_semantic_teacher
from ..training.teachers.labelling import LabelCount, LabelRun, label


def run_labelling(
    address: str,
    folder: Path,
    depth: str,
    semantics: str,
    longest: int,
    context: bool,
    limit: int | None,
    execution: Execution,
    console: Console,
) -> LabelCount:
    """Label the source at `address` into `folder`, and say what was done; see `labelling.label`.

    `depth`, `semantics`: addresses of teachers (see `teachers.opening`), empty for none. Raises DataError where there
    is neither, or no sample could be labelled, and what `label` raises.
    """
    if not depth and not semantics:
        raise DataError('no teacher is named; expected --depth, --semantics or both, for example --depth onnx:FILE')
    # A data set takes minutes to open; a teacher that cannot be used is told before.
    run = LabelRun(
        open_depth_teacher(depth, execution) if depth else None,
        open_semantic_teacher(semantics, execution) if semantics else None,
        longest,
        context,
        limit,
    )
    columns = (
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        opening = progress.add_task(f'opening {address}', total=1.0)
        with open_source(
            address, lambda what, share: progress.update(opening, description=what, completed=share)
        ) as source:
            progress.remove_task(opening)
            total = len(source) if limit is None else min(limit, len(source))
            task = progress.add_task(f'labelling {total} sets', total=total)
            count = label(source, folder, run, lambda: progress.advance(task))
    if not count.made and not count.found:
        raise DataError(f'{address}: none of {total} sets could be labelled; the first: {count.skipped[0]}')
    told = f', {len(count.skipped)} could not be read, see above' if count.skipped else ''
    console.print(f'{folder}: {count.made} sets labelled, {count.found} were there{told}', soft_wrap=True, markup=False)
    return count
