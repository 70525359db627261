# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM at many moments of the node's life, and SIGKILL in the middle of the stream.

The limits here forgive a busy machine; `benchmarks/signals.py` measures the strict ones. Before our first line runs,
while Python itself starts, nobody can catch a signal; the earliest moment here is the one after.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig_simulator import SimulatedRig
from slow_model import write_slow_model
from watched_node import NAMES, Ear, WatchedNode, served

# The node's own limits are 2 s to leave and 5 s to serve; what it took is printed with each run. A busy machine may
# take the processor away for seconds, which is no fault of the node: the tests forgive that much more.
NOISE_S = 5.0
LEAVES_WITHIN_S = 2.0 + NOISE_S
SERVES_WITHIN_S = 5.0 + NOISE_S
WHITE = 255


def has_handlers(node: WatchedNode) -> bool:
    """Whether the process catches SIGTERM: Python never does by itself."""
    status = (Path('/proc') / str(node.process.popen.pid) / 'status').read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith('SigCgt')), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def has_loaded(library: str) -> Callable[[WatchedNode], bool]:
    """Whether the process has mapped a library: a moment among its imports."""
    return lambda node: library in (Path('/proc') / str(node.process.popen.pid) / 'maps').read_text()


def has_said(text: str) -> Callable[[WatchedNode], bool]:
    """Whether its log holds a text."""
    return lambda node: text in node.log()


MOMENTS: dict[str, Callable[[WatchedNode], bool]] = {
    'first line': has_handlers,
    'import of rclpy': has_loaded('_rclpy_pybind11'),
    'import of onnxruntime': has_loaded('onnxruntime_pybind11'),
    'configure': has_said('message_filters from'),
    'active': has_said('ONNX Runtime'),
}


@pytest.fixture(scope='module')
def quick_and_slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models: one that is slow on white pictures, one that is always slow, in warm-up, too."""
    folder = tmp_path_factory.mktemp('slow')
    return write_slow_model(folder / 'quick.onnx', always=False), write_slow_model(folder / 'slow.onnx', always=True)


@pytest.fixture
def start(ear: Ear, tmp_path: Path) -> Iterator[Callable[[Path], WatchedNode]]:
    """Starts a node with a model, and waits for nothing."""
    rig = SimulatedRig(ear.node, 'leaving', NAMES)
    nodes: list[WatchedNode] = []

    def start(model: Path) -> WatchedNode:
        nodes.append(WatchedNode(ear, rig, tmp_path, model=model))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


def leaves(node: WatchedNode, number: int, again_every_s: float = 0.0) -> None:
    """Send the signal (again and again) and expect the process to end well."""
    sent = time.monotonic()
    node.process.popen.send_signal(number)
    while node.process.popen.poll() is None and time.monotonic() < sent + 3 * LEAVES_WITHIN_S:
        time.sleep(again_every_s or 0.005)
        if again_every_s:
            node.process.popen.send_signal(number)
    took = time.monotonic() - sent
    assert node.process.popen.poll() == 0, node.log()
    assert 'Traceback' not in node.log()
    assert took < LEAVES_WITHIN_S, f'{took:.2f} s; {node.log()}'
    sys.stdout.write(f'{signal.Signals(number).name}: left after {took:.2f} s\n')


BOTH = pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM], ids=['SIGINT', 'SIGTERM'])


@BOTH
@pytest.mark.parametrize('moment', MOMENTS)
def test_a_signal_at(
    start: Callable[[Path], WatchedNode], quick_and_slow: tuple[Path, Path], moment: str, number: int
) -> None:
    node = start(quick_and_slow[0])
    node.waits_for(lambda: MOMENTS[moment](node), moment)
    leaves(node, number)


@BOTH
def test_a_signal_while_the_engine_warms_up(
    start: Callable[[Path], WatchedNode], quick_and_slow: tuple[Path, Path], number: int
) -> None:
    node = start(quick_and_slow[1])
    node.waits_for(lambda: MOMENTS['configure'](node), 'configure')
    time.sleep(0.3)
    assert ' on ONNX Runtime' not in node.log()  # it says so when it is warm
    leaves(node, number)


def test_a_signal_to_a_busy_node_whose_log_nobody_reads_any_more(quick_and_slow: tuple[Path, Path]) -> None:
    command = [sys.executable, '-m', 'semi_smd_ros.nodes.surround_depth_node', '--ros-args']
    arguments = ['-p', 'cameras:=[front]', '-p', f'model:={quick_and_slow[1]}']
    # Slow for longer than anybody waits.
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')])
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, 'PYTHONPATH': path, 'RCUTILS_LOGGING_BUFFERED_STREAM': '0'},
    )
    try:
        assert process.stdout is not None
        assert any(b'message_filters from' in line for line in process.stdout)
        time.sleep(0.3)
        process.stdout.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(LEAVES_WITHIN_S) == 0
    finally:
        process.kill()
        process.wait()


@BOTH
def test_a_signal_while_it_is_shutting_down(
    start: Callable[[Path], WatchedNode], quick_and_slow: tuple[Path, Path], number: int
) -> None:
    node = start(quick_and_slow[0])
    node.waits_for(lambda: MOMENTS['active'](node), 'active')
    leaves(node, number, again_every_s=0.01)


@pytest.fixture
def inferring(quick_and_slow: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedNode]:
    """A node that serves a rig with a Fast DDS of its own, since a process that is killed may leave locks in another's
    shared memory."""
    ear = Ear()
    yield from served(ear, tmp_path_factory.mktemp('inferring'), model=quick_and_slow[0])
    ear.close()


def test_signals_amid_inference_and_a_kill_and_service_after(inferring: WatchedNode) -> None:
    node = inferring
    for number in (signal.SIGINT, signal.SIGTERM):
        node.rig.cameras['front'].shows_only(WHITE)
        node.waits_for(lambda: node.number('sets', 'in work') > 0, 'a set in work')
        node.is_silent()
        leaves(node, number)
        node.rig.recovers()
        restarts(node)
    node.process.popen.kill()
    node.process.popen.wait()
    restarts(node)


def restarts(node: WatchedNode) -> None:
    """Start the process anew while the cameras go on, and expect service before long."""
    begin, started = node.sets_heard, time.monotonic()
    node.start()
    node.waits_for(lambda: node.sets_heard > begin, 'a set')
    took = time.monotonic() - started
    assert took < SERVES_WITHIN_S, f'{took:.2f} s'
    sys.stdout.write(f'serving {took:.2f} s after its start\n')
    node.is_well()
