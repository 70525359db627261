# SPDX-License-Identifier: Apache-2.0
"""Synthetic rigs: conventions, ranges, resizing and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from semi_smd_ros.datasets.synthetic import (
    SyntheticRig,
    ddad_like_rig,
    nuscenes_like_rig,
    random_rig,
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


def test_random_rigs_stay_in_range_and_cover_the_surroundings() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(1, 13))
        rig = random_rig(rng, 192, 320, cameras=n)
        fov = 2 * np.degrees(np.arctan(160.0 / rig.intrinsics_n33[:, 0, 0]))
        assert len(rig.names) == n
        assert fov.min() >= 39.9
        assert fov.max() <= 120.1
        assert rig.base_T_cam_n44[:, 2, 3].min() >= 0.8
        assert rig.base_T_cam_n44[:, 2, 3].max() <= 3.0


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
