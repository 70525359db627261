# SPDX-License-Identifier: Apache-2.0
"""The runtimes that benchmarks/gpu.py compares, each behind the same few calls. Needs a GPU; torch is imported lazily.

All are timed alike: the host's clock around one call, inputs on the GPU before it, all outputs there and the GPU idle
after it, temporal memory kept on the GPU from call to call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from semi_smd_ros.runtime.cuda.driver import CudaContext
from semi_smd_ros.runtime.cuda.engine import DeviceEngine
from semi_smd_ros.runtime.engine.contract import INPUTS, OUTPUTS

# Inputs of one set, named as in the contract; without the memory's.
Arrays = Mapping[str, np.ndarray]


class CannotRun(RuntimeError):
    """Why a runtime takes no part: not installed, or it refuses the model."""


class Runtime(Protocol):
    """One engine, ready to run."""

    def put(self, arrays: Arrays) -> None:
        """Bring the inputs of a set to the GPU."""

    def run(self, use_memory: bool) -> None:
        """One set, until the GPU is idle."""

    def depth(self) -> np.ndarray:
        """Depth (N,1,H,W) of the set that ran last, float32."""

    def close(self) -> None:
        """Free what it holds."""


class TensorRt:
    """Our own engine, through its device tensors."""

    def __init__(self, engine: DeviceEngine) -> None:
        self._engine = engine
        self._stream = engine.context.stream()

    def put(self, arrays: Arrays) -> None:
        """See Runtime."""
        for name, array in arrays.items():
            self._engine.device_input(name).put(array, self._stream)

    def run(self, use_memory: bool) -> None:
        """See Runtime."""
        self._engine.enqueue(self._stream, use_memory)
        self._stream.synchronize()

    def depth(self) -> np.ndarray:
        """See Runtime."""
        memory = self._engine.device_output('depth')
        host = np.empty(memory.shape, memory.dtype)
        memory.copy_to(host, self._stream)
        self._stream.synchronize()
        return host.astype(np.float32)

    def close(self) -> None:
        """See Runtime."""
        self._engine.close()


class Torch:
    """The network in PyTorch under autocast to FP16; with `compiled`, by torch.compile with CUDA graphs."""

    def __init__(self, network: Any, compiled: bool, device: str = 'cuda') -> None:
        if network is None:
            raise CannotRun('PyTorch is not installed')
        try:
            import torch

            from semi_smd_ros.network.export import EngineModule
        except ImportError as error:
            raise CannotRun(f'PyTorch does not load ({error})') from error
        if device == 'cuda' and not torch.cuda.is_available():
            raise CannotRun(f'PyTorch {torch.__version__} has no CUDA device')
        self._torch, self._device, self._compiled = torch, device, compiled
        module = EngineModule(network).eval().to(device)
        # 'reduce-overhead' is torch.compile with CUDA graphs.
        self._module: Callable[..., Any] = torch.compile(module, mode='reduce-overhead') if compiled else module
        self._inputs: dict[str, Any] = {}
        self._memory: Any = None
        self._depth: Any = None

    def put(self, arrays: Arrays) -> None:
        """See Runtime."""
        self._inputs = {
            name: self._torch.from_numpy(np.array(array, np.float32)).to(self._device) for name, array in arrays.items()
        }

    def run(self, use_memory: bool) -> None:
        """See Runtime."""
        torch = self._torch
        # A processor takes a minute for FP16, which it has not; there the tests run it in FP32.
        half = torch.autocast(self._device, torch.float16, enabled=self._device == 'cuda')
        with torch.inference_mode(), half:
            if self._compiled:
                torch.compiler.cudagraph_mark_step_begin()
            cameras = len(self._inputs['camera_valid'])
            if self._memory is None:
                self._memory = self._empty_memory(cameras)
            valid = torch.full((1,), float(use_memory), device=self._device)
            depth, _, _, memory, _ = self._module(*self._inputs.values(), self._memory, valid)
            # The next call of a CUDA graph writes over what this one gave.
            self._memory, self._depth = memory.float().clone() if self._compiled else memory.float(), depth
        if self._device == 'cuda':
            torch.cuda.synchronize()

    def _empty_memory(self, cameras: int) -> Any:
        network = getattr(self._module, '_orig_mod', self._module).network
        config = network.config
        return network.empty_memory(1, cameras, config.height, config.width)[0].to(self._device)

    def depth(self) -> np.ndarray:
        """See Runtime."""
        return self._depth.float().cpu().numpy()

    def close(self) -> None:
        """See Runtime."""
        self._module, self._inputs, self._memory, self._depth = _closed, {}, None, None
        self._torch.cuda.empty_cache()


class OrtCuda:
    """ONNX Runtime's CUDA provider, bound to memory on the GPU."""

    def __init__(self, model: Path, providers: tuple[str, ...] = ('CUDAExecutionProvider',)) -> None:
        import onnxruntime as ort

        if missing := set(providers) - set(ort.get_available_providers()):
            raise CannotRun(f'ONNX Runtime {ort.__version__} has no {", ".join(missing)}: install onnxruntime-gpu')
        self._ort = ort
        self._device = 'cuda' if providers[0] == 'CUDAExecutionProvider' else 'cpu'
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(str(model), options, providers=list(providers))
        if self._session.get_providers()[0] != providers[0]:
            raise CannotRun(f'ONNX Runtime {ort.__version__} cannot start {providers[0]}; check its CUDA and cuDNN')
        self._inputs: dict[str, Any] = {}
        self._memory: Any = None
        self._made: dict[str, Any] = {}

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images that the model takes."""
        shape = next(tensor.shape for tensor in self._session.get_inputs() if tensor.name == 'images')
        return int(shape[2]), int(shape[3])

    def put(self, arrays: Arrays) -> None:
        """See Runtime."""
        self._inputs = {name: self._value(np.ascontiguousarray(array, np.float32)) for name, array in arrays.items()}

    def run(self, use_memory: bool) -> None:
        """See Runtime."""
        if self._memory is None:
            shape = next(tensor.shape for tensor in self._session.get_inputs() if tensor.name == 'memory')
            cameras = self._inputs['camera_valid'].shape()[0]
            self._memory = self._value(np.zeros((cameras, *shape[1:]), np.float32))
        binding = self._session.io_binding()
        values = {**self._inputs, 'memory': self._memory, 'memory_valid': self._value(np.float32([use_memory]))}
        for name in INPUTS:
            binding.bind_ortvalue_input(name, values[name])
        for name in OUTPUTS:
            binding.bind_output(name, self._device)
        binding.synchronize_inputs()
        self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        self._made = dict(zip(OUTPUTS, binding.get_outputs(), strict=True))
        self._memory = self._made['memory_out']

    def _value(self, array: np.ndarray) -> Any:
        return self._ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)

    def depth(self) -> np.ndarray:
        """See Runtime."""
        return self._made['depth'].numpy()

    def close(self) -> None:
        """See Runtime."""
        self._session = self._memory = None
        self._inputs, self._made = {}, {}


def _closed(*_: Any) -> Any:
    raise RuntimeError('this runtime is closed')


def memory_used(
    context: CudaContext, make: Callable[[], Runtime], first: Callable[[Runtime], None]
) -> tuple[Runtime, float]:
    """A runtime that has run `first`, and by how many MiB it made the GPU's free memory smaller.

    What other programs take or give back meanwhile counts, too: have the GPU to yourself.
    """
    before, _ = context.memory_bytes()
    runtime = make()
    try:
        first(runtime)
    except BaseException:
        runtime.close()
        raise
    after, _ = context.memory_bytes()
    return runtime, max(0.0, (before - after) / 2**20)
