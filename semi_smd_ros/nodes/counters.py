# SPDX-License-Identifier: Apache-2.0
"""Where the sets went."""

from __future__ import annotations

import threading
import time
from collections import Counter


class SetCounters:
    """Every set that came in is published, dropped for a reason, or in work. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in = 0
        self._out = 0
        self._dropped: Counter[str] = Counter()
        self._last_in = time.monotonic()
        self.last_problem = ''

    def listen(self) -> None:
        """Note that sets may come from now on: silence counts from here."""
        self._last_in = time.monotonic()

    def silence_s(self) -> float:
        """Seconds since the last set came in, or since `listen`."""
        return time.monotonic() - self._last_in

    def came_in(self) -> None:
        """Count one set."""
        with self._lock:
            self._in += 1
            self._last_in = time.monotonic()

    def went_out(self) -> None:
        """Count one published set."""
        with self._lock:
            self._out += 1
            self.last_problem = ''

    def drop(self, reason: str, problem: str = '') -> None:
        """Count one set that was not published."""
        with self._lock:
            self._dropped[reason] += 1
            self.last_problem = problem or self.last_problem

    def forgive(self) -> None:
        """Forget the last problem: nothing is published, and nothing is wrong."""
        self.last_problem = ''

    def summary(self) -> tuple[int, int, dict[str, int]]:
        """(in, out, dropped by reason)."""
        with self._lock:
            return self._in, self._out, dict(self._dropped)
