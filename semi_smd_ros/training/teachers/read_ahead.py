# SPDX-License-Identifier: Apache-2.0
"""Reading in a thread of its own, a little ahead of whoever uses what is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

Item = TypeVar('Item')
_END = object()


def read_ahead(items: Iterable[Item], count: int) -> Generator[Item, None, None]:
    """`items`, at most `count` of them read before they are asked for; what they raise comes where the item would.

    All are read in one other thread. Close the iterator (`contextlib.closing`) to end that thread early.
    """
    iterator = iter(items)
    pool = ThreadPoolExecutor(1, 'read-ahead')
    try:
        waiting: deque[Future[object]] = deque(pool.submit(next, iterator, _END) for _ in range(count))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, iterator, _END))
            yield cast('Item', item)
    finally:
        pool.shutdown(cancel_futures=True)
