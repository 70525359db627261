# SPDX-License-Identifier: Apache-2.0
"""The driver's classes on the host: memory is the host's, kernels are compiled by g++ from the very same source.

A stream of `is_lazy` does nothing until somebody waits for it, as late as a GPU ever could; another does all at
once, as early as one ever could. What holds with both waits where it must, and for no longer than it may.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semi_smd_ros.rig import Rig
from semi_smd_ros.runtime import EngineInputs, EngineOutputs, load_engine
from semi_smd_ros.runtime.cuda.kernels import HEADER, KERNELS, grid_of, packed, source

FLAGS = ('-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror', '-ffp-contract=off', '-fPIC', '-shared')


class HostStream:
    def __init__(self, is_lazy: bool) -> None:
        self.is_lazy = is_lazy
        self.done = 0
        self.recorded: list[Callable[[], None]] | None = None
        self._work: deque[Callable[[], None]] = deque()

    @property
    def length(self) -> int:
        return self.done + len(self._work)

    def put(self, work: Callable[[], None]) -> None:
        if self.recorded is not None:
            self.recorded.append(work)
            return
        self._work.append(work)
        if not self.is_lazy:
            self.synchronize()

    def run_until(self, length: int) -> None:
        while self.done < length:
            work = self._work.popleft()
            self.done += 1
            work()

    def synchronize(self) -> None:
        assert self.recorded is None, 'what is recorded is not waited for'
        self.run_until(self.length)

    def wait(self, event: HostEvent) -> None:
        assert self.recorded is None, 'a graph cannot wait for an event from outside'
        at = event.at
        if at is not None:
            self.put(lambda: at[0].run_until(at[1]))


class HostEvent:
    at: tuple[HostStream, int] | None = None

    def record(self, stream: HostStream) -> HostEvent:
        self.at = (stream, stream.length)
        return self

    def since_ms(self, start: HostEvent) -> float:
        for event in (start, self):
            assert event.at is not None
            event.at[0].run_until(event.at[1])
        return 0.0

    def free(self) -> None:
        self.at = None


class HostMemory:
    """DeviceArray and PinnedArray in one."""

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        # Never zeros: what nobody has written must be noticed.
        self._bytes = np.full(max(self.nbytes, 1), 0xA5, np.uint8)
        self.array = self._bytes[: self.nbytes].view(self.dtype).reshape(self.shape)
        self.pointer = self._bytes.ctypes.data

    def pointer_at(self, index: int) -> int:
        return self.pointer + index * (self.nbytes // self.shape[0])

    def copy_from(self, host: np.ndarray, stream: HostStream) -> None:
        assert host.dtype == self.dtype
        assert host.size == self.array.size
        assert host.flags.c_contiguous
        stream.put(lambda: np.copyto(self.array, host.reshape(self.shape)))

    def put(self, values: np.ndarray, stream: HostStream) -> None:
        self.copy_from(np.ascontiguousarray(values, self.dtype), stream)
        stream.synchronize()

    def copy_to(self, host: np.ndarray, stream: HostStream) -> None:
        assert host.dtype == self.dtype
        assert host.size == self.array.size
        assert host.flags.c_contiguous
        stream.put(lambda: np.copyto(host.reshape(self.shape), self.array))

    def copy_head_to(self, host: np.ndarray, stream: HostStream) -> None:
        assert host.dtype == np.uint8
        assert host.size <= self.nbytes
        stream.put(lambda: np.copyto(host, self._bytes[: host.size]))

    def fill_zero(self, stream: HostStream) -> None:
        stream.put(lambda: self._bytes.fill(0))

    def free(self) -> None:
        self._bytes.fill(0x5A)
        self.pointer = 0


class HostContext:
    def __init__(self, is_lazy: bool) -> None:
        self._is_lazy = is_lazy

    def stream(self) -> HostStream:
        return HostStream(self._is_lazy)

    def event(self) -> HostEvent:
        return HostEvent()

    def device_array(self, shape: Sequence[int], dtype: Any) -> HostMemory:
        return HostMemory(shape, dtype)

    pinned_array = device_array

    @contextmanager
    def active(self) -> Iterator[None]:
        yield


def build_kernels(folder: Path) -> dict[str, ctypes.CDLL]:
    """The kernels of every file, compiled for this machine's processor; skips where there is no g++."""
    compiler = shutil.which('g++')
    if compiler is None:
        pytest.skip('no g++ to compile the kernels for the processor with')
    files = sorted({kernel.file for kernel in KERNELS.values()})
    for name in (HEADER, *files):
        (folder / name).write_text(source(name))
    libraries = {}
    for name in files:
        library = folder / f'{name}.so'
        command = [compiler, *FLAGS, '-x', 'c++', '-o', str(library), str(folder / name)]
        subprocess.run(command, check=True, timeout=120)
        libraries[name] = ctypes.CDLL(str(library))
    return libraries


class HostKernels:
    """Kernels on the host: the same launches, of the same arguments."""

    def __init__(self, libraries: dict[str, ctypes.CDLL]) -> None:
        self._libraries = libraries

    def launch(self, name: str, threads: tuple[int, ...], stream: HostStream, *arguments: HostMemory | int) -> None:
        kernel = KERNELS[name]
        values, pointers = packed(kernel, arguments)
        grid, block = ((ctypes.c_uint * 3)(*size) for size in (grid_of(kernel, threads), kernel.block))
        function = getattr(self._libraries[kernel.file], f'launch_{name}')

        def run() -> None:
            # What the pointers point to lives as long as this.
            assert len(values) == len(pointers)
            function(grid, block, pointers)

        stream.put(run)


class HostGraph:
    """CudaGraph on the host: what was put on the stream meanwhile, with the addresses of then."""

    made = 0
    launched = 0

    def __init__(self, context: HostContext, stream: HostStream, work: Callable[[], None]) -> None:
        stream.recorded = []
        work()
        self._work, stream.recorded = stream.recorded, None
        HostGraph.made += 1

    def launch(self, stream: HostStream) -> None:
        for work in self._work:
            stream.put(work)
        HostGraph.launched += 1

    def free(self) -> None:
        self._work = [_freed]


def _freed() -> None:
    raise AssertionError('a graph was launched after it was freed')


class BridgedEngine:
    """ONNX Runtime behind the interface of an engine on a device: its tensors lie in `context`'s memory."""

    def __init__(self, path: Path, context: Any, cameras: int, dtype: Any = np.float32, labels: Any = np.uint8) -> None:
        self._engine = load_engine(path, threads=1)
        self.spec = self._engine.spec
        self.context = context
        height, width = self.spec.height, self.spec.width
        self._inputs = {
            'images': context.device_array((cameras, 3, height, width), dtype),
            'intrinsics': context.device_array((cameras, 3, 3), np.float32),
            'base_T_cam': context.device_array((cameras, 4, 4), np.float32),
            'camera_valid': context.device_array((cameras,), np.float32),
        }
        self._outputs = {
            'depth': context.device_array((cameras, 1, height, width), dtype),
            'confidence': context.device_array((cameras, 1, height, width), dtype),
            'semantics': context.device_array((cameras, *self._label_size(cameras)), labels),
            'ego_motion': context.device_array((4, 4), np.float32),
        }

    def _label_size(self, cameras: int) -> tuple[int, int]:
        self._engine.warm_up(cameras)
        black = EngineInputs(
            np.zeros((cameras, 3, self.spec.height, self.spec.width), np.float32),
            np.tile(np.eye(3), (cameras, 1, 1)), np.tile(np.eye(4), (cameras, 1, 1)), np.ones(cameras),
        )  # fmt: skip
        size = self._engine.run(black, use_memory=False).semantics.shape[1:]
        self._engine.reset_memory()
        return size[0], size[1]

    def device_input(self, name: str) -> Any:
        return self._inputs[name]

    def device_output(self, name: str) -> Any:
        return self._outputs[name]

    def enqueue(self, stream: Any, use_memory: bool) -> None:
        host = {name: np.empty(array.shape, array.dtype) for name, array in self._inputs.items()}
        for name, array in self._inputs.items():
            array.copy_to(host[name], stream)
        stream.synchronize()
        inputs = EngineInputs(*(host[name].astype(np.float32) for name in self._inputs))
        made = self._engine.run(inputs, use_memory)
        for name, array in self._outputs.items():
            array.copy_from(np.ascontiguousarray(getattr(made, name), array.dtype), stream)
            stream.synchronize()

    def run(self, inputs: EngineInputs, use_memory: bool) -> EngineOutputs:
        raise AssertionError('the device path goes around the host')

    def check_rig(self, rig: Rig) -> None:
        self._engine.check_rig(rig)

    def reset_memory(self) -> None:
        self._engine.reset_memory()


class RecordableEngine(BridgedEngine):
    """One whose `enqueue` only puts work on a stream of the host, as TensorRT's does; its memory has two halves."""

    slot = 0
    _newest = 0

    def enqueue(self, stream: HostStream, use_memory: bool) -> None:
        reads = self.slot

        def run() -> None:
            assert not use_memory or reads == self._newest, 'the older half of the memory is read'
            inputs = EngineInputs(*(memory.array.astype(np.float32) for memory in self._inputs.values()))
            made = self._engine.run(inputs, use_memory)
            for name, memory in self._outputs.items():
                memory.array[...] = getattr(made, name)
            self._newest = 1 - reads

        stream.put(run)
        self.note_run()

    def note_run(self) -> None:
        self.slot = 1 - self.slot
