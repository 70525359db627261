# SPDX-License-Identifier: Apache-2.0
"""Many scenes in one batch equal each by itself; a frame depends on no other frame."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from semi_smd_ros.datasets.synthetic import (
    ScenePlan,
    SyntheticFrame,
    ddad_like_rig,
    random_rig,
    raw_rig,
    render_batch,
    render_sequence,
)


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


def test_refusals() -> None:
    rig = ddad_like_rig(24, 40)
    with pytest.raises(ValueError, match='2 scenes and 1 rigs'):
        render_batch([1, 2], [rig])
    with pytest.raises(ValueError, match='2 sizes'):
        render_batch([1, 2], [rig, rig.resized(32, 40)], frames=1)
    with pytest.raises(ValueError, match='0 frames'):
        render_batch([1], [rig], frames=0)
