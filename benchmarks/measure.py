# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: timing side by side, and a table of figures with their limits."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured figure; `limit` is the most that it may be (None: told, not judged), `note` says what it is."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ''

    @property
    def is_within(self) -> bool:
        """Whether it keeps its limit."""
        return self.limit is None or self.value <= self.limit


def cpu_ms(runs: int = 15, **works: Callable[[], Any]) -> dict[str, float]:
    """Median CPU milliseconds (all threads) of one call of each work; they take turns, so that load hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for run in range(runs + 1):
        for name, work in works.items():
            start = time.process_time()
            work()
            if run:
                times[name].append((time.process_time() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def show(figures: Sequence[Figure], as_json: bool) -> int:
    """Print the figures; returns the exit code: 1 where a limit is broken."""
    if as_json:
        rows = [{**asdict(figure), 'within': figure.is_within} for figure in figures]
        sys.stdout.write(json.dumps(rows, indent=2) + '\n')
    else:
        width = max(len(figure.name) for figure in figures)
        for figure in figures:
            limit = '' if figure.limit is None else f'limit {figure.limit:g}' + ('' if figure.is_within else '  OVER')
            sys.stdout.write(f'{figure.name:{width}} {figure.value:9.2f} {figure.unit:6} {limit:18} {figure.note}\n')
    return 0 if all(figure.is_within for figure in figures) else 1
