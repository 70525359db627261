# SPDX-License-Identifier: Apache-2.0
"""TensorRT-RTX builds the model that ships through the engine's own adapter, without a GPU.

For six cameras in the mixed FP16 that TensorRT 10 and 11 are given, for five in FP32.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from test_network_export import REFUSED_OPS

from semi_smd_ros.network.export import FP16_SCOPES, INPUTS, OUTPUTS, needs_fp32
from semi_smd_ros.runtime.engine.mixed_precision import mixed_precision
from semi_smd_ros.runtime.engine.model_file import onnx_metadata
from semi_smd_ros.runtime.engine.precision import stays_fp32

MODELS = Path(__file__).parents[2] / 'models'
SHIPPED = MODELS / 'semi_smd_small.onnx'


@pytest.mark.parametrize('path', sorted(MODELS.glob('*.onnx')), ids=lambda path: path.stem)
def test_models_have_no_operator_that_some_version_lacks(path: Path) -> None:
    assert not REFUSED_OPS & {node.op_type for node in onnx.load(str(path)).graph.node}


def test_the_vehicle_keeps_in_fp32_what_the_network_says(onnx_path: Path) -> None:
    data = onnx_path.read_bytes()
    scopes = json.loads(onnx_metadata(data, 'network') or '')['fp16_scopes']
    assert scopes == list(FP16_SCOPES)
    names = [node.name for node in onnx.load_from_string(data).graph.node]
    assert {name: stays_fp32(name, scopes) for name in names} == {name: needs_fp32(name) for name in names}


@pytest.mark.filterwarnings('ignore:.*Timing cache operations are no-ops')
@pytest.mark.parametrize(('cameras', 'precision'), [(6, 'fp16'), (5, 'fp32')])
def test_parses_and_builds(cameras: int, precision: str) -> None:
    pytest.importorskip('tensorrt_rtx', reason='the wheel tensorrt-rtx is not installed')
    from semi_smd_ros.runtime.engine.tensorrt_api import adapt
    from semi_smd_ros.runtime.engine.tensorrt_build import BuildRequest, build_plan

    model = SHIPPED.read_bytes()
    typed = mixed_precision(model, FP16_SCOPES) if precision == 'fp16' else model
    told: list[float] = []
    built = build_plan(
        adapt('tensorrt_rtx', None),
        BuildRequest(typed, SHIPPED.name, cameras, precision, is_typed=True, fp16_scopes=FP16_SCOPES),
        lambda text, share: told.append(share or 0.0),
    )
    assert set(built.inputs) == set(INPUTS)
    assert set(built.outputs) == set(OUTPUTS)
    assert len(built.plan) > 1_000_000
    assert told == sorted(told)
    assert told[-1] > 0.8


def test_tensorrt_sees_the_precision_that_the_network_asks_for() -> None:
    """Layers carry the names of their ONNX nodes, and in the mixed model exactly those of the scopes are in FP16."""
    pytest.importorskip('tensorrt_rtx', reason='the wheel tensorrt-rtx is not installed')
    from semi_smd_ros.runtime.engine.tensorrt_api import adapt
    from semi_smd_ros.runtime.engine.tensorrt_build import onnx_name

    trt = adapt('tensorrt_rtx', None)
    module = trt.module
    builder = module.Builder(trt.log.adapter)
    network = builder.create_network(trt.bit('NetworkDefinitionCreationFlag', 'STRONGLY_TYPED'))
    parser = module.OnnxParser(network, trt.log.adapter)
    assert parser.parse(mixed_precision(SHIPPED.read_bytes(), FP16_SCOPES))
    names = {node.name for node in onnx.load(str(SHIPPED)).graph.node}
    costly = {module.LayerType.CONVOLUTION, module.LayerType.MATRIX_MULTIPLY, module.LayerType.NORMALIZATION}
    halves = 0
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        if layer.type in costly:
            name = onnx_name(layer)
            assert name in names
            is_half = layer.get_output(0).dtype == module.DataType.HALF
            assert is_half != needs_fp32(name), name
            halves += is_half
    assert halves > 40
