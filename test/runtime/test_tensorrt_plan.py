# SPDX-License-Identifier: Apache-2.0
"""From a model file to an engine: built, judged against FP32, kept, taken again, refused.

Cache, mixed FP16 model, comparison and engine are the real ones; TensorRT is a skeleton of the real declarations whose
plan is the ONNX file that it was given, run by ONNX Runtime on host memory. test_tensorrt_gpu.py has the real one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from host_context import HostContext
from onnx import numpy_helper
from skeleton_answers import N, answer_run, tensorrt
from tensorrt_skeleton import VERSIONS
from tiny_model import write_tiny_model

from semi_smd_ros.runtime import ModelError
from semi_smd_ros.runtime.engine import Report, tensorrt_plan
from semi_smd_ros.runtime.engine.contract import BackendError
from semi_smd_ros.runtime.engine.samples import read_samples
from semi_smd_ros.runtime.engine.tensorrt import TensorRTEngine
from semi_smd_ros.runtime.engine.tensorrt_plan import PlanOptions, open_tensorrt

V11 = VERSIONS[-1]


class Bench:
    """One process's life after another: a TensorRT, and what was told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
        self.folder, self.patch, self.version = folder, monkeypatch, version
        self.told: list[str] = []
        self.done: list[str] = []
        self.start(version)

    def start(self, version: str) -> None:
        self.trt = tensorrt(version)
        module: Any = self.trt.module
        answer_run(module)
        parsed: list[bytes] = []
        module.answers['OnnxParser', 'parse'] = lambda _, model: parsed.append(model) is None
        module.answers['Builder', 'build_serialized_network'] = lambda *_: parsed[-1]
        self.parsed = parsed
        self.patch.setattr(tensorrt_plan, 'load_tensorrt', lambda: self.trt)
        self.patch.setattr(tensorrt_plan, 'CudaContext', self.context)

    def context(self) -> HostContext:
        self.newest = HostContext()
        return self.newest

    def open(self, path: Path, **options: Any) -> TensorRTEngine:
        data = path.read_bytes()
        report = Report(self.told.append, self.told.append, lambda text, share: self.done.append(text))
        asked = PlanOptions(**{'cameras': N, 'folder': self.folder, **options})
        return open_tensorrt(data, hashlib.sha256(data).hexdigest(), path, asked, report)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bench:
    folder = tmp_path / 'plans'
    folder.mkdir(mode=0o700)
    return Bench(folder, monkeypatch, getattr(request, 'param', V11))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The tiny model with its depth computed in a scope that may be in FP16."""
    return write_named(tmp_path / 'tiny.onnx')


def write_named(path: Path, factor: float = 10.0) -> Path:
    proto = onnx.load(write_tiny_model(path, fp16_scopes=['heads']))
    for item in proto.graph.node[:3]:
        item.name = f'/network/heads/{item.op_type}'
    ten = next(tensor for tensor in proto.graph.initializer if tensor.name == 'ten')
    ten.CopyFrom(numpy_helper.from_array(np.array(factor, np.float32), 'ten'))
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize('bench', VERSIONS, indirect=True)
def test_it_is_built_judged_and_kept_and_then_taken_again(bench: Bench, model: Path) -> None:
    engine = bench.open(model)
    assert engine.spec.precision == 'fp16'
    assert bench.told[0].startswith(
        f'building a TensorRT {bench.version} engine of {model} for 2 cameras in fp16 on Orin'
    )
    assert bench.told[1].startswith('fp16 against FP32 on the frames of the package: depth error 0.0')
    is_typed = bench.version[0] == '1'
    graph = onnx.load_from_string(bench.parsed[0]).graph
    assert any('fp16' in name for item in graph.node for name in item.output) == is_typed
    difference = engine.record['difference from FP32']
    # ONNX Runtime on the CPU does not round between FP16 operators.
    assert difference['p99'] < 0.01
    assert bench.done[:2] == ['reading the model', 'comparing fp16 with FP32']
    engine.warm_up(N)
    engine.close()
    assert bench.newest.alive == 0
    bench.told.clear()
    bench.start(bench.version)
    again = bench.open(model)
    assert (bench.told, bench.parsed) == ([], [])
    assert again.record['difference from FP32'] == difference
    again.close()
    assert json.loads(next(bench.folder.glob('tiny*.json')).read_text())['judged by'] == 'the frames of the package'
    assert len(list(bench.folder.glob('timing-*.cache'))) == 1


def test_another_model_precision_or_version_is_built_again(bench: Bench, tmp_path: Path, model: Path) -> None:
    bench.open(model).close()
    bench.open(model, precision='fp32').close()
    bench.open(write_named(tmp_path / 'other.onnx', 11.0)).close()
    assert len(bench.parsed) == 3
    bench.start(VERSIONS[1])
    bench.open(model).close()
    assert len(bench.parsed) == 1
    bench.open(model, rebuild=True).close()
    assert len(bench.parsed) == 2


def test_fp16_that_spoils_the_depth_is_refused_and_the_part_is_named(bench: Bench, tmp_path: Path) -> None:
    model = write_named(tmp_path / 'tiny.onnx', 1e7)
    for parsed in (1, 1):
        with pytest.raises(BackendError) as caught:
            bench.open(model)
        assert len(bench.parsed) == parsed  # the second time it is known
        assert (bench.newest.alive, bench.newest.is_open) == (0, False)
        text = str(caught.value)
        assert 'FP16 is refused, it differs from FP32 by more than 2% at the 99th percentile' in text
        assert 'the worst part is heads (' in text
        assert 'use precision fp32. To try again: semi-smd build-engine --rebuild, or delete ' in text
    bench.open(model, precision='fp32').close()


def test_int8_tells_what_it_costs(bench: Bench, tmp_path: Path) -> None:
    proto = onnx.load(write_named(tmp_path / 'tiny.onnx'))
    weights = numpy_helper.from_array(np.full((1, 1, 1, 1), 10.0, np.float32), 'weights')
    proto.graph.initializer.append(weights)
    mul = proto.graph.node[1]
    mul.op_type, mul.name, mul.input[1] = 'Conv', '/network/heads/Conv', 'weights'
    model = tmp_path / 'conv.onnx'
    model.write_bytes(proto.SerializeToString())
    engine = bench.open(model, precision='int8')
    assert any(text.startswith('INT8 is calibrated on the frames of the package') for text in bench.told)
    assert any(text.startswith('int8 against FP32 on the frames of the package: depth error') for text in bench.told)
    assert {'QuantizeLinear', 'Conv'} <= {item.op_type for item in onnx.load_from_string(bench.parsed[0]).graph.node}
    assert 0 < engine.record['difference from FP32']['p99'] < 0.1
    assert engine.spec.precision == 'int8'
    engine.close()


@pytest.mark.parametrize('bench', VERSIONS[:1], indirect=True)
def test_constraints_that_cannot_be_obeyed_become_preferences_and_it_is_said(bench: Bench, model: Path) -> None:
    module: Any = bench.trt.module
    flags = module.BuilderFlag

    def build(*_: Any) -> bytes | None:
        newest = module.of('IBuilderConfig', 'set_flag')[-1]
        return None if newest == (flags.OBEY_PRECISION_CONSTRAINTS,) else bench.parsed[-1]

    module.answers['Builder', 'build_serialized_network'] = build
    engine = bench.open(model)
    assert any('built again with FP32 as a preference' in text for text in bench.told)
    assert module.of('IBuilderConfig', 'set_flag')[-1] == (flags.PREFER_PRECISION_CONSTRAINTS,)
    engine.close()
    module.answers['Builder', 'build_serialized_network'] = lambda *_: None
    for precision in ('fp16', 'fp32'):
        bench.told.clear()
        with pytest.raises(BackendError, match=f'cannot build it .{precision}'):
            bench.open(model, precision=precision, rebuild=True)
        assert any('preference' in text for text in bench.told) == (precision == 'fp16')


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_a_model_that_names_no_part_that_bears_it_is_refused(bench: Bench, tmp_path: Path, precision: str) -> None:
    with pytest.raises(BackendError, match='names no fp16_scopes'):
        bench.open(write_tiny_model(tmp_path / 'plain.onnx'), precision=precision)
    assert bench.parsed == []


def test_int8_is_judged_by_sets_that_it_was_not_calibrated_on(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrated: list[int] = []
    judged: list[int] = []
    exact = tensorrt_plan.fp32_answers
    monkeypatch.setattr(
        tensorrt_plan,
        'fp32_answers',
        lambda data, path, inputs: judged.append(len(inputs)) or exact(data, path, inputs),
    )
    monkeypatch.setattr(
        'semi_smd_ros.runtime.engine.quantise.quantised',
        lambda data, path, scopes, inputs: calibrated.append(len(inputs)) or data,
    )
    frames = read_samples(N)
    for sets in (1, 4, 9):
        bench.open(
            write_named(tmp_path / 'tiny.onnx'), precision='int8', frames=(frames * 5)[:sets], rebuild=True
        ).close()
    assert (calibrated, judged) == ([1, 3, 7], [1, 1, 2])


def test_without_onnxruntime_it_is_said_before_the_build(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    monkeypatch.delitem(sys.modules, 'semi_smd_ros.runtime.engine.onnxruntime', raising=False)
    with pytest.raises(BackendError, match='python3 -m pip install onnxruntime, or use precision fp32'):
        bench.open(model)
    assert bench.parsed == []


def test_frames_of_ones_own_are_what_it_is_judged_by(bench: Bench, model: Path) -> None:
    engine = bench.open(model, frames=read_samples(N)[:1], source='rosbag:mine')
    assert engine.record['judged by'] == 'rosbag:mine'
    assert 'fp16 against FP32 on rosbag:mine' in bench.told[1]
    engine.close()
    with pytest.raises(ModelError, match='rosbag:other: expected sets of 2 cameras'):
        bench.open(model, frames=read_samples(3), source='rosbag:other', rebuild=True)


def test_a_plan_of_another_gpu_is_built_again(bench: Bench, model: Path) -> None:
    bench.open(model).close()
    module: Any = bench.trt.module
    usable = module.answers['Runtime', 'deserialize_cuda_engine']
    module.answers['Runtime', 'deserialize_cuda_engine'] = lambda *_: (
        usable(*_) if len(bench.parsed) == 2 else None
    )  # fmt: skip
    bench.open(model).close()
    assert len(bench.parsed) == 2
    assert any('cannot use this plan on Orin: built again' in text for text in bench.told)


def test_what_cannot_be_is_told_before_minutes_of_building(bench: Bench, tmp_path: Path, model: Path) -> None:
    with pytest.raises(ModelError, match='takes at most 12 cameras; the rig has 13'):
        bench.open(model, cameras=13)
    (tmp_path / 'text.onnx').write_bytes(b'<html>')
    with pytest.raises(ModelError, match='is not an ONNX file'):
        bench.open(tmp_path / 'text.onnx')
    (tmp_path / 'open').mkdir()
    (tmp_path / 'open').chmod(0o777)
    with pytest.raises(ModelError, match='can be written by others'):
        bench.open(model, folder=tmp_path / 'open')
    assert bench.parsed == []
    assert not bench.newest.is_open
