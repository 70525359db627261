# SPDX-License-Identifier: Apache-2.0
"""One camera's subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ..rig import RigConfigCamera
from ..runtime import InputError
from .camera_stats import CameraStats
from .compatibility import incompatible_publishers
from .images import ReceivedImage, receive_compressed, receive_raw
from .ros import SubscriptionEventCallbacks, UnsupportedEventTypeError, message_filters
from .throttle import ThrottledLogger

INPUT_DEPTH = 5


class EventSubscriber(message_filters.SimpleFilter):
    """`message_filters.Subscriber` with events and QoS overrides, which some releases of the original refuse."""

    def __init__(self, node: Any, message_type: Any, topic: str, **options: Any) -> None:
        super().__init__()
        self.sub = node.create_subscription(message_type, topic, self.signalMessage, **options)


class CameraInput:
    """Subscribes to one camera's images and CameraInfo, and counts what comes.

    `on_image(index, ReceivedImage)` and `on_camera_info(index, message)` run in the node's executor.
    """

    def __init__(
        self,
        node: Any,
        index: int,
        camera: RigConfigCamera,
        stats: CameraStats,
        log: ThrottledLogger,
        compressed: bool,
        reliable: bool,
        on_image: Callable[[int, ReceivedImage], None],
        on_camera_info: Callable[[int, Any], None],
    ) -> None:
        self.camera = camera
        self.stats = stats
        self._node = node
        self._index = index
        self._log = log
        self._on_image = on_image
        self._on_camera_info = on_camera_info
        self._receive = receive_compressed if compressed else receive_raw
        self._reliable = reliable
        self._qos: dict[str, QoSProfile] = {}
        self._subscribers: list[EventSubscriber] = []
        self._complained: list[str] = []
        stats.listen()
        image_type, suffix = (CompressedImage, '/compressed') if compressed else (Image, '')
        try:
            self.image_topic = self._subscribe(image_type, camera.image_topic + suffix, self._image)
            self._subscribe(CameraInfo, camera.camera_info_topic, self._camera_info)
        except BaseException:
            self.close()
            raise

    def _subscribe(self, message_type: Any, topic: str, callback: Callable[[Any], None]) -> str:
        reliability = ReliabilityPolicy.RELIABLE if self._reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=INPUT_DEPTH, reliability=reliability)
        resolved = str(self._node.resolve_topic_name(topic))
        events: dict[str, Any] = {'incompatible_qos': lambda event: self._incompatible(resolved, event)}
        if message_type is not CameraInfo:
            events['message_lost'] = lambda event: self.stats.lose(event.total_count_change)

        def subscriber() -> EventSubscriber:
            return EventSubscriber(
                self._node,
                message_type,
                topic,
                qos_profile=qos,
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                event_callbacks=SubscriptionEventCallbacks(**events),
            )

        try:
            made = subscriber()
        except UnsupportedEventTypeError:  # not every middleware counts what it loses
            del events['message_lost']
            made = subscriber()
        made.registerCallback(callback)
        self._subscribers.append(made)
        self._qos[resolved] = qos  # with the overrides, which rclpy has written into it
        return resolved

    # An exception in a callback would end the node, and messages come from whoever sends them.

    def _image(self, message: Any) -> None:
        try:
            received = self._receive(message)
            self.stats.image(received)
            if received.problem is not None:
                reject_image(self.camera.name, self.stats, received.problem, self._log)
            self._on_image(self._index, received)
        except Exception as error:  # noqa: BLE001
            problem = InputError('error', f'{type(error).__name__}: {error}')
            reject_image(self.camera.name, self.stats, problem, self._log)

    def _camera_info(self, message: Any) -> None:
        try:
            self._on_camera_info(self._index, message)
        except Exception as error:  # noqa: BLE001
            self._log.error(
                (self.camera.name, 'camera_info'),
                f'camera {self.camera.name}: CameraInfo rejected: {type(error).__name__}: {error}',
            )

    def complaints(self) -> list[str]:
        """A sentence for every topic with a publisher that cannot be heard now, naming topic, policy and nodes.

        Each is logged when it is first given. Discovery learns of a publisher before it learns whose it is, so this is
        asked again and again rather than once when the event comes.
        """
        found = []
        for topic, policy in self.stats.incompatible.items():
            names = incompatible_publishers(self._node, topic, self._qos[topic])
            if not names:
                continue
            found.append(
                f'node {", ".join(names)} offers an incompatible {policy} on {topic}, so nothing is received from it: '
                f'set image_reliability to best_effort, or override qos_overrides.{topic}.subscription'
            )
        for complaint in found:
            if complaint not in self._complained:
                self._node.get_logger().warning(f'camera {self.camera.name}: {complaint}')
        self._complained = found
        return found

    def _incompatible(self, topic: str, event: Any) -> None:
        self.stats.incompatible[topic] = qos_policy_name_from_kind(event.last_policy_kind)

    def publishers(self) -> int:
        """How many publishers there are on the image topic."""
        return int(self._node.count_publishers(self.image_topic))

    def close(self) -> None:
        """Drop both subscriptions."""
        for subscriber in self._subscribers:
            self._node.destroy_subscription(subscriber.sub)
        self._subscribers = []


def reject_image(name: str, stats: CameraStats, error: InputError, log: ThrottledLogger) -> None:
    """Count one camera's unusable image and say why, naming camera and frame."""
    stats.reject(error.reason, str(error))
    frame = f' (frame {stats.image_frame_id})' if stats.image_frame_id else ''
    log.warning((name, error.reason), f'camera {name}{frame}: image rejected: {error}')
