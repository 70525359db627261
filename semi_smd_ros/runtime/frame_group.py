# SPDX-License-Identifier: Apache-2.0
"""Messages of one moment, and what decides how long they wait for each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Sets in a row without a stream after which no set waits for it until it is heard again.
ABSENT_AFTER_SETS = 5
# Messages over which the greatest disorder within a stream is remembered.
DISORDER_MESSAGES = 256


@dataclass(frozen=True)
class GroupSettings:
    """Times in nanoseconds; `missing_after_ns` is None where only complete sets are wanted."""

    slop_ns: int
    queue_size: int
    missing_after_ns: int | None
    min_streams: int
    jump_ns: int


class Group:
    """Messages of one moment: `members` maps a stream to (stamp, item). `is_closed`: waits for no one any more."""

    __slots__ = ('anchor_ns', 'is_closed', 'members', 'missing', 'newest_ns', 'oldest_ns', 'seen_ns')

    def __init__(self, stamp_ns: int, streams: int) -> None:
        self.anchor_ns = self.oldest_ns = self.newest_ns = stamp_ns
        self.members: dict[int, tuple[int, Any]] = {}
        self.missing = set(range(streams))
        self.is_closed = False
        self.seen_ns: int | None = None

    def fits(self, stream: int, stamp_ns: int) -> bool:
        """Whether the group would be tighter with this stamp in the place of its member of `stream`."""
        others = [stamp for i, (stamp, _) in self.members.items() if i != stream]
        return bool(others) and max(*others, stamp_ns) - min(*others, stamp_ns) < self.newest_ns - self.oldest_ns

    def exchange(self, stream: int, stamp_ns: int, item: Any) -> tuple[int, Any]:
        """Put a message in the place of the member of `stream`, which is returned."""
        replaced = self.members[stream]
        self.members[stream] = (stamp_ns, item)
        stamps = [stamp for stamp, _ in self.members.values()]
        self.oldest_ns, self.newest_ns = min(stamps), max(stamps)
        return replaced

    def remove(self, stream: int) -> None:
        """Take the message of `stream` out again."""
        del self.members[stream]
        self.missing.add(stream)
        stamps = [stamp for stamp, _ in self.members.values()] or [self.anchor_ns]
        self.oldest_ns, self.newest_ns = min(stamps), max(stamps)


class Disorder:
    """How far messages of one stream have lately come behind newer ones of the same stream: `most_ns`."""

    def __init__(self) -> None:
        self.most_ns = 0
        self._recent_ns, self._age = 0, 0

    def note(self, behind_ns: int) -> None:
        """A message came this much behind the newest of its stream."""
        self._recent_ns = max(self._recent_ns, behind_ns)
        self.most_ns = max(self.most_ns, behind_ns)

    def age(self) -> None:
        """A message came: what is older than the last few hundred is forgotten."""
        if not self.most_ns:
            return
        self._age += 1
        if self._age > DISORDER_MESSAGES:
            self.most_ns, self._recent_ns, self._age = self._recent_ns, 0, 0


class Presence:
    """Which streams are waited for: all but the `absent`, without which several sets in a row went."""

    def __init__(self, streams: int) -> None:
        self.absent: set[int] = set()
        self._misses = [0] * streams

    def heard(self, stream: int) -> None:
        """A message of the stream came in time, or nearly."""
        self._misses[stream] = 0
        self.absent.discard(stream)

    def missed(self, streams: set[int]) -> None:
        """A set went without these streams."""
        for stream in streams:
            self._misses[stream] += 1
            if self._misses[stream] >= ABSENT_AFTER_SETS:
                self.absent.add(stream)
