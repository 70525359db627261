# SPDX-License-Identifier: Apache-2.0
"""The node in a process of its own, and what it publishes and says, put so that a test reads like a sentence."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import service_calls
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from rig_simulator import RATE_HZ, SimulatedRig
from ros_harness import NodeProcess
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from spinner import Spinner

NAMES = ('front', 'left', 'right')
OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
LEVELS = {OK: 'OK', WARN: 'WARN', ERROR: 'ERROR', DiagnosticStatus.STALE: 'STALE'}
TIMEOUT_S = 20.0
# Sets that must be alike before a test believes that the node has settled.
SETTLED = 3
SILENT_S = 5 / RATE_HZ
DROPS = ('incomplete', 'late', 'duplicate', 'overflow', 'jump', 'reset')


class Ear:
    """Our own ROS node with a thread that spins it, in a context of its own, and the newest of every status."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node('faults', context=self._context)
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 50)
        self._spinner = Spinner(self.node, self._context)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # A new dict, so that who reads the old one sees statuses of one moment.
        self.statuses = {**self.statuses, **{status.name: status for status in message.status}}

    def close(self) -> None:
        """Stop spinning and leave ROS."""
        self._spinner.close()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


class WatchedNode:
    """The node under test beside the rig that it listens to. `log` may be read at any time.

    Every method that expects something waits for it, and fails with the node's own words when it does not come.
    """

    def __init__(self, ear: Ear, rig: SimulatedRig, folder: Path, **parameters: Any) -> None:
        self.rig, self.name = rig, f'{rig.namespace}/surround_depth'
        self.sets_heard = 0
        self._ear, self._folder = ear, folder
        self._parameters = {
            'cameras': f'[{", ".join(rig.names)}]',
            'diagnostics.period': 0.2,
            'tf.timeout': 0.3,
            # A camera may look anywhere and yet have points.
            'cloud.min_height': -100.0,
            'cloud.max_height': 100.0,
            **parameters,
        }
        self._served: dict[int, dict[str, float]] = {}
        self._clouds: deque[tuple[int, set[str]]] = deque(maxlen=200)
        self._last_output = time.monotonic()
        self.frames: dict[str, str] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self._infos: dict[str, CameraInfo] = {}
        self.odometry: deque[Odometry] = deque(maxlen=200)
        node, reliable = ear.node, 20
        self._subscriptions = [
            node.create_subscription(PointCloud2, f'/{self.name}/points', self._on_cloud, reliable),
            node.create_subscription(Odometry, f'/{self.name}/odometry', lambda m: self.odometry.append(m), reliable),
        ]
        for name in rig.names:
            depth, info = f'/{rig.namespace}/{name}/depth/image', f'/{rig.namespace}/{name}/depth/camera_info'
            self._subscriptions += [
                node.create_subscription(Image, depth, lambda m, n=name: self._on_depth(n, m), reliable),
                node.create_subscription(CameraInfo, info, lambda m, n=name: self._infos.update({n: m}), reliable),
            ]
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start the process (again); what the one before has said is forgotten."""
        others = {name: s for name, s in self._ear.statuses.items() if not name.startswith(self.name)}
        self._ear.statuses = others
        arguments = ['--ros-args', '-r', f'__ns:=/{self.rig.namespace}']
        for key, value in self._parameters.items():
            arguments += ['-p', f'{key}:={value}']
        self.starts += 1
        self.process = NodeProcess(arguments, self._folder / f'node_{self.starts}.log')

    def close(self) -> None:
        """Kill the process and stop listening."""
        self.process.popen.kill()
        self.process.popen.wait()
        for subscription in self._subscriptions:
            self._ear.node.destroy_subscription(subscription)

    # What it publishes.

    def _on_depth(self, name: str, image: Image) -> None:
        stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
        depth_hw = np.frombuffer(image.data, '<f4').reshape(image.height, image.width)
        self._served.setdefault(stamp_ns, {})[name] = float(np.nanmedian(depth_hw))
        if len(self._served) > 500:
            del self._served[next(iter(self._served))]
        self.frames[name], self.sizes[name] = image.header.frame_id, (image.width, image.height)

    def _on_cloud(self, cloud: PointCloud2) -> None:
        offset = {field.name: field.offset for field in cloud.fields}['camera']
        rows = np.frombuffer(cloud.data, np.uint8).reshape(cloud.width, cloud.point_step)
        cameras = {self.rig.names[index] for index in np.unique(rows[:, offset]).tolist()}
        self._clouds.append((cloud.header.stamp.sec * 10**9 + cloud.header.stamp.nanosec, cameras))
        self.sets_heard += 1
        self._last_output = time.monotonic()

    def serves(self, *names: str) -> None:
        """Expect sets, from now on, of exactly these cameras, in depth images and in the cloud alike, each depth made
        of the very picture that was sent with its stamp."""
        begin = self.sets_heard

        def served() -> bool:
            if self.sets_heard < begin + SETTLED + 2:
                return False
            # The newest cloud may have overtaken its depth images.
            recent = list(self._clouds)[-SETTLED - 1 : -1]
            return all(cameras == set(names) and self._depths_of(stamp, names) for stamp, cameras in recent)

        def told() -> str:
            last = list(self._clouds)[-4:]
            recent = [(stamp, sorted(cameras), self._served.get(stamp)) for stamp, cameras in last]
            return f'{self.sets_heard - begin} sets since, the last (cloud of, depths): {recent}'

        self.waits_for(served, f'sets of exactly {names}', told)

    def _depths_of(self, stamp_ns: int, names: tuple[str, ...]) -> bool:
        depths = self._served.get(stamp_ns, {})
        return set(depths) == set(names) and all(
            abs(depths[name] - (10 * self.rig.cameras[name].shade_of[stamp_ns] / 255 + 1)) < 0.06 for name in names
        )

    def clouds_show(self, *names: str) -> None:
        """Expect clouds, from now on, that show exactly these cameras, whatever the stamps of their images."""
        begin = self.sets_heard
        self.waits_for(
            lambda: (
                self.sets_heard >= begin + SETTLED
                and all(cameras == set(names) for _, cameras in list(self._clouds)[-SETTLED:])
            ),
            f'clouds of exactly {names}',
            lambda: str([sorted(cameras) for _, cameras in list(self._clouds)[-5:]]),
        )

    def is_silent(self) -> None:
        """Expect that nothing is published any more."""
        self.waits_for(lambda: time.monotonic() - self._last_output > SILENT_S, 'silence')

    # What it says.

    def status(self, name: str) -> DiagnosticStatus | None:
        """The newest status of that name, such as 'camera left'."""
        return self._ear.statuses.get(f'{self.name}: {name}')

    def values(self, name: str) -> dict[str, str]:
        """Keys and values of that status."""
        return self.values_of(name)[0]

    def values_of(self, *names: str) -> list[dict[str, str]]:
        """Keys and values of several statuses, of one moment."""
        statuses = self._ear.statuses
        found = [statuses.get(f'{self.name}: {name}') for name in names]
        return [{} if status is None else {pair.key: pair.value for pair in status.values} for status in found]

    def number(self, name: str, key: str) -> int:
        """One value of that status; 0 where it is not there."""
        return int(self.values(name).get(key, 0))

    def says(self, name: str, level: bytes, text: str) -> None:
        """Expect a status of this level with this text."""

        def said() -> bool:
            status = self.status(name)
            return status is not None and status.level == level and text in status.message

        self.waits_for(said, f'{LEVELS[level]} {text!r} of {name!r}', lambda: _told(self.status(name)))

    def counts(self, name: str, key: str, at_least: int) -> None:
        """Expect that this value reaches a number."""
        self.waits_for(
            lambda: self.number(name, key) >= at_least,
            f'{key!r} of {name!r} >= {at_least}',
            lambda: str(self.values(name)),
        )

    def is_well(self) -> None:
        """Expect every camera served, no complaint left, and counts that add up."""
        self.serves(*self.rig.names)
        for name in (*(f'camera {camera}' for camera in self.rig.names), 'sets', 'engine', 'node'):
            self.says(name, OK, '')
        self.counts_add_up()

    def counts_add_up(self) -> None:
        """Expect in = out + dropped + in work of sets, and the like of images; every set out was heard or counted."""
        status = self.values('sets')
        sets = {key: int(value) for key, value in status.items() if value.isdigit()}
        assert sets['in'] == sets['out'] + sets['dropped'] + sets['in work'], status
        assert 0 <= sets['in work'] <= 2, status
        assert sets['dropped'] == sum(n for key, n in sets.items() if key.startswith('dropped: ')), status
        gone = sum(sets[f'synchronizer: {reason}'] for reason in DROPS)
        assert sets['synchronizer: in'] == sets['synchronizer: used'] + sets['synchronizer: pending'] + gone, status
        assert sets['synchronizer: pending'] <= 10 * len(self.rig.names), status
        assert abs(sets['synchronizer: sets'] - sets['in']) <= 1, status

    def becomes(self, transition: str) -> None:
        """Ask for a lifecycle transition, which must succeed."""
        assert service_calls.transition(self._ear.node, f'/{self.name}', transition), self.log()

    def log(self) -> str:
        """Everything that this process has printed."""
        return self.process.log()

    def memory_kb(self) -> int:
        """Resident memory."""
        lines = Path(f'/proc/{self.process.popen.pid}/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS'))

    def waits_for(self, condition: Callable[[], Any], what: str, told: Callable[[], str] = str) -> None:
        """Wait until `condition` holds; `told` is asked for more when it does not come to be."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            problem = f'the node ended with {self.process.popen.returncode}' if self.process.popen.poll() else ''
            if time.monotonic() > deadline:
                problem = f'not within {TIMEOUT_S:.0f} s'
            assert not problem, f'{what}: {problem}; {told()}\nits log ends:\n{self.log()[-3000:]}'
            time.sleep(0.02)


def served(ear: Ear, folder: Path, **options: Any) -> Iterator[WatchedNode]:
    """A rig and its node, in service until the generator goes on; it must then end with 0."""
    rig = SimulatedRig(
        ear.node, folder.name.rstrip('0'), NAMES, options.pop('compressed', False), options.pop('simulated_time', False)
    )
    rig.place(NAMES)
    node = WatchedNode(ear, rig, folder, **options)
    rig.start()
    try:
        node.serves(*NAMES)
        yield node
        assert node.process.stop() == 0, node.log()
    finally:
        rig.close()
        node.close()


def _told(status: DiagnosticStatus | None) -> str:
    return 'it has said nothing' if status is None else f'it says {LEVELS[status.level]} {status.message!r}'
