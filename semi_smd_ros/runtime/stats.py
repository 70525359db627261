# SPDX-License-Identifier: Apache-2.0
"""How long each stage takes: the last sets' times, as percentiles."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class StageTimes:
    """Times per named stage over a bounded window of sets. Thread-safe."""

    def __init__(self, window: int = 1000) -> None:
        self._window = window
        self._times_ms: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Time the body of a `with` block; a body that raises is not counted."""
        start = time.perf_counter()
        yield
        self.add(stage, (time.perf_counter() - start) * 1e3)

    def add(self, stage: str, milliseconds: float) -> None:
        """Add one measured time."""
        with self._lock:
            self._times_ms.setdefault(stage, deque(maxlen=self._window)).append(milliseconds)

    def times(self) -> dict[str, list[float]]:
        """{stage: milliseconds of each set in the window, oldest first}."""
        with self._lock:
            return {stage: list(values) for stage, values in self._times_ms.items()}

    def clear(self) -> None:
        """Forget all times: what is measured from here on is not what came before."""
        with self._lock:
            self._times_ms.clear()

    def summary(self) -> dict[str, dict[str, float]]:
        """{stage: {p50, p95 (ms), n}}."""
        return {
            stage: {'p50': float(np.percentile(v, 50)), 'p95': float(np.percentile(v, 95)), 'n': len(v)}
            for stage, v in self.times().items()
        }
