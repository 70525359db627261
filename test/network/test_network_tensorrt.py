# SPDX-License-Identifier: Apache-2.0
"""TensorRT-RTX parses the model that ships and builds engines for rigs of six and five cameras, without a GPU."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from test_network_export import REFUSED_OPS

from semi_smd_ros.network.export import INPUTS, OUTPUTS

trt = pytest.importorskip('tensorrt_rtx', reason='the wheel tensorrt-rtx is not installed')

MODELS = Path(__file__).parents[2] / 'models'


@pytest.mark.parametrize('path', sorted(MODELS.glob('*.onnx')), ids=lambda path: path.stem)
def test_models_have_no_operator_that_some_version_lacks(path: Path) -> None:
    assert not REFUSED_OPS & {node.op_type for node in onnx.load(str(path)).graph.node}


@pytest.mark.parametrize('cameras', [6, 5])
def test_parses_and_builds(cameras: int) -> None:
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    definition = builder.create_network(0)
    parser = trt.OnnxParser(definition, logger)
    parsed = parser.parse_from_file(str(MODELS / 'semi_smd_small.onnx'))
    assert parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    assert {definition.get_input(index).name for index in range(definition.num_inputs)} == set(INPUTS)
    assert {definition.get_output(index).name for index in range(definition.num_outputs)} == set(OUTPUTS)
    shapes = builder.create_optimization_profile()
    for index in range(definition.num_inputs):
        tensor = definition.get_input(index)
        if -1 in tuple(tensor.shape):
            shape = [cameras if size == -1 else size for size in tensor.shape]
            shapes.set_shape(tensor.name, shape, shape, shape)
    config = builder.create_builder_config()
    config.add_optimization_profile(shapes)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    engine = builder.build_serialized_network(definition, config)
    assert engine is not None
    assert engine.nbytes > 1_000_000
