# SPDX-License-Identifier: Apache-2.0
"""Ego-motion errors by closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from rigs import ring, yaw_rotation

from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.evaluation.ego_motion import MotionTally, angle_deg, motion_error, pose_at, true_motion


def pose(x: float, y: float = 0.0, yaw_deg: float = 0.0) -> np.ndarray:
    transform = np.eye(4)
    transform[:3, :3] = yaw_rotation(np.radians(yaw_deg))
    transform[:2, 3] = x, y
    return transform


def test_errors_are_those_of_hand_made_motions() -> None:
    error = motion_error(pose(1.5, 0.4, 3.0), pose(1.2, 0.0, 1.0))
    assert error.translation_m == pytest.approx(0.5)  # 3-4-5
    assert error.rotation_deg == pytest.approx(2.0)
    assert error.scale == pytest.approx(np.hypot(1.5, 0.4) / 1.2)
    assert (error.standing_translation_m, error.standing_rotation_deg) == (pytest.approx(1.2), pytest.approx(1.0))
    assert np.isnan(motion_error(pose(0.2), pose(0.05)).scale)


@pytest.mark.parametrize('degrees', [0.0, 1e-5, 0.3, 90.0, 179.0])
def test_angles_small_and_large(degrees: float) -> None:
    assert angle_deg(yaw_rotation(np.radians(degrees))) == pytest.approx(degrees, rel=1e-6, abs=1e-12)


def test_a_tally_is_the_mean_and_leaves_out_what_is_unknown() -> None:
    tally = MotionTally()
    assert tally.summary() is None
    tally.add(None, pose(1))
    tally.add(pose(1), None)
    tally.add(pose(0.5), pose(1.0))
    tally.add(pose(0.0, yaw_deg=2.0), pose(0.0))
    summary = tally.summary()
    assert summary == pytest.approx(
        {
            'sets': 2, 'translation_m': 0.25, 'rotation_deg': 1.0, 'scale': 0.5,
            'standing_translation_m': 0.5, 'standing_rotation_deg': 0.0,
        }
    )  # fmt: skip


def test_poses_are_interpolated_and_never_extrapolated() -> None:
    poses = [(10**9, pose(0, 0, 10)), (10**9 + 10**8, pose(2, 1, 30))]
    middle = pose_at(poses, 10**9 + 25 * 10**6)
    assert middle is not None
    np.testing.assert_allclose(middle, pose(0.5, 0.25, 15), atol=1e-12)
    np.testing.assert_array_equal(pose_at(poses, 10**9 + 500_000), poses[0][1])
    assert pose_at(poses, 10**9 - 10**7) is None
    assert pose_at(poses, 10**9 + 2 * 10**8) is None
    assert pose_at([], 0) is None


def test_true_motion_is_that_between_the_newest_images_or_between_one_cameras() -> None:
    rig = ring(2)

    def sample(start: int, first: float, second: float) -> SurroundSample:
        stamps = (start, start + 10**7)
        poses = ((stamps[0], pose(first)), (stamps[1], pose(second)))
        return SurroundSample(rig, (EncodedImage(b'', 'png'),) * 2, stamps, ego_poses=poses)

    before, now = sample(10**9, 0.0, 0.1), sample(10**9 + 10**8, 1.0, 1.3)
    for camera, expected in ((None, 1.2), (0, 1.0), (1, 1.2)):
        motion = true_motion(before, now, camera)
        assert motion is not None
        np.testing.assert_allclose(motion, pose(expected))
    assert true_motion(before, SurroundSample(rig, now.images, now.stamps_ns)) is None
