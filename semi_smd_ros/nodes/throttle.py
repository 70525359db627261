# SPDX-License-Identifier: Apache-2.0
"""Warnings that repeat at most every few seconds, one by one for every camera and reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from typing import Any

PERIOD_S = 5.0
# Keys are cameras times reasons, both few; whatever makes more of them must not make memory grow.
MAX_KEYS = 1000


class ThrottledLogger:
    """Logs a message unless one with the same key was logged less than `period_s` ago. Thread-safe.

    rclpy throttles by line of code, so that one camera's warning would silence another's.
    """

    def __init__(self, logger: Any, period_s: float = PERIOD_S) -> None:
        self._logger = logger
        self.period_s = period_s
        self._last: dict[Hashable, float] = {}
        self._lock = threading.Lock()

    def info(self, key: Hashable, message: str) -> None:
        """Log at INFO."""
        if self._is_due(key):
            self._logger.info(message)

    def warning(self, key: Hashable, message: str) -> None:
        """Log at WARN."""
        if self._is_due(key):
            self._logger.warning(message)

    def error(self, key: Hashable, message: str) -> None:
        """Log at ERROR."""
        if self._is_due(key):
            self._logger.error(message)

    def _is_due(self, key: Hashable) -> bool:
        now = time.monotonic()
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < self.period_s:
                return False
            if len(self._last) >= MAX_KEYS:
                self._last.clear()
            self._last[key] = now
            return True
