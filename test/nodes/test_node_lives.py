# SPDX-License-Identifier: Apache-2.0
"""What a node meets over months: many lifecycles, an engine that fails, a twin beside it, a clock that stops."""

from __future__ import annotations

import gc
import signal
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from failing_model import write_failing_model
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.time import Time
from ros_harness import (
    HEIGHT,
    OFTEN,
    WIDTH,
    Bench,
    NodeProcess,
    Scene,
    camera_info,
    raw_image,
    start_node,
    wait_for,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2

from semi_smd_ros.nodes.images import ReceivedImage
from semi_smd_ros.nodes.lifecycle import SurroundDepthNode
from semi_smd_ros.rig import CameraModel, Rig, RigCamera
from semi_smd_ros.runtime import SynchronizedSet

SECOND = 10**9
WHITE = 255
CYCLES = 10


def depth_for(grey: int) -> float:
    return 10 * grey / 255 + 1


def resources_of(process: NodeProcess) -> dict[str, int]:
    """Threads, open files and resident kB of a process."""
    folder = Path(f'/proc/{process.popen.pid}')
    status = dict(line.split(':', 1) for line in (folder / 'status').read_text().splitlines())
    return {
        'threads': int(status['Threads']),
        'files': len(list((folder / 'fd').iterdir())),
        'kB': int(status['VmRSS'].split()[0]),
    }


def test_many_lifecycles_leak_nothing(bench: Bench, tmp_path: Path) -> None:
    scene = Scene(bench, 'cycling', ['front'])
    scene.send_tf()
    # The shipped model: what a small one leaves behind would not be seen.
    start_node(tmp_path, scene, cameras='[front]', autostart='false', semantics='true', **OFTEN)

    def cycle() -> None:
        for name in ('configure', 'activate'):
            assert scene.transition(name), scene.process.log()
        scene.clouds.clear()
        scene.until(lambda: scene.clouds, 'a cloud')
        for name in ('deactivate', 'cleanup'):
            assert scene.transition(name), scene.process.log()

    for _ in range(3):
        cycle()
    before = resources_of(scene.process)
    for _ in range(CYCLES):
        cycle()
    after = resources_of(scene.process)
    assert after['threads'] == before['threads']
    assert after['files'] <= before['files'] + 2
    assert after['kB'] < before['kB'] + 4000, (before, after)
    assert 'rror' not in scene.process.log()
    assert scene.process.stop() == 0


def test_cleanup_frees_the_engine(bench: Bench, tiny: Path) -> None:
    settings = {'model': str(tiny), 'cameras': ['front'], 'autostart': False}
    node = SurroundDepthNode(
        namespace='/freeing', parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
    )
    try:
        gc.disable()  # freed by cleanup, not some time later
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        session = node._session
        assert session is not None
        dead = [weakref.ref(thing) for thing in (session, session.engine, session.engine._session, session.outputs)]
        del session
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert all(ref() is not None for ref in dead)
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        assert [ref() for ref in dead] == [None] * len(dead)
    finally:
        gc.enable()
        node.destroy_node()


def test_a_fault_of_the_last_set_does_not_outlive_it(bench: Bench, tiny: Path) -> None:
    settings = {'model': str(tiny), 'cameras': ['front'], 'autostart': False}
    node = SurroundDepthNode(
        namespace='/forgiven', parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
    )
    try:
        node.trigger_configure()
        for _ in range(2):
            assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
            # The set in work is finished while the node deactivates, and may be one too many that fails.
            node._report_fault('too many have failed')
    finally:
        node.destroy_node()


def test_an_engine_that_fails_once_and_one_that_fails_for_good(bench: Bench, tmp_path: Path) -> None:
    scene = Scene(bench, 'failing', ['front'])
    scene.send_tf()
    model = write_failing_model(tmp_path / 'failing.onnx')
    settings = {'max_engine_failures': 4}
    start_node(tmp_path, scene, model=str(model), cameras='[front]', **settings, **OFTEN)
    scene.until(lambda: scene.clouds, 'a cloud')
    scene.quiet()
    scene.send(grey=WHITE)
    wait_for(lambda: scene.values('sets').get('dropped: error') == '1', 'a counted failure')
    assert scene.says('sets', 'Gather', DiagnosticStatus.ERROR)
    scene.until(lambda: scene.clouds, 'a cloud after the failure')
    wait_for(lambda: scene.values('engine').get('memory reset: a set failed') == '1', 'a counted reset')
    wait_for(lambda: scene.says('sets', 'sets published', DiagnosticStatus.OK), 'an end of the complaint')

    # An answer of NaN would go on in the temporal memory for ever.
    scene.until(lambda: scene.odometry and scene.odometry[-1].twist.twist.linear.x > 0, 'odometry in motion')
    scene.quiet()
    scene.send(grey=0)
    odometry = wait_for(lambda: scene.odometry and scene.odometry[0], 'odometry of the black picture')
    assert odometry.twist.twist.linear.x == 0
    assert np.isfinite(odometry.pose.pose.position.x)
    scene.until(lambda: scene.odometry[-1].twist.twist.linear.x > 0, 'odometry in motion again')
    wait_for(lambda: scene.values('engine').get('memory reset: engine gave NaN') == '1', 'a counted reset')
    assert np.isfinite(scene.odometry[-1].pose.pose.position.x)

    scene.until(lambda: scene.says('node', 'sets in a row have failed', DiagnosticStatus.ERROR), 'a fault', grey=WHITE)
    assert scene.state() == 'unconfigured'
    assert 'Gather' in scene.status('node').message
    assert 'Traceback' not in scene.process.log()
    assert scene.transition('configure')
    assert scene.transition('activate')
    scene.quiet()
    scene.until(lambda: scene.clouds, 'a cloud after the node was configured again')
    wait_for(lambda: scene.says('node', 'active', DiagnosticStatus.OK), 'an end of the complaint')
    assert scene.process.stop(signal.SIGTERM) == 0


def test_nothing_is_made_that_nobody_listens_to(bench: Bench, tiny: Path, tmp_path: Path) -> None:
    scene = Scene(bench, 'quiet', ['front'], hear=False)
    scene.send_tf()
    start_node(tmp_path, scene, model=str(tiny), cameras='[front]', semantics='true', **OFTEN)
    scene.until(lambda: int(scene.values('sets').get('dropped: nobody listens', 0)) > 2, 'idle sets')
    assert scene.says('sets', 'nobody subscribes', DiagnosticStatus.OK)
    assert 'engine p50 (ms)' not in scene.values('engine')
    depths: list[Image] = scene.hear(Image, '/quiet/front/depth/image', [])
    scene.until(lambda: depths, 'depth')
    scene.until(lambda: 'engine p50 (ms)' in scene.values('engine'), 'times of the engine')
    assert 'cloud p50 (ms)' not in scene.values('engine')
    clouds: list[PointCloud2] = scene.hear(PointCloud2, '/quiet/surround_depth/points', [])
    scene.until(lambda: clouds, 'a cloud')
    scene.until(lambda: 'cloud p50 (ms)' in scene.values('engine'), 'times of the cloud')
    scene.quiet()
    values = wait_for(lambda: scene.values('sets'), 'diagnostics')
    assert int(values['in']) == int(values['out']) + int(values['dropped'])
    counts = {name.removeprefix('synchronizer: '): value for name, value in values.items() if 'synchronizer' in name}
    reasons = ('incomplete', 'late', 'duplicate', 'overflow', 'jump', 'reset')
    assert int(counts['in']) == sum(int(counts[name]) for name in ('used', 'pending', *reasons))
    assert int(counts['in']) == int(scene.values('camera front')['received'])
    assert scene.process.stop() == 0


def test_who_subscribes_while_a_set_is_worked_on_gets_the_next_one(
    bench: Bench, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {'model': str(tiny), 'cameras': ['front'], 'autostart': False, 'semantics': True}
    node = SurroundDepthNode(
        namespace='/late', parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
    )
    scene = Scene(bench, 'late', ['front'])
    scene.hear(Image, '/late/front/semantics/image', [])
    try:
        assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        session = node._session
        assert session is not None
        assert session.processor is not None
        outputs = session.outputs
        wait_for(lambda: outputs.wants_cloud and outputs.wants_depth and outputs.wants_labels, 'subscribers')
        message = raw_image(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), 'bgr8')
        image = ReceivedImage(message.header, SECOND, message, False)
        model = CameraModel.from_camera_info(camera_info())
        rig = Rig((RigCamera('front', 'front', model, np.eye(4)),))
        # As if nobody had been there when it began.
        process = session.pipeline.process
        monkeypatch.setattr(
            session.pipeline, 'process', lambda frame, **_: process(frame, depth=False, semantics=False)
        )
        session.processor._run(SynchronizedSet(SECOND, (SECOND,), (image,)), rig, {})
        assert session.counters.summary() == (0, 1, {})
        assert not scene.clouds
        assert not scene.depths['front']
        monkeypatch.undo()
        session.processor._run(SynchronizedSet(2 * SECOND, (2 * SECOND,), (image,)), rig, {})
        wait_for(lambda: scene.clouds and scene.depths['front'], 'the outputs of the next set')
        assert len(scene.clouds) == len(scene.depths['front']) == 1
    finally:
        node.destroy_node()


def test_a_decoder_that_comes_up_with_something_costs_one_camera_its_picture(bench: Bench, tiny: Path) -> None:
    settings = {'model': str(tiny), 'cameras': ['left', 'right'], 'autostart': False}
    node = SurroundDepthNode(
        namespace='/surprised', parameter_overrides=[Parameter(name, value=value) for name, value in settings.items()]
    )
    scene = Scene(bench, 'surprised', ['left', 'right'])
    try:
        assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        session = node._session
        assert session is not None
        assert session.processor is not None
        outputs = session.outputs
        wait_for(lambda: outputs.wants_cloud and outputs.wants_depth, 'subscribers')
        model = CameraModel.from_camera_info(camera_info())
        rig = Rig(tuple(RigCamera(name, name, model, np.eye(4)) for name in scene.names))
        good = raw_image(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), 'bgr8')
        # Of a type that nobody sends, which is what makes it a surprise.
        bad = raw_image(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), 'bgr8')
        images = [ReceivedImage(good.header, SECOND, good, False), ReceivedImage(bad.header, SECOND, object(), False)]
        session.processor._run(SynchronizedSet(SECOND, (SECOND, SECOND), tuple(images)), rig, {})
        wait_for(lambda: scene.clouds and scene.depths['left'], 'the outputs of the set')
        assert not scene.depths['right']
        assert session.counters.summary() == (0, 1, {})
        assert session._stats[1].rejections() == {'error': 1}
        assert 'AttributeError' in session._stats[1].last_problem
        assert session._stats[0].rejections() == {}
    finally:
        node.destroy_node()


def test_two_nodes_in_one_system_keep_to_themselves(running: Scene, bench: Bench, tiny: Path, tmp_path: Path) -> None:
    twin = Scene(bench, 'twin', ['left', 'right'], topics={'left': '/drivers/left_camera'})
    twin.send_tf()
    remaps = ['left/image_raw:=/drivers/left_camera', '~/points:=/twin/cloud', 'right/depth/image:=/twin/right_depth']
    start_node(tmp_path, twin, remaps, model=str(tiny), cameras='[left, right]', **OFTEN)
    twin.hear(PointCloud2, '/twin/cloud', twin.clouds)
    twin.hear(Image, '/twin/right_depth', twin.depths['right'])
    twin.until(lambda: twin.clouds, 'a cloud of the twin')
    for scene in (running, twin):
        scene.quiet()
    stamps_ns = {running: running.send(grey=100), twin: twin.send(grey=200)}
    for scene, grey in ((running, 100), (twin, 200)):
        wait_for(lambda scene=scene: all(scene.depths.values()) and scene.clouds and scene.odometry, 'all outputs')
        for name in scene.names:
            (image,) = scene.depths[name]
            np.testing.assert_allclose(np.frombuffer(image.data, np.float32), depth_for(grey), rtol=1e-5)
            assert image.header.frame_id == scene.frame(name)
            assert image.header.stamp.sec * SECOND + image.header.stamp.nanosec == stamps_ns[scene]
        assert len(scene.clouds) == len(scene.odometry) == 1
    resets = running.values('engine').get('memory reset: reset service', '0')
    assert twin.reset().success
    assert twin.set_number('cloud.max_range', 5.0) == ''
    twin.until(lambda: twin.values('engine').get('memory reset: reset service') == '1', 'a reset of the twin')
    running.quiet()
    running.until(lambda: running.clouds and running.values('engine'), 'a cloud')
    assert running.clouds[0].width > 0
    assert running.values('engine').get('memory reset: reset service', '0') == resets
    topic = wait_for(lambda: twin.values('camera left').get('image topic'), 'its diagnostics')
    assert topic == '/drivers/left_camera'
    assert twin.process.stop() == 0


def test_images_before_the_first_clock_wait_for_the_others(bench: Bench, tiny: Path, tmp_path: Path) -> None:
    scene = Scene(bench, 'early', ['left', 'right'])
    scene.send_tf()
    clock = bench.node.create_publisher(Clock, '/clock', 5)
    settings = {'use_sim_time': 'true', 'sync.missing_after': 6.0, 'sync.min_cameras': 1}
    start_node(tmp_path, scene, model=str(tiny), cameras='[left, right]', **settings, **OFTEN)
    wait_for(lambda: scene.values('node').get('state') == 'active', 'an active node')
    wait_for(lambda: clock.get_subscription_count() and scene._images['right'].get_subscription_count(), 'subscribers')
    stamp_ns = 1000 * SECOND
    wait_for(
        lambda: (
            (scene.send(names=['left'], stamp_ns=stamp_ns), scene.values('camera left').get('received', '0'))[-1] > '0'
        ),
        'an image',
    )
    time.sleep(1.2)  # a poll
    clock.publish(Clock(clock=Time(nanoseconds=stamp_ns).to_msg()))
    time.sleep(2.4)  # two more
    assert not scene.clouds
    for _ in range(3):  # in case that the first is lost
        scene.send(names=['right'], stamp_ns=stamp_ns)
    wait_for(lambda: all(scene.depths.values()), 'depth of both')
    assert scene.values('sets').get('synchronizer: partial', '0') == '0'
    bench.node.destroy_publisher(clock)
    assert scene.process.stop() == 0


def test_a_clock_that_stands_still_stops_neither_output_nor_diagnostics(
    bench: Bench, tiny: Path, tmp_path: Path
) -> None:
    scene = Scene(bench, 'paused', ['front'])
    scene.send_tf()
    clock = bench.node.create_publisher(Clock, '/clock', 5)
    start_node(tmp_path, scene, model=str(tiny), cameras='[front]', use_sim_time='true', **OFTEN)
    steps = iter(range(10_000))

    def play() -> None:
        clock.publish(Clock(clock=Time(nanoseconds=1000 * SECOND).to_msg()))
        scene.send(stamp_ns=1000 * SECOND + next(steps) * SECOND // 20)
        time.sleep(0.05)

    wait_for(lambda: (play(), scene.clouds)[-1], 'clouds')
    scene.quiet()
    wait_for(lambda: (play(), scene.says('node', '/clock has not advanced', DiagnosticStatus.WARN))[-1], 'a warning')
    assert len(scene.clouds) > 10
    assert scene.reset().success
    bench.node.destroy_publisher(clock)
    assert scene.process.stop() == 0


@pytest.mark.parametrize(('grey', 'text'), [(0, 'the picture is black'), (90, 'the picture has not changed for')])
def test_pictures_that_show_nothing_are_named(running: Scene, grey: int, text: str) -> None:
    running.until(
        lambda: running.says('camera left', f'images arrive, but {text}', DiagnosticStatus.WARN), text, grey=grey
    )
    greys = iter(range(100, 200))
    wait_for(
        lambda: (
            (running.send(grey=next(greys)), time.sleep(0.05), running.says('camera left', 'images arrive'))[-1]
            and running.values('camera left')['picture'] == 'ok'
        ),
        'an end of the complaint',
    )
