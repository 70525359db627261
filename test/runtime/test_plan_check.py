# SPDX-License-Identifier: Apache-2.0
"""How a lower precision is judged, what it is judged by, and what INT8 makes of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from semi_smd_ros.runtime import EngineOutputs, ModelError, load_engine
from semi_smd_ros.runtime.engine.model_file import onnx_metadata
from semi_smd_ros.runtime.engine.plan_check import compare, fp32_answers, is_refused
from semi_smd_ros.runtime.engine.precision import stays_fp32
from semi_smd_ros.runtime.engine.quantise import COSTLY, quantised
from semi_smd_ros.runtime.engine.samples import read_samples, run_samples, sample_inputs, write_samples

SHIPPED = Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx'


def outputs(depth: np.ndarray, moved: float = 0.0) -> EngineOutputs:
    motion = np.eye(4)
    motion[0, 3] = moved
    return EngineOutputs(depth.astype(np.float32), np.ones(1), np.ones(1), motion)


def test_differences_are_those_of_the_pixels_that_both_know() -> None:
    right = np.full((1, 1, 10, 100), 10.0)
    right[..., 0, :] = np.inf
    other = right * 1.01
    other[..., 1, 0] = 20.0
    other[..., 2, :10] = np.nan
    difference = compare([outputs(right), outputs(right)], [outputs(other, 0.2), outputs(right, -0.3)])
    assert difference.p50 == pytest.approx(0.0, abs=1e-6)
    assert difference.p99 == pytest.approx(0.01, abs=1e-6)
    assert difference.largest == pytest.approx(1.0)
    assert difference.finite == pytest.approx(10 / 1000 / 2)
    assert difference.ego_motion_m == pytest.approx(0.3)
    assert 'depth error 0.00% (median), 1.00% (99th percentile), 100.00% (largest)' in str(difference)


@pytest.mark.parametrize(
    ('factor', 'lost', 'refused'),
    [(1.019, 0, False), (1.021, 0, True), (0.979, 0, True), (1.0, 9, False), (1.0, 11, True), (np.nan, 0, True)],
)
def test_fp16_is_refused_beyond_the_bounds(factor: float, lost: int, refused: bool) -> None:
    right = np.full((1, 1, 10, 100), 10.0)
    other = right * factor
    other.ravel()[:lost] = np.nan
    assert is_refused(compare([outputs(right)], [outputs(other)])) is refused


@pytest.mark.parametrize('cameras', [1, 6, 8])
def test_the_stored_frames_suit_any_rig(cameras: int) -> None:
    frames = read_samples(cameras)
    assert [len(frame.rig) for frame in frames] == [cameras, cameras]
    assert 0 < frames[1].stamp_ns - frames[0].stamp_ns < 500_000_000
    first, second = sample_inputs(frames, 80, 48)
    assert first.images.shape == (cameras, 3, 48, 80)
    assert 0.2 < first.images.mean() < 0.8
    assert 0.001 < np.abs(first.images - second.images).mean() < 0.1
    np.testing.assert_array_equal(first.images[cameras - 1], first.images[(cameras - 1) % 6])


def test_frames_are_stored_as_they_are(tmp_path: Path) -> None:
    frames = read_samples(2)
    write_samples(tmp_path / 'again.npz', frames, 160, 96)
    (right, _), (stored, _) = (
        sample_inputs(frames, 160, 96),
        sample_inputs(read_samples(2, tmp_path / 'again.npz'), 160, 96),
    )
    assert np.abs(right.images - stored.images).mean() < 0.02
    np.testing.assert_allclose(stored.intrinsics, right.intrinsics, rtol=1e-6)
    np.testing.assert_allclose(stored.base_T_cam, right.base_T_cam, rtol=1e-6)


@pytest.mark.parametrize('content', [None, b'', b'PK\x03\x04 not a zip', b'text'])
def test_a_broken_file_of_frames_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'frames.npz'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r'frames.npz: no sample frames can be read'):
        read_samples(6, path)


def test_answers_are_those_of_a_sequence(tiny_model: Path) -> None:
    engine = load_engine(tiny_model)
    first, second = run_samples(engine, sample_inputs(read_samples(2), 80, 48))
    assert (first.ego_motion[0, 3], second.ego_motion[0, 3]) == pytest.approx((0.0, 0.1))
    assert not np.array_equal(first.depth, second.depth)


def test_int8_quantises_what_is_costly_and_bears_it() -> None:
    """On the blind network, of full convolutions: filters of single channels, as in the other, do not bear it."""
    path = SHIPPED.with_name('semi_smd_small_blind.onnx')
    model = path.read_bytes()
    scopes = ('encoder', 'decoder', 'heads')
    inputs = sample_inputs(read_samples(1), 320, 192)
    smaller = quantised(model, path, scopes, inputs)
    assert len(smaller) < 0.75 * len(model)
    proto = onnx.load_from_string(smaller)
    made_by = {name: item for item in proto.graph.node for name in item.output}
    for item in proto.graph.node:
        if item.op_type in COSTLY:
            is_int8 = all(made_by[name].op_type == 'DequantizeLinear' for name in item.input[:2] if name in made_by)
            assert is_int8 != stays_fp32(item.name, scopes), item.name
    assert onnx_metadata(smaller, 'int8') == onnx_metadata(model, 'fp32')
    difference = compare(fp32_answers(model, path, inputs), fp32_answers(smaller, path, inputs))
    assert 0.001 < difference.p50 < 0.1
