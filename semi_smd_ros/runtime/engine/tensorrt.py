# SPDX-License-Identifier: Apache-2.0
"""The engine on TensorRT: a built plan, its tensors on the GPU, and the temporal memory that never leaves it."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ...rig import Rig
from ..cuda.driver import CudaContext, DeviceArray, PinnedArray, Stream
from .contract import (
    INPUTS,
    OUTPUTS,
    EngineInputs,
    EngineOutputs,
    ModelError,
    black_inputs,
    check_rig,
    read_spec,
)
from .plan_cache import StoredPlan
from .tensorrt_api import TensorRT, numpy_dtype

_HOST_INPUTS = ('images', 'intrinsics', 'base_T_cam', 'camera_valid')
_HOST_OUTPUTS = ('depth', 'confidence', 'semantics', 'ego_motion')


def open_plan(trt: TensorRT, context: CudaContext, stored: StoredPlan, path: Path) -> TensorRTEngine | None:
    """The engine of a plan, or None where this TensorRT or this GPU cannot use it.

    Raises ModelError for a plan whose tensors are not those of the contract.
    """
    with context.active():
        runtime = trt.module.Runtime(trt.log.adapter)
        engine = runtime.deserialize_cuda_engine(stored.plan)
        if engine is None:
            trt.log.take_errors()
            return None
        return TensorRTEngine(trt, context, runtime, engine, stored.record, path)


class TensorRTEngine:
    """Runs a plan for one number of cameras. `context` owns all GPU memory; `stream` is what `run` works on.

    Host arrays go through `run`. Who has its arrays on the GPU writes to `device_input`, calls `enqueue` and reads
    `device_output`, all on one stream. Not thread-safe: one thread at a time.

    The memory is in two buffers: a run reads the one of index `slot` and writes the other, then they change roles. A
    captured CUDA graph holds addresses, so that one is needed for each slot; whoever replays it calls `note_run`.
    """

    def __init__(
        self, trt: TensorRT, context: CudaContext, runtime: Any, engine: Any, record: dict[str, Any], path: Path
    ) -> None:
        self.path = path
        self.context = context
        self.record = record
        self.slot = 0
        self._trt = trt
        self._owned: list[DeviceArray | PinnedArray | Stream] = []
        self._runtime, self._engine = runtime, engine
        self._execution: Any = engine.create_execution_context()
        if self._execution is None:
            raise ModelError(f'{path}: no memory on the GPU to run it: {trt.log.take_errors()}')
        self._has_memory = False
        # Where nobody closes it, before the context, which has its own call there: TensorRT cannot be freed after it.
        atexit.register(self.release)
        try:
            self._set_up(record)
        except BaseException:
            self.release()
            raise

    def run(self, inputs: EngineInputs, use_memory: bool) -> EngineOutputs:
        """One set of host arrays; see the contract. The next run overwrites what is returned."""
        if len(inputs.images) != self.spec.cameras:
            raise ModelError(
                f'the engine is built for {self.spec.cameras} cameras; got {len(inputs.images)}: build one for this rig'
            )
        self._require(use_memory)
        try:
            for name in _HOST_INPUTS:
                given, staged = getattr(inputs, name), self._staged[name]
                if given.shape != staged.shape:
                    raise ModelError(f'input {name} has shape {given.shape}; expected {staged.shape}')
                staged.array[...] = given
                self._arrays[name].copy_from(staged.array, self.stream)
            self.enqueue(self.stream, use_memory)
            for name in _HOST_OUTPUTS:
                self._arrays[name].copy_to(self._staged[name].array, self.stream)
        finally:
            # Also after an error: what is under way uses the staged arrays.
            self.stream.synchronize()
        answers = {name: self._staged[name].array for name in _HOST_OUTPUTS}
        return EngineOutputs(
            answers['depth'].astype(np.float32, copy=False),
            answers['confidence'].astype(np.float32, copy=False),
            answers['semantics'],
            answers['ego_motion'].astype(np.float64),
        )

    def device_input(self, name: str) -> DeviceArray:
        """Where `enqueue` reads an input: images, intrinsics, base_T_cam or camera_valid."""
        return self._named(name, _HOST_INPUTS)

    def device_output(self, name: str) -> DeviceArray:
        """Where `enqueue` writes an output; of memory_out, where the newest run has written it."""
        if name == 'memory_out':
            return self._memories[self.slot]
        return self._named(name, _HOST_OUTPUTS)

    def enqueue(self, stream: Stream, use_memory: bool) -> None:
        """Put one run on a stream, from the device inputs to the device outputs. It can be captured in a CUDA graph.

        Raises ModelError without the memory that `use_memory` asks for, and when TensorRT refuses the run; a run that
        was refused leaves no memory.
        """
        self._require(use_memory)
        reads, writes = self._memories[self.slot], self._memories[1 - self.slot]
        addresses = {**self._arrays, 'memory': reads, 'memory_out': writes, 'memory_valid': self._flags[use_memory]}
        self._has_memory = False
        with self.context.active():
            if not use_memory:
                # What is left there could be NaN, which no factor of zero takes away.
                reads.fill_zero(stream)
            for name, array in addresses.items():
                if not self._execution.set_tensor_address(name, array.pointer):
                    raise ModelError(f'{self.path}: TensorRT refuses tensor {name}: {self._trt.log.take_errors()}')
            if not self._execution.execute_async_v3(stream.handle):
                raise ModelError(f'{self.path}: TensorRT failed: {self._trt.log.take_errors()}')
        self.note_run()

    def note_run(self) -> None:
        """Change the roles of the memory's two buffers. For who replays a captured `enqueue`; `enqueue` does so."""
        self.slot = 1 - self.slot
        self._has_memory = True

    def check_rig(self, rig: Rig) -> None:
        """Raise ModelError when the model, as it is built, cannot run this rig."""
        check_rig(self.spec, rig)

    def warm_up(self, cameras: int) -> None:
        """Run on black images, first without memory and then with; leaves no memory."""
        black = black_inputs(self.spec, cameras)
        for use_memory in (False, True):
            self.run(black, use_memory)
        self.reset_memory()

    def reset_memory(self) -> None:
        """Forget the features of the set before."""
        self._has_memory = False

    def release(self) -> None:
        """Wait for what is under way, then free the engine and its arrays; the context, which others may use, stays."""
        atexit.unregister(self.release)
        if self._execution is None or not self.context.is_open:
            return
        try:
            self.context.synchronize()
        finally:
            with self.context.active():
                # TensorRT wants them freed in this order.
                self._execution = None
                self._engine = None
                self._runtime = None
            with ExitStack() as freeing:
                for resource in self._owned:
                    freeing.callback(resource.free)
            self._owned = []

    def close(self) -> None:
        """Free the engine, its arrays and its context; a closed engine cannot run."""
        try:
            self.release()
        finally:
            self.context.close()

    def _require(self, use_memory: bool) -> None:
        if self._execution is None:
            raise ModelError(f'{self.path}: the engine is closed; load it again')
        if use_memory and not self._has_memory:
            raise ModelError('there is no memory of a set before this one; call run with use_memory=False')

    def _named(self, name: str, names: tuple[str, ...]) -> DeviceArray:
        if name not in names:
            raise KeyError(f'{name} is not a tensor to be read or written here; expected one of {", ".join(names)}')
        return self._arrays[name]

    def _set_up(self, record: dict[str, Any]) -> None:
        shapes = self._bind()
        key = record['key']
        self.spec = read_spec(
            {name: shapes[name] for name in INPUTS if name in shapes},
            {name: shapes[name] for name in OUTPUTS if name in shapes},
            record['metadata'],
            f'{self.path} (its plan)',
            backend=f'TensorRT {key["tensorrt"]} on {key["gpu"]}',
            precision=key['precision'],
            sha256=key['model_sha256'],
        )
        if self._dtypes['memory'] != self._dtypes['memory_out']:
            raise ModelError(
                f'{self.path}: memory is {self._dtypes["memory"]}, memory_out {self._dtypes["memory_out"]}: '
                'export the model again'
            )
        self._allocate(shapes)

    def _bind(self) -> dict[str, list[Any]]:
        """Fix the inputs' shapes to those that the plan was built for; returns every tensor's shape.

        Raises ModelError for a tensor whose shape is open even then.
        """
        modes = {}
        for i in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(i)
            modes[name] = self._engine.get_tensor_mode(name)
        cameras = self.record['key']['cameras']
        for name, mode in modes.items():
            if mode == self._trt.member('TensorIOMode', 'INPUT'):
                shape = tuple(cameras if size == -1 else size for size in self._engine.get_tensor_shape(name))
                if not self._execution.set_input_shape(name, shape):
                    raise ModelError(f'{self.path}: TensorRT refuses {name} {shape}: {self._trt.log.take_errors()}')
        shapes = {name: [int(size) for size in self._execution.get_tensor_shape(name)] for name in modes}
        for name, sizes in shapes.items():
            if min(sizes, default=1) < 0:
                raise ModelError(f'{self.path}: the shape of {name} is {sizes}; expected all sizes to follow from N')
        self._dtypes = {name: numpy_dtype(self._engine.get_tensor_dtype(name)) for name in modes}
        return shapes

    def _allocate(self, shapes: dict[str, list[Any]]) -> None:
        def device(name: str) -> DeviceArray:
            array = self.context.device_array(shapes[name], self._dtypes[name])
            self._owned.append(array)
            return array

        def pinned(name: str) -> PinnedArray:
            array = self.context.pinned_array(shapes[name], self._dtypes[name])
            self._owned.append(array)
            return array

        self.stream = self.context.stream()
        self._owned.append(self.stream)
        self._arrays = {name: device(name) for name in (*_HOST_INPUTS, *_HOST_OUTPUTS)}
        self._staged = {name: pinned(name) for name in (*_HOST_INPUTS, *_HOST_OUTPUTS)}
        self._memories = (device('memory'), device('memory'))
        self._flags = (device('memory_valid'), device('memory_valid'))
        for flag, value in zip(self._flags, (0, 1), strict=True):
            flag.copy_from(np.full(flag.shape, value, flag.dtype), self.stream)
        self.stream.synchronize()
