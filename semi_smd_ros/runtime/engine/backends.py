# SPDX-License-Identifier: Apache-2.0
"""Which engine runs a model here: TensorRT on a GPU, else ONNX Runtime with CUDA, else ONNX Runtime on the CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from ..cuda.driver import CudaError, find_device
from .contract import BackendError, Engine, ModelError
from .precision import PRECISIONS
from .report import Report
from .trust import read_checked

BACKENDS = ('auto', 'tensorrt', 'onnxruntime')
SILENCE = 'backend: onnxruntime asks for no GPU'
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Asked:
    backend: str
    cameras: int | None
    precision: str
    threads: int | None
    plan_folder: Path | None
    report: Report


def load_engine(
    path: str | Path,
    threads: int | None = None,
    sha256: str = '',
    *,
    backend: str = 'onnxruntime',
    cameras: int | None = None,
    precision: str = 'fp16',
    plan_folder: Path | None = None,
    report: Report | None = None,
) -> Engine:
    """Load a model file once it is what `sha256`, or the checksum file beside it, says (see `trust`).

    `backend: tensorrt` fails where TensorRT cannot run; `auto` takes the best that can, and warns of each that cannot
    with the reason and what to install; `onnxruntime` takes CUDA where ONNX Runtime has it and a GPU answers.

    A TensorRT engine is built for `cameras` in `precision` (fp16, fp32, int8) and kept in `plan_folder` (None: see
    `plan_cache.default_folder`). ONNX Runtime runs the file as it is for any number of cameras, on the CPU with
    `threads` (None: every core).

    Raises ModelError for a file that is missing, truncated, not the expected one, not ONNX, or off the contract;
    BackendError where the backend that was asked for cannot run.
    """
    path = Path(path)
    if backend not in BACKENDS or precision not in PRECISIONS:
        raise ModelError(
            f'backend is {backend!r}, precision {precision!r}; expected one of {", ".join(BACKENDS)}, and of '
            f'{", ".join(PRECISIONS)}'
        )
    asked = _Asked(backend, cameras, precision, threads, plan_folder, report or Report())
    if not path.is_file():
        raise ModelError(f'{path}: no such model file; expected an ONNX file, for example models/semi_smd_small.onnx')
    data, digest = read_checked(path, sha256)
    if backend == 'tensorrt':
        return _tensorrt(data, digest, path, asked)
    if backend == 'auto':
        # Without a driver neither can run, and one sentence says so.
        try:
            find_device()
        except CudaError as error:
            asked.report.warn(f'no GPU is used, ONNX Runtime runs {path.name} on the CPU: {error} ({SILENCE})')
            return _onnxruntime(data, digest, path, asked, cuda=False)
        try:
            return _tensorrt(data, digest, path, asked)
        except BackendError as error:
            asked.report.warn(f'TensorRT is not used, ONNX Runtime is: {error}')
    return _onnxruntime_on_gpu(data, digest, path, asked)


def _tensorrt(data: bytes, digest: str, path: Path, asked: _Asked) -> Engine:
    from .tensorrt_plan import PlanOptions, open_tensorrt

    if asked.cameras is None:
        raise ModelError(f'{path}: a TensorRT engine is built for a number of cameras; expected one, got none')
    options = PlanOptions(asked.cameras, asked.precision, asked.plan_folder)
    return open_tensorrt(data, digest, path, options, asked.report)


def _onnxruntime_on_gpu(data: bytes, digest: str, path: Path, asked: _Asked) -> Engine:
    """ONNX Runtime with CUDA where that is to be had; `auto` warns where it is not, though there is a GPU."""
    from .onnxruntime import cuda_problem

    warn = asked.report.warn if asked.backend == 'auto' else _log.info
    try:
        find_device()
        if reason := cuda_problem():
            raise BackendError(reason)
        return _onnxruntime(data, digest, path, asked, cuda=True)
    except (BackendError, CudaError) as error:
        warn(f'ONNX Runtime runs {path.name} on the CPU: {error}')
    return _onnxruntime(data, digest, path, asked, cuda=False)


def _onnxruntime(data: bytes, digest: str, path: Path, asked: _Asked, cuda: bool) -> Engine:
    from .onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(data, path, digest, asked.threads, cuda)
