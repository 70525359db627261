# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the runtime's tests: libraries in the place of the NVIDIA driver, and devices to run kernels on."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from host_device import HostContext, HostKernels, build_kernels

HERE = Path(__file__).parent


@pytest.fixture(scope='session')
def no_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libcuda.so.1 that does not load."""
    folder = tmp_path_factory.mktemp('no_driver')
    (folder / 'libcuda.so.1').write_text('not a library')
    return folder


@pytest.fixture(scope='session')
def pretended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pretended libcuda.so.1."""
    compiler = shutil.which('cc')
    if compiler is None:
        pytest.skip('no C compiler')
    folder = tmp_path_factory.mktemp('driver')
    rest = folder / 'rest.c'
    rest.write_text(''.join(f'int {name}(void) {{ return 801; }}\n' for name in pycuda_names()))
    command = [compiler, '-shared', '-fPIC', '-w', '-o', str(folder / 'libcuda.so.1')]
    subprocess.run([*command, str(HERE / 'pretend_libcuda.c'), str(rest)], check=True, timeout=60)
    return folder


def pycuda_names() -> set[str]:
    """Functions that pycuda must find in a driver to be loaded, and that the pretended one does not have."""
    spec = find_spec('pycuda')
    if spec is None or spec.origin is None:
        return set()
    module = next(Path(spec.origin).parent.glob('_driver*.so'))
    table = subprocess.run(['nm', '-D', '--undefined-only', str(module)], capture_output=True, text=True, check=True)
    source = (HERE / 'pretend_libcuda.c').read_text()
    return {name for name in re.findall(r' U (cu[A-Z]\w+)', table.stdout) if f'int {name}(' not in source}


@pytest.fixture(scope='session')
def kernel_libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    """The kernels of every file, compiled for the processor."""
    return build_kernels(tmp_path_factory.mktemp('kernels'))


@pytest.fixture(params=['late', 'early', pytest.param('gpu', marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    """(context, kernels): the processor, doing things as late and as early as can be, and a GPU if there is one."""
    if request.param == 'gpu':
        from semi_smd_ros.runtime.cuda.driver import CudaContext
        from semi_smd_ros.runtime.cuda.kernels import Kernels

        with CudaContext() as context:
            yield context, Kernels(context)
    else:
        libraries = request.getfixturevalue('kernel_libraries')
        yield HostContext(is_lazy=request.param == 'late'), HostKernels(libraries)
