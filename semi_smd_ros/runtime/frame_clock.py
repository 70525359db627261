# SPDX-License-Identifier: Apache-2.0
"""How far apart the stamps of one frame may lie: learned from the stamps alone.

A slop of more than half the frame period lets a set mix two frames. Stamps folded by the period tell them apart: those
of a frame fill one part of the circle, and the widest arc without a stamp is where one frame ends and the next begins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_NEVER = np.iinfo(np.int64).max
# Stamps that are folded together: enough to tell an arc that is empty for a reason from one that is by chance, and few
# enough to take well under a millisecond.
_WINDOW_STAMPS = 400
_COARSE_STAMPS = 72
# Neighbouring candidates of a period drift apart by this share of it over the stamps folded.
_DRIFT = 0.012
# A period that was learned is looked for anew within what drifts by this share of it over the stamps folded, at least
# within the second share of it.
_LOOSE, _LEAST_SEARCH = 0.15, 0.002
# An empty arc this wide separates frames whatever the phase: stamps less than half a period apart belong together.
_WIDE_ARC = 0.55
# A chance arc of share g among M stamps has a probability of about M * (1 - g)^(M - 1).
_CHANCE = 1e-4
# Share of a stream's stamps that may fall into a frame in which it has one already.
_MOST_CROWDED = 0.05


class FrameClock:
    """Learns the frame period of `streams` streams, and where to cut time into frames if stamps need that.

    `limit_ns` is the largest spread of one set's stamps; `sure_ns` is the spread up to which a set can be trusted not
    to mix frames, smaller while too little is known. `is_learning`: the period is known, where to cut is not yet.
    """

    def __init__(self, streams: int, slop_ns: int) -> None:
        self._streams = streams
        self._window = max(32, min(128, _WINDOW_STAMPS // streams))
        # The newest stamps of every stream, as rings; what is not there yet sorts to the end.
        self._stamps = np.full((streams, self._window), _NEVER)
        self._counts = [0] * streams
        self.set_slop(slop_ns)

    def set_slop(self, slop_ns: int) -> None:
        """Change the slop; what depends on it is decided again with the next stamps."""
        self.slop_ns = slop_ns
        self.period_ns: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all stamps (time has jumped). A period that is known is kept, the phase of frames is not."""
        self._stamps[...] = _NEVER
        self._counts = [0] * self._streams
        self._count, self._next = 0, self._streams + 2
        self._cut_ns: int | None = None
        self._is_decided = False
        if self.period_ns is None:
            # Of two streams, no third tells which of two pairings is right.
            self._decide(self.slop_ns, self.slop_ns if self._streams < 3 else self.slop_ns // 2)
        elif self.slop_ns > self.period_ns // 2:
            self._decide(self.slop_ns, self.period_ns // 8, is_learning=True)

    @property
    def is_known(self) -> bool:
        """Whether the frame period is known."""
        return self.period_ns is not None

    def add(self, stream: int, stamp_ns: int) -> bool:
        """Take a stamp; True when how to tell frames apart has changed: group what is pending anew."""
        count = self._counts[stream]
        self._stamps[stream, count % self._window] = stamp_ns
        self._counts[stream] = count + 1
        self._count += 1
        if count == 1 and self.period_ns is None and self._streams > 2:
            # From here on a set may hold messages of two frames.
            self.sure_ns = self.slop_ns // 8
        if self._count < self._next:
            return False
        before = (self.period_ns is None, self.is_learning, self._cut_ns is None)
        self._learn()
        # That a cut moves by a little puts no message into another frame.
        return before != (self.period_ns is None, self.is_learning, self._cut_ns is None)

    def same_frame(self, one_ns: int, other_ns: int) -> bool:
        """Whether the cuts put both stamps into one frame; always True where there are no cuts."""
        if self._cut_ns is None or self.period_ns is None:
            return True
        if abs(one_ns - self._cut_ns) > self._window * self.period_ns:
            # So far from where it was learned, after a pause, the phase means nothing.
            return abs(one_ns - other_ns) <= self.period_ns // 8
        return (one_ns - self._cut_ns) // self.period_ns == (other_ns - self._cut_ns) // self.period_ns

    def settle(self) -> None:
        """Decide with what is known: no more stamps will come."""
        if self._cut_ns is None:
            half = self.limit_ns if self.period_ns is None else min(self.slop_ns, self.period_ns // 2)
            self._decide(half, half)

    def _decide(self, limit_ns: int, sure_ns: int, cut_ns: int | None = None, is_learning: bool = False) -> None:
        self.limit_ns, self.sure_ns, self._cut_ns, self.is_learning = limit_ns, sure_ns, cut_ns, is_learning

    def _learn(self) -> None:
        step = self._streams // 4 if self._count < 4 * self._streams else self._streams
        self._next = max(self._count + max(step, 1), self._count * 23 // 20)
        stamps_ns = np.sort(self._stamps, axis=1)
        sizes_n = np.minimum(self._counts, self._window)
        intervals_n = sizes_n - 1
        if intervals_n.clip(0).sum() < 2 * self._streams:
            return
        is_interval = np.arange(self._window - 1) < intervals_n[:, None]
        steps_ns = np.sort(np.where(is_interval, np.diff(stamps_ns, axis=1), _NEVER), axis=1)
        heard = intervals_n > 0
        # The median over streams: neither a stream at half the rate nor one that floods moves it.
        medians_n = steps_ns[np.arange(self._streams), intervals_n.clip(0) // 2]
        period = _middle(medians_n[heard])
        if period <= 0:
            return
        is_settled = self._count >= self._window * self._streams
        if is_settled:
            self._next = self._count + self._window // 4 * self._streams
        # A camera that floods must not speak for the others, nor may gaps in what has arrived.
        shortest_n = steps_ns[np.arange(self._streams), intervals_n.clip(0) // 10][heard]
        if self.slop_ns <= min(period / 2, np.sort(shortest_n)[shortest_n.size // 4]):
            self.period_ns = round(period)
            self._decide(self.slop_ns, self.slop_ns)
            return
        now = int(_middle(stamps_ns[heard, sizes_n[heard] - 1]))
        # A camera that floods fills every arc.
        stamps_ns = stamps_ns[~heard | (medians_n > period / 2)]
        relative = (stamps_ns - now).astype(np.float64)
        is_recent = (relative > -self._window * period) & (relative <= 2 * period) & (stamps_ns != _NEVER)
        self._learn_cuts([row[mask] for row, mask in zip(relative, is_recent, strict=True)], now, period, is_settled)

    def _learn_cuts(self, by_stream: list[np.ndarray], now_ns: int, period: float, is_settled: bool) -> None:
        # An image and its CameraInfo have one stamp; that is no second witness.
        stamps = _distinct(np.concatenate(by_stream))
        if not stamps.size:
            return
        if self._is_decided and self.period_ns is not None:
            # How well the period is known follows from how many frames it was learned from.
            most = max(_LEAST_SEARCH, _LOOSE / max(1.0, float(np.ptp(stamps)) / period))
            fold = _best_fold(stamps, self.period_ns * np.linspace(1 - most, 1 + most, 25))
            is_clear = not fold.is_chance(stamps.size) or _has_fixed_phases(by_stream, fold)
        else:
            fold = _best_fold(stamps, np.array([period]))
            is_clear = _has_fixed_phases(by_stream, fold)
            if not is_clear:
                fold = _search(stamps, period)
                is_clear = not fold.is_chance(stamps.size)
                # Gaps in what has arrived make a multiple of the period look right; its cuts hold two frames at a time.
                if is_clear and _crowding(by_stream, fold) > _MOST_CROWDED:
                    fold = _search(stamps, fold.period / 2)
                    is_clear = False
        self._is_decided = is_clear
        self.period_ns = round(fold.period)
        half = min(self.slop_ns, self.period_ns // 2)
        if not is_clear:
            # After a whole window without an arc there is no right answer to wait for.
            if is_settled:
                self._decide(half, half)
            else:
                self._decide(min(self.slop_ns, self.period_ns), self.period_ns // 8, is_learning=True)
        elif fold.arc >= _WIDE_ARC:
            self._decide(half, half)
        else:
            limit = min(self.slop_ns, self.period_ns)
            self._decide(limit, limit, now_ns + round(fold.cut))


def _distinct(values: np.ndarray) -> np.ndarray:
    # numpy's own functions for this load more of numpy when first called, which takes 20 ms.
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if ordered.size else ordered


def _middle(values: np.ndarray) -> float:
    return float(np.sort(values)[values.size // 2])


@dataclass(frozen=True)
class _Fold:
    """Stamps folded by `period`: the share of the widest empty `arc`, its middle as a stamp, and of how many periods
    this was the best."""

    period: float
    arc: float
    cut: float
    tried: int

    def is_chance(self, stamps: int) -> bool:
        """Whether the arc may as well be one that so many random stamps would leave."""
        return self.tried * stamps * (1 - self.arc) ** (stamps - 1) > _CHANCE


def _has_fixed_phases(by_stream: list[np.ndarray], fold: _Fold) -> bool:
    """Whether every stream keeps to a phase of its own, so that the arc will stay empty: cameras that fire in turn."""
    period = np.array([fold.period])
    spreads = [1 - float(_widest_arcs(stamps, period)[0]) for stamps in by_stream if stamps.size > 1]
    return bool(spreads) and fold.arc > 2 * max(spreads) + 0.02


def _crowding(by_stream: list[np.ndarray], fold: _Fold) -> float:
    """Share of a stream's stamps that share a frame with another one of the same stream; the median over streams."""
    frames = [np.floor((stamps - fold.cut) / fold.period) for stamps in by_stream if stamps.size]
    return _middle(np.array([1 - _distinct(numbers).size / numbers.size for numbers in frames]))


def _search(stamps: np.ndarray, period: float) -> _Fold:
    """Find the period near `period` that leaves the widest empty arc."""
    newest = np.sort(stamps)[-_COARSE_STAMPS:]
    frames = max(1.0, float(np.ptp(newest)) / period)
    # Drops make the median interval longer than the period, hardly ever shorter.
    count = max(2, round(0.3 * frames / _DRIFT))
    periods = period * np.linspace(0.8, 1.1, count)
    arcs = _widest_arcs(newest, periods)
    if newest.size == stamps.size:
        return replace(_best_fold(stamps, periods[[int(np.argmax(arcs))]]), tried=count)
    step = 0.3 / count
    fine = np.linspace(-step, step, 2 * round(step * float(np.ptp(stamps)) / period / _DRIFT) + 1)
    return _best_fold(stamps, (periods[arcs >= np.sort(arcs)[-4:][0], None] + period * fine).ravel())


def _best_fold(stamps: np.ndarray, periods: np.ndarray) -> _Fold:
    best = int(np.argmax(_widest_arcs(stamps, periods))) if periods.size > 1 else 0
    phases = _phases(stamps, periods[best : best + 1])[0]
    following = np.append(phases[1:], phases[0] + 1)
    widest = int(np.argmax(following - phases))
    arc = float(following[widest] - phases[widest])
    cut = float(following[widest] + phases[widest]) / 2
    return _Fold(float(periods[best]), arc, cut * float(periods[best]), periods.size)


def _phases(stamps: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """Of every stamp its share of every period, sorted. A hundred thousandth is fine enough for single precision."""
    turns: np.ndarray = np.outer((1 / periods).astype(np.float32), stamps.astype(np.float32))
    turns -= np.floor(turns)
    turns.sort(axis=1)
    return turns


def _widest_arcs(stamps: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """For every period: the widest empty arc of the folded stamps, as a share of the period."""
    phases = _phases(stamps, periods)
    around = phases[:, 0] + 1 - phases[:, -1]
    return around if stamps.size == 1 else np.maximum(around, (phases[:, 1:] - phases[:, :-1]).max(axis=1))
