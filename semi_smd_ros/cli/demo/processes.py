# SPDX-License-Identifier: Apache-2.0
"""Node, recorder and player as processes of their own, on a ROS domain of their own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.progress import Progress

from ...datasets.rosbag import SurroundBag
from ...nodes.resources import share_path
from ...rig import Rig
from .domain import DomainClaim
from .protocol import NODE_NAME, DemoError, hear

_MODULES = {
    'node': 'semi_smd_ros.nodes.surround_depth_node',
    'recorder': 'semi_smd_ros.cli.demo.recorder',
    'player': 'semi_smd_ros.cli.demo.player',
}
FLUSH_TIMEOUT_S = 15.0
QUIET_S = 0.5
# The node tells its stages' times once a second.
DIAGNOSTICS_S = 1.3
_PR_SET_PDEATHSIG = 1


class DemoProcesses:
    """The three processes of one run, and what they say."""

    def __init__(self, folder: Path, recording: Path, bag: SurroundBag, rig: Rig, slop_s: float, model: str) -> None:
        self._folder, self._recording, self._rig, self._slop_s = folder, recording, rig, slop_s
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._processes: dict[str, subprocess.Popen[str]] = {}
        (folder / 'logs').mkdir()
        parameters = {
            'cameras': list(rig.names),
            'base_frame': rig.base_frame,
            'model': model,
            'image_transport': 'compressed' if bag.cameras[0].compressed else 'raw',
            'image_reliability': 'reliable',
            'sync.slop': slop_s,
            # The player waits for every set: complete ones only, however late their transforms are.
            'sync.missing_after': 0.0,
            'tf.timeout': 60.0,
        }
        text = yaml.safe_dump({NODE_NAME: {'ros__parameters': parameters}})
        (folder / 'params.yaml').write_text(text, encoding='utf-8')

    def play(self, progress: Progress) -> dict[str, Any]:
        """Run until everything is played and recorded; returns the player's account. Raises DemoError."""
        task = progress.add_task('starting node, recorder and player', total=None)
        with contextlib.closing(DomainClaim()) as domain, self._all_stopped_at_the_end():
            environment = self._environment(domain.number)
            self._start('node', environment, '--ros-args', '--params-file', str(self._folder / 'params.yaml'))
            self._start('recorder', environment, str(self._folder / 'output'), *self._rig.names)
            while self._next_event()[1]['event'] != 'ready':
                pass
            self._start('player', environment, str(self._recording), '--slop', str(self._slop_s))
            while True:
                name, event = self._next_event()
                if event['event'] == 'started':
                    progress.update(task, description='playing the recording', total=event['total'])
                elif event['event'] == 'recorded':
                    progress.update(task, completed=event['sets'])
                elif event['event'] == 'failed':
                    raise DemoError(f'{name}: {event["message"]}\n{self._log_tail("node")}')
                elif event['event'] == 'done' and name == 'player':
                    break
            self._flush(progress, task)
        return event

    def _environment(self, domain: int) -> dict[str, str]:
        return {
            **os.environ,
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_DOMAIN_ID': str(domain),
            # Fast DDS as shipped loses images and is slow to notice; the launch file and config/fastdds.xml say more.
            'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
            'FASTDDS_DEFAULT_PROFILES_FILE': str(share_path('config', 'fastdds.xml')),
            'ROS_LOG_DIR': str(self._folder / 'logs'),
        }

    def _flush(self, progress: Progress, task: Any) -> None:
        """Wait for the last diagnostics, and until the recorder hears no more: DDS may repeat what got lost."""
        start = heard = time.monotonic()
        while (now := time.monotonic()) < start + FLUSH_TIMEOUT_S:
            if now > start + DIAGNOSTICS_S and now > heard + QUIET_S:
                return
            with contextlib.suppress(queue.Empty):
                _, event = self._events.get(timeout=0.1)
                heard = time.monotonic()
                progress.update(task, completed=event.get('sets'))

    def _start(self, name: str, environment: dict[str, str], *arguments: str) -> None:
        log = (self._folder / 'logs' / f'{name}.log').open('w', encoding='utf-8')
        process = subprocess.Popen(
            [sys.executable, '-m', _MODULES[name], *arguments],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            preexec_fn=_end_with_parent,
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


def _end_with_parent() -> None:
    """In a child, before it becomes its program: have Linux send SIGTERM when the parent is gone, however it went."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
