# SPDX-License-Identifier: Apache-2.0
"""Looking up transforms with tf2_ros, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.time import Time

from ..rig import TransformError, transform_from
from .ros import tf2_ros


class TransformSource:
    """Listens to `/tf` and `/tf_static` for as long as it lives. Thread-safe."""

    def __init__(self, node: Any) -> None:
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        # A bag that loops sends old stamps again, and tf refuses whatever is older than its newest data.
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jump_handle = node.get_clock().create_jump_callback(
            backwards, post_callback=lambda jump: self._buffer.clear()
        )

    def lookup(self, target: str, source: str) -> np.ndarray:
        """`target_T_source` (4,4), the latest. Raises TransformError with tf's own words."""
        try:
            transform = self._buffer.lookup_transform(target, source, Time()).transform
        except tf2_ros.TransformException as error:
            raise TransformError(str(error)) from error
        t, q = transform.translation, transform.rotation
        return transform_from((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))

    def close(self) -> None:
        """Stop listening."""
        self._jump_handle.unregister()
        self._listener.unregister()
