# SPDX-License-Identifier: Apache-2.0
"""The real thing, where there is a GPU with TensorRT: python -m pytest -m gpu

The skeleton in test_tensorrt_versions.py stands for what cannot be run elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from semi_smd_ros.runtime import Engine, EngineInputs, ModelError, load_engine
from semi_smd_ros.runtime.cuda.driver import CudaContext
from semi_smd_ros.runtime.engine import Report
from semi_smd_ros.runtime.engine.plan_cache import PlanCache, PlanKey, StoredPlan
from semi_smd_ros.runtime.engine.plan_check import FINITE_BOUND, compare, fp32_answers
from semi_smd_ros.runtime.engine.samples import read_samples, run_samples, sample_inputs
from semi_smd_ros.runtime.engine.tensorrt import TensorRTEngine
from semi_smd_ros.runtime.engine.tensorrt_plan import PlanOptions, open_tensorrt

pytestmark = pytest.mark.gpu
SHIPPED = Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx'


@pytest.fixture(scope='module')
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('tensorrt', reason='TensorRT is not installed')
    folder = tmp_path_factory.mktemp('plans')
    folder.chmod(0o700)
    return folder


def load(path: Path, plans: Path, cameras: int, precision: str, told: list[str] | None = None) -> Engine:
    report = Report((told if told is not None else []).append)
    return load_engine(
        path, backend='tensorrt', cameras=cameras, precision=precision, plan_folder=plans, report=report
    )  # fmt: skip


def grey(brightness: float, cameras: int = 2) -> EngineInputs:
    return EngineInputs(
        np.full((cameras, 3, 48, 80), brightness, np.float32),
        np.tile(np.eye(3), (cameras, 1, 1)),
        np.tile(np.eye(4), (cameras, 1, 1)),
        np.ones(cameras),
    )


@pytest.fixture
def tiny(tiny_model: Path, plans: Path) -> Iterator[TensorRTEngine]:
    engine = load(tiny_model, plans, 2, 'fp32')
    assert isinstance(engine, TensorRTEngine)
    yield engine
    engine.close()


def test_the_tiny_model_answers_as_it_must(tiny: TensorRTEngine) -> None:
    tiny.warm_up(2)
    with pytest.raises(ModelError, match='no memory'):
        tiny.run(grey(0.5), use_memory=True)
    for use_memory, brightness in ((False, 0.5), (True, 0.2), (True, 0.4), (False, 0.1)):
        answer = tiny.run(grey(brightness), use_memory)
        np.testing.assert_allclose(answer.depth, 10 * brightness + 1, rtol=1e-5)
        np.testing.assert_allclose(answer.confidence, 0.75)
        assert answer.ego_motion[0, 3] == pytest.approx(0.1 * use_memory)
        np.testing.assert_array_equal(answer.semantics, int(18 * brightness))


def test_what_is_on_the_device_need_not_leave_it(tiny: TensorRTEngine) -> None:
    tiny.run(grey(0.5), use_memory=False)
    images = np.full((2, 3, 48, 80), 0.3, np.float32)
    tiny.device_input('images').copy_from(images, tiny.stream)
    for counted in (2, 3, 4):
        tiny.enqueue(tiny.stream, use_memory=True)
        depth, memory = tiny.device_output('depth'), tiny.device_output('memory_out')
        got, kept = np.empty(depth.shape, depth.dtype), np.empty(memory.shape, memory.dtype)
        depth.copy_to(got, tiny.stream)
        memory.copy_to(kept, tiny.stream)
        tiny.stream.synchronize()
        np.testing.assert_allclose(got, 4.0, rtol=1e-5)
        np.testing.assert_allclose(kept, counted)


def test_a_plan_is_loaded_without_building_and_a_foreign_one_is_built_again(tiny_model: Path, plans: Path) -> None:
    told: list[str] = []
    load(tiny_model, plans, 3, 'fp32', told).close()
    assert told[0].startswith('building a TensorRT')
    told.clear()
    engine = load(tiny_model, plans, 3, 'fp32', told)
    assert isinstance(engine, TensorRTEngine)
    engine.close()
    assert told == []
    key = engine.record['key']
    known = PlanKey(**{**key, 'capability': tuple(key['capability'])})
    PlanCache(plans, told.append).write(known, StoredPlan(b'a plan of another version', dict(engine.record)))
    load(tiny_model, plans, 3, 'fp32', told).close()
    assert any('cannot use this plan' in text for text in told)


def test_memory_is_given_back(tiny_model: Path, plans: Path) -> None:
    with CudaContext() as context:
        load(tiny_model, plans, 2, 'fp32').close()
        before, _ = context.memory_bytes()
        for _ in range(5):
            engine = load(tiny_model, plans, 2, 'fp32')
            engine.run(grey(0.5), use_memory=False)
            engine.close()
        after, _ = context.memory_bytes()
    assert before - after < 8 << 20


@pytest.mark.parametrize(('precision', 'bound'), [('fp32', 0.002), ('fp16', 0.02), ('int8', 0.3)])
def test_the_shipped_model_agrees_with_onnx_runtime(plans: Path, precision: str, bound: float) -> None:
    data = SHIPPED.read_bytes()
    options = PlanOptions(6, precision, plans)
    engine = open_tensorrt(data, hashlib.sha256(data).hexdigest(), SHIPPED, options, Report())
    try:
        inputs = sample_inputs(read_samples(6), 320, 192) * 4
        difference = compare(fp32_answers(data, SHIPPED, inputs), run_samples(engine, inputs))
    finally:
        engine.close()
    assert difference.p99 < bound
    assert difference.finite < FINITE_BOUND
