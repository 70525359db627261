# SPDX-License-Identifier: Apache-2.0
"""One camera's subscriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ..rig import RigConfigCamera
from ..runtime import InputError
from .camera_stats import CameraStats
from .images import ReceivedImage, receive_compressed, receive_raw
from .input_subscription import InputSubscription
from .throttle import ThrottledLogger


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
        reliability: str,
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
        self._reliability = reliability
        self._subscriptions: list[InputSubscription] = []
        self._complained: list[str] = []
        stats.listen()
        image_type, suffix = (CompressedImage, '/compressed') if compressed else (Image, '')
        try:
            self.image_topic = self._subscribe(image_type, camera.image_topic + suffix, self._image, stats.lose)
            self._subscribe(CameraInfo, camera.camera_info_topic, self._camera_info)
        except BaseException:
            self.close()
            raise

    def _subscribe(
        self,
        message_type: Any,
        topic: str,
        on_message: Callable[[Any], None],
        on_lost: Callable[[int], None] | None = None,
    ) -> str:
        made = InputSubscription(
            self._node, message_type, topic, self._reliability, on_message, self._tell_change, on_lost
        )
        self._subscriptions.append(made)
        return made.topic

    def _tell_change(self, sentence: str) -> None:
        self._node.get_logger().info(f'camera {self.camera.name}: {sentence}')

    def refresh(self) -> None:
        """Follow what the publishers offer; to be called often, in the executor."""
        for subscription in self._subscriptions:
            subscription.refresh()

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
        """A sentence for every topic with a publisher that cannot be heard now; each is logged when first given."""
        found = [sentence for one in self._subscriptions if (sentence := one.complaint())]
        for complaint in found:
            if complaint not in self._complained:
                self._node.get_logger().warning(f'camera {self.camera.name}: {complaint}')
        self._complained = found
        return found

    def qos(self) -> dict[str, str]:
        """For diagnostics: how each topic is listened to, and which policy there is incompatible."""
        listening = {f'reliability: {one.topic}': one.reliability for one in self._subscriptions}
        deaf = {f'incompatible QoS: {one.topic}': one.incompatible for one in self._subscriptions if one.incompatible}
        return listening | deaf

    def publishers(self) -> int:
        """How many publishers there are on the image topic."""
        return int(self._node.count_publishers(self.image_topic))

    def close(self) -> None:
        """Drop both subscriptions."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions = []


def reject_image(name: str, stats: CameraStats, error: InputError, log: ThrottledLogger) -> None:
    """Count one camera's unusable image and say why, naming camera and frame."""
    stats.reject(error.reason, str(error))
    frame = f' (frame {stats.image_frame_id})' if stats.image_frame_id else ''
    log.warning((name, error.reason), f'camera {name}{frame}: image rejected: {error}')
