# SPDX-License-Identifier: Apache-2.0
"""Runs the demo: node, recorder and player as separate processes over DDS, then the report."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import queue
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ...datasets.ddad import DdadScene
from ...datasets.recording import write_recording
from ...datasets.replay import bag_rig, suggested_slop
from ...datasets.rosbag import SurroundBag, is_rosbag
from ...datasets.sample import DataError
from ...nodes.resources import share_path
from ...rig import Rig
from .protocol import NODE_NAME, hear
from .report import Report

_MODULES = {
    'node': 'semi_smd_ros.nodes.surround_depth_node',
    'recorder': 'semi_smd_ros.cli.demo.recorder',
    'player': 'semi_smd_ros.cli.demo.player',
}
# Of a result folder, what a new run into the same folder replaces.
_RESULTS = ('summary.json', 'pictures', 'output', 'recording', 'logs', 'params.yaml')
FLUSH_TIMEOUT_S = 15.0
# The node tells its stages' times once a second.
DIAGNOSTICS_S = 1.3


class DemoError(RuntimeError):
    """The demo could not be run to its end; the message says why and where the logs are."""


def run_demo(scene: Path, out: Path | None, model: str, base_frame: str, console: Console) -> dict[str, Any]:
    """Play `scene` through the node and judge what comes out; returns the summary, which is also written.

    `scene`: a DGP scene or a rosbag2. `out`: the result folder; None makes out/<time> and points out/latest there.
    Raises DataError, RigError or TransformError for a scene that cannot be used, DemoError when a process fails.
    """
    if not scene.exists():
        raise DataError(f'{scene}: no such file or folder; expected a DGP scene or a rosbag2')
    began = time.monotonic()
    folder = result_folder(out)
    recording = _recording(scene, folder, console)
    with SurroundBag(recording) as bag:
        rig = bag_rig(bag, base_frame)
        slop_s = suggested_slop(bag)
        run = _Run(folder, recording, bag, rig, slop_s, model)
        with _progress(console) as progress:
            played = run.play(progress)
        (folder / 'pictures').mkdir()
        report = Report(bag, rig, folder / 'output', played['sets'])
        with _progress(console) as progress:
            task = progress.add_task('drawing and scoring', total=len(played['sets']))
            summary = report.make(folder / 'pictures', lambda: progress.advance(task))
    summary |= {
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
        _point_latest(folder)
    print_summary(summary, folder, console)
    return summary


def result_folder(out: Path | None) -> Path:
    """Make the result folder. A named one may hold an earlier result, which is replaced."""
    if out is None:
        folder = Path('out') / datetime.datetime.now().strftime('%Y-%m-%d_%H-%M-%S')
        folder.mkdir(parents=True)
        return folder.resolve()
    out.mkdir(parents=True, exist_ok=True)
    present = [name for name in _RESULTS if (out / name).exists()]
    if present and not (out / 'logs').is_dir():
        raise DemoError(f'{out} holds {", ".join(present)}, which no demo has written; name another folder')
    for name in present:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return out.resolve()


def _recording(scene: Path, folder: Path, console: Console) -> Path:
    if is_rosbag(scene):
        return scene
    if scene.suffix not in ('', '.json'):
        raise DataError(f'{scene}: expected a DGP scene (its folder or JSON) or a rosbag2 (its folder, .mcap or .db3)')
    samples = DdadScene(scene)
    bag = folder / 'recording'
    with _progress(console) as progress:
        write_recording(progress.track(samples, total=len(samples), description='making a recording'), bag)
    return bag


class _Run:
    """The three processes of one run, and what they say."""

    def __init__(self, folder: Path, recording: Path, bag: SurroundBag, rig: Rig, slop_s: float, model: str) -> None:
        self._folder, self._recording, self._rig, self._slop_s = folder, recording, rig, slop_s
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._processes: dict[str, subprocess.Popen[str]] = {}
        (folder / 'logs').mkdir()
        self._environment = {
            **os.environ,
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_DOMAIN_ID': str(random.randint(1, 100)),
            # Fast DDS as shipped loses images and is slow to notice; the launch file and config/fastdds.xml say more.
            'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
            'FASTDDS_DEFAULT_PROFILES_FILE': str(share_path('config', 'fastdds.xml')),
            'ROS_LOG_DIR': str(folder / 'logs'),
        }
        parameters = {
            'cameras': list(rig.names),
            'base_frame': rig.base_frame,
            'model': model,
            'image_transport': 'compressed' if bag.cameras[0].compressed else 'raw',
            'image_reliability': 'reliable',
            'sync.slop': slop_s,
        }
        text = yaml.safe_dump({NODE_NAME: {'ros__parameters': parameters}})
        (folder / 'params.yaml').write_text(text, encoding='utf-8')

    def play(self, progress: Progress) -> dict[str, Any]:
        """Run until everything is played and recorded; returns the player's account. Raises DemoError."""
        task = progress.add_task('starting node, recorder and player', total=None)
        with self._all_stopped_at_the_end():
            self._start('node', '--ros-args', '--params-file', str(self._folder / 'params.yaml'))
            self._start('recorder', str(self._folder / 'output'), *self._rig.names)
            self._await('recorder', 'ready')
            self._start('player', str(self._recording), '--slop', str(self._slop_s))
            recorded = 0
            while True:
                name, event = self._next_event()
                if event['event'] == 'started':
                    progress.update(task, description='playing the recording', total=event['total'])
                elif event['event'] == 'recorded':
                    recorded = event['sets']
                    progress.update(task, completed=recorded)
                elif event['event'] == 'failed':
                    raise DemoError(f'{name}: {event["message"]}\n{self._log_tail("node")}')
                elif event['event'] == 'done' and name == 'player':
                    break
            self._flush(recorded, len(event['sets']), progress, task)
            time.sleep(DIAGNOSTICS_S)
        return event

    def _flush(self, recorded: int, expected: int, progress: Progress, task: Any) -> None:
        """Wait until the recorder has every set that the node has published; DDS may repeat what got lost."""
        deadline = time.monotonic() + FLUSH_TIMEOUT_S
        while recorded < expected and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                _, event = self._events.get(timeout=0.2)
                recorded = event.get('sets', recorded)
                progress.update(task, completed=recorded)

    def _start(self, name: str, *arguments: str) -> None:
        log = (self._folder / 'logs' / f'{name}.log').open('w', encoding='utf-8')
        process = subprocess.Popen(
            [sys.executable, '-m', _MODULES[name], *arguments],
            env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        self._processes[name] = process
        threading.Thread(target=self._listen, args=(name, process, log), daemon=True).start()

    def _listen(self, name: str, process: subprocess.Popen[str], log: Any) -> None:
        assert process.stdout is not None
        with log:
            for line in process.stdout:
                event = hear(line)
                if event is None:
                    log.write(line)
                else:
                    self._events.put((name, event))

    def _await(self, name: str, event: str) -> None:
        while self._next_event()[1]['event'] != event:
            pass

    def _next_event(self) -> tuple[str, dict[str, Any]]:
        while True:
            try:
                return self._events.get(timeout=0.5)
            except queue.Empty:
                for name, process in self._processes.items():
                    if process.poll() is not None and self._events.empty():
                        why = f'the {name} ended with code {process.returncode}\n{self._log_tail(name)}'
                        raise DemoError(why) from None

    def _log_tail(self, name: str) -> str:
        path = self._folder / 'logs' / f'{name}.log'
        lines = path.read_text(encoding='utf-8', errors='replace').splitlines()[-15:]
        return '\n'.join([f'last lines of {path}:', *lines])

    @contextlib.contextmanager
    def _all_stopped_at_the_end(self) -> Iterator[None]:
        try:
            yield
        finally:
            for process in self._processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            for process in self._processes.values():
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _point_latest(folder: Path) -> None:
    link = folder.parent / 'latest'
    if link.is_symlink() or not link.exists():
        fresh = folder.parent / f'.latest-{os.getpid()}'
        fresh.symlink_to(folder.name)
        fresh.replace(link)


def print_summary(summary: dict[str, Any], folder: Path, console: Console) -> None:
    """The summary as tables."""
    sets = Table(title='sets and scores')
    for column in ('', 'Semi-SMD', 'flat ground'):
        sets.add_column(column)
    playback = summary['playback']
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
    slowed = playback['slowed_s']
    if slowed > 0.05:
        console.print(
            f'The engine is slower than the recording: {playback["recorded_s"]:.1f} s were played in '
            f'{playback["played_s"]:.1f} s (held back {slowed:.1f} s) so that no set was dropped.'
        )
    console.print(f'results: {folder}', soft_wrap=True)
