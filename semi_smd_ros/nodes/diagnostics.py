# SPDX-License-Identifier: Apache-2.0
"""What `/diagnostics` says: one status per camera, one for the sets, one for the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from ..runtime import EngineSpec, SurroundDepthPipeline, SurroundSynchronizer
from .camera_stats import CameraStats
from .cameras import CameraInput
from .counters import SetCounters
from .rig_assembler import RigAssembler

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
SILENT_AFTER_S = 2.0
STAMP_STANDS_S = 1.0
CLOCKS_APART_S = 1.0


def status(name: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    """One DiagnosticStatus; values become text."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)


def array_of(statuses: Sequence[DiagnosticStatus], stamp: Any, hardware_id: str) -> DiagnosticArray:
    """The message; `hardware_id` is the node's full name, which tells two nodes apart, in every status's name, too."""
    message = DiagnosticArray(status=list(statuses))
    message.header.stamp = stamp
    for item in message.status:
        item.hardware_id = hardware_id
        item.name = f'{hardware_id.lstrip("/")}: {item.name}'
    return message


def node_status(state: str, problem: str, clock_stands_s: float) -> DiagnosticStatus:
    """The lifecycle state, why a transition failed, and whether a simulated clock stands still."""
    values = {'state': state}
    if problem:
        return status('node', ERROR, problem, values)
    if state != 'active':
        return status('node', WARN, f'the node is {state}: nothing is published', values)
    if clock_stands_s > SILENT_AFTER_S:
        text = f'use_sim_time is set and /clock has not advanced for {clock_stands_s:.1f} s'
        return status('node', WARN, text, values)
    return status('node', OK, 'active', values)


def configuring_status(text: str) -> DiagnosticStatus:
    """What the node is doing while it is being configured."""
    return status('node', WARN, f'the node is being configured: {text}', {'state': 'configuring'})


def ahead_s(index: int, cameras: Sequence[CameraStats]) -> float:
    """Seconds by which a camera's stamps are ahead of the other cameras' (the median of those that send; of an even
    number, the middle one nearer to none)."""
    ahead = sorted(
        cameras[index].ahead_of_s(other)
        for i, other in enumerate(cameras)
        if i != index and other.silence_s() < SILENT_AFTER_S
    )
    return min(ahead[(len(ahead) - 1) // 2], ahead[len(ahead) // 2], key=abs) if ahead else 0.0


def apart(names: Sequence[str], ahead_s: Sequence[float]) -> list[str]:
    """The cameras whose stamps are too far from the others' for a set with them."""
    return [name for name, seconds in zip(names, ahead_s, strict=True) if abs(seconds) > CLOCKS_APART_S]


class CameraReporter:
    """The status of each camera; remembers how many rejections it has told, to warn of new ones."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}

    def __call__(
        self,
        index: int,
        camera: CameraInput,
        assembler: RigAssembler,
        problems: Mapping[str, str],
        ahead_s: float,
        now_ns: int,
    ) -> DiagnosticStatus:
        """One camera's status: rate, age, rejections, calibration, tf, and a sentence that names it.

        `ahead_s`: by how much its stamps are ahead of the other cameras'.
        """
        name, stats = camera.camera.name, camera.stats
        frame, rejections, silence = assembler.frame_id(index), stats.rejections(), stats.silence_s()
        rejected, complaints = sum(rejections.values()), camera.complaints()
        is_calibrated, problem = assembler.is_calibrated(index), problems.get(name, '')
        age = '' if stats.last_stamp_ns is None or now_ns == 0 else f'{(now_ns - stats.last_stamp_ns) * 1e-9:.3f}'
        values: dict[str, Any] = {
            'rate (Hz)': f'{stats.rate():.2f}',
            'age (s)': age,
            'received': stats.received,
            'rejected': rejected,
            **{f'rejected: {reason}': count for reason, count in sorted(rejections.items())},
            'missing in sets': stats.missing,
            'lost by the middleware': stats.lost,
            'frame_id': frame,
            'calibration': 'ok' if is_calibrated else 'missing',
            'calibration changes': assembler.changes(index),
            'tf': 'ok' if is_calibrated and not problem else 'missing' if is_calibrated else 'unknown',
            'picture': stats.picture or 'ok',
            'image topic': camera.image_topic,
            **camera.qos(),
        }
        level, message = OK, f'camera {name}: images arrive'
        is_silent = silence > SILENT_AFTER_S
        if rejected > self._told.get(name, 0):
            level, message = WARN, f'camera {name}: image rejected: {stats.last_problem}'
        elif stats.image_frame_id and frame and stats.image_frame_id.removeprefix('/') != frame:
            level = WARN
            message = f'camera {name}: images are in frame {stats.image_frame_id}, its calibration is for frame {frame}'
        elif stats.stamp_stands_s > STAMP_STANDS_S:
            level = WARN
            message = (
                f'camera {name}: images arrive, but have had the same stamp for {stats.stamp_stands_s:.1f} s: '
                'its driver repeats an image, or its clock stands still'
            )
        elif abs(ahead_s) > CLOCKS_APART_S:
            level, where = WARN, 'ahead of' if ahead_s > 0 else 'behind'
            message = f'camera {name}: its stamps are {abs(ahead_s):.1f} s {where} those of the other cameras'
        elif stats.picture:
            level, message = WARN, f'camera {name}: images arrive, but {stats.picture}'
        if problem:
            level, message = ERROR, f'camera {name}: {problem}'
        if is_silent:
            level, message = ERROR, self._silence(camera, silence) + (f'; {problem}' if problem else '')
        elif not stats.has_arrived() and not problem:
            level, message = WARN, f'camera {name}: no image yet on {camera.image_topic}'
        if complaints:
            level = ERROR if is_silent or problem else max(level, WARN)
            message += f'; {"; ".join(complaints)}'
        self._told[name] = rejected
        return status(f'camera {name}', level, message, values)

    @staticmethod
    def _silence(camera: CameraInput, silence_s: float) -> str:
        name, topic, publishers = camera.camera.name, camera.image_topic, camera.publishers()
        since = f'for {silence_s:.1f} s' if camera.stats.has_arrived() else 'at all'
        return f'camera {name}: no image {since} on {topic} ({publishers} publishers)'


def sets_status(
    counters: SetCounters,
    synchronizer: SurroundSynchronizer,
    problems: Mapping[str, str],
    apart: Sequence[str],
    is_heard: bool,
    is_listening: bool,
) -> DiagnosticStatus:
    """Sets in, out and dropped with reasons; what the synchroniser lost. `apart`: cameras with clocks of their own.

    `in` = `out` + `dropped` + `in work`, and of the images `synchronizer: in` = used + pending + dropped by reason.
    """
    came_in, went_out, dropped = counters.summary()
    absent = synchronizer.absent()
    values: dict[str, Any] = {
        'in': came_in,
        'out': went_out,
        'dropped': sum(dropped.values()),
        'in work': came_in - went_out - sum(dropped.values()),
        **{f'dropped: {reason}': count for reason, count in sorted(dropped.items())},
        **{f'synchronizer: {name}': count for name, count in synchronizer.counters.items()},
        'synchronizer: absent cameras': ', '.join(absent) or 'none',
        'rig': 'incomplete' if problems else 'ready',
    }
    if problems:
        return status('sets', ERROR, '; '.join(f'camera {name}: {text}' for name, text in problems.items()), values)
    if came_in and is_listening and (silence := counters.silence_s()) > SILENT_AFTER_S:
        lacking = ', '.join(synchronizer.waiting_for())
        return status('sets', ERROR, f'no set for {silence:.1f} s; waiting for {lacking}', values)
    if counters.last_problem:
        return status('sets', ERROR, f'sets are dropped: {counters.last_problem}', values)
    if not came_in:
        return status('sets', WARN, f'no set yet; waiting for {", ".join(synchronizer.waiting_for())}', values)
    others = [name for name in absent if name not in apart]
    if apart:
        rest = f'; without {", ".join(others)}' if others else ''
        text = f'sets go on without {", ".join(apart)}: stamps are not those of the other cameras{rest}'
        return status('sets', WARN, text, values)
    if others:
        return status('sets', WARN, f'sets go on without {", ".join(others)}', values)
    if not is_heard:
        return status('sets', OK, 'nobody subscribes to an output: sets are not worked on', values)
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
        'SHA-256': spec.sha256,
        'input': f'{spec.width}x{spec.height}',
        'classes': ', '.join(spec.classes),
        'memory resets': sum(resets.values()),
        **{f'memory reset: {reason}': count for reason, count in sorted(resets.items())},
    }
    for stage, times in pipeline.stats.summary().items():
        values[f'{stage} p50 (ms)'] = f'{times["p50"]:.2f}'
        values[f'{stage} p95 (ms)'] = f'{times["p95"]:.2f}'
    return status('engine', OK, f'{spec.name} {spec.version} in {spec.precision} on {spec.backend}', values)
