# SPDX-License-Identifier: Apache-2.0
"""One camera's subscriptions, and what is known of its messages."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_policy_name_from_kind
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ..rig import RigConfigCamera
from .images import ReceivedImage, receive_compressed, receive_raw
from .ros import SubscriptionEventCallbacks, message_filters

RATE_WINDOW_S = 5.0
INPUT_DEPTH = 5


class CameraStats:
    """Counts and times of one camera's messages. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: deque[float] = deque(maxlen=1000)
        self.started = time.monotonic()
        self.received = 0
        self.last_stamp_ns: int | None = None
        self.image_frame_id = ''
        self.last_problem = ''
        self.incompatible: dict[str, str] = {}
        self.rejected: Counter[str] = Counter()

    def image(self, received: ReceivedImage) -> None:
        """Note one image."""
        with self._lock:
            self._arrivals.append(time.monotonic())
            self.received += 1
            self.last_stamp_ns = received.stamp_ns
            self.image_frame_id = received.header.frame_id

    def reject(self, reason: str, problem: str) -> None:
        """Note one image that could not be used."""
        with self._lock:
            self.rejected[reason] += 1
            self.last_problem = problem

    def rejections(self) -> dict[str, int]:
        """Unusable images by reason."""
        with self._lock:
            return dict(self.rejected)

    def rate(self) -> float:
        """Images per second over the last seconds."""
        with self._lock:
            now = time.monotonic()
            recent = [at for at in self._arrivals if at > now - RATE_WINDOW_S]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-6)

    def silence_s(self) -> float:
        """Seconds since the last image, or since the start where there was none."""
        with self._lock:
            return time.monotonic() - (self._arrivals[-1] if self._arrivals else self.started)


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
        compressed: bool,
        reliable: bool,
        on_image: Callable[[int, ReceivedImage], None],
        on_camera_info: Callable[[int, Any], None],
    ) -> None:
        self.camera = camera
        self.stats = CameraStats()
        self._node = node
        self._index = index
        self._on_image = on_image
        self._on_camera_info = on_camera_info
        self._receive = receive_compressed if compressed else receive_raw
        suffix = '/compressed' if compressed else ''
        image_type = CompressedImage if compressed else Image
        self._image_subscriber = self._subscribe(image_type, camera.image_topic + suffix, reliable, self._image)
        self._info_subscriber = self._subscribe(CameraInfo, camera.camera_info_topic, reliable, self._camera_info)
        self.image_topic: str = self._image_subscriber.sub.topic_name

    def _subscribe(self, message_type: Any, topic: str, reliable: bool, callback: Callable[[Any], None]) -> Any:
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        resolved = self._node.resolve_topic_name(topic)
        subscriber = EventSubscriber(
            self._node,
            message_type,
            topic,
            qos_profile=QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=INPUT_DEPTH, reliability=reliability),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda event: self._incompatible(resolved, event)
            ),
        )
        subscriber.registerCallback(callback)
        return subscriber

    def _image(self, message: Any) -> None:
        received = self._receive(message)
        self.stats.image(received)
        self._on_image(self._index, received)

    def _camera_info(self, message: Any) -> None:
        self._on_camera_info(self._index, message)

    def _incompatible(self, topic: str, event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind)
        self.stats.incompatible[topic] = policy
        self._node.get_logger().warning(
            f'camera {self.camera.name}: a publisher on {topic} offers an incompatible {policy}, so nothing '
            'is received from it: set image_reliability:=best_effort, or override the QoS of this topic'
        )

    def publishers(self) -> int:
        """How many publishers there are on the image topic."""
        return int(self._node.count_publishers(self.image_topic))

    def close(self) -> None:
        """Drop both subscriptions."""
        for subscriber in (self._image_subscriber, self._info_subscriber):
            self._node.destroy_subscription(subscriber.sub)
