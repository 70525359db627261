# SPDX-License-Identifier: Apache-2.0
"""Stand-in for `tf2_ros`: buffer, listener and broadcasters, on `rig.TransformTree`."""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Iterable
from typing import Any

import numpy as np
import rclpy.logging
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from rclpy.time import Time

from ...rig import (
    FrameMissing,
    TransformError,
    TransformExtrapolation,
    TransformTree,
    quaternion_from,
    transform_from,
)

try:
    from tf2_msgs.msg import TFMessage
except ImportError as error:
    raise ImportError(
        f'{error}; expected the message package tf2_msgs: where ROS comes from wheels, run tools/build_tf2_msgs.py '
        '(make demo does); elsewhere install ros-$ROS_DISTRO-tf2-msgs'
    ) from error


class TransformException(Exception):
    """Whatever keeps a transform from being given."""


class LookupException(TransformException):
    """A frame that nobody has published."""


class ConnectivityException(TransformException):
    """Two frames that are not connected."""


class ExtrapolationException(TransformException):
    """A time outside of what the buffer holds."""


class InvalidArgumentException(TransformException):
    """A frame name or a quaternion that cannot be."""


class TimeoutException(TransformException):
    """A transform that did not come in time."""


class Buffer:
    """Keeps what was published on `/tf` and `/tf_static` and answers look-ups. Thread-safe."""

    def __init__(self, cache_time: Duration | None = None, node: Any = None) -> None:
        seconds = 10.0 if cache_time is None else cache_time.nanoseconds * 1e-9
        self._tree = TransformTree(cache_time_s=seconds)
        self._static: dict[str, tuple[str, np.ndarray]] = {}
        self._lock = threading.RLock()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform at its stamp. Raises InvalidArgumentException for one that cannot be."""
        self._set(transform, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Store a transform for all time. Raises InvalidArgumentException for one that cannot be."""
        self._set(transform, static=True)

    def _set(self, transform: TransformStamped, static: bool) -> None:
        parent, child = _frame(transform.header.frame_id), _frame(transform.child_frame_id)
        t, q = transform.transform.translation, transform.transform.rotation
        try:
            parent_T_child = transform_from((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
            with self._lock:
                self._tree.set_transform(
                    parent, child, parent_T_child, Time.from_msg(transform.header.stamp).nanoseconds, static
                )
                if static:
                    self._static[child] = (parent, parent_T_child)
                else:
                    self._static.pop(child, None)
        # rclpy's Time raises ValueError for a stamp below zero.
        except ValueError as error:
            raise InvalidArgumentException(str(error)) from error

    def lookup_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Any,
        timeout: Duration = Duration(),  # noqa: B008
    ) -> TransformStamped:
        """`target_T_source` at a time (0: the latest); waits up to `timeout` for it.

        Raises LookupException, ConnectivityException or ExtrapolationException, naming the frames.
        """
        self.can_transform(target_frame, source_frame, time, timeout)
        stamp_ns = _nanoseconds(time)
        target_T_source = self._lookup(_frame(target_frame), _frame(source_frame), stamp_ns)
        result = TransformStamped()
        result.header.frame_id, result.child_frame_id = _frame(target_frame), _frame(source_frame)
        if stamp_ns == 0:
            stamp_ns = self._tree.latest_stamp(_frame(target_frame), _frame(source_frame)) or 0
        result.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        translation, rotation = result.transform.translation, result.transform.rotation
        translation.x, translation.y, translation.z = (float(v) for v in target_T_source[:3, 3])
        rotation.x, rotation.y, rotation.z, rotation.w = (float(v) for v in quaternion_from(target_T_source[:3, :3]))
        return result

    def can_transform(
        self,
        target_frame: str,
        source_frame: str,
        time: Any,
        timeout: Duration = Duration(),  # noqa: B008
        return_debug_tuple: bool = False,
    ) -> Any:
        """Whether `lookup_transform` would succeed; with `return_debug_tuple`, also why not."""
        deadline = clock.monotonic() + timeout.nanoseconds * 1e-9
        while True:
            problem = ''
            try:
                self._lookup(_frame(target_frame), _frame(source_frame), _nanoseconds(time))
            except TransformException as error:
                problem = str(error)
            if not problem or clock.monotonic() >= deadline:
                return (not problem, problem) if return_debug_tuple else not problem
            clock.sleep(0.02)

    def _lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        try:
            return self._tree.lookup(target, source, stamp_ns or None)
        except FrameMissing as error:
            known = self._tree.frames()
            unknown = [frame for frame in (target, source) if frame not in known]
            raise (LookupException if unknown else ConnectivityException)(str(error)) from error
        except TransformExtrapolation as error:
            raise ExtrapolationException(str(error)) from error
        except TransformError as error:
            raise ConnectivityException(str(error)) from error

    def clear(self) -> None:
        """Forget what moves. Static transforms stay, as upstream: nobody sends them twice."""
        with self._lock:
            self._tree.clear()
            for child, (parent, parent_T_child) in self._static.items():
                self._tree.set_transform(parent, child, parent_T_child, static=True)


class TransformListener:
    """Fills a buffer from `/tf` and `/tf_static`; the node's executor does the work."""

    def __init__(
        self,
        buffer: Buffer,
        node: Any,
        *,
        spin_thread: bool = False,
        qos: QoSProfile | int | None = None,
        static_qos: QoSProfile | int | None = None,
    ) -> None:
        if spin_thread:
            raise ValueError('spin_thread=True; expected False: spin the node that was given')
        self.buffer = buffer
        self.node = node
        self.group = ReentrantCallbackGroup()
        self.tf_sub = node.create_subscription(
            TFMessage, '/tf', self.callback, 100 if qos is None else qos, callback_group=self.group
        )
        self.tf_static_sub = node.create_subscription(
            TFMessage, '/tf_static', self.static_callback,
            _static_qos(100) if static_qos is None else static_qos, callback_group=self.group,
        )  # fmt: skip

    def callback(self, data: TFMessage) -> None:
        """Store moving transforms."""
        for transform in data.transforms:
            self._store(self.buffer.set_transform, transform)

    def static_callback(self, data: TFMessage) -> None:
        """Store static transforms."""
        for transform in data.transforms:
            self._store(self.buffer.set_transform_static, transform)

    def _store(self, setter: Any, transform: TransformStamped) -> None:
        try:
            setter(transform, 'default_authority')
        except InvalidArgumentException as error:
            rclpy.logging.get_logger('tf2_ros').warning(f'transform ignored: {error}', throttle_duration_sec=10.0)

    def unregister(self) -> None:
        """Drop both subscriptions."""
        self.node.destroy_subscription(self.tf_sub)
        self.node.destroy_subscription(self.tf_static_sub)


class TransformBroadcaster:
    """Publishes moving transforms on `/tf`."""

    def __init__(self, node: Any, qos: QoSProfile | int | None = None) -> None:
        self.pub_tf = node.create_publisher(TFMessage, '/tf', 100 if qos is None else qos)

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Publish one transform or several."""
        transforms = [transform] if isinstance(transform, TransformStamped) else list(transform)
        self.pub_tf.publish(TFMessage(transforms=transforms))


class StaticTransformBroadcaster:
    """Publishes static transforms on `/tf_static`, all that were ever sent, for whoever comes later."""

    def __init__(self, node: Any, qos: QoSProfile | int | None = None) -> None:
        self.net_message = TFMessage()
        self._sent: dict[str, TransformStamped] = {}
        self.pub_tf = node.create_publisher(TFMessage, '/tf_static', _static_qos(1) if qos is None else qos)

    def sendTransform(self, transform: TransformStamped | Iterable[TransformStamped]) -> None:
        """Add one transform or several and publish all; a child that was sent before is replaced."""
        transforms = [transform] if isinstance(transform, TransformStamped) else list(transform)
        self._sent.update({item.child_frame_id: item for item in transforms})
        self.net_message = TFMessage(transforms=list(self._sent.values()))
        self.pub_tf.publish(self.net_message)


def _static_qos(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, durability=DurabilityPolicy.TRANSIENT_LOCAL, history=HistoryPolicy.KEEP_LAST)


def _frame(name: str) -> str:
    # tf2 has no leading slashes; old recordings do.
    return name.removeprefix('/')


def _nanoseconds(time: Any) -> int:
    return int(time.nanoseconds if hasattr(time, 'nanoseconds') else Time.from_msg(time).nanoseconds)
