# SPDX-License-Identifier: Apache-2.0
"""What is made of the driver's answers, in real processes with a real shared library in the driver's place.

The library (pretend_libcuda.c) has no GPU and counts what is taken and given back; tests marked gpu run on a real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from semi_smd_ros.runtime.cuda.driver import CudaContext, find_device

HERE = Path(__file__).parent
needs_pycuda = pytest.mark.skipif(find_spec('pycuda') is None, reason='pycuda is not installed')
COUNTS = """
import ctypes, numpy as np, threading
from semi_smd_ros.runtime.cuda.driver import CudaContext, CudaError, find_device
def counts():
    numbers = (ctypes.c_int * 6)()
    ctypes.CDLL('libcuda.so.1').pretend_counts(numbers)
    return list(numbers)
"""


def run(library: Path | None, code: str, **variables: str) -> str:
    """Output of a Python program that finds its driver in `library`."""
    path = {} if library is None else {'LD_LIBRARY_PATH': str(library)}
    done = subprocess.run(
        [sys.executable, '-c', COUNTS + code],
        env={**os.environ, **path, **variables, 'PYTHONPATH': str(HERE.parents[1])},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    assert 'PyCUDA' not in done.stderr
    return done.stdout


def refusal(library: Path | None, ordinal: int = 0, **variables: str) -> str:
    code = f"""
try:
    print('found', find_device({ordinal}))
except CudaError as error:
    print(error)
"""
    return run(library, code, **variables)


def test_the_device_is_told(pretended: Path) -> None:
    said = refusal(pretended)
    assert "found DeviceInfo(ordinal=0, name='Pretended GPU', capability=(8, 7), memory_bytes=2147483648" in said
    assert 'cuda_version=(13, 1), multiprocessors=14)' in said


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    (tmp_path / 'libcuda.so.1').write_text('not a library')
    said = refusal(tmp_path)
    assert said.startswith('no NVIDIA driver (')
    assert 'libcuda.so.1' in said
    assert '--gpus all' in said


@pytest.mark.parametrize(
    ('variables', 'ordinal', 'says'),
    [
        ({'PRETEND_INIT': '100'}, 0, 'does not start: no CUDA-capable device is detected (CUDA error 100)'),
        ({'PRETEND_DEVICES': '0'}, 0, 'there is no CUDA device 0; the driver has 0'),
        ({'PRETEND_DEVICES': '2'}, 2, 'there is no CUDA device 2; the driver has 2'),
        ({}, -1, 'there is no CUDA device -1'),
    ],
)
def test_a_driver_without_the_device_is_told(
    pretended: Path, variables: dict[str, str], ordinal: int, says: str
) -> None:
    assert says in refusal(pretended, ordinal, **variables)


@pytest.mark.skipif(find_spec('pycuda') is not None, reason='pycuda is installed')
def test_without_pycuda_the_context_says_what_to_install(pretended: Path) -> None:
    said = run(pretended, 'try:\n    CudaContext()\nexcept CudaError as error:\n    print(error)')
    assert 'pip install pycuda' in said


ARRAYS = """
def use(context):
    stream, start, end = context.stream(), context.event(), context.event()
    host = context.pinned_array((3, 5), np.float32)
    host.array[:] = np.arange(15).reshape(3, 5)
    there = context.device_array((3, 5), 'float32')
    start.record(stream)
    there.copy_from(host.array, stream)
    host.array[:] = 0
    stream.wait(start)
    there.copy_to(host.array, stream)
    end.record(stream)
    stream.synchronize()
    context.synchronize()
    assert host.array[2, 4] == 14 and there.nbytes == 60 and end.since_ms(start) >= 0
    there.fill_zero(stream)
    there.copy_to(host.array, stream)
    assert not host.array.any()
    for wrong in (np.zeros((3, 5)), np.zeros((5, 5), np.float32), np.zeros((5, 3), np.float32).T):
        try:
            there.copy_from(wrong, stream)
            raise SystemExit('taken')
        except ValueError as error:
            assert 'expected float32 (3, 5)' in str(error), error
"""


@needs_pycuda
@pytest.mark.parametrize('thread', ['same', 'another', 'exit', 'error'])
def test_everything_is_given_back(pretended: Path, thread: str) -> None:
    """Closed in its own thread, in another one, by the end of the process, or by an exception."""
    endings = {
        'same': 'context.close()\nprint(counts())\ncontext.close()',
        'another': 't = threading.Thread(target=context.close); t.start(); t.join()\nprint(counts())',
        'exit': 'import atexit\natexit._run_exitfuncs()\nprint(counts())',
        'error': 'try:\n    with context: raise KeyError\nexcept KeyError: print(counts())',
    }
    code = (
        f'{ARRAYS}\ncontext = CudaContext()\nuse(context)\nprint(counts())\n'
        f't = threading.Thread(target=use, args=(context,)); t.start(); t.join()\n{endings[thread]}'
    )
    assert run(pretended, code).splitlines() == ['[1, 1, 2, 1, 1, 0]', '[0, 0, 0, 0, 0, 0]']


@needs_pycuda
def test_what_another_library_has_made_current_stays_so(pretended: Path) -> None:
    code = f"""{ARRAYS}
driver, other = ctypes.CDLL('libcuda.so.1'), ctypes.c_void_p()
driver.cuDevicePrimaryCtxRetain(ctypes.byref(other), 0)
driver.cuCtxPushCurrent_v2(other)
with CudaContext() as context:
    use(context)
    print(counts())
now = ctypes.c_void_p()
driver.cuCtxGetCurrent(ctypes.byref(now))
print(counts(), now.value == other.value)
"""
    assert run(pretended, code).splitlines() == ['[2, 1, 2, 1, 1, 1]', '[1, 0, 0, 0, 0, 1] True']


@needs_pycuda
def test_memory_that_is_not_there_is_told(pretended: Path) -> None:
    code = """
with CudaContext() as context:
    try:
        context.device_array((1000, 1000), 'float32')
    except CudaError as error:
        print(error)
    print(counts(), context.memory_bytes())
try:
    context.stream()
except CudaError as error:
    print(error)
"""
    said = run(pretended, code, PRETEND_MEMORY='1000').splitlines()
    assert said[0].startswith('3.8 MiB of GPU memory for float32 (1000, 1000) cannot be had on Pretended GPU: out of')
    assert said[1] == '[1, 0, 0, 0, 0, 0] (1000, 2147483648)'
    assert said[2] == 'the CUDA context is closed; make another one'


@pytest.mark.gpu
def test_copies_come_back_as_they_went() -> None:
    with CudaContext() as context:
        assert context.device == find_device()
        stream = context.stream()
        sent = np.random.default_rng(0).standard_normal((6, 3, 192, 320)).astype(np.float32)
        there, back = context.device_array(sent.shape, sent.dtype), context.pinned_array(sent.shape, sent.dtype)
        there.copy_from(sent, stream)
        there.copy_to(back.array, stream)
        stream.synchronize()
        np.testing.assert_array_equal(back.array, sent)
