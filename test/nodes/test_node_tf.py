# SPDX-License-Identifier: Apache-2.0
"""Extrinsics over real DDS: ones that move, that change, that stop, that come late; calibrations that change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from ros_harness import OFTEN, Bench, Scene, start_node, wait_for
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage

from semi_smd_ros.nodes.ros import tf2_ros

SECOND = 10**9
DEPTH_OF_128 = 10 * 128 / 255 + 1
MAX_AGE_S = 1.0


class Truck(Scene):
    """One camera fixed to the base, one on a cab that moves along x."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, 'truck', ['fixed', 'cab'])
        self.broadcaster = tf2_ros.TransformBroadcaster(bench.node)
        # tf2_ros's own broadcaster never sends another transform of a frame that it has sent.
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.static = bench.node.create_publisher(TFMessage, '/tf_static', latched)
        self.now_ns = bench.node.get_clock().now().nanoseconds

    def transform(self, name: str, x: float, stamp_ns: int = 0) -> TransformStamped:
        transform = TransformStamped(child_frame_id=self.frame(name))
        transform.header.frame_id = 'base_link'
        transform.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        transform.transform.translation.x = x
        rotation = transform.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
        return transform

    def move_cab(self, x: float, at_s: float) -> None:
        """Say where the cab is at a time, seconds after the start."""
        self.broadcaster.sendTransform(self.transform('cab', x, self.now_ns + round(at_s * SECOND)))
        time.sleep(0.1)

    def fix(self, x: float) -> None:
        """Say where the fixed camera is."""
        self.static.publish(TFMessage(transforms=[self.transform('fixed', x)]))
        time.sleep(0.1)

    def x_of(self, camera: int, at_s: float, **send: Any) -> float:
        """Send one set and return the x of a camera's place, from its points."""
        self.quiet()
        self.send(stamp_ns=self.now_ns + round(at_s * SECOND), **send)
        cloud: PointCloud2 = wait_for(lambda: self.clouds and self.clouds[0], 'a cloud')
        points = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_step)
        x = points[points[:, 16] == camera, :4].copy().view(np.float32).ravel()
        assert x.size
        assert np.ptp(x) < 1e-4
        return float(x[0]) - DEPTH_OF_128

    def stands(self, camera: int, at_s: float, x: float) -> None:
        """Expect a camera at x. Its transform may come after the first pictures, so some more are taken."""
        found = []
        for attempt in range(10):
            found.append(self.x_of(camera, at_s + attempt * 1e-4))
            if found[-1] == pytest.approx(x, abs=1e-3):
                return
        raise AssertionError(f'camera {camera} is at x = {found}; expected {x}; the node said:\n{self.process.log()}')

    def changes_of_rig(self) -> int:
        return int(self.values('engine').get('memory reset: rig changed', 0))


@pytest.fixture(scope='module')
def truck(bench: Bench, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truck]:
    scene = Truck(bench)
    settings = {'tf.timeout': 0.3, 'tf.max_age': MAX_AGE_S, 'temporal.max_gap': 3600.0}
    start_node(tmp_path_factory.mktemp('truck'), scene, model=str(tiny), cameras='[fixed, cab]', **settings, **OFTEN)
    scene.fix(0.0)
    # Moving transforms are not kept for whoever comes later.
    steps = iter(range(1000))

    def heard() -> bool:
        scene.move_cab(0.0, 0.0)
        scene.send(stamp_ns=scene.now_ns + next(steps))
        return bool(scene.depths['cab'])

    wait_for(heard, 'depth of the cab')
    yield scene
    assert scene.process.stop() == 0, scene.process.log()


def test_a_moving_camera_is_where_it_was_when_the_picture_was_taken(truck: Truck) -> None:
    truck.move_cab(1.0, 2.0)
    truck.stands(1, 0.5, 0.25)
    truck.stands(1, 1.5, 0.75)
    truck.stands(0, 1.6, 0.0)
    # The transform of now has not come yet: the newest serves.
    truck.stands(1, 2.5, 1.0)


def test_a_transform_that_stops_takes_its_camera_out_until_it_returns(truck: Truck) -> None:
    truck.move_cab(1.0, 10.0)
    truck.stands(1, 10.1, 1.0)
    stamps = iter(range(truck.now_ns + 12 * SECOND, truck.now_ns + 14 * SECOND, SECOND // 100))

    def is_out() -> bool:
        truck.send(stamp_ns=next(stamps))
        time.sleep(0.05)
        return truck.says('camera cab', 'older than the image', DiagnosticStatus.ERROR)

    wait_for(is_out, 'word of the old transform')
    assert truck.values('camera cab')['tf'] == 'missing'
    assert truck.frame('cab') in truck.process.log()
    truck.quiet()
    wait_for(lambda: (is_out(), truck.depths['fixed'])[-1], 'depth of the other camera')
    assert not truck.depths['cab']
    truck.move_cab(2.0, 15.0)
    truck.stands(1, 15.1, 2.0)
    wait_for(lambda: truck.values('camera cab').get('tf') == 'ok', 'word of the transform')


def test_a_camera_that_is_moved_wipes_the_memory_and_one_that_jitters_does_not(truck: Truck) -> None:
    truck.move_cab(2.0, 20.0)
    truck.x_of(0, 20.1)
    truck.quiet()
    wait_for(lambda: truck.values('engine'), 'diagnostics')
    before = truck.changes_of_rig()
    truck.fix(1e-5)
    truck.stands(0, 20.2, 0.0)
    truck.fix(0.5)
    truck.stands(0, 20.3, 0.5)
    wait_for(lambda: truck.changes_of_rig() == before + 1, 'one counted change')
    truck.fix(0.0)


def test_another_calibration_is_taken_and_wipes_the_memory(truck: Truck) -> None:
    def zoom(name: str, image: Any, info: Any) -> None:
        info.k = np.array(info.k) * np.array([2, 1, 1, 1, 2, 1, 1, 1, 1])
        info.p = np.array(info.p) * np.array([2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1])

    truck.move_cab(2.0, 30.0)
    truck.x_of(0, 30.1)
    truck.quiet()
    wait_for(lambda: truck.values('engine'), 'diagnostics')
    before = truck.changes_of_rig()
    truck.send(stamp_ns=truck.now_ns + 30 * SECOND + SECOND // 5, change=zoom)
    wait_for(lambda: truck.infos['fixed'] and truck.infos['fixed'][-1].k[0] == 100, 'CameraInfo of the new lens')
    truck.x_of(0, 30.4)
    assert truck.infos['fixed'][-1].k[0] == 50
    wait_for(lambda: truck.changes_of_rig() >= before + 2, 'counted changes')
    assert truck.values('camera fixed')['calibration changes'] == '2'
    assert 'camera fixed (frame truck_fixed_optical): its CameraInfo has changed' in truck.process.log()


@pytest.mark.parametrize('hours', [1, -2])
def test_stamps_that_jump_are_served_on(truck: Truck, hours: int) -> None:
    at_s = 3600.0 * hours + 40
    truck.move_cab(3.0, at_s)
    truck.quiet()
    # The first set after a jump back may go while the moving transform from before is forgotten.
    step = iter(range(1000))

    def heard() -> bool:
        k = next(step)
        truck.move_cab(3.0, at_s + k * 0.1)
        truck.send(stamp_ns=truck.now_ns + round((at_s + k * 0.1) * SECOND))
        return all(truck.depths.values())

    wait_for(heard, 'depth of every camera')
    if hours < 0:
        wait_for(lambda: int(truck.values('engine').get('memory reset: time went back', 0)) == 1, 'a counted reset')
