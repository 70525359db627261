# SPDX-License-Identifier: Apache-2.0
"""How the C library handles the memory of images: kept, and used again, by all threads alike."""

from __future__ import annotations

import ctypes

# mallopt's parameters, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# The most that glibc takes as a threshold for mmap; larger blocks always come from the kernel.
_LARGEST = 32 << 20


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next image, in one heap; returns False where there is no glibc.

    As shipped, it hands blocks of megabytes back to the kernel when they are freed, and the kernel clears every page of
    them anew for the next message: receiving and sending six images takes two to four times as long as it need. And
    every thread gets a heap of its own, up to eight for each core: engines bring new threads each time they are loaded,
    so the process grows by megabytes a lifecycle though nothing leaks.

    For a program's first lines: glibc counts heaps only until there are several threads. The process stays at its
    largest size until `give_back`.
    """
    mallopt = _glibc('mallopt')
    if mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, 1 << 30))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def give_back() -> None:
    """Give free memory back to the system. Does nothing without glibc."""
    if (trim := _glibc('malloc_trim')) is not None:
        trim(ctypes.c_size_t(0))


def _glibc(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None)
