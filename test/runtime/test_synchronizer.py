# SPDX-License-Identifier: Apache-2.0
"""The synchroniser: every set that exists, none that is wrong, and a count of what was lost."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semi_smd_ros.runtime import SurroundSynchronizer, SynchronizedSet

MS = 1_000_000
PERIOD = 100 * MS
START = 1_700_000_000 * 10**9


def traffic(cameras: int, frames: int, drop: float, seed: int, disorder_ms: float = 0) -> list[tuple[int, int, int]]:
    """(camera, stamp, frame) in order of arrival; stamps of a frame spread over 30 ms."""
    rng = random.Random(seed)
    messages = []
    for frame in range(frames):
        for camera in range(cameras):
            stamp = START + frame * PERIOD + int(rng.uniform(0, 30) * MS)
            if rng.random() >= drop:
                messages.append((stamp + int(rng.uniform(0, disorder_ms) * MS), camera, stamp, frame))
    return [message[1:] for message in sorted(messages)]


@settings(deadline=None, max_examples=30)
@given(
    cameras=st.integers(1, 12),
    drop=st.sampled_from([0.0, 0.05, 0.2]),
    seed=st.integers(0, 10_000),
    disorder_ms=st.sampled_from([0.0, 60.0]),
)
def test_every_whole_frame_comes_out_once_and_in_order(
    cameras: int, drop: float, seed: int, disorder_ms: float
) -> None:
    messages = traffic(cameras, 60, drop, seed, disorder_ms)
    synchronizer = SurroundSynchronizer([f'c{i}' for i in range(cameras)])
    sets = [s for camera, stamp, frame in messages if (s := synchronizer.add(camera, stamp, frame))]
    arrived = [frame for _, _, frame in messages]
    whole = [frame for frame in range(60) if arrived.count(frame) == cameras]
    assert [set(s.items) for s in sets] == [{frame} for frame in whole]
    assert all(s.stamp_ns == max(s.stamps_ns) and max(s.stamps_ns) - min(s.stamps_ns) <= 50 * MS for s in sets)
    synchronizer.reset()
    counters = synchronizer.counters
    assert counters['sets'] * cameras + counters['incomplete'] + counters['late'] == len(messages)


def test_items_come_in_the_streams_order() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b', 'c'])
    synchronizer.add('c', START, 'C')
    synchronizer.add('a', START + 2, 'A')
    complete = synchronizer.add('b', START + 1, 'B')
    assert complete == SynchronizedSet(START + 2, (START + 2, START + 1, START), ('A', 'B', 'C'))


def test_a_spread_beyond_the_slop_is_no_set() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b'], slop_s=0.05)
    synchronizer.add('a', START, 0)
    assert synchronizer.add('b', START + 51 * MS, 0) is None
    assert synchronizer.add('a', START + 1 * MS, 1) is not None


def test_duplicates_and_late_messages_are_counted() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b'])
    synchronizer.add('a', START, 0)
    synchronizer.add('a', START, 0)
    assert synchronizer.add('b', START, 0)
    assert synchronizer.add('b', START - 10 * MS, 0) is None
    assert synchronizer.counters == {'sets': 1, 'incomplete': 0, 'late': 1, 'duplicate': 1, 'resets': 0}


def test_a_bag_that_loops_starts_anew() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b'])
    for start in (START, START - 3600 * 10**9):
        for frame in range(3):
            synchronizer.add('a', start + frame * PERIOD, frame)
            assert synchronizer.add('b', start + frame * PERIOD, frame)
    assert synchronizer.counters['resets'] == 1


def test_pending_messages_are_bounded() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b'], queue_size=5)
    for frame in range(1000):
        synchronizer.add('a', START + frame * PERIOD, frame)
    assert synchronizer.counters['incomplete'] == 995
    assert synchronizer.waiting_for() == ['b']
    assert synchronizer.add('b', START + 999 * PERIOD, 999)


def test_callbacks_run_without_the_lock() -> None:
    synchronizer = SurroundSynchronizer(['a'])
    reached = threading.Event()

    def callback(complete: SynchronizedSet) -> None:
        # Another thread can add while this one is in the callback; under the lock it could not.
        thread = threading.Thread(target=lambda: (synchronizer.counters, reached.set()))
        thread.start()
        thread.join(timeout=5)

    synchronizer.registerCallback(callback)
    synchronizer.add('a', START, 0)
    assert reached.is_set()


@pytest.mark.parametrize(
    'arguments',
    [{'streams': []}, {'streams': ['a', 'a']}, {'streams': ['a'], 'slop_s': -1}, {'streams': ['a'], 'queue_size': 0}],
)
def test_bad_settings_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match='expected'):
        SurroundSynchronizer(**arguments)  # type: ignore[arg-type]
