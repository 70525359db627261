# SPDX-License-Identifier: Apache-2.0
"""TensorRT-RTX parses the exported file and builds engines for rigs of six and five cameras, without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from network_fixtures import CARD, TINY

from semi_smd_ros.network.export import INPUTS, OUTPUTS, export_onnx
from semi_smd_ros.network.model import SemiSmdNetwork

trt = pytest.importorskip('tensorrt_rtx', reason='the wheel tensorrt-rtx is not installed')


@pytest.fixture(scope='module')
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest network that has every part."""
    path = tmp_path_factory.mktemp('tensorrt') / 'tiny.onnx'
    export_onnx(SemiSmdNetwork(TINY).eval(), path, CARD)
    return path


def parsed(path: Path) -> tuple[Any, Any, Any]:
    """Builder, network definition and parser (which owns weights) of a file."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    definition = builder.create_network(0)
    parser = trt.OnnxParser(definition, logger)
    is_parsed = parser.parse_from_file(str(path))
    assert is_parsed, [str(parser.get_error(index)) for index in range(parser.num_errors)]
    return builder, definition, parser


def test_parses_the_model_that_ships() -> None:
    _, definition, _parser = parsed(Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx')
    shapes = {definition.get_input(index).name: definition.get_input(index).shape for index in range(len(INPUTS))}
    assert tuple(shapes['images']) == (-1, 3, 192, 320)


@pytest.mark.parametrize('cameras', [6, 5])
def test_parses_and_builds(tiny_path: Path, cameras: int) -> None:
    builder, definition, _parser = parsed(tiny_path)
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
    assert engine.nbytes > 10_000
