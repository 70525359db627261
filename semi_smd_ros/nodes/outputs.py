# SPDX-License-Identifier: Apache-2.0
"""The node's publishers. What nobody listens to is neither computed nor sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from ..runtime import PackedCloud, SurroundDepth, label_images
from .messages import camera_info_message, cloud_message, depth_message, label_message, odometry_message
from .odometry import OdometryIntegrator

OUTPUT_DEPTH = 5
ODOMETRY_FRAME = 'odom'


class Outputs:
    """Publishers of every camera's depth, labels and CameraInfo, the cloud and the odometry.

    `depth_encoding` is 32FC1 or 16UC1; with `semantics` the labels are offered, too.
    """

    def __init__(
        self, node: Any, camera_names: Sequence[str], base_frame: str, depth_encoding: str, semantics: bool
    ) -> None:
        self._node = node
        self._base_frame = base_frame
        self._depth_encoding = depth_encoding
        self._publishers: list[Any] = []
        self._integrator = OdometryIntegrator()
        try:
            self._depths = [self._publisher(Image, f'{name}/depth/image') for name in camera_names]
            self._infos = [self._publisher(CameraInfo, f'{name}/depth/camera_info') for name in camera_names]
            labelled = camera_names if semantics else ()
            self._labels = [self._publisher(Image, f'{name}/semantics/image') for name in labelled]
            self._label_infos = [self._publisher(CameraInfo, f'{name}/semantics/camera_info') for name in labelled]
            self._points = self._publisher(PointCloud2, '~/points')
            self._odometry = self._publisher(Odometry, '~/odometry')
        except BaseException:
            self.close()
            raise

    def _publisher(self, message_type: Any, topic: str) -> Any:
        qos = QoSProfile(depth=OUTPUT_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        overrides = QoSOverridingOptions.with_default_policies()
        publisher = self._node.create_lifecycle_publisher(message_type, topic, qos, qos_overriding_options=overrides)
        self._publishers.append(publisher)
        return publisher

    @property
    def wants_anything(self) -> bool:
        """Whether anyone listens to any output."""
        return any(map(_heard, self._publishers))

    @property
    def wants_cloud(self) -> bool:
        """Whether anyone listens to the cloud."""
        return _heard(self._points)

    @property
    def wants_depth(self) -> bool:
        """Whether anyone listens to what is made of depth: a depth image or the cloud."""
        return self.wants_cloud or any(map(_heard, self._depths))

    @property
    def wants_labels(self) -> bool:
        """Whether anyone listens to a label image."""
        return any(map(_heard, self._labels))

    def publish(self, depth: SurroundDepth, headers: Sequence[Any], cloud: PackedCloud | None) -> None:
        """Publish one result.

        `headers` are those of the source images, None where a camera gave none; `cloud` is None where nobody wants one.
        Who has subscribed to what was not made for this set gets the next one.
        """
        for i, header in enumerate(headers):
            if not depth.camera_valid[i] or header is None:
                continue
            if depth.has_depth and _heard(self._depths[i]):
                self._depths[i].publish(depth_message(depth.depth_nhw[i], header, self._depth_encoding))
            if _heard(self._infos[i]):
                self._infos[i].publish(camera_info_message(depth.rectified.cameras[i].model, header))
        if self.wants_labels or any(map(_heard, self._label_infos)):
            self._publish_labels(depth, headers)
        reference = Time(nanoseconds=depth.stamp_ns).to_msg()
        if cloud is not None:
            self._points.publish(cloud_message(cloud, Header(stamp=reference, frame_id=self._base_frame)))
        # Always integrated: a few numbers, and whoever subscribes later gets the pose since configuring.
        motion = self._integrator.update(depth.stamp_ns, depth.prev_T_now)
        if _heard(self._odometry):
            header = Header(stamp=reference, frame_id=ODOMETRY_FRAME)
            self._odometry.publish(odometry_message(motion, header, self._base_frame))

    def _publish_labels(self, depth: SurroundDepth, headers: Sequence[Any]) -> None:
        labels_nhw: np.ndarray | None = label_images(depth) if depth.semantics_nhw.size and self.wants_labels else None
        for i, header in enumerate(headers):
            if not depth.camera_valid[i] or header is None:
                continue
            if labels_nhw is not None and _heard(self._labels[i]):
                self._labels[i].publish(label_message(labels_nhw[i], header))
            if _heard(self._label_infos[i]):
                self._label_infos[i].publish(camera_info_message(depth.rectified.cameras[i].model, header))

    def close(self) -> None:
        """Destroy all publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = []


def _heard(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count())
