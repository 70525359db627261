# SPDX-License-Identifier: Apache-2.0
"""The worker: the newest wins, what cannot be used yet waits, nothing is lost without a word."""

from __future__ import annotations

import threading
import time

from ros_harness import wait_for

from semi_smd_ros.nodes.worker import NewestWorker


class Bench:
    """A worker whose work can be held up, and whose items can be made to wait."""

    def __init__(self, retry_s: float = 60.0) -> None:
        self.done: list[int] = []
        self.dropped: list[tuple[int, str]] = []
        self.started = threading.Event()
        self.free = threading.Event()
        self.free.set()
        self.is_ready = True
        self.attempts = 0
        self.worker = NewestWorker(self.process, lambda item, why: self.dropped.append((item, why)), retry_s)
        self.worker.start()

    def process(self, item: int) -> bool:
        self.attempts += 1
        self.started.set()
        self.free.wait(5)
        if self.is_ready:
            self.done.append(item)
        return self.is_ready


def test_while_busy_the_newest_waits_and_older_ones_are_dropped() -> None:
    bench = Bench()
    bench.free.clear()
    bench.worker.submit(1)
    bench.started.wait(5)
    for item in (2, 3, 4):
        bench.worker.submit(item)
    bench.free.set()
    wait_for(lambda: len(bench.done) == 2, 'two items done')
    bench.worker.stop()
    assert bench.done == [1, 4]
    assert bench.dropped == [(2, 'superseded'), (3, 'superseded')]


def test_an_item_that_is_not_ready_is_kept_until_woken() -> None:
    bench = Bench()
    bench.is_ready = False
    bench.worker.submit(1)
    wait_for(lambda: bench.attempts == 1, 'a try')
    bench.is_ready = True
    # Waking may come between the try and the wait for the next one, so it is repeated.
    wait_for(lambda: bench.worker.wake() or bench.done, 'the item done')
    bench.worker.stop()
    assert (bench.done, bench.dropped) == ([1], [])


def test_an_item_that_is_not_ready_is_tried_again_by_itself() -> None:
    bench = Bench(retry_s=0.02)
    bench.is_ready = False
    bench.worker.submit(1)
    wait_for(lambda: bench.attempts > 2, 'tries')
    bench.is_ready = True
    wait_for(lambda: bench.done, 'the item done')
    bench.worker.stop()


def test_an_item_that_is_not_ready_gives_way_to_a_newer_one() -> None:
    bench = Bench()
    bench.is_ready = False
    bench.worker.submit(1)
    wait_for(lambda: bench.attempts == 1, 'a try')
    bench.is_ready = True
    bench.worker.submit(2)
    wait_for(lambda: bench.done, 'the newer item done')
    bench.worker.stop()
    assert (bench.done, bench.dropped) == ([2], [(1, 'superseded')])


def test_stopping_finishes_the_work_and_counts_what_waited() -> None:
    bench = Bench()
    bench.free.clear()
    bench.worker.submit(1)
    bench.started.wait(5)
    bench.worker.submit(2)
    threading.Timer(0.05, bench.free.set).start()
    before = time.monotonic()
    bench.worker.stop()
    assert time.monotonic() - before < 4
    assert (bench.done, bench.dropped) == ([1], [(2, 'deactivated')])
    bench.worker.submit(3)
    assert bench.dropped[-1] == (3, 'deactivated')


def test_stopping_counts_an_item_that_was_never_ready() -> None:
    bench = Bench()
    bench.is_ready = False
    bench.worker.submit(1)
    wait_for(lambda: bench.attempts == 1, 'a try')
    bench.worker.stop()
    assert (bench.done, bench.dropped) == ([], [(1, 'deactivated')])


def test_every_item_is_done_or_dropped_under_load() -> None:
    bench = Bench()
    for item in range(2000):
        bench.worker.submit(item)
    bench.worker.stop()
    assert sorted([*bench.done, *(item for item, _ in bench.dropped)]) == list(range(2000))
    assert bench.done == sorted(bench.done)
