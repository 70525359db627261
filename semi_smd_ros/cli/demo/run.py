# SPDX-License-Identifier: Apache-2.0
"""The demo from end to end: a recording, its playback through the node, the report."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ...datasets.ddad import DdadScene
from ...datasets.recording import write_recording
from ...datasets.replay import bag_rig, image_stamps, suggested_slop, synchronized_stamps
from ...datasets.rosbag import SurroundBag, is_rosbag
from ...datasets.sample import DataError
from ...rig import FrameMissing, Rig
from ..folder import point_latest
from .folder import prepare_folder
from .processes import DemoProcesses
from .protocol import DemoError
from .report import Report


def run_demo(scene: Path, out: Path | None, model: str, base_frame: str, console: Console) -> dict[str, Any]:
    """Play `scene` through the node and judge what comes out; returns the summary, which is also written.

    `scene`: a DGP scene or a rosbag2. `out`: the result folder; None makes out/<time> and points out/latest there.
    Raises DataError, RigError or TransformError for a scene that cannot be used, DemoError when a process fails.
    """
    began = time.monotonic()
    source = _open_source(scene)
    folder = prepare_folder(out, scene)
    recording = scene if source is None else _record(source, folder / 'recording', console)
    with SurroundBag(recording) as bag, _progress(console) as progress:
        reading = progress.add_task('reading the recording', total=None)
        rig = _rig(bag, base_frame)
        stamps = image_stamps(bag)
        slop_s = suggested_slop(stamps, len(rig))
        sets = synchronized_stamps(stamps, len(rig), slop_s)
        if not sets:
            raise DemoError(_why_no_set(recording, slop_s))
        progress.remove_task(reading)
        played = DemoProcesses(folder, recording, bag, rig, slop_s, model).play(progress)
        (folder / 'pictures').mkdir()
        drawing = progress.add_task('drawing and scoring', total=len(sets))
        report = Report(bag, rig, folder / 'output', played['sets'])
        summary = report.make(folder / 'pictures', lambda: progress.advance(drawing))
    images = Counter(camera for camera, _ in stamps)
    summary |= {
        'images_in': {name: images[i] for i, name in enumerate(rig.names)},
        'images_unused': {name: images[i] - len(sets) for i, name in enumerate(rig.names)},
        'scene': str(scene),
        'output_bag': str(folder / 'output'),
        'playback': {key: round(played[key], 3) for key in ('recorded_s', 'played_s', 'slowed_s')},
        'sync_slop_s': slop_s,
        'cameras': list(rig.names),
        'machine': f'{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}',
        'seconds': round(time.monotonic() - began, 1),
    }
    (folder / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    if out is None:
        point_latest(folder)
    print_summary(summary, folder, console)
    return summary


def _open_source(scene: Path) -> DdadScene | None:
    """The scene to make a recording of, or None for one that is a recording. Raises DataError for anything else."""
    if not scene.exists():
        raise DataError(f'{scene}: no such file or folder; expected a DGP scene or a rosbag2')
    if is_rosbag(scene):
        return None
    if scene.is_file() and scene.suffix != '.json':
        raise DataError(f'{scene}: expected a DGP scene (its folder or JSON) or a rosbag2 (its folder, .mcap or .db3)')
    return DdadScene(scene)


def _record(scene: DdadScene, path: Path, console: Console) -> Path:
    with _progress(console) as progress:
        write_recording(progress.track(scene, total=len(scene), description='making a recording'), path)
    return path


def _rig(bag: SurroundBag, base_frame: str) -> Rig:
    try:
        return bag_rig(bag, base_frame)
    except FrameMissing as error:
        raise DemoError(
            f'{bag.path}: {error}; a vehicle whose frame is not called {base_frame} is played with BASE_FRAME=<frame> '
            '(semi-smd demo --base-frame)'
        ) from error


def _why_no_set(recording: Path, slop_s: float) -> str:
    return (
        f'{recording}: no moment at which every camera has an image within {slop_s * 1e3:.0f} ms; expected cameras '
        'that fire within one frame period of each other: check that their clocks agree and that each one sends images'
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def print_summary(summary: dict[str, Any], folder: Path, console: Console) -> None:
    """The summary as tables, and a line for everything that a user should not overlook."""
    sets = Table(title='sets and scores')
    for column in ('', 'Semi-SMD', 'flat ground'):
        sets.add_column(column)
    sets.add_row('sets in / out / dropped', ' / '.join(str(summary[f'sets_{k}']) for k in ('in', 'out', 'dropped')), '')
    if summary['abs_rel'] is None:
        sets.add_row('metric scores', 'no ground truth in this recording', '')
    else:
        sets.add_row('AbsRel (metric)', f'{summary["abs_rel"]:.3f}', f'{summary["abs_rel_ground"]:.3f}')
        sets.add_row('d < 1.25 (metric)', f'{summary["d1"]:.3f}', f'{summary["d1_ground"]:.3f}')
    latency = Table(title='latency, ms')
    for column in ('stage', 'p50', 'p95'):
        latency.add_column(column)
    for stage, times in summary['latency_ms'].items():
        latency.add_row(stage, f'{times["p50"]:.1f}', f'{times["p95"]:.1f}')
    console.print(sets)
    console.print(latency)
    for line in _remarks(summary):
        console.print(line, soft_wrap=True)
    console.print(f'results: {folder}', soft_wrap=True)


def _remarks(summary: dict[str, Any]) -> list[str]:
    lines = []
    playback = summary['playback']
    if playback['slowed_s'] > 0.05:
        lines.append(
            f'The node is slower than the recording: {playback["recorded_s"]:.1f} s were played in '
            f'{playback["played_s"]:.1f} s (held back {playback["slowed_s"]:.1f} s) so that no set was dropped.'
        )
    unused = {name: count for name, count in summary['images_unused'].items() if count}
    if unused:
        told = ', '.join(f'{name} {count} of {summary["images_in"][name]}' for name, count in unused.items())
        lines.append(f'Images that belong to no complete set, another camera having none then: {told}.')
    for name, reasons in summary['images_rejected'].items():
        told = ', '.join(f'{reason} {count}' for reason, count in reasons.items())
        lines.append(f'Images of camera {name} that the node rejected: {told}; logs/node.log says why.')
    if summary['sets_dropped']:
        told = ', '.join(f'{reason} {count}' for reason, count in summary['drop_reasons'].items()) or 'not said'
        lines.append(f'Sets dropped, as the node says: {told}; logs/node.log says more.')
    return lines
