# SPDX-License-Identifier: Apache-2.0
"""Many scenes in one batch equal each by itself; a frame depends on no other frame."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pretend_device import DEVICE, Pretending

from semi_smd_ros.datasets.synthetic import (
    ScenePlan,
    SyntheticFrame,
    ddad_like_rig,
    prepare,
    random_rig,
    raw_rig,
    render_batch,
    render_prepared,
    render_sequence,
    sequence,
    stage,
)
from semi_smd_ros.datasets.synthetic.capture import Setup, Shots, take


def assert_same(one: SyntheticFrame, two: SyntheticFrame) -> None:
    """Within the bounds that `render_batch` states."""
    assert one.stamp_ns == two.stamp_ns
    for name in ('world_T_base', 'ground_plane_base', 'ego_mask_nhw', 'world_T_base_rows'):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    np.testing.assert_allclose(one.exposure_s_n, two.exposure_s_n, rtol=1e-4)
    np.testing.assert_array_equal(np.isnan(one.depth_nhw), np.isnan(two.depth_nhw))
    away = (one.semantics_nhw != two.semantics_nhw) | (one.moving_nhw != two.moving_nhw)
    a, b = one.depth_nhw, two.depth_nhw
    finite = np.isfinite(a) & np.isfinite(b)
    away |= np.isinf(a) != np.isinf(b)
    away[finite] |= np.abs(a[finite] - b[finite]) > 1e-4 * a[finite]
    assert away.mean() < 3e-4
    apart = np.abs(one.images_nhw3.astype(int) - two.images_nhw3.astype(int)).max(-1)
    assert np.mean(apart > 1) < 2e-3


@pytest.mark.parametrize('raw', [False, True])
def test_a_batch_equals_its_scenes_one_by_one(raw: bool) -> None:
    seeds = [31, 32, 33]
    rigs = [ddad_like_rig(48, 80), random_rig(np.random.default_rng(1), 48, 80, 1), ddad_like_rig(48, 80)]
    if raw:
        rigs = [raw_rig(rig, np.random.default_rng(k)) for k, rig in enumerate(rigs)]
        assert len({rig.readout_s > 0 for rig in rigs}) == 2, 'shutters of both kinds in one batch'
    # A plan made elsewhere, here sent through a pickle as to another process, is as good as its seed.
    plan = pickle.loads(pickle.dumps(ScenePlan.draw(seeds[1])))  # noqa: S301
    batch = render_batch([seeds[0], plan, seeds[2]], rigs, frames=2, rate_hz=5.0)
    assert [len(frames) for frames in batch] == [2, 2, 2]
    for seed, rig, frames in zip(seeds, rigs, batch, strict=True):
        for one, two in zip(frames, render_sequence(seed, rig, frames=2, rate_hz=5.0), strict=True):
            assert_same(one, two)


def test_a_frame_does_not_depend_on_how_many_are_rendered() -> None:
    rig = random_rig(np.random.default_rng(0), 48, 80, 2)
    long, short = (render_sequence(5, rig, frames=n, rate_hz=7.0) for n in (3, 1))
    for one, two in zip(long, short, strict=False):
        for name, value in vars(one).items():
            np.testing.assert_array_equal(value, getattr(two, name), err_msg=name)
    assert np.mean(long[0].images_nhw3 != long[1].images_nhw3) > 0.05


def test_any_rate_gives_the_same_moment() -> None:
    rig = random_rig(np.random.default_rng(0), 48, 80, 2)
    slow, fast = render_sequence(6, rig, frames=2, rate_hz=2.0), render_sequence(6, rig, frames=3, rate_hz=4.0)
    assert slow[1].stamp_ns == fast[2].stamp_ns
    np.testing.assert_array_equal(slow[1].depth_nhw, fast[2].depth_nhw)
    np.testing.assert_array_equal(slow[1].world_T_base, fast[2].world_T_base)


def test_operations_do_not_grow_with_the_number_of_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU would see it: what it launches, and where the host waits for it; on a CPU chunks are smaller."""
    monkeypatch.setattr(stage, '_SUN_TEXELS', 160)
    monkeypatch.setattr(stage, '_SKY_TEXELS', 64)
    rig = ddad_like_rig(32, 48)
    prepared = [prepare(30_000 + k, rig, 1) for k in range(8)]
    operations, waits = {}, {}
    for count in (2, 8):
        with Pretending() as device:
            batch = render_prepared(prepared[:count], str(DEVICE))
        operations[count], waits[count] = device.operations.total(), device.waits.total()
    assert 1000 < operations[2] < 10_000
    assert operations[8] < 1.3 * operations[2], 'more scenes hold more kinds of things, but no more than that'
    assert 10 < waits[8] < 120
    assert waits[8] < 1.3 * waits[2]
    for one, other in zip(batch, render_prepared(prepared), strict=True):
        assert_same(one[0], other[0])


def test_the_device_of_these_tests_tells_what_a_gpu_would_refuse() -> None:
    with torch.inference_mode(), Pretending() as device:
        there = torch.arange(5, device=DEVICE)
        for wrong in (lambda: there + torch.ones(5), lambda: torch.cat([there, torch.arange(3)]), there.numpy):
            with pytest.raises(RuntimeError):
                wrong()
        assert device.waits.total() == 0
        assert (there * 2).tolist() == [0, 2, 4, 6, 8]
        assert int(there.sum()) == 10
        assert there[there > 2].tolist() == [3, 4]
        assert len((there > 2).nonzero()) == 2
        assert device.waits == {
            'copy to the host': 2, 'aten.item.default': 1, 'aten.index.Tensor': 1, 'aten.nonzero.default': 1
        }  # fmt: skip


def test_a_large_batch_is_rendered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rigs = [random_rig(np.random.default_rng(k), 24, 40, cameras) for k, cameras in enumerate((2, 3, 1, 4))]
    prepared = [prepare(40 + k, rig, frames) for k, (rig, frames) in enumerate(zip(rigs, (2, 1, 1, 1), strict=True))]
    whole = render_prepared(prepared)
    sizes = []

    def counted(setups: Sequence[Setup], device: torch.device, photographs: None) -> Shots:
        sizes.append(sum(len(setup.looks) for setup in setups))
        return take(setups, device, photographs)

    monkeypatch.setattr(sequence, 'take', counted)
    monkeypatch.setattr(sequence, '_PIXELS_AT_ONCE', 3 * 24 * 40)
    parts = render_prepared(prepared)
    assert sizes == [2, 2, 3, 1, 4], 'at most three views, but whole frames'
    assert [len(frames) for frames in parts] == [2, 1, 1, 1]
    for one, other in zip(parts, whole, strict=True):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)


def test_refusals() -> None:
    rig = ddad_like_rig(24, 40)
    with pytest.raises(ValueError, match='2 scenes and 1 rigs'):
        render_batch([1, 2], [rig])
    with pytest.raises(ValueError, match='2 sizes'):
        render_batch([1, 2], [rig, rig.resized(32, 40)], frames=1)
    with pytest.raises(ValueError, match='0 frames'):
        render_batch([1], [rig], frames=0)
