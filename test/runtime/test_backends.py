# SPDX-License-Identifier: Apache-2.0
"""Which engine is taken, and what is said of those that are not, in processes with and without (pretended) drivers."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from semi_smd_ros.runtime import ModelError, load_engine
from semi_smd_ros.runtime.engine import Report

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from semi_smd_ros.runtime import ModelError, load_engine
from semi_smd_ros.runtime.engine import BackendError, Report
def warn(text): print('warned:', text)
def load(backend, **options):
    try:
        engine = load_engine(sys.argv[1], backend=backend, report=Report(print, warn), **options)
        engine.warm_up(2)
        print('runs:', engine.spec.backend, engine.spec.precision)
    except BackendError as error:
        print('refused:', error)
"""


def run(driver: Path, model: Path, code: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM + code, str(model)],
        env={**os.environ, 'LD_LIBRARY_PATH': str(driver), 'PYTHONPATH': str(ROOT), **variables},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_a_driver_auto_warns_once_and_runs_on_the_cpu(no_driver: Path, tiny_model: Path) -> None:
    warned, runs = run(no_driver, tiny_model, "load('auto', cameras=2)")
    assert warned.startswith('warned: no GPU is used, ONNX Runtime runs tiny.onnx on the CPU: no NVIDIA driver (')
    assert 'install the NVIDIA driver' in warned
    assert warned.endswith('(backend: onnxruntime asks for no GPU)')
    assert runs.startswith('runs: ONNX Runtime 1.')
    assert runs.endswith(' CPU fp32')


def test_onnxruntime_by_name_warns_of_nothing(no_driver: Path, tiny_model: Path) -> None:
    (runs,) = run(no_driver, tiny_model, "load('onnxruntime')")
    assert runs.startswith('runs: ONNX Runtime')


def test_tensorrt_by_name_fails_and_says_why(no_driver: Path, pretended: Path, tiny_model: Path) -> None:
    (refused,) = run(no_driver, tiny_model, "load('tensorrt', cameras=2)")
    assert refused.startswith('refused: no NVIDIA driver (')
    (refused,) = run(pretended, tiny_model, "sys.modules['tensorrt'] = None; load('tensorrt', cameras=2)")
    assert refused.startswith('refused: TensorRT does not load (')
    assert 'python3 -m pip install tensorrt' in refused
    assert 'JetPack' in refused


def test_with_a_gpu_each_backend_that_is_missing_is_one_warning(pretended: Path, tiny_model: Path) -> None:
    said = run(pretended, tiny_model, "sys.modules['tensorrt'] = None; load('auto', cameras=2)")
    assert said[0].startswith('warned: TensorRT is not used, ONNX Runtime is: TensorRT does not load (')
    if 'CUDA' not in said[1]:
        pytest.fail(str(said))
    assert said[1].startswith('warned: ONNX Runtime runs tiny.onnx on the CPU: this ONNX Runtime')
    assert 'python3 -m pip install onnxruntime-gpu' in said[1]
    assert said[2].startswith('runs: ONNX Runtime')
    assert len(said) == 3


@pytest.mark.skipif(find_spec('pycuda') is not None, reason='pycuda is installed')
def test_tensorrt_without_pycuda_says_what_to_install(pretended: Path, tiny_model: Path) -> None:
    code = f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
from tensorrt_skeleton import Skeleton
sys.modules['tensorrt'] = Skeleton('10.3.0')
load('tensorrt', cameras=2)
load('auto', cameras=2)
"""
    refused, warned, *_ = run(pretended, tiny_model, code)
    assert refused.startswith('refused: pycuda does not load (')
    assert 'python3 -m pip install pycuda' in refused
    assert warned == 'warned: TensorRT is not used, ONNX Runtime is: ' + refused.removeprefix('refused: ')


def test_a_model_that_is_at_fault_is_no_reason_to_fall_back(tmp_path: Path, tiny_model: Path) -> None:
    warned: list[str] = []
    report = Report(warned.append, warned.append)
    with pytest.raises(ModelError, match='no such model file'):
        load_engine(tmp_path / 'gone.onnx', backend='auto', cameras=2, report=report)
    with pytest.raises(ModelError, match='has SHA-256'):
        load_engine(tiny_model, sha256='0' * 64, backend='auto', cameras=2, report=report)
    assert warned == []


@pytest.mark.parametrize(('backend', 'precision'), [('cuda', 'fp16'), ('auto', 'fp8'), ('', 'fp32')])
def test_unknown_names_are_refused_with_the_known_ones(tiny_model: Path, backend: str, precision: str) -> None:
    with pytest.raises(ModelError, match='expected one of auto, tensorrt, onnxruntime, and of fp16, fp32, int8'):
        load_engine(tiny_model, backend=backend, precision=precision)


def test_tensorrt_wants_to_know_the_number_of_cameras(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match='built for a number of cameras; expected one, got none'):
        load_engine(tiny_model, backend='tensorrt')


def test_a_vehicle_that_loads_built_plans_needs_neither_onnx_nor_onnxruntime(no_driver: Path, tiny_model: Path) -> None:
    code = """
for name in ('onnx', 'onnxruntime', 'torch', 'pycuda'):
    sys.modules[name] = None
import semi_smd_ros.runtime.engine.tensorrt_plan
load('tensorrt', cameras=2)
"""
    (refused,) = run(no_driver, tiny_model, code)
    assert refused.startswith('refused: no NVIDIA driver (')
