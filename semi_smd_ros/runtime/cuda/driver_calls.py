# SPDX-License-Identifier: Apache-2.0
"""Calls of the driver's own C interface, for what pycuda lacks (graphs) or does by calls that CUDA has deprecated."""

from __future__ import annotations

import ctypes
from typing import Any

from .driver import LIBRARY, CudaError


class DriverCalls:
    """The driver, by the names of cuda.h. Whoever calls has a context current."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(LIBRARY)

    def __call__(self, what: str, name: str, *arguments: Any) -> None:
        """Call `name`. Raises CudaError, saying that `what` failed and why, for anything but success."""
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            reason = text.value.decode() if text.value else 'unknown error'
            raise CudaError(f'{what}: {reason} ({name}: CUDA error {code})')
