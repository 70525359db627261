# SPDX-License-Identifier: Apache-2.0
"""The synchroniser when cameras and clocks misbehave: what it serves, and which counter tells."""

from __future__ import annotations

import random

from sync_traffic import MS, START, Message, feed, frames_of, traffic

from semi_smd_ros.runtime import SurroundSynchronizer, SynchronizedSet
from semi_smd_ros.runtime.synchronizer import DROP_REASONS

PERIOD = 100 * MS
HOUR = 3600 * 10**9
CAMERAS = 6


def synchronizer(partial: bool = True, queue_size: int = 10) -> SurroundSynchronizer:
    return SurroundSynchronizer(
        [f'cam_{i}' for i in range(CAMERAS)], queue_size, missing_after=0.1 if partial else None
    )


def run(subject: SurroundSynchronizer, messages: list[Message]) -> list[SynchronizedSet]:
    """Feed in order of arrival; whatever happens, every message is accounted for."""
    sets = [*feed(subject, sorted(messages)), *subject.flush()]
    counters = subject.counters
    assert counters['in'] == len(messages) == counters['used'] + sum(counters[reason] for reason in DROP_REASONS)
    assert counters['pending'] == 0
    return sets


def shifted(messages: list[Message], stream: int | None, frames: range, by_ns: int) -> list[Message]:
    """The same messages, those of `stream` (None: of all) in `frames` stamped by a clock that is off by `by_ns`."""
    return [
        m._replace(stamp_ns=m.stamp_ns + by_ns) if stream in (None, m.stream) and m.frame in frames else m
        for m in messages
    ]


def without(messages: list[Message], stream: int, frames: range) -> list[Message]:
    return [m for m in messages if m.stream != stream or m.frame not in frames]


def test_a_recording_that_loops_loses_nothing() -> None:
    # The second round arrives after the first, with the first one's stamps.
    once = traffic(CAMERAS, 20)
    again = [m._replace(arrival_ns=m.arrival_ns + HOUR, frame=m.frame + 20) for m in once]
    for partial in (True, False):
        subject = synchronizer(partial)
        sets = run(subject, once + again)
        assert [frames_of(ready) for ready in sets] == [{frame} for frame in range(40)]
        assert all(ready.is_complete for ready in sets)
        assert subject.counters['resets'] == 1


def test_time_jumps_back_and_forward_for_all() -> None:
    for by_ns in (-HOUR, HOUR):
        messages = shifted(traffic(CAMERAS, 40), None, range(20, 40), by_ns)
        subject = synchronizer()
        sets = run(subject, messages)
        assert [frames_of(ready) for ready in sets] == [{frame} for frame in range(40)]
        assert subject.counters['resets'] == (by_ns < 0)


def test_time_jumps_back_and_half_of_the_cameras_are_never_heard_again() -> None:
    messages = shifted(traffic(CAMERAS, 80), None, range(20, 80), -HOUR)
    for stream in range(3):
        messages = without(messages, stream, range(20, 80))
    subject = synchronizer()
    sets = run(subject, messages)
    # Three could be wrong against three, until nobody has contradicted them for two seconds.
    after = [ready for ready in sets if min(frames_of(ready)) >= 20]
    assert len(after) >= 38
    assert all(frames_of(ready) == {min(frames_of(ready))} for ready in sets)
    assert all(ready.missing == (0, 1, 2) for ready in after)
    assert subject.counters['resets'] == 1


def test_one_camera_whose_clock_jumps_is_left_out_until_it_is_right_again() -> None:
    for by_ns in (-HOUR, HOUR):
        messages = shifted(traffic(CAMERAS, 60), 2, range(20, 40), by_ns)
        subject = synchronizer()
        sets = run(subject, messages)
        assert [frames_of(ready) for ready in sets] == [{frame} for frame in range(60)]
        assert [ready.missing for ready in sets[20:40]] == [(2,)] * 20
        assert all(ready.is_complete for ready in (*sets[:20], *sets[41:]))
        assert subject.counters['resets'] == 0
        # Back in the past they are set aside; in the future they are groups that nobody else joins.
        lost = subject.counters
        assert lost['jump'] + lost['incomplete'] + lost['overflow'] >= 20


def test_a_stuck_clock_is_counted_as_duplicates() -> None:
    messages = [m._replace(stamp_ns=START + 10 * PERIOD) if m.stream == 4 and m.frame > 10 else m
                for m in traffic(CAMERAS, 60, jitter_ms=0)]  # fmt: skip
    subject = synchronizer()
    sets = run(subject, messages)
    assert [frames_of(ready) for ready in sets] == [{frame} for frame in range(60)]
    assert subject.counters['duplicate'] == 49
    assert [ready.missing for ready in sets[11:]] == [(4,)] * 49


def test_duplicates_are_used_once() -> None:
    messages = traffic(CAMERAS, 40)
    twice = messages + [m._replace(arrival_ns=m.arrival_ns + 1) for m in messages if m.stream < 3]
    subject = synchronizer()
    sets = run(subject, twice)
    assert len(sets) == 40
    assert all(ready.is_complete for ready in sets)
    assert subject.counters['duplicate'] + subject.counters['late'] == 3 * 40
    assert subject.counters['duplicate'] >= 2.5 * 40


def test_a_camera_at_half_the_rate_is_in_every_second_set() -> None:
    messages = [m for m in traffic(CAMERAS, 60) if m.stream != 1 or m.frame % 2 == 0]
    sets = run(synchronizer(), messages)
    assert [frames_of(ready) for ready in sets] == [{frame} for frame in range(60)]
    assert [ready.missing for ready in sets] == [(), (1,)] * 30
    complete = run(synchronizer(partial=False), messages)
    assert [frames_of(ready) for ready in complete] == [{frame} for frame in range(0, 60, 2)]


def test_a_camera_that_dies_is_not_waited_for_and_one_that_returns_is_in_the_set_again() -> None:
    subject = synchronizer()
    messages = without(traffic(CAMERAS, 60), 3, range(20, 40))
    sets, last = [], {}
    for m in messages:
        for ready in subject.add(m.stream, m.stamp_ns, m):
            sets.append(ready)
            (frame,) = frames_of(ready)
            last[frame] = m
        if m.frame == 35:
            assert subject.absent() == ['cam_3']
    assert [frames_of(ready) for ready in sets] == [{frame} for frame in range(60)]
    assert [ready.missing for ready in sets[20:40]] == [(3,)] * 20
    # Five sets long others wait for it; then a set goes as soon as the other five are there.
    assert all(last[frame].frame == frame for frame in range(25, 40))
    assert all(ready.is_complete for ready in (*sets[:20], *sets[41:]))
    assert subject.absent() == []


def test_all_cameras_die_and_return() -> None:
    messages = [m for m in traffic(CAMERAS, 60) if m.frame not in range(20, 40)]
    sets = run(synchronizer(), messages)
    assert [frames_of(ready) for ready in sets] == [{f} for f in (*range(20), *range(40, 60))]
    assert all(ready.is_complete for ready in sets)


def test_a_flood_from_one_camera_neither_grows_nor_stops_the_others() -> None:
    regular = traffic(CAMERAS, 100)
    flood = [
        Message(START + i * 5 * MS + 7, 0, START + i * 5 * MS, -1 - i) for i in range(20 * 100)
    ]  # 200 Hz beside its own 10 Hz
    subject = synchronizer(queue_size=10)
    sets = []
    for m in sorted(regular + flood):
        sets += subject.add(m.stream, m.stamp_ns, m)
        assert subject.counters['pending'] <= 10 * CAMERAS
    served = {item.frame for ready in sets for item in ready.items if item is not None and item.frame >= 0}
    assert len(served) >= 98


def test_a_flood_with_wild_stamps_stays_bounded() -> None:
    rng = random.Random(0)
    subject = synchronizer(queue_size=4)
    stamps = [rng.choice([START, -HOUR, 0, 2**62, rng.randrange(2**62)]) + rng.randrange(10**9) for _ in range(20_000)]
    for stamp in stamps:
        ready = subject.add(rng.randrange(CAMERAS), stamp, None)
        assert all(max(s for s in r.stamps_ns if s is not None) == r.stamp_ns for r in ready)
        assert subject.counters['pending'] <= 4 * CAMERAS
    counters = subject.counters
    assert counters['in'] == counters['used'] + counters['pending'] + sum(counters[r] for r in DROP_REASONS)


def test_pending_messages_are_bounded_without_partial_sets() -> None:
    subject = SurroundSynchronizer(['a', 'b'], queue_size=5)
    for frame in range(1000):
        subject.add('a', START + frame * PERIOD, frame)
    assert subject.counters['pending'] == 5
    assert subject.waiting_for() == ['b']
    assert subject.add('b', START + 999 * PERIOD, 999)


def test_reset_forgets_time() -> None:
    subject = synchronizer(partial=False)
    feed(subject, traffic(CAMERAS, 3))
    subject.add(0, START + 3 * PERIOD, None)
    subject.reset()
    assert len(feed(subject, traffic(CAMERAS, 3))) == 3
    assert subject.counters['reset'] == 1
    assert subject.counters['resets'] == 1
