# SPDX-License-Identifier: Apache-2.0
"""Looking up transforms with tf2_ros, as arrays, at the stamp of an image."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.time import Time

from ..rig import TransformError, transform_from
from .ros import tf2_ros

# A transform this far in the future has a wrong stamp, and tf keeps nothing that is older by its cache of ten seconds.
FUTURE_NS = 10_000_000_000
FORGET_EVERY_S = 5.0


class TransformSource:
    """Listens to `/tf` and `/tf_static` for as long as it lives. Thread-safe.

    `max_age_s` is how much older than the asked stamp a moving transform may be; it may change at any time.
    `on_jump_back` is called, in the node's executor, when the clock of the node (`/clock`) goes back.
    """

    def __init__(self, node: Any, max_age_s: float, on_jump_back: Callable[[], None]) -> None:
        self.max_age_s = max_age_s
        self._on_jump_back = on_jump_back
        self._clock = node.get_clock()
        self._forgot_at = -FORGET_EVERY_S
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jump_handle = self._clock.create_jump_callback(backwards, post_callback=self._jumped)

    def lookup(self, target: str, source: str, stamp_ns: int | None) -> np.ndarray:
        """`target_T_source` (4,4) at a stamp; None: the latest.

        A static transform holds for every stamp and a moving one is interpolated. The transform of now often arrives
        after the image of now: waiting for it would delay every set, so the newest one serves while it is at most
        `max_age_s` away. Raises TransformError with tf's own words, or RigError for numbers that are no transform.
        """
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns or 0))
        except tf2_ros.ExtrapolationException as error:
            found = self._newest(target, source, stamp_ns or 0, error)
        except tf2_ros.TransformException as error:
            raise TransformError(str(error).strip(' .')) from error
        t, q = found.transform.translation, found.transform.rotation
        return transform_from((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))

    def _newest(self, target: str, source: str, stamp_ns: int, error: Exception) -> Any:
        try:
            newest = self._buffer.lookup_transform(target, source, Time())
        except tf2_ros.TransformException:
            raise TransformError(str(error).strip(' .')) from error
        newest_ns = Time.from_msg(newest.header.stamp).nanoseconds
        age_s = (stamp_ns - newest_ns) * 1e-9
        if abs(age_s) > self.max_age_s:
            self._heal(newest_ns)
            raise TransformError(
                f'the newest transform is {abs(age_s):.3f} s {"older" if age_s > 0 else "newer"} than the image; '
                f'expected at most tf.max_age = {self.max_age_s:g} s: is its publisher alive, and on the same clock?'
            ) from error
        return newest

    def _heal(self, newest_ns: int) -> None:
        """One transform from the future makes tf refuse all that follow it: begin anew, but not all the time."""
        is_due = time.monotonic() - self._forgot_at >= FORGET_EVERY_S
        if is_due and newest_ns > self._clock.now().nanoseconds + FUTURE_NS:
            self._forgot_at = time.monotonic()
            self.forget_moving()

    def forget_moving(self) -> None:
        """Forget what moves: after time has gone back tf refuses whatever is older than its newest data."""
        self._buffer.clear()

    def _jumped(self, jump: Any) -> None:
        self.forget_moving()
        self._on_jump_back()

    def close(self) -> None:
        """Stop listening."""
        self._jump_handle.unregister()
        self._listener.unregister()
