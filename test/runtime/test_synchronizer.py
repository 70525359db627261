# SPDX-License-Identifier: Apache-2.0
"""The synchroniser on ordinary traffic: every set there is, none that mixes frames, and a count of what was lost."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_traffic import MS, START, feed, frames_of, traffic, whole_frames

from semi_smd_ros.runtime import SurroundSynchronizer, SynchronizedSet
from semi_smd_ros.runtime.synchronizer import DROP_REASONS

PERIOD = 100 * MS


def names(count: int) -> list[str]:
    return [f'cam_{i}' for i in range(count)]


def assert_all_counted(synchronizer: SurroundSynchronizer) -> None:
    counters = synchronizer.counters
    lost = sum(counters[reason] for reason in DROP_REASONS)
    assert counters['in'] == counters['used'] + counters['pending'] + lost, counters


def assert_sound(sets: list[SynchronizedSet], slop_ms: float) -> None:
    """Sets go forward, no message is used twice, and no stamps lie farther apart than the slop."""
    used = [item for ready in sets for item in ready.items if item is not None]
    assert len(used) == len(set(used))
    assert all(a.stamp_ns < b.stamp_ns for a, b in itertools.pairwise(sets))
    for ready in sets:
        stamps = [stamp for stamp in ready.stamps_ns if stamp is not None]
        assert ready.stamp_ns == max(stamps)
        assert max(stamps) - min(stamps) <= slop_ms * MS
        assert [item and item.stream for item in ready.items] == [
            None if stamp is None else i for i, stamp in enumerate(ready.stamps_ns)
        ]


@pytest.mark.parametrize('queue_size', [10, 100])
@pytest.mark.parametrize('drop', [0.0, 0.1])
@pytest.mark.parametrize('streams', [1, 2, 6, 12])
def test_every_whole_frame_becomes_a_set(streams: int, drop: float, queue_size: int) -> None:
    messages = traffic(streams, drop=drop, latency_ms=(5, 8))
    synchronizer = SurroundSynchronizer(names(streams), queue_size)
    sets = feed(synchronizer, messages)
    assert [frames_of(ready) for ready in sets] == [{frame} for frame in whole_frames(messages, streams)]
    assert_sound(sets, 50)
    assert_all_counted(synchronizer)


@pytest.mark.parametrize('missing_after', [None, 0.3])
@pytest.mark.parametrize('latency_ms', [(5, 8), (5, 255)])
@pytest.mark.parametrize(
    ('period_ms', 'jitter_ms', 'slop'),
    [(100, 30, 0.1), (100, 30, 0.05), (100, 70, 0.1), (100 / 3, 30, 0.05), (100 / 3, 10, 0.05)],
)
@pytest.mark.parametrize('streams', [6, 12])
def test_frames_are_never_mixed_where_stamps_tell_them_apart(
    streams: int,
    period_ms: float,
    jitter_ms: float,
    slop: float,
    latency_ms: tuple[float, float],
    missing_after: float | None,
) -> None:
    messages = traffic(streams, 400, period_ms, jitter_ms, 0.1, latency_ms, seed=1)
    synchronizer = SurroundSynchronizer(names(streams), slop=slop, missing_after=missing_after)
    sets = feed(synchronizer, messages)
    assert all(len(frames_of(ready)) == 1 for ready in sets)
    assert_sound(sets, slop * 1e3)
    assert_all_counted(synchronizer)
    if missing_after is None:
        # While the period is being learned, and in what never was in order, some are lost.
        assert len(sets) >= 0.85 * len(whole_frames(messages, streams))


@pytest.mark.parametrize(('streams', 'drop'), [(6, 0.0), (6, 0.1), (12, 0.0)])
def test_a_period_that_was_learned_too_long_from_few_frames_is_mended_before_it_mixes_any(
    streams: int, drop: float
) -> None:
    for seed in range(200):
        messages = traffic(streams, 60, drop=drop, latency_ms=(5, 255), seed=seed)
        sets = feed(SurroundSynchronizer(names(streams), 30, slop=0.1), messages)
        assert all(len(frames_of(ready)) == 1 for ready in sets), seed


def test_cameras_that_fire_in_turn_are_kept_together() -> None:
    # 16 ms from camera to camera, 20 ms from the last one to the first one of the next frame.
    synchronizer = SurroundSynchronizer(names(6), slop=0.095)
    sets = []
    for frame in range(50):
        for camera in range(6):
            sets += synchronizer.add(camera, START + frame * PERIOD + camera * 16 * MS, frame)
    assert [set(ready.items) for ready in sets] == [{frame} for frame in range(50)]


def test_partial_sets_serve_frames_that_lack_a_message() -> None:
    messages = traffic(6, 1000, drop=0.1)
    synchronizer = SurroundSynchronizer(names(6), missing_after=0.1)
    sets = [*feed(synchronizer, messages), *synchronizer.flush()]
    assert len(sets) >= 990
    assert all(len(frames_of(ready)) == 1 for ready in sets)
    assert sum(ready.is_complete for ready in sets) == len(whole_frames(messages, 6))
    assert min(6 - len(ready.missing) for ready in sets) == 3
    assert synchronizer.counters['partial'] == sum(not ready.is_complete for ready in sets)
    assert_sound(sets, 50)
    assert_all_counted(synchronizer)


def test_fewer_streams_than_asked_for_are_no_set() -> None:
    synchronizer = SurroundSynchronizer(names(3), missing_after=0.05, min_streams=2)
    sets = []
    for frame, present in enumerate([(0, 1, 2), (0,), (0, 1, 2), (1, 2), (0, 1, 2)]):
        for camera in present:
            sets += synchronizer.add(camera, START + frame * PERIOD, frame)
    assert [(min(i for i in ready.items if i is not None), ready.missing) for ready in sets] == [
        (0, ()), (2, ()), (3, (0,)), (4, ()),
    ]  # fmt: skip
    assert synchronizer.counters['incomplete'] == 1


def test_a_set_waits_no_longer_than_missing_after() -> None:
    synchronizer = SurroundSynchronizer(names(3), missing_after=0.25)
    synchronizer.add(0, START, 'a')
    synchronizer.add(1, START, 'b')
    # The others' next messages, 100 and 200 ms newer, say that this much time has passed, the third one that it is up.
    for i in (1, 2):
        assert not [*synchronizer.add(0, START + i * PERIOD, i), *synchronizer.add(1, START + i * PERIOD, i)]
    (ready,) = synchronizer.add(1, START + 3 * PERIOD, 3)
    assert ready.items == ('a', 'b', None)
    assert ready.stamps_ns == (START, START, None)


def test_poll_releases_what_no_message_would() -> None:
    synchronizer = SurroundSynchronizer(names(3), missing_after=0.25)
    synchronizer.add(0, START, 'a')
    synchronizer.add(1, START, 'b')
    now = 5_000 * MS
    assert synchronizer.poll(now) == ()
    assert synchronizer.poll(now + 240 * MS) == ()
    (ready,) = synchronizer.poll(now + 250 * MS)
    assert ready.items == ('a', 'b', None)
    assert synchronizer.add(2, START + 1, 'c') == ()  # too late for its set, and no set of its own
    assert synchronizer.counters['late'] == 1


def test_a_clock_that_is_set_back_does_not_release_early() -> None:
    synchronizer = SurroundSynchronizer(names(2), missing_after=0.1, min_streams=1)
    synchronizer.add(0, START, 'a')
    assert synchronizer.poll(10_000 * MS) == ()
    assert synchronizer.poll(0) == ()
    assert synchronizer.poll(99 * MS) == ()
    assert len(synchronizer.poll(100 * MS)) == 1


def test_a_lone_set_of_jittering_stamps_comes_with_poll_or_flush() -> None:
    # A second message of any stream would tell whether 30 ms are within a frame; there is none.
    for end in (lambda s: [*s.poll(0), *s.poll(10**9)], lambda s: [*s.flush()]):
        synchronizer = SurroundSynchronizer(names(3))
        for camera in range(3):
            assert synchronizer.add(camera, START + camera * 15 * MS, camera) == ()
        assert [ready.items for ready in end(synchronizer)] == [(0, 1, 2)]


@settings(deadline=None, max_examples=40)
@given(
    streams=st.integers(1, 12),
    drop=st.sampled_from([0.0, 0.1, 0.4]),
    period_ms=st.sampled_from([20.0, 100.0, 500.0]),
    jitter=st.floats(0, 0.9),
    latency=st.floats(5, 250),
    slop=st.floats(0, 0.3),
    missing_after=st.sampled_from([None, 0.05, 0.5]),
    seed=st.integers(0, 1000),
)
def test_whatever_the_traffic_sets_are_sound_and_messages_accounted_for(
    streams: int,
    drop: float,
    period_ms: float,
    jitter: float,
    latency: float,
    slop: float,
    missing_after: float | None,
    seed: int,
) -> None:
    messages = traffic(streams, 60, period_ms, jitter * period_ms, drop, (5, latency), seed)
    runs = []
    for _ in range(2):
        synchronizer = SurroundSynchronizer(names(streams), 5, slop, missing_after=missing_after)
        sets = feed(synchronizer, messages)
        assert_all_counted(synchronizer)
        assert synchronizer.counters['pending'] <= 5 * streams
        sets += synchronizer.flush()
        assert_sound(sets, slop * 1e3 + 1e-6)
        assert_all_counted(synchronizer)
        assert synchronizer.counters['pending'] == 0
        runs.append(sets)
    assert runs[0] == runs[1]


def test_items_come_in_the_streams_order() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b', 'c'])
    synchronizer.add('c', START, 'C')
    synchronizer.add('a', START + 2, 'A')
    complete = synchronizer.add('b', START + 1, 'B')
    assert complete == (SynchronizedSet(START + 2, (START + 2, START + 1, START), ('A', 'B', 'C')),)


def test_a_spread_beyond_the_slop_is_no_set() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b'], slop=0.05)
    synchronizer.add('a', START, 0)
    assert synchronizer.add('b', START + 51 * MS, 0) == ()
    assert len(synchronizer.add('a', START + 1 * MS, 1)) == 1


def test_settings_change_while_messages_are_pending() -> None:
    synchronizer = SurroundSynchronizer(['a', 'b'], slop=0.01)
    synchronizer.add('a', START, 0)
    assert synchronizer.add('b', START + 20 * MS, 0) == ()
    synchronizer.configure(slop=0.03, missing_after=0.1, min_streams=1, queue_size=3)
    assert synchronizer.slop_in_use() == pytest.approx(0.03)
    synchronizer.add('a', START + PERIOD, 1)
    assert len(synchronizer.add('b', START + PERIOD + 20 * MS, 1)) == 1
    with pytest.raises(ValueError, match='slop=-1'):
        synchronizer.configure(slop=-1)
    with pytest.raises(ValueError, match='sloop cannot be set'):
        synchronizer.configure(sloop=1)
    assert synchronizer.slop_in_use() == pytest.approx(0.03)


class Filter:
    """The part of message_filters' SimpleFilter that a synchroniser uses."""

    def __init__(self) -> None:
        self.callbacks: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def registerCallback(self, callback: Callable[..., Any], *args: Any) -> int:
        self.callbacks.append((callback, args))
        return len(self.callbacks) - 1

    def send(self, milliseconds: int) -> Any:
        stamp = SimpleNamespace(sec=1_700_000_000, nanosec=milliseconds * MS)
        message = SimpleNamespace(header=SimpleNamespace(stamp=stamp))
        for callback, args in self.callbacks:
            callback(message, *args)
        return message


def test_it_takes_the_place_of_message_filters() -> None:
    first, second = Filter(), Filter()
    heard: list[tuple[Any, ...]] = []
    synchronizer = SurroundSynchronizer([first, second], 10, 0.05)
    synchronizer.registerCallback(lambda *messages: heard.append(messages), 'and this')
    sent = [(first.send(100 * i), second.send(100 * i + 5)) for i in range(4)]
    assert heard == [(*pair, 'and this') for pair in sent]


@pytest.mark.parametrize('as_list', [True, False])
def test_inputs_can_be_connected_later(as_list: bool) -> None:
    filters = [Filter(), Filter()]
    synchronizer = SurroundSynchronizer(['left', 'right'])
    heard: list[SynchronizedSet] = []
    synchronizer.onSet(heard.append)
    synchronizer.connectInput(filters) if as_list else synchronizer.connectInput(*filters)
    pair = filters[0].send(0), filters[1].send(1)
    assert [ready.items for ready in heard] == [pair]
    with pytest.raises(ValueError, match='got 1 filters; expected 2'):
        synchronizer.connectInput([Filter()])


def test_callbacks_run_without_the_lock() -> None:
    synchronizer = SurroundSynchronizer(['a'])
    reached = threading.Event()

    def callback(complete: SynchronizedSet) -> None:
        # Another thread can add while this one is in the callback; under the lock it could not.
        thread = threading.Thread(target=lambda: (synchronizer.counters, reached.set()))
        thread.start()
        thread.join(timeout=5)

    synchronizer.onSet(callback)
    synchronizer.add('a', START, 0)
    assert reached.is_set()


def test_sets_reach_callbacks_in_order_from_many_threads() -> None:
    heard: list[int] = []
    synchronizer = SurroundSynchronizer(['a'], 1000)
    synchronizer.onSet(lambda ready: heard.append(ready.stamp_ns))
    stamps = iter(range(2000))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                stamp = next(stamps, None)
                if stamp is None:
                    return
                # Added in order, delivered by whichever thread comes first.
                synchronizer.add('a', START + stamp * PERIOD, stamp)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == [START + stamp * PERIOD for stamp in range(2000)]


@pytest.mark.parametrize(
    'arguments',
    [
        {'streams': []},
        {'streams': ['a', 'a']},
        {'streams': ['a', Filter()]},
        {'streams': ['a'], 'slop': -1},
        {'streams': ['a'], 'queue_size': 0},
        {'streams': ['a'], 'queue_size': 0.05},
        {'streams': ['a'], 'missing_after': -1},
        {'streams': ['a', 'b'], 'min_streams': 3},
        {'streams': ['a'], 'jump': 0},
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='expected'):
        SurroundSynchronizer(**arguments)
