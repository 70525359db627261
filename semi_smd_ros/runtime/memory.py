# SPDX-License-Identifier: Apache-2.0
"""When the temporal memory may be used, and when it must be wiped."""

from __future__ import annotations

from collections import Counter


class MemoryPolicy:
    """Decides for every set whether the features of the set before still mean anything.

    The memory is wiped on the first set, after a gap longer than `max_gap_s`, when stamps go back in time, when
    the rig changed, and whenever `reset` is called. `resets` counts the reasons.
    """

    def __init__(self, max_gap_s: float) -> None:
        self.max_gap_s = max_gap_s
        self.resets: Counter[str] = Counter()
        self._last: tuple[int, str] | None = None
        self._pending_reason: str | None = 'first frame'

    def reset(self, reason: str) -> None:
        """Wipe the memory before the next set. The first of several reasons is the one that is told."""
        self._last = None
        self._pending_reason = self._pending_reason or reason

    def admit(self, stamp_ns: int, rig_fingerprint: str) -> str | None:
        """Take the next set; returns why the memory must be wiped before it, or None where it may be used."""
        reason = self._reason(stamp_ns, rig_fingerprint)
        self._last = (stamp_ns, rig_fingerprint)
        self._pending_reason = None
        if reason is not None:
            self.resets[reason] += 1
        return reason

    def _reason(self, stamp_ns: int, rig_fingerprint: str) -> str | None:
        if self._pending_reason is not None or self._last is None:
            return self._pending_reason
        last_ns, last_rig = self._last
        if rig_fingerprint != last_rig:
            return 'rig changed'
        if stamp_ns <= last_ns:
            return 'time went back'
        if stamp_ns - last_ns > self.max_gap_s * 1e9:
            return 'gap in time'
        return None
