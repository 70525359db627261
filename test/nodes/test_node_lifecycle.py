# SPDX-License-Identifier: Apache-2.0
"""Configuring with what cannot work, and ending."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from ros_harness import OFTEN, Bench, NodeProcess, Scene, start_node, wait_for
from tiny_model import write_tiny_model

from semi_smd_ros.runtime.cuda.driver import CudaError, find_device
from semi_smd_ros.runtime.engine.trust import write_checksum


@pytest.fixture(scope='module')
def idle(bench: Bench, tmp_path_factory: pytest.TempPathFactory):
    """A node that is never activated, with one camera."""
    scene = Scene(bench, 'idle', ['front'])
    start_node(tmp_path_factory.mktemp('idle'), scene, autostart='false', **OFTEN)
    yield scene
    assert scene.process.stop() == 0, scene.process.log()


def refused(scene: Scene, text: str) -> None:
    """Configuring fails, for the reason `text`, which is logged and in diagnostics; the node lives on."""
    scene.bench.diagnostics.clear()
    assert not scene.transition('configure')
    assert scene.state() == 'unconfigured'
    assert text in scene.process.log(), scene.process.log()
    assert 'Traceback' not in scene.process.log()
    wait_for(lambda: scene.says('node', text, DiagnosticStatus.ERROR), f'the reason in diagnostics: {text}')


def test_neither_rig_nor_cameras(idle: Scene) -> None:
    refused(idle, 'neither rig nor cameras is set')


def test_unknown_rig_name(idle: Scene) -> None:
    assert idle.set_text('rig', 'kitti') == ''
    refused(idle, 'expected the path of a .yaml file or one of ddad, nuscenes')


def test_malformed_rig_yaml(idle: Scene, tmp_path: Path) -> None:
    broken = tmp_path / 'broken.yaml'
    broken.write_text('cameras: [{name: front')
    idle.set_text('rig', str(broken))
    refused(idle, f'{broken}: not valid YAML')
    unknown_key = tmp_path / 'key.yaml'
    unknown_key.write_text('cameras: [{name: front, fps: 10}]')
    idle.set_text('rig', str(unknown_key))
    refused(idle, 'unknown key fps')


def test_camera_name_that_cannot_be_a_topic(idle: Scene, tmp_path: Path) -> None:
    rig = tmp_path / 'name.yaml'
    rig.write_text('cameras: [{name: "front left"}]')
    idle.set_text('rig', str(rig))
    refused(idle, "camera 'front left'")


def test_bad_model_files(idle: Scene, tmp_path: Path, tiny: Path) -> None:
    rig = tmp_path / 'two.yaml'
    rig.write_text('cameras: [{name: front}, {name: rear}]')
    idle.set_text('rig', str(rig))
    idle.set_text('model', str(tmp_path / 'nowhere.onnx'))
    refused(idle, 'nowhere.onnx: no such model file')
    truncated = tmp_path / 'truncated.onnx'
    truncated.write_bytes(tiny.read_bytes()[:700])
    write_checksum(truncated)
    idle.set_text('model', str(truncated))
    refused(idle, f'{truncated} (700 bytes)')
    text = tmp_path / 'text.onnx'
    text.write_text('weights will come later')
    write_checksum(text)
    idle.set_text('model', str(text))
    refused(idle, f'{text} (')
    text.write_text('weights have come')
    refused(idle, 'it is damaged or another model')
    idle.set_text('model', str(tiny))
    idle.set_text('model_sha256', 'a' * 64)
    refused(idle, f'the expected hash says {"a" * 64}')
    assert idle.set_text('model_sha256', '') == ''


def test_model_that_does_not_fit_the_rig(idle: Scene, tmp_path: Path) -> None:
    rig = tmp_path / 'two.yaml'
    rig.write_text('cameras: [{name: front}, {name: rear}]')
    idle.set_text('rig', str(rig))
    idle.set_text('model', str(write_tiny_model(tmp_path / 'one.onnx', max_cameras=1)))
    refused(idle, 'takes at most 1 cameras; the rig has 2 (front, rear)')


def test_tensorrt_that_is_not_there(idle: Scene, tmp_path: Path, tiny: Path) -> None:
    try:
        find_device()
        pytest.skip('there is a GPU')
    except CudaError as error:
        reason = str(error)
    rig = tmp_path / 'one.yaml'
    rig.write_text('cameras: [{name: front}]')
    idle.set_text('rig', str(rig))
    idle.set_text('model', str(tiny))
    assert 'expected one of auto, tensorrt, onnxruntime' in idle.set_text('backend', 'cuda')
    assert 'expected one of fp16, fp32, int8' in idle.set_text('precision', 'fp8')
    assert idle.set_text('backend', 'tensorrt') == ''
    refused(idle, reason)
    assert idle.set_text('backend', 'auto') == ''


def test_configures_after_the_mistake_is_mended(idle: Scene, tmp_path: Path, tiny: Path) -> None:
    rig = tmp_path / 'one.yaml'
    rig.write_text('cameras: [{name: front}]')
    idle.set_text('rig', str(rig))
    idle.set_text('model', str(tiny))
    idle.send_tf()
    assert idle.transition('configure')
    assert idle.state() == 'inactive'
    # One sentence on what could be faster, where nothing is.
    assert idle.process.log().count('no GPU is used, ONNX Runtime runs tiny.onnx on the CPU') <= 1
    assert idle.transition('activate')
    idle.until(lambda: idle.clouds, 'a cloud')
    assert idle.transition('deactivate')
    assert idle.transition('cleanup')
    assert idle.state() == 'unconfigured'


def test_bad_initial_parameter_is_refused_in_one_line(tmp_path: Path) -> None:
    node = NodeProcess(['--ros-args', '-p', 'sync.slop:=-1.0'], tmp_path / 'log')
    assert node.popen.wait(timeout=15) == 1
    assert 'sync.slop' in node.log()
    assert 'Traceback' not in node.log()


def test_a_qos_override_that_cannot_be_goes_to_the_error_state_with_the_reason(
    bench: Bench, tiny: Path, tmp_path: Path
) -> None:
    scene = Scene(bench, 'overridden', ['front'])
    override = {'qos_overrides./overridden/front/image_raw.subscription.reliability': 'sometimes'}
    start_node(tmp_path, scene, model=str(tiny), cameras='[front]', autostart='false', **override, **OFTEN)
    assert scene.transition('configure')
    assert not scene.transition('activate')
    assert scene.state() == 'unconfigured'
    assert 'cannot activate: ValueError' in scene.process.log()
    wait_for(lambda: scene.says('node', "'sometimes'", DiagnosticStatus.ERROR), 'the reason in diagnostics')
    assert scene.process.stop() == 0


def test_sigterm_while_working_ends_with_0(bench: Bench, tiny: Path, tmp_path: Path) -> None:
    scene = Scene(bench, 'ending', ['front'])
    scene.send_tf()
    start_node(tmp_path, scene, model=str(tiny), cameras='[front]')
    scene.until(lambda: scene.clouds, 'a cloud')
    for _ in range(3):
        scene.send()
    assert scene.process.stop(signal.SIGTERM) == 0
    assert 'Traceback' not in scene.process.log()


def catches_sigterm(node: NodeProcess) -> bool:
    status = Path(f'/proc/{node.popen.pid}/status').read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith('SigCgt')), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize('after_s', [0.0, 0.6])
def test_sigint_while_starting_ends_with_0(tmp_path: Path, tiny: Path, after_s: float) -> None:
    node = NodeProcess(['--ros-args', '-p', 'cameras:=[front]', '-p', f'model:={tiny}'], tmp_path / 'log')
    # Nobody can catch a signal while Python itself starts, which on a busy machine takes its time.
    wait_for(lambda: catches_sigterm(node), 'its first line')
    time.sleep(after_s)
    assert node.stop() == 0, node.log()
    assert 'Traceback' not in node.log()
