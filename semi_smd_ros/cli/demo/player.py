# SPDX-License-Identifier: Apache-2.0
"""Plays a recording over DDS with its own timing, and slows down rather than lose a set."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from ...datasets.replay import image_stamps, synchronized_stamps
from ...datasets.rosbag import SurroundBag
from .protocol import NODE_NAME, POINTS_TOPIC, say

# The next set leaves when the node has settled the last one: the node keeps only the newest set, and a set whose
# last image DDS had to repeat would be overtaken.
READY_TIMEOUT_S = 90.0
ANSWER_TIMEOUT_S = 60.0
# Endpoints that the graph shows may still be shaking hands.
SETTLE_S = 0.7
_TYPES = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
    'sensor_msgs/msg/CameraInfo': CameraInfo,
    'tf2_msgs/msg/TFMessage': TFMessage,
}


class PlaybackError(RuntimeError):
    """The recording cannot be played to its end; the message says why."""


class Player(Node):
    """Publishes a recording's camera and tf topics; watches the node's answers to know how far it has come."""

    def __init__(self, bag: SurroundBag, slop_s: float) -> None:
        super().__init__('recording_player')
        self._bag = bag
        stamps = image_stamps(bag)
        self._sets = deque(synchronized_stamps(stamps, len(bag.cameras), slop_s))
        self._recorded = {(bag.cameras[i].name, stamp) for i, stamp in stamps}
        self.total = len(self._sets)
        # Any camera's CameraInfo tells that its set is done; DDS may be seconds late with one of them.
        self._set_of = {
            (camera.name, stamp): complete.stamp_ns
            for _, complete in self._sets
            for camera, stamp in zip(bag.cameras, complete.stamps_ns, strict=True)
        }
        self._answered: set[int] = set()
        self._settled_by_diagnostics = 0
        self._node_problem = ''
        self.sent: list[dict[str, Any]] = []
        reliable = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        for camera in bag.cameras:
            on_answer = partial(self._on_answer, camera.name)
            self.create_subscription(CameraInfo, f'/{camera.name}/depth/camera_info', on_answer, reliable)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        topics = [topic for camera in bag.cameras for topic in (camera.image_topic, camera.info_topic)]
        self._topics = [topic for topic in ('/tf_static', '/tf', *topics) if topic in bag.topics]
        self._publishers_by_topic = {topic: self._publisher(topic) for topic in self._topics}
        self._images = {camera.image_topic for camera in bag.cameras}
        self._ready: Any = self.create_client(GetState, f'/{NODE_NAME}/get_state')

    def _publisher(self, topic: str) -> Any:
        latched = topic == '/tf_static'
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
        return self.create_publisher(_TYPES[self._bag.topics[topic]], topic, qos)

    def _on_answer(self, camera: str, msg: CameraInfo) -> None:
        stamp = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
        if (camera, stamp) not in self._recorded:
            raise PlaybackError(
                f'/{camera}/depth/camera_info has a stamp that was never played: another node publishes it'
            )
        # Around incomplete moments the node may have paired images otherwise than planned; diagnostics count that set.
        if (camera, stamp) in self._set_of:
            self._answered.add(self._set_of[camera, stamp])

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name == f'{NODE_NAME}: node' and status.level == DiagnosticStatus.ERROR:
                self._node_problem = status.message
            if status.name == f'{NODE_NAME}: sets':
                values = {pair.key: pair.value for pair in status.values}
                self._settled_by_diagnostics = int(values['out']) + int(values['dropped'])

    @property
    def settled(self) -> int:
        """Sets that the node has published, or dropped and said so."""
        return max(len(self._answered), self._settled_by_diagnostics)

    def wait_until_ready(self) -> None:
        """Wait until the node is active and every topic has its readers.

        Raises PlaybackError when the node cannot start, or saying what lacks after a time.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while lacking := self._lacking():
            if self._node_problem:
                raise PlaybackError(f'the node cannot start: {self._node_problem}')
            if time.monotonic() > deadline:
                raise PlaybackError(f'not ready after {READY_TIMEOUT_S:.0f} s: {lacking}')
            rclpy.spin_once(self, timeout_sec=0.05)
        self._spin(SETTLE_S)

    def _lacking(self) -> str:
        if not self._ready.wait_for_service(timeout_sec=0.2):
            return f'node /{NODE_NAME} does not answer'
        future = self._ready.call_async(GetState.Request())
        rclpy.spin_until_future_complete(self, future, timeout_sec=1.0)
        answer = future.result()
        if answer is None or answer.current_state.id != State.PRIMARY_STATE_ACTIVE:
            return f'node /{NODE_NAME} is not active'
        unread = [
            topic for topic, publisher in self._publishers_by_topic.items() if not publisher.get_subscription_count()
        ]
        if unread:
            return f'nobody reads {", ".join(unread)}'
        return '' if self.count_subscribers(POINTS_TOPIC) else f'nobody records {POINTS_TOPIC}'

    def introduce(self) -> None:
        """Publish every static transform and each camera's first CameraInfo, before anything is timed.

        Recorders find topics one by one, so these may come after the first images in a recording; the node would
        hold those back for them, and the player the rest for the node.
        """
        waiting = {camera.info_topic for camera in self._bag.cameras}
        for topic, _, _, data in self._bag.raw_messages(('/tf_static', *waiting)):
            if topic == '/tf_static' or topic in waiting:
                self._publishers_by_topic[topic].publish(data)
                waiting.discard(topic)
        self._spin(SETTLE_S)

    def play(self) -> float:
        """Publish everything else; returns for how many seconds it was held back because the node was busy."""
        start, first_ns, slowed_s, ordinal = time.monotonic(), None, 0.0, 0
        topics = [topic for topic in self._topics if topic != '/tf_static']
        for topic, _, time_ns, data in self._bag.raw_messages(topics):
            first_ns = time_ns if first_ns is None else first_ns
            due = start + (time_ns - first_ns) * 1e-9 + slowed_s
            self._spin(due - time.monotonic())
            completes = topic in self._images and self._sets and self._sets[0][0] == ordinal
            if completes:
                began = time.monotonic()
                self._wait_for(len(self.sent))
                slowed_s += time.monotonic() - began
            if topic in self._images:
                ordinal += 1
            self._publishers_by_topic[topic].publish(data)
            if completes:
                stamps = self._sets.popleft()[1]
                self.sent.append(
                    {'stamp_ns': stamps.stamp_ns, 'stamps_ns': list(stamps.stamps_ns), 'sent_ns': time.time_ns()}
                )
                say('progress', sent=len(self.sent), settled=self.settled, total=self.total)
        self._wait_for(len(self.sent))
        return slowed_s

    def _wait_for(self, settled: int) -> None:
        """Wait until the node has settled so many sets. Raises PlaybackError when it settles nothing for long."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        seen = self.settled
        while self.settled < settled:
            rclpy.spin_once(self, timeout_sec=0.01)
            if self.settled > seen:
                seen, deadline = self.settled, time.monotonic() + ANSWER_TIMEOUT_S
                say('progress', sent=len(self.sent), settled=seen, total=self.total)
            if time.monotonic() > deadline:
                raise PlaybackError(
                    f'the node has settled {self.settled} of {len(self.sent)} sets sent and then nothing for '
                    f'{ANSWER_TIMEOUT_S:.0f} s'
                )

    def _spin(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=min(left, 0.01))


def main() -> int:
    """Entry point of the player's process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('bag')
    parser.add_argument('--slop', type=float, required=True)
    arguments = parser.parse_args()
    rclpy.init()
    with SurroundBag(arguments.bag) as bag:
        player = Player(bag, arguments.slop)
        try:
            player.wait_until_ready()
            player.introduce()
            say('started', total=player.total)
            began = time.monotonic()
            slowed = player.play()
            say('done', sets=player.sent, recorded_s=bag.duration_s, played_s=time.monotonic() - began, slowed_s=slowed)
            return 0
        except PlaybackError as error:
            say('failed', message=str(error))
            return 1
        finally:
            player.destroy_node()
            rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
