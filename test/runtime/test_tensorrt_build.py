# SPDX-License-Identifier: Apache-2.0
"""The builder's adapter on a real TensorRT (TensorRT-RTX, which builds without a GPU), with the tiny model."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from semi_smd_ros.runtime import ModelError
from semi_smd_ros.runtime.engine.contract import INPUTS, OUTPUTS, BackendError
from semi_smd_ros.runtime.engine.tensorrt_api import TensorRT, adapt
from semi_smd_ros.runtime.engine.tensorrt_build import BuildRequest, build_plan

pytest.importorskip('tensorrt_rtx', reason='the wheel tensorrt-rtx is not installed')
# RTX takes the calls and does nothing.
pytestmark = pytest.mark.filterwarnings('ignore:.*Timing cache operations are no-ops')


@pytest.fixture(scope='module')
def trt() -> TensorRT:
    return adapt('tensorrt_rtx', None)


def request(model: bytes, cameras: int = 2) -> BuildRequest:
    return BuildRequest(model, 'tiny.onnx', cameras, 'fp32', is_typed=True)


def test_it_builds_and_its_timing_cache_is_taken_again(trt: TensorRT, tiny_model: Path) -> None:
    assert trt.can_be_strongly_typed
    assert not trt.has_precision_flags
    told: list[tuple[str, float | None]] = []
    built = build_plan(trt, request(tiny_model.read_bytes()), lambda text, share: told.append((text, share)))
    assert len(built.plan) > 1000
    assert built.inputs['images'] == [None, 3, 48, 80]
    assert set(built.inputs) == set(INPUTS)
    assert set(built.outputs) == set(OUTPUTS)
    assert told[0] == ('reading the model', None)
    shares = [share for _, share in told if share is not None]
    assert shares == sorted(shares)
    assert shares[-1] > 0.8
    again = build_plan(trt, request(tiny_model.read_bytes(), cameras=3), timing_cache=built.timing_cache)
    assert again.plan != built.plan


def test_what_is_no_model_is_refused_with_the_parser_s_reason(trt: TensorRT, tiny_model: Path) -> None:
    for content in (b'', b'<html>'):
        with pytest.raises(ModelError, match=r'tiny.onnx: .*(it has none|cannot read it)'):
            build_plan(trt, request(content))
    with pytest.raises(BackendError, match=r'tiny.onnx: TensorRT 1.* cannot read it: .'):
        build_plan(trt, request(tiny_model.read_bytes()[:500]))
    model = onnx.load(tiny_model)
    model.graph.node[0].op_type = 'NoSuchOperator'
    with pytest.raises(BackendError, match=r'cannot read it: .*Plugin not found'):
        build_plan(trt, request(model.SerializeToString()))


def test_a_model_off_the_contract_is_refused_before_minutes_of_building(trt: TensorRT, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    del model.graph.output[1]
    with pytest.raises(ModelError, match='confidence are missing'):
        build_plan(trt, request(model.SerializeToString()))


def test_an_interrupted_build_stops(trt: TensorRT, tiny_model: Path) -> None:
    def interrupt(text: str, share: float | None) -> None:
        if share is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(trt, request(tiny_model.read_bytes()), interrupt)
