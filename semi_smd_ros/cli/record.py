# SPDX-License-Identifier: Apache-2.0
"""From a data source to a recording."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..datasets.recording import check_truth, write_recording
from ..datasets.sample import DataError
from ..datasets.source import SampleSequence
from ..datasets.sources import open_source

_log = logging.getLogger(__name__)


def record_source(
    source: str, out: Path, raw: bool = False, sequence: str = '', truth: str = 'all', **options: Any
) -> dict[str, int]:
    """Write the samples of a source, see `datasets.sources`, as a rosbag2; returns how many by sequence.

    One sequence becomes one recording: a file where `out` ends in .mcap, else a folder with metadata.yaml. Several
    become recordings in the folder `out`, called as the sequences, unless `sequence` names one of them; one that cannot
    be recorded is skipped and told, as is a sample with a picture that has to be decoded and cannot be. `raw`: images
    as sensor_msgs/Image instead of compressed. `truth`: all, points or none, see `write_recording`. `options`: the
    source's; None means not given.

    Raises DataError for a source that is unknown or cannot be read, FileExistsError for an `out` that exists; an
    interrupted run leaves nothing half behind.
    """
    check_truth(truth)
    if out.exists():
        raise FileExistsError(f'{out} exists already; name a new file or folder for the recording')
    with _progress() as progress:
        opening = progress.add_task(f'opening {source}', total=1.0)

        def tell(what: str, share: float) -> None:
            progress.update(opening, description=what, completed=share)

        with open_source(source, on_progress=tell, **options) as opened:
            progress.remove_task(opening)
            chosen = _chosen(opened.sequences(), source, sequence)
            if len(chosen) > 1 and out.suffix == '.mcap':
                names = ', '.join(drive.name for drive in chosen[:20])
                raise DataError(
                    f'{source}: has {len(chosen)} sequences; a .mcap holds one: name a folder, or choose with '
                    f'--sequence one of {names}'
                )

            def write(drive: SampleSequence, path: Path) -> int:
                moments = progress.track(drive, total=len(drive), description=f'recording {drive.name}')
                return write_recording(moments, path, raw, truth, drive.skipped)

            counts = _record(chosen, out, write)
            if opened.skipped:
                _log.warning('%s: skipped %d, told above, for they could not be read', source, len(opened.skipped))
    return counts


def _record(
    chosen: Sequence[SampleSequence], out: Path, write: Callable[[SampleSequence, Path], int]
) -> dict[str, int]:
    if len(chosen) == 1:
        return {chosen[0].name: write(chosen[0], out)}
    partial = out.with_name(out.name + '.partial')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        counts = {}
        for drive in chosen:
            try:
                counts[drive.name] = write(drive, partial / drive.name)
            except DataError as error:
                drive.skipped.add(f'sequence {drive.name}', error)
        if not counts:
            raise DataError(f'{out}: none of {len(chosen)} sequences can be recorded; what is amiss is told above')
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return counts


def _chosen(sequences: Sequence[SampleSequence], source: str, name: str) -> list[SampleSequence]:
    chosen = [drive for drive in sequences if name in ('', drive.name)]
    if not chosen:
        raise DataError(f'{source}: no sequence {name}; it has {", ".join(drive.name for drive in sequences)}')
    return chosen


def _progress() -> Progress:
    return Progress(TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
