# SPDX-License-Identifier: Apache-2.0
"""Host memory in the place of a GPU's, with the methods of `CudaContext`: for what is done with its addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np


class HostContext:
    """Counts what is alive, and is strict where CUDA is: nothing is made or freed while it is not active or open."""

    def __init__(self) -> None:
        self.is_open = True
        self.alive = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        assert self.is_open
        yield

    def device_array(self, shape: Sequence[int], dtype: Any) -> HostArray:
        return HostArray(self, shape, dtype)

    pinned_array = device_array

    def stream(self) -> HostStream:
        return HostStream(self)

    def synchronize(self) -> None:
        assert self.is_open

    def close(self) -> None:
        assert self.alive == 0
        self.is_open = False


class _Counted:
    def __init__(self, context: HostContext) -> None:
        assert context.is_open
        self.context = context
        context.alive += 1

    def free(self) -> None:
        if self.context is not None:
            self.context.alive -= 1
            self.context = None  # type: ignore[assignment]


class HostStream(_Counted):
    handle = 1234

    def synchronize(self) -> None:
        assert self.context.is_open


class HostArray(_Counted):
    def __init__(self, context: HostContext, shape: Sequence[int], dtype: Any) -> None:
        super().__init__(context)
        # What has never been written is not zero on a GPU.
        self.array = np.full(tuple(shape), np.nan if np.dtype(dtype).kind == 'f' else 77, dtype)
        self.shape, self.dtype, self.nbytes = self.array.shape, self.array.dtype, self.array.nbytes
        self.pointer = self.array.ctypes.data

    def copy_from(self, host: np.ndarray, stream: HostStream) -> None:
        assert (host.dtype, host.shape) == (self.dtype, self.shape)
        self.array[...] = host

    def copy_to(self, host: np.ndarray, stream: HostStream) -> None:
        assert (host.dtype, host.shape) == (self.dtype, self.shape)
        host[...] = self.array

    def fill_zero(self, stream: HostStream) -> None:
        self.array[...] = 0


def at(pointer: int, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """The array that lies at an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer), dtype).reshape(tuple(shape))
