# SPDX-License-Identifier: Apache-2.0
"""One thread that works on the newest item; while it is busy, one item waits and older ones are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')


class NewestWorker(Generic[T]):
    """Runs `process` in its own thread, always on the newest item given.

    `process` returns False for an item that cannot be used yet: it is kept, unless a newer one came, and tried
    again after `wake`, or after `retry_s` seconds. `dropped(item, reason)` is told of every item that is never
    processed: 'superseded' by a newer one, or 'deactivated' because the worker stopped first. `process` must
    not raise: an exception would end the thread.
    """

    def __init__(self, process: Callable[[T], bool], dropped: Callable[[T, str], None], retry_s: float = 0.05) -> None:
        self._process = process
        self._dropped = dropped
        self._retry_s = retry_s
        self._condition = threading.Condition()
        self._waiting: T | None = None
        self._fresh = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name='surround_depth_worker', daemon=True)

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def submit(self, item: T) -> None:
        """Give the newest item. Never blocks for the work itself."""
        with self._condition:
            stopping, superseded = self._stopping, self._waiting
            if not stopping:
                self._waiting, self._fresh = item, True
                self._condition.notify()
        if stopping:
            self._dropped(item, 'deactivated')
        elif superseded is not None:
            self._dropped(superseded, 'superseded')

    @property
    def is_behind(self) -> bool:
        """Whether an item waits: what comes now may never be worked on."""
        return self._waiting is not None

    def wake(self) -> None:
        """Try the waiting item again now, if there is one."""
        with self._condition:
            self._fresh = self._waiting is not None
            self._condition.notify()

    def stop(self) -> None:
        """Finish the item in work, drop the waiting one, and end the thread. Returns when it has ended."""
        with self._condition:
            self._stopping = True
            waiting, self._waiting = self._waiting, None
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()
        # An item that was in work and could not be used yet is put back after the lines above.
        for item in (waiting, self._waiting):
            if item is not None:
                self._dropped(item, 'deactivated')
        self._waiting = None

    def _run(self) -> None:
        while (item := self._take()) is not None:
            if self._process(item):
                continue
            with self._condition:
                newer = self._waiting is not None
                if not newer:
                    self._waiting, self._fresh = item, False
            if newer:
                self._dropped(item, 'superseded')

    def _take(self) -> T | None:
        with self._condition:
            if self._waiting is not None and not self._fresh and not self._stopping:
                self._condition.wait(self._retry_s)
            while self._waiting is None and not self._stopping:
                self._condition.wait()
            if self._stopping:
                return None
            item, self._waiting, self._fresh = self._waiting, None, False
            return item
