# SPDX-License-Identifier: Apache-2.0
"""An exported teacher on ONNX Runtime: pictures in, one output tensor out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semi_smd_ros.runtime import ModelError

from .interface import TeacherIdentity, check_images
from .local_weights import hash_files
from .onnx_sidecar import Sidecar, read_sidecar
from .preprocessing import InputSize, Preprocessing

FLOATS = {'tensor(float)': np.float32, 'tensor(float16)': np.float16}
PROVIDERS = ('CUDAExecutionProvider', 'CPUExecutionProvider')


class OnnxModel:
    """A session, what it sees, and how it is called.

    Args:
        path: the .onnx file; its sidecar (see `onnx_sidecar`) and external data lie beside it.
        outputs: what the sidecar's `output` may be.
        batch: pictures at a time, where the file leaves that open.
        device: 'cpu' or 'cuda'; empty for the GPU where this ONNX Runtime has one.
        options: what else is part of the identity.

    Raises:
        ModelError: a file that is missing, broken, or does not fit its sidecar.
    """

    def __init__(self, path: Path, outputs: tuple[str, ...], batch: int, device: str, options: dict[str, Any]) -> None:
        if not path.is_file():
            raise ModelError(f'{path}: no such file; expected an exported model')
        self.sidecar = read_sidecar(path, outputs)
        self._where = path
        self._session = _session(path, device)
        inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
        results = {tensor.name: tensor for tensor in self._session.get_outputs()}
        entry = inputs[_named(inputs, self.sidecar.input, 'input', self.sidecar.path)]
        others = sorted(set(inputs) - {entry.name})
        if others:
            raise ModelError(f'{path}: also needs {", ".join(others)}; expected a model of one picture alone')
        self._output = _named(results, self.sidecar.output_tensor, 'output_tensor', self.sidecar.path)
        self._input = entry.name
        if entry.type not in FLOATS:
            raise ModelError(f'{path}: input {entry.name} is {entry.type}; expected one of {", ".join(FLOATS)}')
        self._dtype = FLOATS[entry.type]
        fixed_batch, size = _shape(entry.shape, self.sidecar, path)
        self._batch = fixed_batch or batch
        self._fills = fixed_batch is not None
        side = self.sidecar
        self._preprocessing = Preprocessing(size, side.resampling, side.factor, side.mean, side.std, side.bgr)
        external = sorted(file for end in ('.data', '_data') for file in path.parent.glob(f'{path.name}{end}'))
        digest = hash_files([path, side.path, *external])
        self.identity = TeacherIdentity('onnx', side.name or path.name, digest, options)

    def answers(self, images_mhw3: np.ndarray) -> Iterator[Tensor]:
        """The output tensor (M,...), a batch of pictures each. Raises ValueError for pictures of another shape."""
        check_images(images_mhw3)
        for first in range(0, len(images_mhw3), self._batch):
            pictures = images_mhw3[first : first + self._batch]
            count = len(pictures)
            if self._fills and count < self._batch:
                pictures = np.concatenate([pictures, np.repeat(pictures[-1:], self._batch - count, 0)])
            seen = self._preprocessing(torch.from_numpy(np.ascontiguousarray(pictures)))
            [answer] = self._session.run([self._output], {self._input: seen.numpy().astype(self._dtype)})
            yield torch.from_numpy(np.asarray(answer)[:count])

    def refuse(self, answer: Tensor, expected: str) -> ModelError:
        """The error for an output of another shape or type."""
        return ModelError(
            f'{self._where}: output {self._output} is {str(answer.dtype).removeprefix("torch.")} '
            f'{tuple(answer.shape)}; {self.sidecar.path.name} says output: {self.sidecar.output}, which is {expected}'
        )


def _session(path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as missing:
        raise ModelError('this teacher needs onnxruntime: python3 -m pip install onnxruntime') from missing
    has = onnxruntime.get_available_providers()
    kind = device.partition(':')[0] or ('cuda' if PROVIDERS[0] in has else 'cpu')
    if kind not in ('cpu', 'cuda') or (kind == 'cuda' and PROVIDERS[0] not in has):
        raise ModelError(f'device {device!r}: this ONNX Runtime has {", ".join(has)}; expected cpu, or cuda with a GPU')
    providers = PROVIDERS[1:] if kind == 'cpu' else PROVIDERS
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Between batches, waiting threads would take the cores that decode pictures and encode labels.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    # Its exceptions are not public and differ between versions.
    except Exception as error:
        raise ModelError(f'{path}: ONNX Runtime cannot load it: {error}') from error


def _named(tensors: dict[str, Any], name: str, entry: str, sidecar: Path) -> str:
    if name and name not in tensors:
        raise ModelError(f'{sidecar}: {entry} is {name}; the model has {", ".join(tensors)}')
    if not name and len(tensors) > 1:
        raise ModelError(f'{sidecar}: lacks {entry}, and the model has more than one: {", ".join(tensors)}')
    return name or next(iter(tensors))


def _shape(shape: list[Any], sidecar: Sidecar, path: Path) -> tuple[int | None, InputSize]:
    """The batch where the file fixes it, and the size of what the model sees."""
    if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise ModelError(f'{path}: its input has shape {shape}; expected (M,3,H,W)')
    batch, _, *size = shape
    stated = (sidecar.height, sidecar.width)
    for name, fixed, wanted in zip(('height', 'width'), size, stated, strict=True):
        if isinstance(fixed, int) and wanted is not None and fixed != wanted:
            raise ModelError(f'{sidecar.path}: {name} is {wanted}; the model takes {fixed} and nothing else')
    height, width = (fixed if isinstance(fixed, int) else wanted for fixed, wanted in zip(size, stated, strict=True))
    if (height is None) != (width is None):
        raise ModelError(
            f'{path}: its input has shape {shape}, one edge open; expected height and width in the sidecar'
        )
    fixed_size = all(isinstance(edge, int) for edge in size)
    multiple = 1 if fixed_size else sidecar.multiple
    return batch if isinstance(batch, int) else None, InputSize(height, width, multiple=multiple)
