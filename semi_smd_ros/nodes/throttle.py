# SPDX-License-Identifier: Apache-2.0
"""Warnings that repeat at most every few seconds, one by one for every camera and reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from typing import Any

PERIOD_S = 5.0


class ThrottledLogger:
    """Logs a message unless one with the same key was logged less than `period_s` ago. Thread-safe.

    rclpy throttles by line of code, so that one camera's warning would silence another's.
    """

    def __init__(self, logger: Any, period_s: float = PERIOD_S) -> None:
        self._logger = logger
        self._period_s = period_s
        self._last: dict[Hashable, float] = {}
        self._lock = threading.Lock()

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
            if now - self._last.get(key, -self._period_s) < self._period_s:
                return False
            self._last[key] = now
            return True
