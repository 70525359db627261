# SPDX-License-Identifier: Apache-2.0
"""Sets replayed as a graph: each is what it would be without, whatever changes between them.

The recording itself is CUDA's; here a stream of the host records. On a GPU the benchmark compares both.
"""

from __future__ import annotations

import ctypes
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden_cases import EVERYTHING, PICTURE_CASES
from host_device import HostContext, HostGraph, HostKernels, RecordableEngine

from semi_smd_ros.runtime import PipelineConfig, SurroundDepthPipeline, load_engine

MS = 1_000_000
MIXED = next(case for case in PICTURE_CASES if case.name == 'all kinds')
CALLS = {
    'cuStreamBeginCapture': 2, 'cuStreamEndCapture': 2, 'cuGraphInstantiate': 3, 'cuGraphLaunch': 2,
    'cuGraphExecDestroy': 1, 'cuGraphDestroy': 1, 'cuGetErrorString': 2,
}  # fmt: skip


@pytest.mark.parametrize('is_lazy', [True, False], ids=['late', 'early'])
def test_a_replayed_set_is_what_it_would_be_without(
    is_lazy: bool, kernel_libraries: dict[str, ctypes.CDLL], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('semi_smd_ros.runtime.cuda.kernels.Kernels', lambda _: HostKernels(kernel_libraries))
    monkeypatch.setattr('semi_smd_ros.runtime.cuda.graph.CudaGraph', HostGraph)
    monkeypatch.setattr(HostGraph, 'made', 0)
    monkeypatch.setattr(HostGraph, 'launched', 0)
    config = PipelineConfig(cloud=EVERYTHING, cuda_graph=True)
    on_device = SurroundDepthPipeline(RecordableEngine(tiny_model, HostContext(is_lazy), 6), config)
    on_host = SurroundDepthPipeline(load_engine(tiny_model, threads=1), config)
    rig = MIXED.rig
    other = replace(MIXED, encodings=('mono8', 'nv12', 'rgb8', None, 'bgra8', 'yuyv'))
    stamp, launched = 0, []
    # A pause that wipes the memory, other encodings, cameras that vanish and come back.
    for case, sets, pause in ((MIXED, 10, 0), (MIXED, 9, 900), (other, 8, 0), (other, 3, 900), (MIXED, 7, 0)):
        stamp += pause * MS
        for _ in range(sets):
            stamp += 100 * MS
            frame = case.frame(stamp, rig)
            got, wanted = on_device.process(frame), on_host.process(frame)
            assert bytes(on_device.cloud(got).data) == bytes(on_host.cloud(wanted).data)
            np.testing.assert_array_equal(got.depth_nhw, wanted.depth_nhw)
            np.testing.assert_array_equal(got.semantics_nhw, wanted.semantics_nhw)
            np.testing.assert_array_equal(got.images_nhw3, wanted.images_nhw3)
            assert (got.prev_T_now is None) == (wanted.prev_T_now is None)
        launched.append(HostGraph.launched)
    # The first set of each kind (memory or not, half 0 or 1), since memory was made for other bytes, runs as it is.
    assert np.diff([0, *launched]).tolist() == [10 - 3, 9, 8 - 2, 3 - 1, 7 - 2]
    assert set(on_device.stats.summary()) >= {'gpu graph'}


def test_the_calls_are_those_of_cudas_header() -> None:
    nvcc = shutil.which('nvcc')
    headers = (
        []
        if nvcc is None
        else [
            *Path(nvcc).resolve().parents[1].glob('**/include/cuda.h'),
            *Path('/usr/local/cuda').glob('include/cuda.h'),
        ]
    )
    if not headers:
        pytest.skip('no CUDA toolkit with cuda.h')
    text = headers[0].read_text(errors='replace')
    for call, arguments in CALLS.items():
        found = re.search(rf'CUresult CUDAAPI {call}\(([^)]*)\)', text)
        assert found is not None, call
        assert found[1].count(',') + 1 == arguments, call
    assert re.search(r'#define cuStreamBeginCapture\s+\S*\(?cuStreamBeginCapture_v2', text)
    assert re.search(r'#define cuGraphInstantiate\s+cuGraphInstantiateWithFlags', text)
    assert re.search(r'CU_STREAM_CAPTURE_MODE_THREAD_LOCAL\s*=\s*1\b', text)
