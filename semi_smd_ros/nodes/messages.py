# SPDX-License-Identifier: Apache-2.0
"""Results as ROS messages."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from ..rig import CameraModel, quaternion_from
from ..runtime import PackedCloud
from .odometry import Motion

MAX_MILLIMETRES = 65535


def depth_message(depth_hw: np.ndarray, header: Any, encoding: str = '32FC1') -> Image:
    """REP 118 depth image of metres (float32; NaN unknown, +inf too far to tell).

    '32FC1' keeps them. '16UC1' holds millimetres; 0 is what is unknown, or farther than 65.535 m.
    """
    if encoding == '32FC1':
        return _image(depth_hw.astype('<f4', copy=False), header, encoding)
    millimetres = np.rint(depth_hw * np.float32(1000))
    known = (millimetres >= 1) & (millimetres <= MAX_MILLIMETRES)
    return _image(np.where(known, millimetres, 0).astype('<u2'), header, encoding)


def label_message(labels_hw: np.ndarray, header: Any) -> Image:
    """Class indices (H,W) uint8 as mono8, 255 where nothing is known."""
    return _image(labels_hw, header, 'mono8')


def _image(pixels_hw: np.ndarray, header: Any, encoding: str) -> Image:
    height, width = pixels_hw.shape
    message = Image(header=header, height=height, width=width, encoding=encoding, is_bigendian=0)
    message.step = pixels_hw.itemsize * width
    # An array is taken as it is; bytes and numpy arrays are checked byte by byte on some distributions.
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(pixels_hw).data.cast('B'))
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


def odometry_message(motion: Motion, header: Header, child_frame: str) -> Odometry:
    """Pose of `child_frame` in the header's frame; twist in `child_frame`."""
    message = Odometry(header=header, child_frame_id=child_frame)
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
