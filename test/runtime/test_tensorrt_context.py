# SPDX-License-Identifier: Apache-2.0
"""The engine on the real `CudaContext` and pycuda, over a pretended driver whose device memory is host memory.

What is given back, and in which order, on every way out of a process; TensorRT is a skeleton.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec('pycuda') is None, reason='pycuda is not installed')
ROOT = Path(__file__).parents[2]
PROGRAM = """
import atexit, ctypes, sys
sys.path += [{here!r}, {test!r}]
from pathlib import Path
import numpy as np
def counts(*_):
    numbers = (ctypes.c_int * 6)()
    ctypes.CDLL('libcuda.so.1').pretend_counts(numbers)
    print(list(numbers), flush=True)
atexit.register(counts)  # the first to come, the last to go
from skeleton_answers import answer_run, tensorrt
from semi_smd_ros.runtime import EngineInputs, ModelError, load_engine
module = tensorrt({version!r}).module
answer_run(module)
parsed = []
module.answers['OnnxParser', 'parse'] = lambda _, model: parsed.append(model) is None
module.answers['Builder', 'build_serialized_network'] = lambda *_: parsed[-1]
sys.modules['tensorrt'] = module
engine = load_engine({model!r}, backend='tensorrt', cameras=2, precision='fp32', plan_folder=Path({plans!r}))
engine.warm_up(2)
grey = EngineInputs(np.full((2, 3, 48, 80), 0.5, np.float32), np.zeros((2, 3, 3)), np.zeros((2, 4, 4)), np.ones(2))
for use_memory in (False, True, True):
    answer = engine.run(grey, use_memory)
    assert abs(answer.depth - 6).max() < 1e-5
print(engine.spec.backend, round(answer.ego_motion[0, 3], 6))
counts()
{end}
"""
ENDINGS = {
    'closed': 'engine.close()',
    'forgotten': '',
    'raised': 'raise SystemExit(0)',
    'reloaded': 'engine.close(); engine = load_engine({model!r}, backend="tensorrt", cameras=2, precision="fp32", '
    'plan_folder=Path({plans!r})); engine.warm_up(2); assert len(parsed) == 1',
    'interrupted': 'import os, signal; os.kill(os.getpid(), signal.SIGINT)',
}


@pytest.mark.parametrize('end', ENDINGS)
@pytest.mark.parametrize('version', ['8.6.1', '11.4.0.106'])
def test_all_is_given_back(pretended: Path, tiny_model: Path, tmp_path: Path, version: str, end: str) -> None:
    plans = tmp_path / 'plans'
    plans.mkdir(mode=0o700)
    names = {'model': str(tiny_model), 'plans': str(plans), 'version': version}
    here = Path(__file__).parent
    code = PROGRAM.format(here=str(here), test=str(here.parent), end=ENDINGS[end].format(**names), **names)
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'LD_LIBRARY_PATH': str(pretended), 'PYTHONPATH': str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if end != 'interrupted':
        assert done.returncode == 0, done.stderr
    ran, held, *_, left = done.stdout.splitlines()
    assert ran == f'TensorRT {version} on Pretended GPU 0.1'
    # One context, one stream; 8 inputs and outputs, two memories, two flags on the device, 8 staged on the host.
    assert held == '[1, 1, 0, 12, 8, 0]'
    assert left == '[0, 0, 0, 0, 0, 0]'
    assert 'PyCUDA' not in done.stderr
