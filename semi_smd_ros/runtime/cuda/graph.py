# SPDX-License-Identifier: Apache-2.0
"""Work on a stream recorded once as a CUDA graph and launched again as a whole.

pycuda has no calls for this; the driver's own are few, and have not changed since CUDA 11.4.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

from .driver import CudaContext, CudaError, Stream
from .driver_calls import DriverCalls
from .engine import DeviceEngine

# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile is their own affair.
_THREAD_LOCAL = 1


class CudaGraph:
    """What `work` puts on `stream`, ready to be launched; nothing of it runs while it is recorded.

    The work may use no memory that is made or freed later, and wait for no event from outside. Raises CudaError.
    """

    def __init__(self, context: CudaContext, stream: Stream, work: Callable[[], None]) -> None:
        self._context = context
        self._call = DriverCalls()
        self._executable = ctypes.c_void_p()
        graph, handle = ctypes.c_void_p(), ctypes.c_void_p(stream.handle)
        with context.active():
            self._call('a CUDA graph cannot be recorded', 'cuStreamBeginCapture_v2', handle, _THREAD_LOCAL)
            try:
                work()
            except BaseException:
                # The stream leaves its recording; what that says of it matters less than the error.
                with suppress(CudaError):
                    self._call('', 'cuStreamEndCapture', handle, ctypes.byref(graph))
                raise
            self._call('a CUDA graph cannot hold the work', 'cuStreamEndCapture', handle, ctypes.byref(graph))
            try:
                made, flags = ctypes.byref(self._executable), ctypes.c_ulonglong(0)
                self._call('a CUDA graph cannot be made ready', 'cuGraphInstantiateWithFlags', made, graph, flags)
            finally:
                self._call('a CUDA graph cannot be given back', 'cuGraphDestroy', graph)
        context.own(self)

    def launch(self, stream: Stream) -> None:
        """Put the whole work on `stream`."""
        with self._context.active():
            handle = ctypes.c_void_p(stream.handle)
            self._call('a CUDA graph cannot be launched', 'cuGraphLaunch', self._executable, handle)

    def free(self) -> None:
        """Destroy the graph. It must not be under way. May be called again."""
        executable, self._executable = self._executable, ctypes.c_void_p()
        if executable:
            with self._context.active():
                self._call('a CUDA graph cannot be given back', 'cuGraphExecDestroy', executable)
            self._context.disown(self)


class GraphCache:
    """The graphs of one pipeline: one for each half of the engine's memory, with and without using it.

    A set of a new kind runs as it is (a TensorRT engine must have run before it is recorded), the next one of its kind
    is recorded, all later ones are launched as a graph.
    """

    def __init__(self, context: CudaContext) -> None:
        self._context = context
        self._graphs: dict[tuple[int, bool], CudaGraph | None] = {}

    def run(self, engine: DeviceEngine, stream: Stream, use_memory: bool, work: Callable[[bool], None]) -> None:
        """Put `work(use_memory)`, in which `engine` is enqueued, on `stream`. Raises CudaError."""
        kind = (engine.slot, use_memory)
        graph = self._graphs.get(kind)
        if graph is not None:
            graph.launch(stream)
            engine.note_run()
        elif kind in self._graphs:
            graph = self._graphs[kind] = CudaGraph(self._context, stream, lambda: work(use_memory))
            graph.launch(stream)
        else:
            work(use_memory)
            self._graphs[kind] = None

    def clear(self) -> None:
        """Forget all graphs: memory that they use has been given back. None may be under way."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.free()
        self._graphs.clear()
