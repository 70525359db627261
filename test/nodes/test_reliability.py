# SPDX-License-Identifier: Apache-2.0
"""`image_reliability: auto`: the node listens as reliably as the cameras' drivers publish, over real DDS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import OFTEN, Bench, Scene, start_node, wait_for
from sensor_msgs.msg import Image

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


class Drivers:
    """Two cameras whose drivers come and go with one reliability or the other."""

    def __init__(self, bench: Bench, namespace: str) -> None:
        self.scene = Scene(bench, namespace, ['front', 'shy'])
        self.scene.send_tf()

    def topic(self, name: str) -> str:
        return f'/{self.scene.namespace}/{name}/image_raw'

    def restart(self, name: str, reliability: ReliabilityPolicy) -> None:
        """The driver of a camera goes, and comes back with this reliability."""
        self.stop(name)
        self.scene._images[name] = self.publisher(name, reliability)

    def stop(self, name: str) -> None:
        """The driver of a camera goes."""
        bench = self.scene.bench
        bench.do(lambda: bench.node.destroy_publisher(self.scene._images[name]))

    def publisher(self, name: str, reliability: ReliabilityPolicy) -> Any:
        """Another publisher of a camera's images."""
        bench, qos = self.scene.bench, QoSProfile(depth=5, reliability=reliability)
        return bench.do(lambda: bench.node.create_publisher(Image, self.topic(name), qos))

    def heard(self, name: str) -> list[ReliabilityPolicy]:
        """The reliability of every subscription that there is."""
        infos = self.scene.bench.node.get_subscriptions_info_by_topic(self.topic(name))
        return [info.qos_profile.reliability for info in infos]

    def serves(self, name: str, reliability: ReliabilityPolicy, told: str) -> None:
        """Expect depth of this camera, heard through one subscription of this reliability, and word of it."""
        self.scene.quiet()
        self.scene.until(lambda: self.scene.depths[name], f'depth of {name}')
        wait_for(lambda: self.heard(name) == [reliability], f'one {reliability} subscription: {self.heard(name)}')
        key = f'reliability: {self.topic(name)}'
        self.scene.until(lambda: self.scene.values(f'camera {name}').get(key) == told, f'{told!r} in diagnostics')
        self.scene.until(lambda: self.scene.says(f'camera {name}', 'images arrive'), 'peace')


@pytest.fixture
def drivers(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Drivers]:
    """Of a namespace of its own: the drivers of other tests are still there."""
    drivers = Drivers(bench, request.node.name)
    yield drivers
    assert drivers.scene.process.stop() == 0
    assert 'Traceback' not in drivers.scene.process.log()


def test_each_driver_is_heard_as_reliably_as_it_sends(drivers: Drivers, tiny: Path, tmp_path: Path) -> None:
    drivers.restart('shy', BEST_EFFORT)
    start_node(tmp_path, drivers.scene, model=str(tiny), cameras='[front, shy]', **OFTEN)
    drivers.serves('front', RELIABLE, 'reliable (auto)')
    drivers.serves('shy', BEST_EFFORT, 'best_effort (auto: node /bench offers no more)')
    log = drivers.scene.process.log()
    assert log.count(f'camera shy: {drivers.topic("shy")} is listened to best effort: one of its publishers') == 1
    assert 'camera front: ' + drivers.topic('front') not in log
    assert 'incompatible' not in log

    # Each comes back as the other.
    drivers.restart('front', BEST_EFFORT)
    drivers.serves('front', BEST_EFFORT, 'best_effort (auto: node /bench offers no more)')
    drivers.restart('shy', RELIABLE)
    drivers.serves('shy', RELIABLE, 'reliable (auto)')
    drivers.restart('front', RELIABLE)
    drivers.serves('front', RELIABLE, 'reliable (auto)')
    log = drivers.scene.process.log()
    assert log.count('is listened to best effort') == 2
    assert log.count('is listened to reliably: all its publishers offer it') == 2
    assert 'incompatible' not in log


def test_drivers_that_come_after_the_node(drivers: Drivers, tiny: Path, tmp_path: Path) -> None:
    for name in ('front', 'shy'):
        drivers.stop(name)
    start_node(tmp_path, drivers.scene, model=str(tiny), cameras='[front, shy]', **OFTEN)
    wait_for(lambda: drivers.heard('front') == drivers.heard('shy') == [RELIABLE], 'reliable subscriptions')
    for name, reliability in (('front', BEST_EFFORT), ('shy', RELIABLE)):
        drivers.scene._images[name] = drivers.publisher(name, reliability)
    drivers.serves('front', BEST_EFFORT, 'best_effort (auto: node /bench offers no more)')
    drivers.serves('shy', RELIABLE, 'reliable (auto)')


def test_one_of_several_publishers_decides(bench: Bench, drivers: Drivers, tiny: Path, tmp_path: Path) -> None:
    second = drivers.publisher('front', BEST_EFFORT)
    start_node(tmp_path, drivers.scene, model=str(tiny), cameras='[front, shy]', **OFTEN)
    drivers.serves('front', BEST_EFFORT, 'best_effort (auto: node /bench offers no more)')
    bench.do(lambda: bench.node.destroy_publisher(second))
    drivers.serves('front', RELIABLE, 'reliable (auto)')


def test_an_override_is_not_overridden(drivers: Drivers, tiny: Path, tmp_path: Path) -> None:
    overrides = {f'qos_overrides.{drivers.topic("front")}.subscription.reliability': 'best_effort'}
    start_node(tmp_path, drivers.scene, model=str(tiny), cameras='[front, shy]', **overrides, **OFTEN)
    drivers.serves('front', BEST_EFFORT, 'best_effort')
    drivers.serves('shy', RELIABLE, 'reliable (auto)')
