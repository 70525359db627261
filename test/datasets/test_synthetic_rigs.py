# SPDX-License-Identifier: Apache-2.0
"""Synthetic rigs: conventions, ranges, resizing and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from semi_smd_ros.datasets.synthetic import (
    SyntheticRig,
    ddad_like_rig,
    nuscenes_like_rig,
    random_rig,
    raw_rig,
    render_sequence,
)


@pytest.mark.parametrize('make', [ddad_like_rig, nuscenes_like_rig])
def test_cameras_look_where_their_names_say(make: type) -> None:
    rig = make(192, 320)
    forward = {name: rig.base_T_cam_n44[i, :3, 2] for i, name in enumerate(rig.names)}
    assert forward['front'][0] > 0.99
    assert forward['front_left'][1] > 0.5
    assert forward['front_right'][1] < -0.5
    for pose in rig.base_T_cam_n44:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
        assert pose[2, 1] < -0.9, 'the optical y axis points down'
        assert 1.4 < pose[2, 3] < 1.7


def angles(rig: SyntheticRig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Yaw to the left, pitch downwards and roll of every camera, degrees."""
    forward, right = rig.base_T_cam_n44[:, :3, 2], rig.base_T_cam_n44[:, :3, 0]
    yaw = np.degrees(np.arctan2(forward[:, 1], forward[:, 0]))
    level = np.stack([np.sin(np.radians(yaw)), -np.cos(np.radians(yaw)), np.zeros(len(yaw))], axis=1)
    roll = np.degrees(np.arccos(np.clip((right * level).sum(1), -1.0, 1.0)))
    return yaw, np.degrees(-np.arcsin(forward[:, 2])), roll


def test_random_rigs_stay_in_range_and_use_it() -> None:
    rng = np.random.default_rng(0)
    fovs, heights, pitches, rolls, counts = [], [], [], [], []
    for _ in range(300):
        n = int(rng.integers(1, 13))
        rig = random_rig(rng, 192, 320, cameras=n)
        assert len(rig.names) == n
        fovs.extend(2 * np.degrees(np.arctan(160.0 / rig.intrinsics_n33[:, 0, 0])))
        heights.extend(rig.base_T_cam_n44[:, 2, 3])
        _, pitch, roll = angles(rig)
        pitches.extend(pitch)
        rolls.extend(roll)
        counts.append(n)
        np.testing.assert_allclose(rig.intrinsics_n33[:, 0, 0], rig.intrinsics_n33[:, 1, 1], err_msg='square pixels')
    assert set(counts) == set(range(1, 13))
    for values, low, high, margin in ((fovs, 40.0, 120.0, 4.0), (heights, 0.8, 3.0, 0.2)):
        assert low - 0.1 <= min(values) < low + margin
        assert high - margin < max(values) <= high + 0.1
    assert 1.0 < np.std(pitches) < 6.0
    assert np.abs(pitches).max() < 20.0
    assert 0.5 < np.mean(rolls) < 3.0


def test_random_rigs_look_all_around() -> None:
    rng = np.random.default_rng(1)
    for n in (4, 5, 6, 8, 12):
        seen = np.zeros(360)
        for _ in range(20):
            rig = random_rig(rng, 192, 320, cameras=n)
            yaw = angles(rig)[0]
            half = np.degrees(np.arctan(160.0 / rig.intrinsics_n33[:, 0, 0]))
            off = np.abs((np.arange(360)[:, None] - yaw + 180.0) % 360.0 - 180.0)
            seen += (off < half).any(1)
            assert abs(yaw[0]) < 30.0, 'the first camera looks ahead'
        assert seen.mean() > 0.85 * 20


@pytest.mark.parametrize(
    ('make', 'fovs'),
    [(ddad_like_rig, (48, 85, 85, 85, 85, 85)), (nuscenes_like_rig, (64.6, 64.6, 64.6, 64.6, 64.6, 89))],
)
def test_known_layouts_have_their_fields_of_view(make: Callable[..., SyntheticRig], fovs: tuple[float, ...]) -> None:
    rig = make(192, 320)
    np.testing.assert_allclose(2 * np.degrees(np.arctan(160.0 / rig.intrinsics_n33[:, 0, 0])), fovs, atol=0.01)
    _, pitch, roll = angles(rig)
    assert np.abs(pitch).max() < 1.0
    assert np.abs(roll).max() < 0.1


def test_raw_rigs_keep_poses_and_fields_of_view() -> None:
    kinds, strongest = set(), 0.0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rig = random_rig(rng, 96, 160, cameras=3)
        raw = raw_rig(rig, rng)
        np.testing.assert_array_equal(raw.base_T_cam_n44, rig.base_T_cam_n44)
        for model, pinhole in zip(raw.camera_models(), rig.camera_models(), strict=True):
            assert model.is_distorted
            kinds.add(model.distortion_model)
            edge = 80.0 / pinhole.K[0, 0]
            uv, _ = model.project(np.array([[edge, 0.0, 1.0]]))
            np.testing.assert_allclose(uv[0, 0], 79.5 + 80.0, atol=0.01)
            uv, _ = model.project(np.array([[edge / 2, 0.0, 1.0]]))
            strongest = max(strongest, abs(uv[0, 0] - 79.5 - 40.0))
        assert raw.readout_s == 0.0 or 0.01 <= raw.readout_s <= 0.03
    assert kinds == {'plumb_bob', 'rational_polynomial', 'equidistant'}
    assert strongest > 5.0, 'pixels of distortion halfway out'
    with pytest.raises(ValueError, match='only once'):
        raw_rig(raw, rng)
    with pytest.raises(ValueError, match='expected 0 '):
        rig.with_readout(0.5)
    with pytest.raises(ValueError, match='1 cameras for 3'):
        replace(rig, distortion=(('plumb_bob', (0.1, 0.0, 0.0, 0.0)),))


def test_resizing_keeps_rays() -> None:
    rig = ddad_like_rig(192, 320)
    half = rig.resized(96, 160)
    # The centre of a coarse pixel lies between two fine ones.
    fine = np.linalg.inv(rig.intrinsics_n33[0]) @ [20.5, 40.5, 1.0]
    coarse = np.linalg.inv(half.intrinsics_n33[0]) @ [10.0, 20.0, 1.0]
    np.testing.assert_allclose(fine, coarse, atol=1e-12)


def test_refusals_name_what_was_got() -> None:
    rig = ddad_like_rig(24, 40)
    with pytest.raises(ValueError, match='13 cameras'):
        random_rig(np.random.default_rng(0), 24, 40, cameras=13)
    with pytest.raises(ValueError, match='all different'):
        SyntheticRig(('a', 'a'), 40, 24, rig.intrinsics_n33[:2], rig.base_T_cam_n44[:2])
    with pytest.raises(ValueError, match='expected'):
        SyntheticRig(('a',), 40, 24, rig.intrinsics_n33[:2], rig.base_T_cam_n44[:1])
    with pytest.raises(ValueError, match='0 frames'):
        render_sequence(0, rig, frames=0)
