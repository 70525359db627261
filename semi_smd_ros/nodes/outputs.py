# SPDX-License-Identifier: Apache-2.0
"""The node's publishers. What nobody listens to is neither computed nor sent."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from ..rig import CameraModel, quaternion_from
from ..runtime import PackedCloud, SurroundDepth
from .odometry import OdometryIntegrator

OUTPUT_DEPTH = 5
ODOMETRY_FRAME = 'odom'


class Outputs:
    """Publishers of every camera's depth and CameraInfo, the cloud and the odometry."""

    def __init__(self, node: Any, camera_names: Sequence[str], base_frame: str) -> None:
        qos = QoSProfile(depth=OUTPUT_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        create = node.create_lifecycle_publisher
        self._node = node
        self._base_frame = base_frame
        self._depths = [create(Image, f'{name}/depth/image', qos) for name in camera_names]
        self._infos = [create(CameraInfo, f'{name}/depth/camera_info', qos) for name in camera_names]
        self._points = create(PointCloud2, '~/points', qos)
        self._odometry = create(Odometry, '~/odometry', qos)
        self._integrator = OdometryIntegrator()
        self._was_integrating = False

    @property
    def wants_cloud(self) -> bool:
        """Whether anyone listens to the cloud."""
        return bool(self._points.get_subscription_count())

    def publish(self, depth: SurroundDepth, headers: Sequence[Any], cloud: PackedCloud | None) -> None:
        """Publish one result. `headers` are those of the source images; `cloud` is None where nobody wants one."""
        for i, header in enumerate(headers):
            if not depth.camera_valid[i]:
                continue
            if self._depths[i].get_subscription_count():
                self._depths[i].publish(depth_message(depth.depth_nhw[i], header))
            if self._infos[i].get_subscription_count():
                self._infos[i].publish(camera_info_message(depth.rectified.cameras[i].model, header))
        reference = Header(stamp=Time(nanoseconds=depth.stamp_ns).to_msg(), frame_id=self._base_frame)
        if cloud is not None:
            self._points.publish(cloud_message(cloud, reference))
        wanted = self._odometry.get_subscription_count() > 0
        if wanted:
            # Motion that nobody integrated is as unknown as motion across a wiped memory.
            motion = depth.prev_T_now if self._was_integrating else None
            self._odometry.publish(self._odometry_message(depth.stamp_ns, motion, reference))
        self._was_integrating = wanted

    def _odometry_message(self, stamp_ns: int, prev_T_now: np.ndarray | None, reference: Header) -> Odometry:
        motion = self._integrator.update(stamp_ns, prev_T_now)
        message = Odometry(child_frame_id=self._base_frame)
        message.header = Header(stamp=reference.stamp, frame_id=ODOMETRY_FRAME)
        position, orientation = message.pose.pose.position, message.pose.pose.orientation
        position.x, position.y, position.z = (float(v) for v in motion.odom_T_base[:3, 3])
        orientation.x, orientation.y, orientation.z, orientation.w = (
            float(v) for v in quaternion_from(motion.odom_T_base[:3, :3])
        )
        linear, angular = message.twist.twist.linear, message.twist.twist.angular
        linear.x, linear.y, linear.z = (float(v) for v in motion.twist_6[:3])
        angular.x, angular.y, angular.z = (float(v) for v in motion.twist_6[3:])
        message.pose.covariance = motion.pose_covariance_66.ravel()
        message.twist.covariance = motion.twist_covariance_66.ravel()
        return message

    def close(self) -> None:
        """Destroy all publishers."""
        for publisher in (*self._depths, *self._infos, self._points, self._odometry):
            self._node.destroy_lifecycle_publisher(publisher)


def depth_message(depth_hw: np.ndarray, header: Any) -> Image:
    """REP 118 depth image: 32FC1, metres, NaN unknown, +inf too far to tell."""
    height, width = depth_hw.shape
    message = Image(header=header, height=height, width=width, encoding='32FC1', is_bigendian=0, step=4 * width)
    # An array is taken as it is; bytes and numpy arrays are checked byte by byte on some distributions.
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(depth_hw, dtype='<f4').data.cast('B'))
    message.data = data
    return message


def camera_info_message(model: CameraModel, header: Any) -> CameraInfo:
    """CameraInfo of a rectified camera of the published size."""
    message = CameraInfo(header=header, height=model.height, width=model.width, distortion_model='plumb_bob')
    message.d = [0.0] * 5
    message.k = model.K.ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([model.K, np.zeros((3, 1))]).ravel()
    return message


def cloud_message(cloud: PackedCloud, header: Any) -> PointCloud2:
    """One row of packed points."""
    message = PointCloud2(header=header, height=1, width=cloud.n_points, is_bigendian=False, is_dense=True)
    message.fields = [
        PointField(name=name, offset=offset, datatype=datatype, count=count)
        for name, offset, datatype, count in cloud.fields
    ]
    message.point_step = cloud.point_step
    message.row_step = cloud.point_step * cloud.n_points
    message.data = cloud.data
    return message
