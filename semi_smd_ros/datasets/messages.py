# SPDX-License-Identifier: Apache-2.0
"""ROS messages made and read with the rosbags library: recordings without a ROS installation."""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from ..rig import RigCamera, quaternion_from
from .sample import RawImage

# The oldest distribution that we serve: what is written with it reads everywhere.
TYPESTORE = get_typestore(Stores.ROS2_HUMBLE)
_FLOAT32 = 7


def message(name: str) -> Any:
    """The class of a message type such as 'sensor_msgs/msg/Image'."""
    return TYPESTORE.types[name]


def time_message(stamp_ns: int) -> Any:
    """builtin_interfaces/Time of a stamp in nanoseconds."""
    return message('builtin_interfaces/msg/Time')(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def header(stamp_ns: int, frame_id: str) -> Any:
    """std_msgs/Header."""
    return message('std_msgs/msg/Header')(stamp=time_message(stamp_ns), frame_id=frame_id)


def stamp_of(msg: Any) -> int:
    """Nanoseconds of a stamped message's header."""
    return int(msg.header.stamp.sec) * 10**9 + int(msg.header.stamp.nanosec)


def camera_info(camera: RigCamera, stamp_ns: int) -> Any:
    """CameraInfo of a rig's camera."""
    model = camera.model
    projection = np.zeros((3, 4))
    projection[:, :3] = model.K if model.P is None else model.P
    roi = message('sensor_msgs/msg/RegionOfInterest')(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return message('sensor_msgs/msg/CameraInfo')(
        header=header(stamp_ns, camera.frame_id),
        height=model.height,
        width=model.width,
        distortion_model=model.distortion_model,
        # Readers of plumb_bob expect five coefficients, also where the lens is ideal.
        d=model.D if model.D.size else np.zeros(4 if model.distortion_model == 'equidistant' else 5),
        k=model.K.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def compressed_image(data: bytes, format: str, stamp_ns: int, frame_id: str) -> Any:
    """CompressedImage of encoded bytes."""
    return message('sensor_msgs/msg/CompressedImage')(
        header=header(stamp_ns, frame_id), format=format, data=np.frombuffer(data, np.uint8)
    )


def raw_image(pixels_hw3: np.ndarray, encoding: str, stamp_ns: int, frame_id: str) -> Any:
    """Image of (H,W) or (H,W,C) pixels whose bytes are what `encoding` says, little-endian."""
    height, width = pixels_hw3.shape[:2]
    flat = np.ascontiguousarray(pixels_hw3).reshape(-1).view(np.uint8)
    return image_message(
        RawImage(flat.tobytes(), height, width, flat.size // height, encoding), stamp_ns, frame_id
    )  # fmt: skip


def image_message(image: RawImage, stamp_ns: int, frame_id: str) -> Any:
    """Image of a picture that is raw already."""
    return message('sensor_msgs/msg/Image')(
        header=header(stamp_ns, frame_id),
        height=image.height,
        width=image.width,
        encoding=image.encoding,
        is_bigendian=int(image.is_bigendian),
        step=image.step,
        data=np.frombuffer(image.data, np.uint8),
    )


def read_image_message(msg: Any) -> RawImage:
    """An Image message as a picture that is raw."""
    return RawImage(
        bytes(memoryview(msg.data)), int(msg.height), int(msg.width), int(msg.step), str(msg.encoding),
        bool(msg.is_bigendian),
    )  # fmt: skip


def read_map(msg: Any, encoding: str) -> np.ndarray:
    """(H,W) of a ground-truth Image: float32 of 32FC1, uint8 of mono8. ValueError when it is not that."""
    dtype = {'32FC1': '<f4', 'mono8': '|u1'}[encoding]
    step = msg.width * np.dtype(dtype).itemsize
    if msg.encoding != encoding or msg.step != step or len(msg.data) != step * msg.height or msg.is_bigendian:
        raise ValueError(
            f'image is {msg.encoding}, {msg.width}x{msg.height}, step {msg.step}, {len(msg.data)} bytes; '
            f'expected {encoding} with step {step}'
        )
    return np.frombuffer(memoryview(msg.data), dtype).reshape(msg.height, msg.width)


def transform_stamped(parent: str, child: str, parent_T_child: np.ndarray, stamp_ns: int) -> Any:
    """TransformStamped of a (4,4) matrix."""
    x, y, z = (float(v) for v in parent_T_child[:3, 3])
    qx, qy, qz, qw = (float(v) for v in quaternion_from(parent_T_child[:3, :3]))
    return message('geometry_msgs/msg/TransformStamped')(
        header=header(stamp_ns, parent),
        child_frame_id=child,
        transform=message('geometry_msgs/msg/Transform')(
            translation=message('geometry_msgs/msg/Vector3')(x=x, y=y, z=z),
            rotation=message('geometry_msgs/msg/Quaternion')(x=qx, y=qy, z=qz, w=qw),
        ),
    )


def points_message(points_n3: np.ndarray, stamp_ns: int, frame_id: str) -> Any:
    """PointCloud2 with x, y, z as float32, unordered."""
    field = message('sensor_msgs/msg/PointField')
    points = np.ascontiguousarray(points_n3, dtype='<f4')
    return message('sensor_msgs/msg/PointCloud2')(
        header=header(stamp_ns, frame_id),
        height=1,
        width=len(points),
        fields=[field(name=n, offset=4 * i, datatype=_FLOAT32, count=1) for i, n in enumerate('xyz')],
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        data=points.reshape(-1).view(np.uint8),
        is_dense=True,
    )


def read_xyz(msg: Any) -> np.ndarray:
    """The x, y, z fields (float32) of a PointCloud2 as (M,3) float32. ValueError when it lacks one."""
    offsets = {field.name: field.offset for field in msg.fields if field.datatype == _FLOAT32}
    missing = [name for name in 'xyz' if name not in offsets]
    if missing:
        raise ValueError(f'PointCloud2 has float32 fields {sorted(offsets)}; expected x, y, z')
    dtype = np.dtype(
        {'names': ['x', 'y', 'z'], 'formats': ['<f4'] * 3, 'offsets': [offsets[n] for n in 'xyz'],
         'itemsize': int(msg.point_step)}
    )  # fmt: skip
    records = np.frombuffer(memoryview(msg.data), dtype, count=int(msg.width) * int(msg.height))
    return np.column_stack([records['x'], records['y'], records['z']])
