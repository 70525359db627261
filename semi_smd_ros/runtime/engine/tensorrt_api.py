# SPDX-License-Identifier: Apache-2.0
"""What differs between TensorRT 8.6, 10 and 11, in one place. The rest of the adapter asks here.

Numbers of enum members moved between versions, so members are taken by name. 11 has no precision flags any more: the
network's own types decide ("strongly typed"). 10 can do either, 8.6 flags only.
"""

from __future__ import annotations

import importlib
import logging
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..cuda.driver import CudaError, DeviceInfo, find_device
from .contract import BackendError

logger = logging.getLogger('semi_smd_ros.tensorrt')

OLDEST = (8, 6)
HINT = (
    'on a desktop: python3 -m pip install tensorrt; on Jetson it comes with JetPack (sudo apt install tensorrt '
    'python3-libnvinfer), and a virtual environment needs --system-site-packages to see it'
)
DTYPES = {
    'FLOAT': np.float32, 'HALF': np.float16, 'INT64': np.int64, 'INT32': np.int32, 'INT8': np.int8, 'UINT8': np.uint8,
    'BOOL': np.bool_,
}  # fmt: skip


class Log:
    """What TensorRT says: to the logger `semi_smd_ros.tensorrt`, and its last errors, for the messages of ours."""

    def __init__(self, module: Any) -> None:
        levels = {'INTERNAL_ERROR': logging.ERROR, 'ERROR': logging.ERROR, 'WARNING': logging.INFO}
        errors: deque[str] = deque(maxlen=3)

        class Adapter(module.ILogger):
            def __init__(self) -> None:
                module.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                level = levels.get(severity.name, logging.DEBUG)
                # An error is told by whoever asked for what failed, once.
                logger.log(min(level, logging.INFO), message)
                if level == logging.ERROR:
                    errors.append(message)

        self.adapter = Adapter()
        self._errors = errors

    def take_errors(self) -> str:
        """The last errors as one line, and forget them."""
        text = '; '.join(' '.join(message.split()) for message in self._errors)
        self._errors.clear()
        return text or 'TensorRT gave no reason'


@dataclass(frozen=True, eq=False)
class TensorRT:
    """The module `tensorrt` of one of the versions, and the GPU that it works on (None: a builder that needs none)."""

    module: Any
    log: Log
    device: DeviceInfo | None

    @property
    def version(self) -> str:
        """Such as 10.3.0."""
        return str(self.module.__version__)

    @property
    def has_precision_flags(self) -> bool:
        """Whether FP16 and INT8 are flags of the builder (8.6 and 10)."""
        return self.has('BuilderFlag', 'FP16')

    @property
    def can_be_strongly_typed(self) -> bool:
        """Whether the types in the ONNX file can decide (10 and 11)."""
        return self.has('NetworkDefinitionCreationFlag', 'STRONGLY_TYPED')

    def has(self, enum: str, member: str) -> bool:
        """Whether this version has a member of an enum."""
        return member in getattr(getattr(self.module, enum, None), '__members__', {})

    def member(self, enum: str, member: str) -> Any:
        """A member of an enum by its name."""
        return getattr(self.module, enum).__members__[member]

    def bit(self, enum: str, member: str) -> int:
        """The bit of an enum's member in a mask, 0 where this version has no such member."""
        return 1 << int(self.member(enum, member)) if self.has(enum, member) else 0


def load_tensorrt(ordinal: int = 0) -> TensorRT:
    """TensorRT and the GPU it is to work on. Raises BackendError naming what is missing and how to get it.

    The driver is asked first: without one, TensorRT's Builder raises a bare TypeError, and its Runtime may crash.
    """
    try:
        device = find_device(ordinal)
    except CudaError as error:
        raise BackendError(str(error)) from error
    return adapt('tensorrt', device)


def adapt(name: str, device: DeviceInfo | None) -> TensorRT:
    """The adapter of an importable module: `tensorrt`, or `tensorrt_rtx`, whose builder needs no GPU (None)."""
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise BackendError(f'TensorRT does not load ({error}): {HINT}') from error
    version = tuple(int(part) for part in str(module.__version__).split('.')[:2])
    if name == 'tensorrt' and version < OLDEST:
        raise BackendError(f'this is TensorRT {module.__version__}; expected 8.6 or newer: {HINT}')
    return TensorRT(module, _log_of(module), device)


@cache
def _log_of(module: Any) -> Log:
    """One log for each module, for ever: TensorRT holds on to the first that it is given, whoever gave it."""
    return Log(module)


def numpy_dtype(dtype: Any) -> np.dtype:
    """The numpy type of a TensorRT DataType. Raises BackendError for one that the contract cannot have."""
    # tensorrt.nptype of 8.6 asks numpy for names that numpy no longer has.
    if dtype.name not in DTYPES:
        raise BackendError(f'a tensor is of type {dtype.name}; expected one of {", ".join(DTYPES)}')
    return np.dtype(DTYPES[dtype.name])
