# SPDX-License-Identifier: Apache-2.0
"""Counts and times of one camera's messages."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

from .images import ReceivedImage

RATE_WINDOW_S = 5.0
MAX_ARRIVALS = 2000


class CameraStats:
    """What is known of one camera's messages, from configure to cleanup. Thread-safe.

    `picture` is what is odd about the picture itself ('' or a sentence), `stamp_stands_s` for how long images have had
    the same stamp.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrivals: deque[float] = deque(maxlen=MAX_ARRIVALS)
        self._rejected: Counter[str] = Counter()
        self._listening_since = time.monotonic()
        self.received = 0
        self.lost = 0
        self.missing = 0
        self.last_stamp_ns: int | None = None
        self.stamp_stands_s = 0.0
        self._stamp_came = 0.0
        self._clock_s = 0.0
        self.image_frame_id = ''
        self.last_problem = ''
        self.picture = ''

    def listen(self) -> None:
        """Note that subscriptions were made just now: silence counts from here."""
        with self._lock:
            self._arrivals.clear()
            self._listening_since = time.monotonic()
            self.last_stamp_ns = None
            self.stamp_stands_s = 0.0
            self.picture = ''

    def image(self, received: ReceivedImage) -> None:
        """Note one image."""
        with self._lock:
            now = time.monotonic()
            self._arrivals.append(now)
            self.received += 1
            if received.stamp_ns != self.last_stamp_ns:
                self._stamp_came = now
            self.stamp_stands_s = now - self._stamp_came
            self.last_stamp_ns = received.stamp_ns
            self._clock_s = received.stamp_ns * 1e-9 - now
            self.image_frame_id = received.header.frame_id

    def reject(self, reason: str, problem: str) -> None:
        """Note one image that could not be used."""
        with self._lock:
            self._rejected[reason] += 1
            self.last_problem = problem

    def lose(self, count: int) -> None:
        """Note images that the middleware says it has lost."""
        with self._lock:
            self.lost += count

    def miss(self) -> None:
        """Note a set that went on without this camera."""
        with self._lock:
            self.missing += 1

    def ahead_of_s(self, other: CameraStats) -> float:
        """Seconds by which this camera's stamps are ahead of another's, whichever of them sent something last."""
        if self.last_stamp_ns is None or other.last_stamp_ns is None:
            return 0.0
        stamps, clocks = (self.last_stamp_ns - other.last_stamp_ns) * 1e-9, self._clock_s - other._clock_s
        return min(stamps, clocks, key=abs)

    def rejections(self) -> dict[str, int]:
        """Unusable images by reason."""
        with self._lock:
            return dict(self._rejected)

    def has_arrived(self) -> bool:
        """Whether any image has come since `listen`."""
        with self._lock:
            return bool(self._arrivals)

    def rate(self) -> float:
        """Images per second over the last seconds."""
        with self._lock:
            now = time.monotonic()
            recent = [at for at in self._arrivals if at > now - RATE_WINDOW_S]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(recent[-1] - recent[0], 1e-6)

    def silence_s(self) -> float:
        """Seconds since the last image, or since `listen` where there was none."""
        with self._lock:
            return time.monotonic() - (self._arrivals[-1] if self._arrivals else self._listening_since)
