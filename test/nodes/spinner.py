# SPDX-License-Identifier: Apache-2.0
"""A thread that spins a node of a test's own."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor


class Spinner:
    """Spins `node`, in `context` if given, until it is closed."""

    def __init__(self, node: Any, context: Any = None) -> None:
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._closing.is_set():
            # A test may destroy what is being waited for, and the next turn does without it.
            with contextlib.suppress(InvalidHandle):
                self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join()
        self.executor.shutdown()
