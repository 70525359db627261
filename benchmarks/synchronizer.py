# SPDX-License-Identifier: Apache-2.0
"""What the synchroniser costs, and what it makes of traffic that mixes frames, loses messages and comes out of order.

    python benchmarks/synchronizer.py [--json]

2000 frames with stamps that jitter by 30 ms. CPU time of the calling thread. Ends with 1 where a limit is broken.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path

from measure import Figure, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'test'))

from sync_traffic import Message, frames_of, traffic, whole_frames

from semi_smd_ros.runtime import SurroundSynchronizer, SynchronizedSet

FRAMES = 2000
IN_ORDER, DISORDERED = (5.0, 8.0), (5.0, 255.0)


def run(
    messages: list[Message], streams: int, queue_size: int = 10, slop: float = 0.05, missing_after: float | None = None
) -> tuple[list[SynchronizedSet], float, float]:
    """(sets, mean microseconds a message, most milliseconds of one message)."""
    names = [str(i) for i in range(streams)]
    synchronizer = SurroundSynchronizer(names, queue_size, slop, missing_after=missing_after)
    sets: list[SynchronizedSet] = []
    times = []
    gc.disable()  # a collection of the whole process is not the synchroniser's
    for m in messages:
        start = time.thread_time_ns()
        ready = synchronizer.add(m.stream, m.stamp_ns, m)
        times.append(time.thread_time_ns() - start)
        sets += ready
    gc.enable()
    return sets, sum(times) / len(times) * 1e-3, max(times) * 1e-6


def figures() -> list[Figure]:
    """Every figure."""
    found = []
    run(traffic(6, 200), 6)
    for streams in (6, 12):
        for drop in (0.0, 0.1):
            messages = traffic(streams, FRAMES, drop=drop, latency_ms=IN_ORDER)
            ideal = whole_frames(messages, streams)
            means_us = []
            for queue_size in (10, 100):
                sets, mean_us, _ = run(messages, streams, queue_size)
                means_us.append(mean_us)
                name = f'{streams} streams, {drop:.0%} lost, queue {queue_size}'
                found.append(Figure(name, mean_us, 'us', 15, 'CPU time of a message'))
            found.append(Figure('  queue 100 of queue 10', means_us[1] / means_us[0], 'x', 1.5, 'flat: about 1'))
            wrong = sum(frames_of(ready) != {frame} for ready, frame in zip(sets, ideal, strict=False))
            wrong += abs(len(sets) - len(ideal))
            found.append(Figure('  sets that are not ideal', wrong, 'sets', 0, f'of {len(ideal)}'))
    for streams, period_ms, slop in ((6, 100.0, 0.1), (12, 100.0, 0.1), (6, 100 / 3, 0.05), (12, 100 / 3, 0.05)):
        messages = traffic(streams, FRAMES, period_ms, drop=0.1, latency_ms=DISORDERED)
        sets, mean_us, most_ms = run(messages, streams, 30, slop)
        mixed = sum(len(frames_of(ready)) > 1 for ready in sets)
        name = f'{streams} streams, {1000 / period_ms:.0f} Hz, slop {slop:g} s, out of order'
        found.append(Figure(name, mean_us, 'us', 15, 'CPU time of a message'))
        found.append(Figure('  sets that mix frames', mixed, 'sets', 0, f'of {len(sets)}'))
        found.append(Figure('  sets missed', len(whole_frames(messages, streams)) - len(sets), 'sets'))
        found.append(Figure('  longest message', most_ms, 'ms', 1.0, 'CPU time'))
    for streams in (6, 12):
        messages = traffic(streams, FRAMES, drop=0.1, latency_ms=IN_ORDER)
        sets, _, _ = run(messages, streams, missing_after=0.1)
        # A frame is served once, whatever else is put out.
        served = {min(frames_of(ready)) for ready in sets}
        unserved = (FRAMES - len(served)) / FRAMES * 100
        found.append(Figure('frames not served, partial sets', unserved, '%', 1.0, f'{streams} streams, 10 % lost'))
        found.append(Figure('  sets that mix frames', sum(len(frames_of(s)) > 1 for s in sets), 'sets', 0))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')
    return show(figures(), parser.parse_args().json)


if __name__ == '__main__':
    sys.exit(main())
