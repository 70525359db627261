# SPDX-License-Identifier: Apache-2.0
"""Devices that the CUDA side is tested on: the processor, as late and as early as can be, and a GPU if there is one."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest
from host_device import HostContext, HostKernels, build_kernels


@pytest.fixture(scope='session')
def kernel_libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    """The kernels of every file, compiled for the processor."""
    return build_kernels(tmp_path_factory.mktemp('kernels'))


@pytest.fixture(params=['late', 'early', pytest.param('gpu', marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """(context, kernels)."""
    if request.param == 'gpu':
        from semi_smd_ros.runtime.cuda.driver import CudaContext
        from semi_smd_ros.runtime.cuda.kernels import Kernels

        with CudaContext() as context:
            yield context, Kernels(context)
    else:
        libraries = request.getfixturevalue('kernel_libraries')
        yield HostContext(is_lazy=request.param == 'late'), HostKernels(libraries)
