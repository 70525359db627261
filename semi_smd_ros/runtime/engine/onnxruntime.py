# SPDX-License-Identifier: Apache-2.0
"""The engine on ONNX Runtime, on the CPU or with CUDA."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort

from ...rig import Rig
from .contract import (
    METADATA_KEY,
    OUTPUTS,
    BackendError,
    EngineInputs,
    EngineOutputs,
    EngineSpec,
    ModelError,
    black_inputs,
    check_rig,
    read_metadata,
    read_spec,
)


class OnnxRuntimeEngine:
    """Runs the content of a model file, on the CPU, or on the GPU with `cuda`; `path` names it in messages.

    `digest` is the SHA-256 of `data`. `threads` is the number of threads inside one operator; None lets ONNX Runtime
    take every core. Raises ModelError for content that is broken or off the contract, BackendError where CUDA does not
    start.
    """

    def __init__(
        self,
        data: bytes,
        path: Path,
        digest: str,
        threads: int | None = None,
        cuda: bool = False,
        precision: str = 'fp32',
    ) -> None:
        self.path = path
        session = _open(data, path, threads, cuda)
        self._session: ort.InferenceSession | None = session
        self.spec = _read_spec(session, self.path, digest, 'CUDA' if cuda else 'CPU', precision)
        self._types = {tensor.name: _dtype(tensor.type, self.path) for tensor in session.get_inputs()}
        self._memory: np.ndarray | None = None

    def run(self, inputs: EngineInputs, use_memory: bool) -> EngineOutputs:
        """One set; see the contract. `use_memory` without a set before it raises ModelError."""
        if self._session is None:
            raise ModelError(f'{self.path}: the engine is closed; load it again')
        typed = self.feed(inputs, use_memory)
        # A failed run leaves no memory: what it would have continued is unknown.
        self._memory = None
        results = cast('list[np.ndarray]', self._session.run(list(OUTPUTS), typed))
        depth, confidence, semantics, memory_out, ego_motion = results
        self._memory = memory_out
        return EngineOutputs(
            depth.astype(np.float32, copy=False),
            confidence.astype(np.float32, copy=False),
            semantics,
            ego_motion.astype(np.float64),
        )

    def feed(self, inputs: EngineInputs, use_memory: bool) -> dict[str, np.ndarray]:
        """The model's inputs by name, in its types, with the memory of the set before or with none."""
        cameras = len(inputs.images)
        if use_memory and (self._memory is None or len(self._memory) != cameras):
            raise ModelError('there is no memory of a set before this one; call run with use_memory=False')
        memory = self._memory if use_memory else None
        if memory is None:
            memory = np.zeros((cameras, *self.spec.memory_chw), self._types['memory'])
        arrays = {
            'images': inputs.images,
            'intrinsics': inputs.intrinsics,
            'base_T_cam': inputs.base_T_cam,
            'camera_valid': inputs.camera_valid,
            'memory': memory,
            'memory_valid': np.array([use_memory]),
        }
        return {name: np.ascontiguousarray(array, self._types[name]) for name, array in arrays.items()}

    def check_rig(self, rig: Rig) -> None:
        """Raise ModelError when the model cannot run this rig."""
        check_rig(self.spec, rig)

    def warm_up(self, cameras: int) -> None:
        """Run once on black images; leaves no memory."""
        self.run(black_inputs(self.spec, cameras), use_memory=False)
        self.reset_memory()

    def reset_memory(self) -> None:
        """Forget the features of the set before."""
        self._memory = None

    def close(self) -> None:
        """Free the model and its memory; a closed engine cannot run."""
        self._memory = self._session = None


def cuda_problem() -> str:
    """Why ONNX Runtime cannot use a GPU here; '' where it has what it takes."""
    if 'CUDAExecutionProvider' in ort.get_available_providers():
        return ''
    return (
        f'this ONNX Runtime {ort.__version__} is built without CUDA: python3 -m pip uninstall onnxruntime, then '
        'python3 -m pip install onnxruntime-gpu'
    )


def _open(data: bytes, path: Path, threads: int | None, cuda: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    # Spinning threads would take the cores that the node's callbacks and the drivers need between sets.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    # As in the TensorRT engines: TF32 would take the metric scale from what must stay in FP32.
    gpu: list[Any] = [('CUDAExecutionProvider', {'use_tf32': '0'})] if cuda else []
    try:
        session = ort.InferenceSession(data, options, providers=[*gpu, 'CPUExecutionProvider'])
    except Exception as error:
        raise ModelError(
            f'{path} ({len(data)} bytes) is not an ONNX file that ONNX Runtime {ort.__version__} can load: '
            f'{error}: copy or export the model again'
        ) from error
    # ONNX Runtime goes on without a provider whose libraries it cannot load.
    if cuda and 'CUDAExecutionProvider' not in session.get_providers():
        raise BackendError(
            f'ONNX Runtime {ort.__version__} cannot start CUDA: install the CUDA and cuDNN that it is built for: '
            "python3 -m pip install 'onnxruntime-gpu[cuda,cudnn]'"
        )
    return session


def _read_spec(session: ort.InferenceSession, path: Path, digest: str, device: str, precision: str) -> EngineSpec:
    return read_spec(
        {tensor.name: list(tensor.shape) for tensor in session.get_inputs()},
        {tensor.name: list(tensor.shape) for tensor in session.get_outputs()},
        read_metadata(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), str(path)),
        str(path),
        backend=f'ONNX Runtime {ort.__version__} {device}',
        precision=precision,
        sha256=digest,
    )


def _dtype(ort_type: str, path: Path) -> np.dtype:
    names = {'tensor(float)': 'float32', 'tensor(float16)': 'float16', 'tensor(bool)': 'bool', 'tensor(int64)': 'int64'}
    if ort_type not in names:
        raise ModelError(f'{path}: an input is of type {ort_type}; expected one of {", ".join(names)}')
    return np.dtype(names[ort_type])
