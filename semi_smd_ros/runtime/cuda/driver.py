# SPDX-License-Identifier: Apache-2.0
"""The CUDA driver: whether there is one, its primary context, memory, copies and streams (through pycuda).

The primary context is the one that every library in a process shares (TensorRT, ONNX Runtime, PyTorch, cuda-python).
`CudaContext` retains it and owns all that is made in it: `close`, the end of a `with` block and the end of the process
free everything and give the context back, whichever comes first. pycuda is imported when a context is made.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np

LIBRARY = 'libcuda.so.1'
NO_DRIVER = (
    'install the NVIDIA driver (on Jetson it comes with JetPack); in a container, start it with --gpus all '
    '(on Jetson: --runtime nvidia)'
)
PYCUDA_HINT = 'python3 -m pip install pycuda (it is compiled: nvcc must be on the PATH, g++ installed)'
# Numbers of the driver's attributes (CUdevice_attribute in cuda.h).
_CAPABILITY_MAJOR, _CAPABILITY_MINOR, _INTEGRATED, _MULTIPROCESSORS = 75, 76, 18, 16
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class CudaError(RuntimeError):
    """No driver, no device, no memory, or a CUDA call that failed. The message says what to do."""


@dataclass(frozen=True)
class DeviceInfo:
    """One GPU as the driver tells it. `cuda_version` is the newest CUDA that the driver runs, such as (13, 0).

    `multiprocessors` tells GPUs apart that bear one name, as the models of Jetson Orin do.
    """

    ordinal: int
    name: str
    capability: tuple[int, int]
    memory_bytes: int
    is_integrated: bool
    cuda_version: tuple[int, int]
    multiprocessors: int


def find_device(ordinal: int = 0) -> DeviceInfo:
    """Ask the driver for a GPU, without pycuda, TensorRT or a context. Ask this before anything of TensorRT is made.

    Raises CudaError where there is no driver, it does not start, or it has no such device.
    """
    library = _library()
    _check(library, library.cuInit(0), 'the NVIDIA driver does not start')
    count, version = ctypes.c_int(), ctypes.c_int()
    _check(library, library.cuDeviceGetCount(ctypes.byref(count)), 'the NVIDIA driver does not tell its devices')
    _check(library, library.cuDriverGetVersion(ctypes.byref(version)), 'the NVIDIA driver does not tell its version')
    if not 0 <= ordinal < count.value:
        raise CudaError(
            f'there is no CUDA device {ordinal}; the driver has {count.value}: check nvidia-smi and the variable '
            'CUDA_VISIBLE_DEVICES'
        )
    device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
    _check(library, library.cuDeviceGet(ctypes.byref(device), ordinal), f'device {ordinal} does not answer')
    _check(library, library.cuDeviceGetName(name, len(name), device), f'device {ordinal} does not tell its name')
    _check(library, library.cuDeviceTotalMem_v2(ctypes.byref(memory), device), f'device {ordinal} has no memory')

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        asked = library.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        _check(library, asked, f'device {ordinal} does not tell its attribute {number}')
        return value.value

    return DeviceInfo(
        ordinal,
        name.value.decode('utf-8', 'replace'),
        (attribute(_CAPABILITY_MAJOR), attribute(_CAPABILITY_MINOR)),
        memory.value,
        bool(attribute(_INTEGRATED)),
        (version.value // 1000, version.value % 1000 // 10),
        attribute(_MULTIPROCESSORS),
    )


def _library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise CudaError(f'no NVIDIA driver ({error}): {NO_DRIVER}') from error


def _check(library: ctypes.CDLL, code: int, what: str) -> None:
    if code:
        text = ctypes.c_char_p()
        library.cuGetErrorString(code, ctypes.byref(text))
        reason = text.value.decode() if text.value else 'unknown error'
        raise CudaError(f'{what}: {reason} (CUDA error {code}): check nvidia-smi; {NO_DRIVER}')


class _Resource(Protocol):
    def free(self) -> None: ...


class CudaContext:
    """The retained primary context of one device, and owner of what is made in it. For any thread.

    CUDA knows a current context for each thread: whoever calls CUDA (pycuda, TensorRT, kernels) does it inside
    `with context.active():`. The methods here do so themselves.

    Raises CudaError without a driver, a device, or pycuda.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.device = find_device(ordinal)
        self.driver = _pycuda_driver()
        with _cuda_errors(f'the context of {self.device.name} cannot be had'):
            self.driver.init()
            # pycuda's Context; None once it is given back.
            self._context: Any = self.driver.Device(ordinal).retain_primary_context()
        self._resources: dict[int, _Resource] = {}
        self._lock = threading.RLock()
        atexit.register(self.close)

    def __enter__(self) -> CudaContext:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether the context has not been given back."""
        return self._context is not None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the context current in this thread for a `with` block; what was current before is so again after it."""
        context = self._context
        if context is None:
            raise CudaError('the CUDA context is closed; make another one')
        context.push()
        try:
            yield
        finally:
            context.pop()

    def stream(self) -> Stream:
        """A new stream that does not wait for the default one."""
        return self.own(Stream(self))

    def event(self) -> Event:
        """A new event, with time."""
        return self.own(Event(self))

    def device_array(self, shape: Sequence[int], dtype: Any) -> DeviceArray:
        """GPU memory for an array; what is in it is undefined. Raises CudaError when there is not enough."""
        return self.own(DeviceArray(self, shape, dtype))

    def pinned_array(self, shape: Sequence[int], dtype: Any) -> PinnedArray:
        """Page-locked host memory for an array, from and to which copies overlap with work on the GPU."""
        return self.own(PinnedArray(self, shape, dtype))

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given. Raises CudaError when some of it failed."""
        with self.active(), _cuda_errors('the work on the device failed'):
            self.driver.Context.synchronize()

    def memory_bytes(self) -> tuple[int, int]:
        """Free and total memory of the device, bytes."""
        with self.active(), _cuda_errors('the memory of the device cannot be told'):
            free, total = self.driver.mem_get_info()
        return int(free), int(total)

    def close(self) -> None:
        """Free all that was made in the context and give it back; other libraries keep theirs. May be called again."""
        with self._lock:
            if self._context is None:
                return
            # The newest first, the context last; one that fails does not keep the others.
            with ExitStack() as closing:
                closing.callback(self._give_back)
                for resource in self._resources.values():
                    closing.callback(resource.free)

    def _give_back(self) -> None:
        context, self._context = self._context, None
        atexit.unregister(self.close)
        # pycuda gives a context back in any thread only while it is the current one there, and leaves it current in
        # CUDA itself; so it is taken off CUDA's own stack first.
        context.push()
        _library().cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        context.detach()

    def own(self, resource: Any) -> Any:
        """Have `resource` freed by `close`, unless it is disowned before; returns it."""
        with self._lock:
            self._resources[id(resource)] = resource
        return resource

    def disown(self, resource: _Resource) -> None:
        """Leave a resource that has been freed to itself."""
        with self._lock:
            self._resources.pop(id(resource), None)


class Stream:
    """Work in order; `handle` is the CUstream as an integer, `raw` the pycuda stream. Made by `CudaContext.stream`."""

    def __init__(self, context: CudaContext) -> None:
        self.context = context
        with context.active(), _cuda_errors('a stream cannot be made'):
            self.raw: Any = context.driver.Stream(_NON_BLOCKING)
        self.handle = int(self.raw.handle)

    def synchronize(self) -> None:
        """Wait until all that was put on the stream is done. Raises CudaError when it failed."""
        with self.context.active(), _cuda_errors('the work on a stream failed'):
            self.raw.synchronize()

    def wait(self, event: Event) -> None:
        """What is put on the stream from now on waits for `event`; the host does not."""
        with self.context.active(), _cuda_errors('a stream cannot wait for an event'):
            self.raw.wait_for_event(event.raw)

    def free(self) -> None:
        """Wait for the work and destroy the stream. May be called again."""
        if self.raw is not None:
            with self.context.active(), _cuda_errors('the work on a stream failed'):
                try:
                    self.raw.synchronize()
                finally:
                    self.raw = None
                    self.context.disown(self)


class Event:
    """A point in a stream's work. `raw` is the pycuda event. Made by `CudaContext.event`."""

    def __init__(self, context: CudaContext) -> None:
        self.context = context
        with context.active(), _cuda_errors('an event cannot be made'):
            self.raw: Any = context.driver.Event()

    def record(self, stream: Stream) -> Event:
        """Mark the end of what is on `stream` so far."""
        with self.context.active(), _cuda_errors('an event cannot be recorded'):
            self.raw.record(stream.raw)
        return self

    def since_ms(self, start: Event) -> float:
        """Milliseconds between two recorded events, waiting for this one."""
        with self.context.active(), _cuda_errors('an event has no time'):
            self.raw.synchronize()
            return float(self.raw.time_since(start.raw))

    def free(self) -> None:
        """Destroy the event. May be called again."""
        if self.raw is not None:
            with self.context.active():
                self.raw = None
                self.context.disown(self)


class DeviceArray:
    """GPU memory of one C-contiguous array: `pointer` (CUdeviceptr as an integer), `nbytes`, `shape`, `dtype`.

    Made by `CudaContext.device_array`. Copies are asynchronous on their stream: the host array must live, and not
    change, until the stream has come past them; with memory that is not page-locked the call itself may wait.
    """

    def __init__(self, context: CudaContext, shape: Sequence[int], dtype: Any) -> None:
        self.context = context
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        with context.active(), _cuda_errors(_allocation(context, 'GPU', self)):
            self._memory: Any = context.driver.mem_alloc(max(self.nbytes, 1))
        self.pointer = int(self._memory)

    def pointer_at(self, index: int) -> int:
        """The address of `array[index]`, along the first axis."""
        return self.pointer + index * (self.nbytes // self.shape[0])

    def copy_from(self, host: np.ndarray, stream: Stream) -> None:
        """Host to device. Raises ValueError for an array of another dtype, size or order."""
        self._check(host)
        with self.context.active(), _cuda_errors('a copy to the device failed'):
            self.context.driver.memcpy_htod_async(self.pointer, host, stream.raw)

    def put(self, values: np.ndarray, stream: Stream) -> None:
        """Copy `values`, converted to the array's dtype, and wait for it: for what is set once and let go of."""
        host = np.ascontiguousarray(values, self.dtype)
        self.copy_from(host, stream)
        stream.synchronize()

    def copy_to(self, host: np.ndarray, stream: Stream) -> None:
        """Device to host. Raises ValueError for an array of another dtype, size or order."""
        self._check(host)
        with self.context.active(), _cuda_errors('a copy from the device failed'):
            self.context.driver.memcpy_dtoh_async(host, self.pointer, stream.raw)

    def copy_head_to(self, host: np.ndarray, stream: Stream) -> None:
        """As many of the first bytes as `host` (uint8, C-contiguous) has. Raises ValueError where it has too many."""
        if host.dtype != np.uint8 or host.nbytes > self.nbytes or not host.flags.c_contiguous:
            raise ValueError(
                f'got {host.nbytes} bytes of {host.dtype}; expected at most {self.nbytes} of uint8 in a row'
            )
        if host.nbytes:
            with self.context.active(), _cuda_errors('a copy from the device failed'):
                self.context.driver.memcpy_dtoh_async(host, self.pointer, stream.raw)

    def fill_zero(self, stream: Stream) -> None:
        """Set every byte to zero."""
        with self.context.active(), _cuda_errors('memory of the device cannot be set'):
            self.context.driver.memset_d8_async(self.pointer, 0, self.nbytes, stream.raw)

    def free(self) -> None:
        """Give the memory back. No work on any stream may use it any more. May be called again."""
        memory, self._memory, self.pointer = self._memory, None, 0
        if memory is not None:
            with self.context.active():
                memory.free()
            self.context.disown(self)

    def _check(self, host: np.ndarray) -> None:
        if not self.pointer:
            raise CudaError('the memory of the device has been given back; make another array')
        if host.dtype != self.dtype or host.size != math.prod(self.shape) or not host.flags.c_contiguous:
            order = '' if host.flags.c_contiguous else ', not C-contiguous'
            raise ValueError(
                f'got an array of {host.dtype} {host.shape}{order}; expected {self.dtype} {self.shape}, C-contiguous'
            )


class PinnedArray:
    """Page-locked host memory: `array` is the numpy array in it. Made by `CudaContext.pinned_array`.

    The array must not be used after `free`, nor after its context is closed.
    """

    def __init__(self, context: CudaContext, shape: Sequence[int], dtype: Any) -> None:
        self.context = context
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        with context.active(), _cuda_errors(_allocation(context, 'page-locked', self)):
            self._array: np.ndarray | None = context.driver.pagelocked_empty(self.shape, self.dtype)

    @property
    def array(self) -> np.ndarray:
        """The memory as a numpy array."""
        if self._array is None:
            raise CudaError('page-locked memory has been given back; make another array')
        return self._array

    def free(self) -> None:
        """Give the memory back. No copy may be under way. May be called again."""
        array, self._array = self._array, None
        if array is not None:
            memory: Any = array.base
            with self.context.active():
                memory.free()
            self.context.disown(self)


def _allocation(context: CudaContext, kind: str, array: DeviceArray | PinnedArray) -> str:
    size = f'{array.nbytes / 2**20:.1f} MiB'
    return f'{size} of {kind} memory for {array.dtype} {array.shape} cannot be had on {context.device.name}'


def _pycuda_driver() -> Any:
    try:
        import pycuda.driver as driver
    except ImportError as error:
        raise CudaError(f'pycuda does not load ({error}): {PYCUDA_HINT}') from error
    return driver


@contextmanager
def _cuda_errors(what: str) -> Iterator[None]:
    """Tell pycuda's errors as CudaError."""
    import pycuda.driver as driver

    try:
        yield
    except driver.MemoryError as error:
        raise CudaError(f'{what}: out of memory: close other programs that use the GPU ({error})') from error
    except driver.Error as error:
        raise CudaError(f'{what}: {error}') from error
