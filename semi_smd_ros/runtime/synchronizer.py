# SPDX-License-Identifier: Apache-2.0
"""Approximate-time synchronising of N camera streams: sets of one message a stream, whole or with gaps."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .frame_group import Group, GroupSettings
from .frame_groups import FrameGroups

DROP_REASONS = ('incomplete', 'late', 'duplicate', 'overflow', 'jump', 'reset')


@dataclass(frozen=True)
class SynchronizedSet:
    """One item of every stream, in the streams' order; None, and no stamp, for a stream that the set went without.

    `stamp_ns` is the newest of `stamps_ns`.
    """

    stamp_ns: int
    stamps_ns: tuple[int | None, ...]
    items: tuple[Any, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Indices of the streams that the set went without."""
        return tuple(i for i, stamp in enumerate(self.stamps_ns) if stamp is None)

    @property
    def is_complete(self) -> bool:
        """Whether every stream is in the set."""
        return None not in self.stamps_ns


class SurroundSynchronizer:
    """Gathers messages whose stamps lie within `slop` seconds of each other into sets, at most one message a stream.

    A message joins the fullest pending set that it fits, or opens a new one. Where the slop is more than half the
    frame period, and could mix frames, the period is learned from the stamps and sets are kept within one frame.
    Sets are released in the order of time and never go back. One is released as soon as it is complete, and given up
    as soon as every stream that it lacks has sent something newer.

    With `missing_after` (seconds), sets of at least `min_streams` streams (default: half of them, rounded up) are
    released instead of given up, and a set waits no longer than that: until a stream that is in the set has sent
    something `missing_after` newer, or `poll` says that the time has passed. A stream that five sets in a row went
    without is not waited for until it is heard again.

    Without `poll`, the sets are a function of the messages' order alone, so that an offline replay forms those of the
    live system. A message from more than `jump` seconds before the last set is kept aside: when more than half of the
    last set's streams say so, or some for twice `jump` in which no other says anything, time was set back (a bag that
    loops) and synchronising goes on from there; until then it is one stream's broken clock.

    `streams` are names, or filters in the manner of message_filters, which are connected at once. As there, a message
    without a header is refused (ValueError), unless `allow_headerless`: it is stamped when it comes. Thread-safe;
    callbacks run one at a time, in the order of the sets, never under the lock. Every message is pending, used in a
    set or dropped for one of `DROP_REASONS`; at most `queue_size` messages a stream are pending.
    """

    def __init__(
        self,
        streams: Sequence[Any],
        queue_size: int = 10,
        slop: float = 0.05,
        allow_headerless: bool = False,
        *,
        missing_after: float | None = None,
        min_streams: int | None = None,
        jump: float = 1.0,
    ) -> None:
        filters = [stream for stream in streams if not isinstance(stream, str)]
        if filters and len(filters) != len(streams):
            raise ValueError(f'streams are {list(streams)}; expected names, or filters, but not both')
        names = [f'input_{i}' for i in range(len(streams))] if filters else list(streams)
        if not names or len(set(names)) != len(names):
            raise ValueError(f'streams are {names}; expected at least one name, each once')
        self.streams: tuple[str, ...] = tuple(names)
        self._index = {name: i for i, name in enumerate(self.streams)}
        self._settings = {
            'queue_size': queue_size, 'slop': slop, 'missing_after': missing_after, 'min_streams': min_streams,
            'jump': jump,
        }  # fmt: skip
        self._groups = FrameGroups(len(names), self._checked(self._settings))
        self._allow_headerless = allow_headerless
        self._lock = threading.Lock()
        self._in = 0
        self._sets = [0, 0]
        self._resets = 0
        self._callbacks: list[Callable[[SynchronizedSet], None]] = []
        self._outbox: deque[SynchronizedSet] = deque()
        self._delivering = threading.Lock()
        if filters:
            self.connectInput(filters)

    def _checked(self, settings: dict[str, Any]) -> GroupSettings:
        after, least = settings['missing_after'], settings['min_streams']
        least = math.ceil(len(self.streams) / 2) if least is None else least
        queue_size, slop, jump = settings['queue_size'], settings['slop'], settings['jump']
        if slop < 0 or jump <= 0 or (after is not None and after < 0):
            raise ValueError(f'slop={slop}, missing_after={after}, jump={jump}; expected seconds, jump more than 0')
        if not isinstance(queue_size, int) or queue_size < 1:
            raise ValueError(f'queue_size={queue_size}; expected a number of messages, 1 or more')
        if not 1 <= least <= len(self.streams):
            raise ValueError(f'min_streams={least}; expected 1 to {len(self.streams)}, the number of streams')
        return GroupSettings(
            round(slop * 1e9), queue_size, round(after * 1e9) if after else None, least, round(jump * 1e9)
        )

    def configure(self, **changes: Any) -> None:
        """Change `slop`, `queue_size`, `missing_after` (0 or None: complete sets only) or `min_streams` at any time.

        Raises ValueError for a value that cannot be; nothing is changed then.
        """
        unknown = changes.keys() - self._settings.keys()
        if unknown:
            raise ValueError(f'{", ".join(sorted(unknown))} cannot be set; expected {", ".join(self._settings)}')
        with self._lock:
            settings = {**self._settings, **changes}
            self._groups.configure(self._checked(settings))
            self._settings = settings

    def onSet(self, callback: Callable[[SynchronizedSet], None]) -> None:
        """Call `callback` with every set."""
        self._callbacks.append(callback)

    def registerCallback(self, callback: Callable[..., Any], *args: Any) -> int:
        """As in message_filters: call `callback(*messages, *args)` for every set, with None for a missing message."""
        self._callbacks.append(lambda complete: callback(*complete.items, *args))
        return len(self._callbacks) - 1

    def connectInput(self, *filters: Any) -> None:
        """As in message_filters: take the messages of these filters, one for every stream, by their header's stamp."""
        sources = filters[0] if len(filters) == 1 and isinstance(filters[0], Sequence) else filters
        if len(sources) != len(self.streams):
            raise ValueError(f'got {len(sources)} filters; expected {len(self.streams)}, one for every stream')
        for i, source in enumerate(sources):
            source.registerCallback(self._add_message, i)

    def _add_message(self, message: Any, stream: int) -> None:
        stamp = getattr(getattr(message, 'header', None), 'stamp', None)
        if stamp is not None:
            self.add(stream, int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec), message)
        elif self._allow_headerless:
            self.add(stream, time.time_ns(), message)
        else:
            raise ValueError(
                f'{self.streams[stream]}: {type(message).__name__} has no header; expected a stamped message, or '
                'allow_headerless=True, which stamps it when it comes'
            )

    def add(self, stream: str | int, stamp_ns: int, item: Any) -> tuple[SynchronizedSet, ...]:
        """Take one message; returns the sets that it releases. Callbacks have them by then, or soon will."""
        index = self._index[stream] if isinstance(stream, str) else stream
        with self._lock:
            self._in += 1
            released = self._groups.add(index, stamp_ns, item)
            if not released:
                return ()
            sets = self._put_out(released)
        self._deliver()
        return sets

    def poll(self, now_ns: int) -> tuple[SynchronizedSet, ...]:
        """Release the sets that have waited for `missing_after` by the caller's clock; for a timer of a live system."""
        with self._lock:
            sets = self._put_out(self._groups.poll(now_ns))
        self._deliver()
        return sets

    def flush(self) -> tuple[SynchronizedSet, ...]:
        """Release what can be, drop the rest: no more messages will come (a recording has ended)."""
        with self._lock:
            sets = self._put_out(self._groups.flush())
        self._deliver()
        return sets

    def reset(self) -> None:
        """Drop all pending messages and forget the last set's stamp."""
        with self._lock:
            self._groups.reset('reset')
            self._resets += 1

    def _put_out(self, released: list[Group]) -> tuple[SynchronizedSet, ...]:
        sets = tuple(self._set_of(group) for group in released)
        self._outbox.extend(sets)
        return sets

    def _set_of(self, group: Group) -> SynchronizedSet:
        self._sets[bool(group.missing)] += 1
        none = (None, None)
        members = [group.members.get(i, none) for i in range(len(self.streams))]
        return SynchronizedSet(group.newest_ns, tuple(m[0] for m in members), tuple(m[1] for m in members))

    def _deliver(self) -> None:
        # Whoever holds the lock delivers for all others, so that sets cannot overtake each other between threads.
        while self._outbox and self._delivering.acquire(blocking=False):
            try:
                while self._outbox:
                    ready = self._outbox.popleft()
                    for callback in tuple(self._callbacks):
                        callback(ready)
            finally:
                self._delivering.release()

    @property
    def counters(self) -> dict[str, int]:
        """Messages in, used, pending and dropped by reason (in = used + pending + dropped); sets, of these partial;
        `resets`: how often time was set back or `reset` called."""
        with self._lock:
            groups = self._groups
            return {
                'in': self._in,
                'used': groups.used,
                'pending': groups.pending,
                **{reason: groups.dropped[reason] for reason in DROP_REASONS},
                'sets': sum(self._sets),
                'partial': self._sets[1],
                'resets': self._resets + groups.jumps,
            }

    def waiting_for(self) -> list[str]:
        """Streams that the fullest pending set still lacks; all streams when nothing is pending."""
        with self._lock:
            fullest = max(self._groups.groups, key=lambda group: len(group.members), default=None)
            return [name for i, name in enumerate(self.streams) if fullest is None or i in fullest.missing]

    def absent(self) -> list[str]:
        """Streams that sets do not wait for, since several went without them."""
        with self._lock:
            return [self.streams[i] for i in sorted(self._groups.presence.absent)]

    def slop_in_use(self) -> float:
        """Largest spread of a set in seconds: the slop, or less where that would mix frames."""
        with self._lock:
            return self._groups.clock.limit_ns * 1e-9
