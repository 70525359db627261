# SPDX-License-Identifier: Apache-2.0
"""Whether two samples are the same, to the last byte where bytes are kept."""

from __future__ import annotations

import numpy as np

from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.rig import Rig


def assert_same_rig(got: Rig, expected: Rig) -> None:
    assert got.names == expected.names
    assert got.base_frame == expected.base_frame
    for a, b in zip(got.cameras, expected.cameras, strict=True):
        assert a.frame_id == b.frame_id
        assert (a.model.width, a.model.height) == (b.model.width, b.model.height)
        assert a.model.distortion_model == b.model.distortion_model
        np.testing.assert_array_equal(a.model.K, b.model.K)
        np.testing.assert_array_equal(a.model.D, b.model.D)
        assert (a.model.P is None) == (b.model.P is None)
        # Extrinsics travel as quaternions.
        np.testing.assert_allclose(a.base_T_cam, b.base_T_cam, rtol=0, atol=1e-12)
        assert_same_array(a.ego_mask, b.ego_mask)


def assert_same_array(got: np.ndarray | None, expected: np.ndarray | None) -> None:
    assert (got is None) == (expected is None)
    if got is not None and expected is not None:
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def assert_same_sample(got: SurroundSample, expected: SurroundSample, images: str = 'bytes') -> None:
    """`images`: 'bytes' as they were encoded, or 'pixels' for a recording that holds them raw."""
    assert got.name == expected.name
    assert got.stamps_ns == expected.stamps_ns
    assert_same_rig(got.rig, expected.rig)
    for a, b in zip(got.images, expected.images, strict=True):
        if images == 'bytes':
            assert isinstance(a, EncodedImage)
            assert isinstance(b, EncodedImage)
            assert (a.format, a.data) == (b.format, b.data)
        else:
            np.testing.assert_array_equal(a.rgb(), b.rgb())
    for name in ('depth_points', 'depth_maps', 'semantics', 'moving'):
        one, two = getattr(got, name), getattr(expected, name)
        assert (one is None) == (two is None), name
        for a, b in zip(one or (), two or (), strict=True):
            assert_same_array(a, b)
    assert_same_array(got.ground_plane_base, expected.ground_plane_base)
    assert [stamp for stamp, _ in got.ego_poses] == [stamp for stamp, _ in expected.ego_poses]
    for (_, a), (_, b) in zip(got.ego_poses, expected.ego_poses, strict=True):
        # Positions to nanometres even thousands of kilometres from the origin of the map would be too much to ask.
        np.testing.assert_allclose(a, b, rtol=1e-15, atol=1e-12)
    assert (got.previous is None) == (expected.previous is None)
    if got.previous is not None and expected.previous is not None:
        assert_same_sample(got.previous, expected.previous, images)
