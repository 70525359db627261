# SPDX-License-Identifier: Apache-2.0
"""Traffic for a synchroniser, made up in advance, and what a perfect one would make of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from semi_smd_ros.runtime import SurroundSynchronizer, SynchronizedSet

MS = 1_000_000
START = 1_700_000_000 * 10**9


class Message(NamedTuple):
    """One message; messages sort by arrival."""

    arrival_ns: int
    stream: int
    stamp_ns: int
    frame: int


def traffic(
    streams: int = 6,
    frames: int = 300,
    period_ms: float = 100.0,
    jitter_ms: float = 30.0,
    drop: float = 0.0,
    latency_ms: tuple[float, float] = (5.0, 5.0),
    seed: int = 0,
    start_ns: int = START,
) -> list[Message]:
    """Messages in order of arrival. A frame's stamps spread over `jitter_ms`; every message is late by its own latency,
    so that wide latencies bring them out of order, within a stream, too."""
    rng = random.Random(seed)
    messages = []
    for frame in range(frames):
        for stream in range(streams):
            stamp = start_ns + int((frame * period_ms + rng.uniform(0, jitter_ms)) * MS)
            latency = int(rng.uniform(*latency_ms) * MS)
            if rng.random() >= drop:
                messages.append(Message(stamp + latency, stream, stamp, frame))
    return sorted(messages)


def feed(synchronizer: SurroundSynchronizer, messages: Iterable[Message]) -> list[SynchronizedSet]:
    """Add all messages; returns the sets."""
    return [ready for m in messages for ready in synchronizer.add(m.stream, m.stamp_ns, m)]


def frames_of(ready: SynchronizedSet) -> set[int]:
    """The frames whose messages are in a set."""
    return {item.frame for item in ready.items if item is not None}


def whole_frames(messages: Sequence[Message], streams: int) -> list[int]:
    """The frames of which every message arrived."""
    arrived = Counter(m.frame for m in messages)
    return sorted(frame for frame, count in arrived.items() if count == streams)
