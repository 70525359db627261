# SPDX-License-Identifier: Apache-2.0
"""The adapter against what the bindings of TensorRT 8.6, 10.3, 10.13 and 11 declare: every name, argument and enum
member that it uses is there, and each version is asked for its precision in its own way.

TensorRT's part is a skeleton of the real declarations that runs the tiny model in ONNX Runtime on host memory, so that
addresses and the temporal memory are those that a GPU would be given. test_tensorrt_gpu.py has the real thing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_context import HostArray, HostContext
from rigs import ring
from skeleton_answers import GPU, SHAPES, H, N, W, answer_run, tensorrt
from tensorrt_skeleton import API, VERSIONS, Skeleton
from tiny_model import tiny_metadata

from semi_smd_ros.runtime import EngineInputs, ModelError
from semi_smd_ros.runtime.engine.contract import INPUTS, BackendError
from semi_smd_ros.runtime.engine.plan_cache import StoredPlan
from semi_smd_ros.runtime.engine.tensorrt import TensorRTEngine, open_plan
from semi_smd_ros.runtime.engine.tensorrt_api import Log, TensorRT, adapt
from semi_smd_ros.runtime.engine.tensorrt_build import BuildRequest, build_plan
from semi_smd_ros.runtime.engine.tensorrt_plan import PlanOptions, plan_key, takes_types

OLD = VERSIONS[0]
V11 = VERSIONS[-1]


def request(precision: str, is_typed: bool) -> BuildRequest:
    return BuildRequest(b'onnx', 'tiny.onnx', N, precision, is_typed, ('encoder', 'heads'))


def test_four_versions_are_declared() -> None:
    assert [version.rsplit('.', len(version.split('.')) - 2)[0] for version in VERSIONS] == [
        '8.6', '10.3', '10.13', '11.4'
    ]  # fmt: skip
    for name in ('Builder', 'ICudaEngine', 'IExecutionContext', 'OnnxParser', 'Runtime'):
        assert all(API[version]['classes'][name]['methods'] for version in VERSIONS)


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
@pytest.mark.parametrize('version', VERSIONS)
def test_every_version_is_asked_in_its_own_way(version: str, precision: str) -> None:
    trt = tensorrt(version)
    is_typed = takes_types(trt, precision)
    assert is_typed == {'8': False, '1': True}[version[0]] or precision == 'int8'
    told: list[str] = []
    built = build_plan(trt, request(precision, is_typed), lambda text, share: told.append(text), b'before')
    module: Any = trt.module
    assert (built.plan, built.timing_cache) == (b'plan', b'measured')
    creation = module.NetworkDefinitionCreationFlag
    kind = creation.STRONGLY_TYPED if is_typed else creation.EXPLICIT_BATCH
    assert module.of('Builder', 'create_network') == [(1 << kind,)]
    flags = {flag.name for (flag,) in module.of('IBuilderConfig', 'set_flag')}
    expected = {'fp32': set(), 'fp16': {'FP16'}, 'int8': {'FP16', 'INT8'}}[precision] if not is_typed else set()
    assert flags == expected | ({'OBEY_PRECISION_CONSTRAINTS'} if expected else set())
    assert [flag.name for (flag,) in module.of('IBuilderConfig', 'clear_flag')] == ['TF32']
    assert module.of('IBuilderConfig', 'create_timing_cache') == [(b'before',)]
    shapes = module.of('IOptimizationProfile', 'set_shape')
    assert {name for name, *_ in shapes} == set(INPUTS) - {'memory_valid'}
    assert all(low == best == high == SHAPES[name] for name, low, best, high in shapes)
    assert told


@pytest.mark.parametrize('version', [v for v in VERSIONS if 'FP16' in API[v]['enums']['BuilderFlag']])
def test_by_flags_what_is_not_in_the_scopes_stays_in_fp32(version: str) -> None:
    trt = tensorrt(version)
    build_plan(trt, request('fp16', is_typed=False))
    module: Any = trt.module
    # What is solved, and what the parser put in for it; encoder and heads are free, and the shape is an integer.
    assert module.of('ILayer', 'precision') == [(module.DataType.FLOAT,)] * 2
    assert module.of('ILayer', 'set_output_type') == [(0, module.DataType.FLOAT)] * 2
    network: Any = module.INetworkDefinition.__new__(module.INetworkDefinition)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    kept = [layer.name for layer in layers if layer.precision == module.DataType.FLOAT]
    assert kept == ['ONNXTRT_Broadcast', '/network/ground/Solve_12']


@pytest.mark.parametrize('version', VERSIONS)
def test_a_model_that_cannot_be_read_or_built_is_refused_with_the_reason(version: str) -> None:
    trt = tensorrt(version)
    module: Any = trt.module
    module.answers['OnnxParser', 'parse'] = lambda *_: False
    module.answers['OnnxParser', 'get_error'] = lambda *_: module.ParserError.__new__(module.ParserError)
    module.answers['ParserError', 'desc'] = lambda _: 'no importer for Foo'
    with pytest.raises(BackendError, match=rf'tiny.onnx: TensorRT {version} cannot read it: no importer for Foo'):
        build_plan(trt, request('fp32', is_typed=False))

    def refuse(*_: Any) -> None:
        trt.log.adapter.log(type('Severity', (), {'name': 'ERROR'}), 'could not find\n any implementation')

    del module.answers['OnnxParser', 'parse']
    module.answers['Builder', 'build_serialized_network'] = refuse
    with pytest.raises(BackendError, match=r'cannot build it \(fp32, 2 cameras\): could not find any implementation'):
        build_plan(trt, request('fp32', is_typed=False))


@pytest.mark.parametrize('version', VERSIONS[1:])
def test_the_progress_is_told_and_an_interruption_is_raised_after_the_build(version: str) -> None:
    trt = tensorrt(version)
    module: Any = trt.module
    went_on: list[bool] = []

    def building(*_: Any) -> bytes:
        (monitor,) = module.of('IBuilderConfig', 'progress_monitor')[0]
        monitor.phase_start('build', None, 2)
        monitor.phase_start('tactics', 'build', 4)
        went_on.extend(monitor.step_complete('tactics', step) for step in range(4))
        monitor.phase_finish('tactics')
        went_on.append(monitor.step_complete('tactics', 0))  # of another one of that name, which still runs
        went_on.append(monitor.step_complete('build', 1))
        monitor.phase_finish('build')
        return b'plan'

    module.answers['Builder', 'build_serialized_network'] = building
    shares: list[float] = []
    build_plan(trt, request('fp32', is_typed=False), lambda text, share: shares.append(share or 0.0))
    assert went_on == [True] * 6
    assert shares == [0.0, 0.125, 0.25, 0.375, 0.5, 0.5, 1.0]

    def interrupt(text: str, share: float | None) -> None:
        if share is not None:
            raise KeyboardInterrupt

    went_on.clear()
    module.calls.clear()
    with pytest.raises(KeyboardInterrupt):
        build_plan(trt, request('fp32', is_typed=False), interrupt)
    assert went_on[0] is False


def test_without_a_progress_monitor_signs_of_life_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from semi_smd_ros.runtime.engine import tensorrt_build

    trt = tensorrt(OLD)
    monkeypatch.setattr(tensorrt_build, 'SILENT_S', 0.05)
    module: Any = trt.module
    module.answers['Builder', 'build_serialized_network'] = lambda *_: time.sleep(0.3) or b'plan'
    told: list[str] = []
    build_plan(trt, request('fp32', is_typed=False), lambda text, share: told.append(text))
    assert 'TensorRT is building (0 s so far)' in told


def test_a_timing_cache_that_does_not_fit_is_begun_anew() -> None:
    trt = tensorrt(V11)
    module: Any = trt.module
    module.answers['IBuilderConfig', 'set_timing_cache'] = lambda *_: (
        len(module.of('IBuilderConfig', 'create_timing_cache')) > 1
    )
    build_plan(trt, request('fp32', is_typed=True), timing_cache=b'of another GPU')
    assert module.of('IBuilderConfig', 'create_timing_cache') == [(b'of another GPU',), (b'',)]


def test_older_versions_and_missing_modules_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with pytest.raises(
        BackendError, match=r'TensorRT does not load \(.*\): on a desktop: python3 -m pip install tensor'
    ):
        adapt('tensorrt_that_is_not_there', None)
    old = Skeleton(OLD)
    old.__version__ = '8.4.1'
    monkeypatch.setitem(sys.modules, 'tensorrt', old)
    with pytest.raises(BackendError, match=r'this is TensorRT 8.4.1; expected 8.6 or newer'):
        adapt('tensorrt', GPU)


def engine(version: str, model: Path, context: HostContext) -> tuple[TensorRTEngine, Any]:
    """A plan that is the tiny model."""
    trt = tensorrt(version)
    answer_run(trt.module)
    metadata = tiny_metadata(H, W)
    key = plan_key(trt, metadata, 'f' * 64, PlanOptions(N, 'fp16'))
    stored = StoredPlan(model.read_bytes(), {'key': {**key.__dict__}, 'metadata': metadata})
    made = open_plan(trt, context, stored, model)  # type: ignore[arg-type]
    assert made is not None
    return made, trt.module


def inputs(brightness: float, cameras: int = N) -> EngineInputs:
    return EngineInputs(
        np.full((cameras, 3, H, W), brightness, np.float32),
        np.tile(np.eye(3), (cameras, 1, 1)),
        np.tile(np.eye(4), (cameras, 1, 1)),
        np.ones(cameras),
    )


@pytest.mark.parametrize('version', VERSIONS)
def test_the_engine_runs_and_its_memory_goes_back_and_forth(version: str, tiny_model: Path) -> None:
    context = HostContext()
    made, module = engine(version, tiny_model, context)
    assert made.spec.backend == f'TensorRT {version} on Orin'
    assert (made.spec.precision, made.spec.cameras, made.spec.sha256) == ('fp16', N, 'f' * 64)
    made.warm_up(N)
    with pytest.raises(ModelError, match='no memory'):
        made.run(inputs(0.5), use_memory=True)
    # The tiny model counts in memory_out the sets since the memory was wiped, and moves 0.1 m where it has memory.
    for use_memory, brightness, counted in ((False, 0.5, 1), (True, 0.2, 2), (True, 0.4, 3), (False, 0.1, 1)):
        answer = made.run(inputs(brightness), use_memory)
        np.testing.assert_allclose(answer.depth, 10 * brightness + 1, rtol=1e-6)
        assert answer.ego_motion[0, 3] == pytest.approx(0.1 * use_memory)
        assert answer.semantics.dtype == np.uint8
        newest: Any = made.device_output('memory_out')
        np.testing.assert_array_equal(newest.array, counted)
    assert (
        len({memory for name, memory in module.of('IExecutionContext', 'set_tensor_address') if name == 'memory'}) == 2
    )
    made.close()
    assert (context.alive, context.is_open) == (0, False)
    with pytest.raises(ModelError, match='the engine is closed'):
        made.run(inputs(0.5), use_memory=False)
    made.close()


def test_device_arrays_are_what_enqueue_works_on(tiny_model: Path) -> None:
    context = HostContext()
    made, module = engine(V11, tiny_model, context)
    images, depth = made.device_input('images'), made.device_output('depth')
    assert isinstance(images, HostArray)
    assert isinstance(depth, HostArray)
    made.run(inputs(0.5), use_memory=False)
    slot = made.slot
    images.array[...] = 0.3
    made.enqueue(made.stream, use_memory=True)
    np.testing.assert_allclose(depth.array, 4.0, rtol=1e-6)
    assert made.slot == 1 - slot
    made.note_run()  # as a replayed graph would
    assert made.slot == slot
    for name in ('memory', 'depth', 'nothing'):
        with pytest.raises(KeyError, match='expected one of images, intrinsics'):
            made.device_input(name)
    made.reset_memory()
    with pytest.raises(ModelError, match='no memory'):
        made.enqueue(made.stream, use_memory=True)
    module.answers['IExecutionContext', 'execute_async_v3'] = lambda *_: False
    with pytest.raises(ModelError, match='TensorRT failed'):
        made.enqueue(made.stream, use_memory=False)
    with pytest.raises(ModelError, match='no memory'):
        made.enqueue(made.stream, use_memory=True)
    made.close()


def test_what_does_not_fit_the_engine_is_refused(tiny_model: Path) -> None:
    made, module = engine(V11, tiny_model, HostContext())
    with pytest.raises(ModelError, match='built for 2 cameras; got 3'):
        made.run(inputs(0.5, cameras=3), use_memory=False)
    with pytest.raises(ModelError, match='made for 2 cameras; the rig has 3'):
        made.check_rig(ring(3))
    wrong = EngineInputs(inputs(0.5).images, np.eye(3), inputs(0.5).base_T_cam, np.ones(N))
    with pytest.raises(ModelError, match=r'input intrinsics has shape \(3, 3\); expected \(2, 3, 3\)'):
        made.run(wrong, use_memory=False)
    made.close()
    plain = module.answers['ICudaEngine', 'get_tensor_dtype']
    module.answers['ICudaEngine', 'get_tensor_dtype'] = lambda made, name: (
        module.DataType.HALF if name == 'memory_out' else plain(made, name)
    )
    context = HostContext()
    stored = StoredPlan(tiny_model.read_bytes(), made.record)
    with pytest.raises(ModelError, match='memory is float32, memory_out float16'):
        open_plan(TensorRT(module, Log(module), GPU), context, stored, tiny_model)  # type: ignore[arg-type]
    assert context.alive == 0
    module.answers['Runtime', 'deserialize_cuda_engine'] = lambda *_: None
    trt = TensorRT(module, Log(module), GPU)
    assert open_plan(trt, HostContext(), StoredPlan(b'foreign', {}), tiny_model) is None  # type: ignore[arg-type]
