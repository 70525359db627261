# SPDX-License-Identifier: Apache-2.0
"""On a GPU with TensorRT: the shipped model by the device path, with and without a graph, against the processor's path
around the very same engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_cases import CLOUD_CASES, EVERYTHING, PictureCase

from semi_smd_ros.runtime import CloudBuilder, PipelineConfig, SurroundDepthPipeline, load_engine
from semi_smd_ros.runtime.stages import HostStages

pytestmark = pytest.mark.gpu
MODEL = Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx'
CASE = PictureCase('a vehicle', (640, 384), ('bgr8', 'nv12', 'bayer_rggb8', 'rgb8', None, 'uyvy'), 'plumb_bob')


@pytest.fixture(scope='module')
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('tensorrt', reason='TensorRT is not installed')
    return tmp_path_factory.mktemp('plans')


@pytest.fixture
def engines(plans: Path) -> Iterator[Any]:
    """Makes an engine of FP32, which is built once."""
    made = []

    def make() -> Any:
        made.append(load_engine(MODEL, backend='tensorrt', cameras=6, precision='fp32', plan_folder=plans))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.mark.parametrize('use_graph', [False, True], ids=['direct', 'graph'])
def test_the_device_path_gives_what_the_processors_path_gives(engines: Any, use_graph: bool) -> None:
    on_device = SurroundDepthPipeline(engines(), PipelineConfig(cloud=EVERYTHING, cuda_graph=use_graph))
    other = engines()
    on_host = SurroundDepthPipeline(other, PipelineConfig(cloud=EVERYTHING))
    on_host._stages = HostStages(other)
    assert on_device.prepared is None
    rig = CASE.rig
    for i, stamp in enumerate((0, 1, 2, 3, 4, 5, 20, 21, 22)):
        frame = CASE.frame(stamp * 100_000_000, rig)
        got, wanted = on_device.process(frame), on_host.process(frame)
        np.testing.assert_array_equal(got.images_nhw3, wanted.images_nhw3)
        # The same engine on the same input; a later version may order its sums otherwise from run to run.
        np.testing.assert_allclose(got.depth_nhw, wanted.depth_nhw, rtol=1e-3, err_msg=f'set {i}')
        np.testing.assert_allclose(got.confidence_nhw, wanted.confidence_nhw, atol=1e-3)
        assert (got.semantics_nhw != wanted.semantics_nhw).mean() < 1e-3
        assert got.memory_reset == wanted.memory_reset
        config = CLOUD_CASES['all filters']
        on_device.config = PipelineConfig(cloud=config)
        assert bytes(on_device.cloud(got).data) == bytes(CloudBuilder()(got.on_host(), config).data)
    assert ('gpu graph' in on_device.stats.summary()) == use_graph
