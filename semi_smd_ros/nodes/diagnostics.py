# SPDX-License-Identifier: Apache-2.0
"""What `/diagnostics` says: one status per camera, one for the sets, one for the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..runtime import EngineSpec, SurroundDepthPipeline, SurroundSynchronizer
from .cameras import CameraInput
from .processor import SetCounters
from .rig_assembler import RigAssembler

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
SILENT_AFTER_S = 2.0


def status(name: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    """One DiagnosticStatus; values become text."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)


def array_of(statuses: Sequence[DiagnosticStatus], stamp: Any, hardware_id: str) -> DiagnosticArray:
    """The message; `hardware_id` is the node's full name, which tells two nodes apart."""
    message = DiagnosticArray(status=list(statuses))
    message.header.stamp = stamp
    for item in message.status:
        item.hardware_id = hardware_id
        item.name = f'{hardware_id.rsplit("/", 1)[-1]}: {item.name}'
    return message


def node_status(state: str, problem: str) -> DiagnosticStatus:
    """The lifecycle state, and why configuring failed."""
    if problem:
        return status('node', ERROR, problem, {'state': state})
    if state != 'active':
        return status('node', WARN, f'the node is {state}: nothing is published', {'state': state})
    return status('node', OK, 'active', {'state': state})


class CameraReporter:
    """The status of each camera; remembers how many rejections it has told, to warn of new ones."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(
        self, index: int, camera: CameraInput, assembler: RigAssembler, problems: Mapping[str, str], now_ns: int
    ) -> DiagnosticStatus:
        """One camera's status: rate, age, rejections, calibration, tf, and a sentence that names it."""
        name, stats = camera.camera.name, camera.stats
        frame, rejections, silence = assembler.frame_id(index), stats.rejections(), stats.silence_s()
        rejected = sum(rejections.values())
        is_calibrated, problem = assembler.is_calibrated(index), problems.get(name, '')
        age = '' if stats.last_stamp_ns is None or now_ns == 0 else f'{(now_ns - stats.last_stamp_ns) * 1e-9:.3f}'
        values: dict[str, Any] = {
            'rate (Hz)': f'{stats.rate():.2f}',
            'age (s)': age,
            'received': stats.received,
            'rejected': rejected,
            **{f'rejected: {reason}': count for reason, count in sorted(rejections.items())},
            'frame_id': frame,
            'calibration': 'ok' if is_calibrated else 'missing',
            'tf': 'ok' if is_calibrated and not problem else 'missing' if is_calibrated else 'unknown',
            'image topic': camera.image_topic,
            **{f'incompatible QoS: {topic}': policy for topic, policy in stats.incompatible.items()},
        }
        level, message = OK, f'camera {name}: images arrive'
        is_silent = silence > SILENT_AFTER_S
        if rejected > self._told.get(name, 0):
            level, message = WARN, f'camera {name}: image rejected: {stats.last_problem}'
        elif stats.image_frame_id and frame and stats.image_frame_id.removeprefix('/') != frame:
            level = WARN
            message = f'camera {name}: images are in frame {stats.image_frame_id}, its calibration is for frame {frame}'
        if problem:
            level, message = ERROR, f'camera {name}: {problem}'
        if is_silent:
            level, message = ERROR, self._silence(camera, silence) + (f'; {problem}' if problem else '')
        elif stats.received == 0 and not problem:
            level, message = WARN, f'camera {name}: no image yet on {camera.image_topic}'
        if stats.incompatible and (is_silent or problem):
            topics = ', '.join(f'{topic} ({policy})' for topic, policy in stats.incompatible.items())
            level = ERROR
            message += f'; publishers offer an incompatible QoS on {topics}: set image_reliability to best_effort'
        self._told[name] = rejected
        return status(f'camera {name}', level, message, values)

    @staticmethod
    def _silence(camera: CameraInput, silence_s: float) -> str:
        name, topic, publishers = camera.camera.name, camera.image_topic, camera.publishers()
        since = f'for {silence_s:.1f} s' if camera.stats.received else 'at all'
        return f'camera {name}: no image {since} on {topic} ({publishers} publishers)'


def sets_status(
    counters: SetCounters, synchronizer: SurroundSynchronizer, problems: Mapping[str, str]
) -> DiagnosticStatus:
    """Sets in, out and dropped with reasons; what the synchroniser lost."""
    came_in, went_out, dropped = counters.summary()
    values: dict[str, Any] = {
        'in': came_in,
        'out': went_out,
        'dropped': sum(dropped.values()),
        **{f'dropped: {reason}': count for reason, count in sorted(dropped.items())},
        **{f'synchronizer: {name}': count for name, count in synchronizer.counters.items()},
        'rig': 'incomplete' if problems else 'ready',
    }
    if problems:
        return status('sets', ERROR, '; '.join(f'camera {name}: {text}' for name, text in problems.items()), values)
    if counters.last_problem:
        return status('sets', ERROR, f'sets are dropped: {counters.last_problem}', values)
    if not came_in:
        return status('sets', WARN, f'no complete set yet; waiting for {", ".join(synchronizer.waiting_for())}', values)
    return status('sets', OK, f'{went_out} of {came_in} sets published', values)


def engine_status(spec: EngineSpec, pipeline: SurroundDepthPipeline) -> DiagnosticStatus:
    """Which model runs, on what it was trained, how long each stage takes, and why the memory was wiped."""
    resets = dict(pipeline.memory.resets)
    values: dict[str, Any] = {
        'name': spec.name,
        'version': spec.version,
        'backend': spec.backend,
        'precision': spec.precision,
        'trained on': spec.trained_on,
        'input': f'{spec.width}x{spec.height}',
        'memory resets': sum(resets.values()),
        **{f'memory reset: {reason}': count for reason, count in sorted(resets.items())},
    }
    for stage, times in pipeline.stats.summary().items():
        values[f'{stage} p50 (ms)'] = f'{times["p50"]:.2f}'
        values[f'{stage} p95 (ms)'] = f'{times["p95"]:.2f}'
    return status('engine', OK, f'{spec.name} {spec.version} on {spec.backend}', values)
