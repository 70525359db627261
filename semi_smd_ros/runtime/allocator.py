# SPDX-License-Identifier: Apache-2.0
"""How the C library handles the memory of images: kept, instead of fetched from the kernel again for every message."""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# The most that glibc takes as a threshold for mmap; larger blocks always come from the kernel.
_LARGEST = 32 << 20


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory for the next image; returns False where there is no glibc.

    As shipped, it hands blocks of megabytes back to the kernel when they are freed, and the kernel clears every page of
    them anew for the next message: receiving and sending six images takes two to four times as long as it need. The
    process stays at its largest size for that. For a program's start.
    """
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:  # musl
        return False
    # One arena: those of threads are limited in size, and give back what they hold beyond. glibc takes the number only
    # while there is one thread; a program that has already limited it (the node does) keeps its own.
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, 1 << 30), (_ARENA_MAX, 1))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
