# SPDX-License-Identifier: Apache-2.0
"""Keeps glibc from hoarding memory: what a model or a picture has used is used again, or given back.

By default every thread gets a heap of its own, up to eight for each core. Engines bring new threads each time they are
loaded, their buffers end up in ever other heaps, and the process grows by megabytes a lifecycle though nothing leaks.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # malloc.h
ARENAS = 2


def limit_heaps() -> None:
    """Have all threads share two heaps; to be called before there are any threads. Does nothing without glibc."""
    if (mallopt := _glibc('mallopt')) is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give free memory back to the system. Does nothing without glibc."""
    if (trim := _glibc('malloc_trim')) is not None:
        trim(ctypes.c_size_t(0))


def _glibc(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None)
