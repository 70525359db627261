# SPDX-License-Identifier: Apache-2.0
"""The device path with pycuda and NVRTC themselves; only the driver is pretended, and runs the kernels that g++ made.

So what is tested is how memory is copied, code is loaded, arguments are handed over and everything is given back.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from host_device import build_kernels

from semi_smd_ros.runtime.cuda.driver import CudaError
from semi_smd_ros.runtime.cuda.nvrtc import find_nvrtc

HERE = Path(__file__).parent
PROGRAM = """
import ctypes, gc, sys
from pathlib import Path
import numpy as np
from golden_cases import CLOUD_CASES, EVERYTHING, PICTURE_CASES
from host_device import BridgedEngine
from semi_smd_ros.runtime import PipelineConfig, SurroundDepthPipeline, load_engine
from semi_smd_ros.runtime.cuda.driver import CudaContext

model = Path(sys.argv[1])
case = next(case for case in PICTURE_CASES if case.name == 'all kinds')
rig = case.rig
library = ctypes.CDLL('libcuda.so.1')
with CudaContext() as context:
    on_device = SurroundDepthPipeline(BridgedEngine(model, context, 6))
    on_host = SurroundDepthPipeline(load_engine(model, threads=1))
    for stamp in range(4):
        frame = case.frame(stamp * 100_000_000, rig)
        got, wanted = on_device.process(frame), on_host.process(frame)
        for config in (EVERYTHING, CLOUD_CASES['all filters'], CLOUD_CASES['voxels of 2 m']):
            on_device.config = on_host.config = PipelineConfig(cloud=config)
            cloud = on_device.cloud(got)
            assert bytes(cloud.data) == bytes(on_host.cloud(wanted).data)
            on_device.recycle(cloud)
        for name in ('depth_nhw', 'confidence_nhw', 'semantics_nhw', 'images_nhw3', 'preview_nhw3'):
            np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    print('modules', library.pretend_modules())
    print(sorted(on_device.stats.summary()))
# What Python still refers to is given back all the same.
counts = (ctypes.c_int * 6)()
library.pretend_counts(counts)
print('left', list(counts), library.pretend_modules())
"""


@pytest.mark.skipif(find_spec('pycuda') is None, reason='pycuda is not installed')
def test_the_device_path_with_pycuda_and_nvrtc(tiny_model: Path, tmp_path: Path, pretended: Path) -> None:
    try:
        find_nvrtc((13, 0))
    except CudaError as error:
        pytest.skip(str(error))
    build_kernels(tmp_path)
    paths = [str(path) for path in (HERE.parents[1], HERE.parent, HERE)]
    environment = {
        **os.environ,
        'LD_LIBRARY_PATH': str(pretended),
        'PRETEND_KERNELS': ':'.join(str(path) for path in sorted(tmp_path.glob('*.cu.so'))),
        'PYTHONPATH': os.pathsep.join([*paths, os.environ.get('PYTHONPATH', '')]),
    }
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, str(tiny_model)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr, done.stderr
    assert 'modules 2' in done.stdout
    assert "'gpu engine', 'gpu finish', 'gpu rectify'" in done.stdout
    assert 'left [0, 0, 0, 0, 0, 0] 0' in done.stdout


def test_a_call_that_the_driver_refuses_is_told_with_its_reason(pretended: Path) -> None:
    program = """
from semi_smd_ros.runtime.cuda.driver import CudaError
from semi_smd_ros.runtime.cuda.driver_calls import DriverCalls
call = DriverCalls()
call('nothing', 'cuInit', 0)
try:
    call('a module cannot be loaded', 'cuModuleLoadData', None, b'')
except CudaError as error:
    print(error)
"""
    environment = {**os.environ, 'LD_LIBRARY_PATH': str(pretended), 'PYTHONPATH': str(HERE.parents[1])}
    done = subprocess.run(
        [sys.executable, '-c', program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    # No context is current.
    assert done.stdout == 'a module cannot be loaded: an error (cuModuleLoadData: CUDA error 201)\n'
