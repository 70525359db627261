# SPDX-License-Identifier: Apache-2.0
"""Work on a stream recorded once as a CUDA graph and launched again as a whole.

pycuda has no calls for graphs; those of the driver's own C interface are few and have not changed since CUDA 11.4.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from .driver import LIBRARY, CudaContext, CudaError, Stream
from .engine import DeviceEngine

# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile is their own affair.
_THREAD_LOCAL = 1


class CudaGraph:
    """What `work` puts on `stream`, ready to be launched; nothing of it runs while it is recorded.

    The work may use no memory that is made or freed later, and wait for no event from outside. Raises CudaError.
    """

    def __init__(self, context: CudaContext, stream: Stream, work: Callable[[], None]) -> None:
        self._context = context
        self._library = ctypes.CDLL(LIBRARY)
        self._executable = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        handle = ctypes.c_void_p(stream.handle)
        with context.active():
            self._check(self._library.cuStreamBeginCapture_v2(handle, _THREAD_LOCAL), 'cannot be recorded')
            try:
                work()
            finally:
                # The stream must leave its recording whatever happens.
                ended = self._library.cuStreamEndCapture(handle, ctypes.byref(graph))
            self._check(ended, 'is not what a graph can hold')
            try:
                made = self._library.cuGraphInstantiateWithFlags(
                    ctypes.byref(self._executable), graph, ctypes.c_ulonglong(0)
                )
                self._check(made, 'cannot be made ready')
            finally:
                self._library.cuGraphDestroy(graph)
        context.own(self)

    def launch(self, stream: Stream) -> None:
        """Put the whole work on `stream`."""
        with self._context.active():
            launched = self._library.cuGraphLaunch(self._executable, ctypes.c_void_p(stream.handle))
        self._check(launched, 'cannot be launched')

    def free(self) -> None:
        """Destroy the graph. It must not be under way. May be called again."""
        executable, self._executable = self._executable, ctypes.c_void_p()
        if executable:
            with self._context.active():
                self._library.cuGraphExecDestroy(executable)
            self._context.disown(self)

    def _check(self, code: int, what: str) -> None:
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            reason = text.value.decode() if text.value else 'unknown error'
            raise CudaError(f'the work on the stream {what} (as a CUDA graph): {reason} (CUDA error {code})')


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
