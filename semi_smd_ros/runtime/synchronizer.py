# SPDX-License-Identifier: Apache-2.0
"""Approximate-time synchronising of N camera streams."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SynchronizedSet:
    """One item of every stream, in the streams' order. `stamp_ns` is the newest of `stamps_ns`."""

    stamp_ns: int
    stamps_ns: tuple[int, ...]
    items: tuple[Any, ...]


@dataclass
class _Group:
    """Messages that belong to one moment. Every pair of its stamps is within the slop."""

    oldest_ns: int
    newest_ns: int
    members: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def spread_with(self, stamp_ns: int) -> int:
        return max(self.newest_ns, stamp_ns) - min(self.oldest_ns, stamp_ns)


class SurroundSynchronizer:
    """Gathers messages whose stamps lie within `slop_s` of each other into sets, one message a stream.

    A message joins the pending group that it fits most tightly or opens a new one, so the cost of a message is
    a look at the few groups pending, whatever the number of streams. A group that is complete is handed over at
    once, and groups older than it are dropped, since the newest complete set wins. Sets never go back in time; a
    stamp more than `jump_s` before the last set means that time itself jumped (a bag that loops): everything is
    forgotten and synchronising starts anew. Thread-safe; callbacks are never called under the lock.

    Parameters: `streams` (names), `slop_s` (largest spread of a set, seconds; smaller than half the frame period
    keeps frames apart for certain), `queue_size` (groups that may be pending).
    """

    def __init__(self, streams: Sequence[str], slop_s: float = 0.05, queue_size: int = 10, jump_s: float = 1.0) -> None:
        if not streams or len(set(streams)) != len(streams):
            raise ValueError(f'streams are {list(streams)}; expected at least one name, each once')
        if slop_s < 0 or queue_size < 1 or jump_s <= 0:
            raise ValueError(
                f'slop_s={slop_s}, queue_size={queue_size}, jump_s={jump_s}; expected slop >= 0, queue >= 1, jump > 0'
            )
        self.streams = tuple(streams)
        self._index = {name: i for i, name in enumerate(self.streams)}
        self.slop_ns = round(slop_s * 1e9)
        self._jump_ns = round(jump_s * 1e9)
        self._pending: deque[_Group] = deque()
        self._queue_size = queue_size
        self._last_ns: int | None = None
        self._callbacks: list[Callable[[SynchronizedSet], None]] = []
        self._lock = threading.Lock()
        # Messages, except `sets` and `resets`.
        self._counters = dict.fromkeys(('sets', 'incomplete', 'late', 'duplicate', 'resets'), 0)

    def registerCallback(self, callback: Callable[[SynchronizedSet], None]) -> None:
        """Call `callback` with every completed set, in the thread that added its last message."""
        self._callbacks.append(callback)

    def add(self, stream: str | int, stamp_ns: int, item: Any) -> SynchronizedSet | None:
        """Take one message; returns the set that it completes, if it does. Callbacks have run by then."""
        index = self._index[stream] if isinstance(stream, str) else stream
        with self._lock:
            complete = self._add(index, stamp_ns, item)
        if complete is not None:
            for callback in self._callbacks:
                callback(complete)
        return complete

    def reset(self) -> None:
        """Forget all pending messages and the last set's stamp."""
        with self._lock:
            self._reset()

    @property
    def counters(self) -> dict[str, int]:
        """Sets formed; messages dropped as incomplete, late or duplicate; resets."""
        with self._lock:
            return dict(self._counters)

    def waiting_for(self) -> list[str]:
        """Streams that the fullest pending group still lacks; all streams when nothing is pending."""
        with self._lock:
            fullest = max(self._pending, key=lambda group: len(group.members), default=None)
            return [name for i, name in enumerate(self.streams) if fullest is None or i not in fullest.members]

    def _reset(self) -> None:
        self._counters['incomplete'] += sum(len(group.members) for group in self._pending)
        self._counters['resets'] += 1
        self._pending.clear()
        self._last_ns = None

    def _add(self, index: int, stamp_ns: int, item: Any) -> SynchronizedSet | None:
        if self._last_ns is not None and stamp_ns <= self._last_ns:
            if stamp_ns >= self._last_ns - self._jump_ns:
                self._counters['late'] += 1
                return None
            self._reset()
        group = self._group_for(index, stamp_ns)
        if group is None:
            return None
        group.members[index] = (stamp_ns, item)
        group.oldest_ns = min(group.oldest_ns, stamp_ns)
        group.newest_ns = max(group.newest_ns, stamp_ns)
        return self._complete(group) if len(group.members) == len(self.streams) else None

    def _group_for(self, index: int, stamp_ns: int) -> _Group | None:
        best: _Group | None = None
        for group in self._pending:
            member = group.members.get(index)
            if member is not None:
                if member[0] == stamp_ns:
                    self._counters['duplicate'] += 1
                    return None
                continue
            spread = group.spread_with(stamp_ns)
            if spread <= self.slop_ns and (best is None or spread < best.spread_with(stamp_ns)):
                best = group
        if best is None:
            best = _Group(stamp_ns, stamp_ns)
            self._pending.append(best)
            if len(self._pending) > self._queue_size:
                oldest = min(self._pending, key=lambda group: group.newest_ns)
                self._pending.remove(oldest)
                self._counters['incomplete'] += len(oldest.members)
                if oldest is best:
                    self._counters['incomplete'] += 1
                    return None
        return best

    def _complete(self, group: _Group) -> SynchronizedSet:
        older = [g for g in self._pending if g is not group and g.newest_ns <= group.newest_ns]
        self._counters['incomplete'] += sum(len(g.members) for g in older)
        self._pending = deque(g for g in self._pending if g.newest_ns > group.newest_ns)
        self._counters['sets'] += 1
        self._last_ns = group.newest_ns
        members = [group.members[i] for i in range(len(self.streams))]
        return SynchronizedSet(group.newest_ns, tuple(m[0] for m in members), tuple(m[1] for m in members))
