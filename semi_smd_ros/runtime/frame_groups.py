# SPDX-License-Identifier: Apache-2.0
"""Which messages belong together, and when a set of them stops waiting for more. Not thread-safe, without callbacks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from typing import Any

from .frame_clock import FrameClock
from .frame_group import Disorder, Group, GroupSettings, Presence


class FrameGroups:
    """Groups messages into frames and releases them in the order of time.

    `add` is a function of the messages' order alone; `poll` brings in a clock, for groups that no message would
    release. `used` and `dropped` (by reason) count messages, `pending` are those in groups.
    """

    def __init__(self, streams: int, settings: GroupSettings) -> None:
        self._streams = streams
        self.settings = settings
        self.used = 0
        self.dropped: Counter[str] = Counter()
        self.jumps = 0
        self.clock = FrameClock(streams, settings.slop_ns)
        self.presence = Presence(streams)
        self._clear()

    def _clear(self) -> None:
        self.groups: list[Group] = []
        self._anchors: list[int] = []
        self._held = [0] * self._streams
        self._newest: list[int | None] = [None] * self._streams
        self._past: list[deque[tuple[int, Any]]] = [deque() for _ in range(self._streams)]
        # The first stamp from the past of every stream, since the last message of any stream that was not.
        self._past_since: dict[int, int] = {}
        self._last: Group | None = None
        self._disorder = Disorder()

    @property
    def pending(self) -> int:
        """Messages that are waiting."""
        return sum(self._held) + sum(len(past) for past in self._past)

    def configure(self, settings: GroupSettings) -> None:
        """Change the settings; what is pending is grouped anew."""
        slop_changed = settings.slop_ns != self.settings.slop_ns
        self.settings = settings
        if slop_changed:
            self.clock.set_slop(settings.slop_ns)
            self._regroup()

    def reset(self, reason: str) -> None:
        """Drop everything that is pending, and forget the time."""
        self.dropped[reason] += self.pending
        self._clear()
        self.presence = Presence(self._streams)
        self.clock.reset()

    def add(self, stream: int, stamp_ns: int, item: Any) -> list[Group]:
        """Take one message; returns the groups that it releases, oldest first."""
        newest = self._newest[stream]
        if newest == stamp_ns:
            self.dropped['duplicate'] += 1
            return []
        last = self._last
        if last is not None and stamp_ns < last.newest_ns - self.settings.jump_ns:
            self._newest[stream] = stamp_ns
            return self._add_past(stream, stamp_ns, item)
        if self._past_since:
            self._past_since.clear()
        self._note_order(stream, stamp_ns, newest)
        if self._past[stream]:
            self._drop_past(stream)
        if self.clock.add(stream, stamp_ns):
            self._regroup()
        if last is not None and self._is_late(stream, stamp_ns, last):
            self.dropped['late'] += 1
            return []
        self.presence.heard(stream)
        if not self._insert(stream, stamp_ns, item):
            return []
        head = self.groups[0]
        member = head.members.get(stream)
        after = self.settings.missing_after_ns
        # A camera of the set that is this much further on has seen the time pass that the set may wait.
        if after is not None and head.missing and member is not None and self._progress(stream, member[0]) >= after:
            head.is_closed = True
        released = self._resolve()
        if self._held[stream] > self.settings.queue_size:
            released += self._overflow(stream)
        return released

    def poll(self, now_ns: int) -> list[Group]:
        """Release what has waited for `missing_after` by the caller's clock."""
        after = self.settings.missing_after_ns
        wait_ns = 2 * self.settings.slop_ns if after is None else after
        for group in self.groups:
            if group.seen_ns is None or now_ns < group.seen_ns:
                group.seen_ns = now_ns
            if now_ns - group.seen_ns < wait_ns:
                continue
            if not self.clock.is_known:
                # Had there been a second frame, it would have come: there is only this one, so nothing to mix.
                self.clock.settle()
            group.is_closed |= after is not None and bool(group.missing)
        return self._resolve()

    def flush(self) -> list[Group]:
        """Release or drop everything: no message will come."""
        self.clock.settle()
        self._regroup()
        for group in self.groups:
            group.is_closed = True
        for stream in range(self._streams):
            self._drop_past(stream)
        return self._resolve()

    def _note_order(self, stream: int, stamp_ns: int, newest: int | None) -> None:
        if newest is None or stamp_ns > newest:
            self._newest[stream] = stamp_ns
        elif newest - stamp_ns > self.settings.jump_ns:
            # Its clock was ahead; what it stamped then belongs to no frame.
            self._newest[stream] = stamp_ns
            for group in [g for g in self.groups if stream in g.members]:
                if group.members[stream][0] > stamp_ns + self.settings.jump_ns:
                    self._remove(group, stream, 'jump')
        else:
            self._disorder.note(newest - stamp_ns)
        self._disorder.age()

    def _progress(self, stream: int, since_ns: int) -> int:
        newest = self._newest[stream]
        return 0 if newest is None else newest - since_ns

    def _is_late(self, stream: int, stamp_ns: int, last: Group) -> bool:
        if stamp_ns > last.newest_ns:
            # What the last set went without may still come, newer than all that was in it.
            same = stamp_ns - last.oldest_ns <= self.clock.limit_ns and self.clock.same_frame(last.anchor_ns, stamp_ns)
            if stream not in last.missing or not same:
                return False
        if stamp_ns >= last.oldest_ns - self.clock.limit_ns:
            self.presence.heard(stream)
        return True

    def _insert(self, stream: int, stamp_ns: int, item: Any) -> bool:
        """Put a message into the fullest group that it fits (the tightest of these), or into a new one; False for a
        duplicate. A stream that floods opens many groups; the others must meet in one of them."""
        limit, clock = self.clock.limit_ns, self.clock
        anchors, groups = self._anchors, self.groups
        best: Group | None = None
        looser: Group | None = None
        best_rank = (0, 0)
        for index in range(bisect_left(anchors, stamp_ns - limit), len(groups)):
            if anchors[index] > stamp_ns + limit:
                break
            group = groups[index]
            if stream not in group.missing:
                member = group.members.get(stream)
                if member is not None and member[0] == stamp_ns:
                    self.dropped['duplicate'] += 1
                    return False
                if clock.same_frame(group.anchor_ns, stamp_ns) and group.fits(stream, stamp_ns):
                    looser = group
                continue
            newest, oldest = group.newest_ns, group.oldest_ns
            spread = (newest if newest > stamp_ns else stamp_ns) - (oldest if oldest < stamp_ns else stamp_ns)
            rank = (len(group.members), -spread)
            if spread <= limit and rank > best_rank and clock.same_frame(group.anchor_ns, stamp_ns):
                best, best_rank = group, rank
        if best is None and looser is not None:
            # A stream that floods must not draw the others away from each other: the frame takes its closest message.
            stamp_ns, item = looser.exchange(stream, stamp_ns, item)
        if best is None:
            best = Group(stamp_ns, self._streams)
            index = bisect_left(anchors, stamp_ns)
            anchors.insert(index, stamp_ns)
            groups.insert(index, best)
        elif stamp_ns > best.newest_ns:
            best.newest_ns = stamp_ns
        elif stamp_ns < best.oldest_ns:
            best.oldest_ns = stamp_ns
        best.members[stream] = (stamp_ns, item)
        best.missing.discard(stream)
        self._held[stream] += 1
        return True

    def _resolve(self) -> list[Group]:
        released: list[Group] = []
        while self.groups:
            group = self.groups[0]
            if self._last is not None and group.newest_ns <= self._last.newest_ns:
                self._drop_head()
            elif self._waits(group):
                break
            else:
                released += self._end_head()
        return released

    def _end_head(self) -> list[Group]:
        """Release the oldest group if it may go as it is, or drop it."""
        group = self.groups[0]
        if self._is_sure(group) and (not group.missing or self._may_go(group)):
            return [self._release()]
        self._drop_head()
        return []

    def _waits(self, group: Group) -> bool:
        if not self._is_sure(group) and (self.clock.is_learning or (self._may_go(group) and not self.clock.is_known)):
            # It may turn out to be one frame, or two.
            return True
        if not group.missing:
            return not group.is_closed and not self._is_sure(group)
        if group.is_closed:
            return False
        if self.clock.is_learning:
            return True
        if group.missing <= self.presence.absent and self._may_go(group):
            return False
        floor, newest = group.newest_ns + self._disorder.most_ns, self._newest
        for stream in group.missing:
            stamp = newest[stream]
            if stamp is None or stamp <= floor:
                return True
        # Every stream that it lacks has moved on.
        return False

    def _may_go(self, group: Group) -> bool:
        return self.settings.missing_after_ns is not None and len(group.members) >= self.settings.min_streams

    def _is_sure(self, group: Group) -> bool:
        return group.newest_ns - group.oldest_ns <= self.clock.sure_ns

    def _take_head(self) -> Group:
        group = self.groups.pop(0)
        del self._anchors[0]
        for stream in group.members:
            self._held[stream] -= 1
        return group

    def _drop_head(self) -> None:
        self.dropped['incomplete'] += len(self._take_head().members)

    def _release(self) -> Group:
        self._last = group = self._take_head()
        self.used += len(group.members)
        self.presence.missed(group.missing)
        return group

    def _overflow(self, stream: int) -> list[Group]:
        """A stream has too many messages pending: one that is alone goes, or else its oldest group waits no longer."""
        own = [group for group in self.groups if stream in group.members]
        group = next((group for group in own if len(group.members) == 1), own[0])
        if group is self.groups[0]:
            return self._end_head() + self._resolve()
        group.is_closed = True
        self._remove(group, stream, 'overflow')
        return []

    def _remove(self, group: Group, stream: int, reason: str) -> None:
        group.remove(stream)
        self._held[stream] -= 1
        self.dropped[reason] += 1
        if not group.members:
            index = self.groups.index(group)
            del self.groups[index], self._anchors[index]

    def _add_past(self, stream: int, stamp_ns: int, item: Any) -> list[Group]:
        """A message from long before the last set: either its clock is wrong, or time itself was set back."""
        past = self._past[stream]
        past.append((stamp_ns, item))
        if len(past) + self._held[stream] > self.settings.queue_size:
            past.popleft()
            self.dropped['jump'] += 1
        assert self._last is not None
        # Most of those who told the last set's time must now tell another.
        before = self._last.newest_ns - self.settings.jump_ns
        dissenters = {i for i, newest in enumerate(self._newest) if newest is not None and newest < before}
        # Unless those who could contradict have said nothing for so long.
        unopposed_ns = stamp_ns - self._past_since.setdefault(stream, stamp_ns)
        if len(dissenters) <= len(self._last.members) // 2 and unopposed_ns < 2 * self.settings.jump_ns:
            return []
        kept = [(stamp, i, thing) for i in dissenters for stamp, thing in self._past[i]]
        self.jumps += 1
        for i in dissenters:
            self._past[i].clear()
        self.reset('jump')
        released = []
        for stamp, i, thing in sorted(kept, key=lambda message: message[:2]):
            released += self.add(i, stamp, thing)
        return released

    def _drop_past(self, stream: int) -> None:
        self.dropped['jump'] += len(self._past[stream])
        self._past[stream].clear()

    def _regroup(self) -> None:
        messages = sorted(
            ((stamp, stream, item) for group in self.groups for stream, (stamp, item) in group.members.items()),
            key=lambda message: message[:2],
        )
        self.groups, self._anchors, self._held = [], [], [0] * self._streams
        for stamp, stream, item in messages:
            self._insert(stream, stamp, item)
