# SPDX-License-Identifier: Apache-2.0
"""The node over real DDS, in a process of its own, with two cameras that work: what it publishes."""

from __future__ import annotations

import array
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from rclpy.time import Time
from ros_harness import HEIGHT, OFTEN, WIDTH, Bench, Scene, start_node, wait_for
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointField
from tiny_model import CONFIDENCE, STEP_M

SECOND = 10**9
DEPTH_OF_128 = 10 * 128 / 255 + 1
POINT = np.dtype(
    {
        'names': ['x', 'y', 'z', 'rgb', 'camera', 'confidence'],
        'formats': ['<f4', '<f4', '<f4', '<u4', 'u1', '<f4'],
        'offsets': [0, 4, 8, 12, 16, 20],
        'itemsize': 24,
    }
)


def test_depth_and_camera_info(running: Scene) -> None:
    running.quiet()
    stamp_ns = running.send(grey=128)
    wait_for(lambda: all(running.depths.values()) and all(running.infos.values()), 'depth of every camera')
    for name in running.names:
        image, info = running.depths[name][0], running.infos[name][0]
        assert (image.encoding, image.width, image.height, image.step) == ('32FC1', 80, 48, 320)
        depth = np.frombuffer(image.data, np.float32)
        np.testing.assert_allclose(depth, DEPTH_OF_128, rtol=1e-5)
        for header in (image.header, info.header):
            assert header.stamp.sec * 10**9 + header.stamp.nanosec == stamp_ns
            assert header.frame_id == running.frame(name)
        assert (info.width, info.height, info.distortion_model, list(info.d)) == (80, 48, 'plumb_bob', [0.0] * 5)
        np.testing.assert_allclose(info.k, [50, 0, 39.5, 0, 50, 23.5, 0, 0, 1])
        np.testing.assert_allclose(info.p, [50, 0, 39.5, 0, 0, 50, 23.5, 0, 0, 0, 1, 0])


def test_cloud(running: Scene) -> None:
    running.quiet()
    stamp_ns = running.send(grey=128)
    cloud = wait_for(lambda: running.clouds and running.clouds[0], 'a cloud')
    assert cloud.header.frame_id == 'base_link'
    assert cloud.header.stamp.sec * 10**9 + cloud.header.stamp.nanosec == stamp_ns
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ('x', 0, PointField.FLOAT32),
        ('y', 4, PointField.FLOAT32),
        ('z', 8, PointField.FLOAT32),
        ('rgb', 12, PointField.FLOAT32),
        ('camera', 16, PointField.UINT8),
        ('confidence', 20, PointField.FLOAT32),
    ]
    points = np.frombuffer(cloud.data, POINT)
    # Two cameras of 80x48 at stride 2, all within the default range and height.
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (1920, 1, 24, 1920 * 24)
    assert len(points) == 1920
    np.testing.assert_allclose(points['x'], DEPTH_OF_128, rtol=1e-5)
    rows = np.arange(0, 48, 2)
    np.testing.assert_allclose(np.unique(points['z']), np.sort(1.5 - (rows - 23.5) / 50 * DEPTH_OF_128), atol=1e-4)
    assert (points['rgb'] == 0x808080).all()
    assert (points['confidence'] == np.float32(CONFIDENCE)).all()
    assert np.bincount(points['camera']).tolist() == [960, 960]


def test_odometry_moves_by_the_networks_motion(running: Scene) -> None:
    running.until(lambda: running.odometry and running.odometry[-1].twist.twist.linear.x > 0, 'odometry in motion')
    running.quiet()
    running.send()
    first = wait_for(lambda: running.odometry and running.odometry[0], 'odometry')
    running.send()
    second = wait_for(lambda: len(running.odometry) > 1 and running.odometry[1], 'more odometry')
    assert (first.header.frame_id, first.child_frame_id) == ('odom', 'base_link')
    assert second.pose.pose.position.x - first.pose.pose.position.x == pytest.approx(STEP_M)
    seconds = (second.header.stamp.sec - first.header.stamp.sec) + 1e-9 * (
        second.header.stamp.nanosec - first.header.stamp.nanosec
    )
    assert second.twist.twist.linear.x == pytest.approx(STEP_M / seconds)
    # It saturates at (1 km)^2 where the motion was unknown for long, as it may have been in the tests before.
    assert second.pose.covariance[0] >= first.pose.covariance[0] > 0


def test_other_encodings_are_understood(running: Scene) -> None:
    def as_padded_mono(name: str, image, info) -> None:
        image.encoding, image.step = 'mono8', WIDTH + 16
        image.data = array.array('B', np.full((HEIGHT, WIDTH + 16), 128, np.uint8).tobytes())

    running.quiet()
    running.send(change=as_padded_mono)
    image = wait_for(lambda: running.depths['left'] and running.depths['left'][0], 'depth of mono8')
    np.testing.assert_allclose(np.frombuffer(image.data, np.float32), DEPTH_OF_128, rtol=1e-5)


def test_diagnostics_tell_rates_and_times(running: Scene) -> None:
    running.until(lambda: float(running.values('camera left').get('rate (Hz)', 0)) > 5, 'a rate')
    camera, sets, engine = running.values('camera left'), running.values('sets'), running.values('engine')
    assert float(camera['age (s)']) < 2
    assert (camera['calibration'], camera['tf'], camera['frame_id']) == ('ok', 'ok', running.frame('left'))
    assert int(sets['in']) >= int(sets['out']) > 0
    assert (engine['name'], engine['version'], engine['input']) == ('tiny', '0.0.1', '80x48')
    assert 'nothing' in engine['trained on']
    assert 'ONNX Runtime' in engine['backend']
    assert engine['precision'] == 'fp32'
    assert running.says('engine', f'tiny 0.0.1 in fp32 on {engine["backend"]}')
    for stage in ('decode', 'preprocess', 'engine', 'postprocess', 'publish', 'total'):
        assert 0 < float(engine[f'{stage} p50 (ms)']) <= float(engine[f'{stage} p95 (ms)'])
    assert int(engine['memory reset: first frame']) == 1


def test_reset_wipes_the_memory(running: Scene) -> None:
    running.until(lambda: running.odometry and running.odometry[-1].twist.twist.linear.x > 0, 'odometry in motion')
    assert running.reset().success
    running.quiet()
    running.send()
    first = wait_for(lambda: running.odometry and running.odometry[0], 'odometry')
    assert first.twist.twist.linear.x == 0
    running.until(lambda: int(running.values('engine').get('memory reset: reset service', 0)) == 1, 'a counted reset')


def test_live_parameters_change_and_bad_values_are_refused(running: Scene) -> None:
    assert running.set_number('cloud.max_range', 5.0) == ''
    running.quiet()
    running.send()
    assert wait_for(lambda: running.clouds and running.clouds[0], 'a cloud').width == 0
    assert running.set_number('cloud.max_range', 80.0) == ''
    assert 'min < max' in running.set_number('cloud.min_range', 90.0)
    assert running.set_number('cloud.max_range', -1.0) != ''
    assert running.set_number('cloud.max_range', float('nan')) != ''
    assert 'configured' in running.set_text('model', 'other.onnx')
    assert running.set_text('image_transport', 'compressed') != ''


def test_deactivate_is_silent_and_wipes_the_memory(running: Scene) -> None:
    running.until(lambda: running.odometry and running.odometry[-1].twist.twist.linear.x > 0, 'odometry in motion')
    assert running.transition('deactivate')
    assert not running.reset().success
    running.quiet()
    for _ in range(3):
        running.send()
    running.bench.diagnostics.clear()
    wait_for(lambda: running.says('node', 'inactive'), 'a word about being inactive')
    assert not any(running.depths.values())
    assert not running.clouds
    assert running.transition('activate')
    running.until(lambda: running.clouds, 'a cloud after activation')
    wait_for(lambda: running.odometry, 'odometry')
    assert running.odometry[0].twist.twist.linear.x == 0


def test_a_bag_that_loops_is_served_again(bench: Bench, tiny: Path, tmp_path: Path) -> None:
    scene = Scene(bench, 'looping', ['front'])
    scene.send_tf()
    clock = bench.node.create_publisher(Clock, '/clock', 5)
    start_node(tmp_path, scene, model=str(tiny), cameras='[front]', use_sim_time='true', **OFTEN)
    for _ in range(2):
        scene.clouds.clear()
        step = itertools.count()

        def play(step: itertools.count = step) -> int:
            now_ns = 1000 * SECOND + next(step) * SECOND // 10
            clock.publish(Clock(clock=Time(nanoseconds=now_ns).to_msg()))
            return scene.send(stamp_ns=now_ns)

        wait_for(lambda play=play: (play(), time.sleep(0.05), len(scene.clouds) > 20)[-1], 'clouds')
    wait_for(lambda: scene.values('engine').get('memory reset: time went back') == '1', 'a counted reset')
    assert abs(float(scene.values('camera front')['age (s)'])) < 2
    bench.node.destroy_publisher(clock)
    assert scene.process.stop() == 0
