# SPDX-License-Identifier: Apache-2.0
"""The transform tree: composition, time, and every way in which a transform can be missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi_smd_ros.rig import (
    FrameMissing,
    RigError,
    TransformError,
    TransformExtrapolation,
    TransformTree,
    quaternion_from,
    transform_from,
)

numbers = st.floats(-1.0, 1.0)
quaternions = st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 0.1)
transforms = st.builds(transform_from, st.tuples(numbers, numbers, numbers), quaternions)


@given(quaternions)
def test_a_quaternion_survives_the_matrix(q: tuple[float, ...]) -> None:
    unit = np.array(q) / np.linalg.norm(q)
    back = quaternion_from(transform_from((0, 0, 0), q)[:3, :3])
    np.testing.assert_allclose(back * np.sign(back @ unit), unit, atol=1e-7)


def test_a_quarter_turn_left_takes_forward_to_left() -> None:
    turn = transform_from((1, 2, 3), (0, 0, np.sqrt(0.5), np.sqrt(0.5)))
    np.testing.assert_allclose(turn @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)


@given(transforms, transforms, transforms)
def test_lookup_composes_along_the_tree(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    tree = TransformTree()
    tree.set_transform('map', 'base', a, static=True)
    tree.set_transform('base', 'mast', b, static=True)
    tree.set_transform('base', 'lidar', c, static=True)
    np.testing.assert_allclose(tree.lookup('map', 'mast'), a @ b, atol=1e-9)
    np.testing.assert_allclose(tree.lookup('lidar', 'mast'), np.linalg.inv(c) @ b, atol=1e-9)
    np.testing.assert_allclose(tree.lookup('mast', 'map') @ tree.lookup('map', 'mast'), np.eye(4), atol=1e-9)
    np.testing.assert_array_equal(tree.lookup('base', 'base'), np.eye(4))


def test_motion_is_interpolated() -> None:
    tree = TransformTree()
    tree.set_transform('map', 'base', np.eye(4), 1_000)
    tree.set_transform('map', 'base', transform_from((2, 0, 0), (0, 0, np.sin(0.4), np.cos(0.4))), 2_000)
    halfway = tree.lookup('map', 'base', 1_500)
    np.testing.assert_allclose(halfway, transform_from((1, 0, 0), (0, 0, np.sin(0.2), np.cos(0.2))), atol=1e-9)
    np.testing.assert_allclose(tree.lookup('map', 'base')[0, 3], 2)
    with pytest.raises(TransformExtrapolation, match='map -> base at 2001 ns'):
        tree.lookup('map', 'base', 2_001)
    with pytest.raises(TransformExtrapolation):
        tree.lookup('map', 'base', 999)


def test_the_latest_transform_is_one_that_every_moving_part_knows() -> None:
    tree = TransformTree()
    for stamp in (10, 20, 30):
        tree.set_transform('map', 'odom', transform_from((stamp, 0, 0), (0, 0, 0, 1)), stamp)
    for stamp in (10, 20):
        tree.set_transform('odom', 'base', transform_from((0, stamp, 0), (0, 0, 0, 1)), stamp)
    np.testing.assert_allclose(tree.lookup('map', 'base')[:2, 3], [20, 20])


def test_history_is_bounded_and_messages_may_come_out_of_order() -> None:
    tree = TransformTree(cache_time_s=1e-6)  # 1000 ns
    for stamp in (5_000, 4_500, 3_000, 5_500):
        tree.set_transform('map', 'base', transform_from((stamp, 0, 0), (0, 0, 0, 1)), stamp)
    assert tree.lookup('map', 'base', 4_750)[0, 3] == pytest.approx(4_750)
    with pytest.raises(TransformExtrapolation):
        tree.lookup('map', 'base', 3_500)


def test_a_missing_frame_is_named() -> None:
    tree = TransformTree()
    with pytest.raises(FrameMissing, match='front_optical'):
        tree.lookup('base', 'front_optical')
    tree.set_transform('base', 'front', np.eye(4), static=True)
    tree.set_transform('rear_mount', 'rear_optical', np.eye(4), static=True)
    with pytest.raises(FrameMissing, match=r"'base' and 'rear_optical' are not connected.*'rear_mount'"):
        tree.lookup('base', 'rear_optical')


def test_a_loop_is_told() -> None:
    tree = TransformTree()
    tree.set_transform('a', 'b', np.eye(4), static=True)
    tree.set_transform('b', 'a', np.eye(4), static=True)
    with pytest.raises(TransformError, match='loop'):
        tree.lookup('a', 'b')


@pytest.mark.parametrize(
    ('parent', 'child', 'matrix', 'says'),
    [
        ('', 'b', np.eye(4), 'non-empty'),
        ('a', 'a', np.eye(4), 'different'),
        ('a', 'b', np.full((4, 4), np.nan), 'finite'),
    ],
)
def test_a_bad_transform_is_refused(parent: str, child: str, matrix: np.ndarray, says: str) -> None:
    with pytest.raises(RigError, match=says):
        TransformTree().set_transform(parent, child, matrix, static=True)


def test_a_quaternion_of_zeros_is_refused() -> None:
    with pytest.raises(RigError, match=r'\[0.0, 0.0, 0.0, 0.0\]'):
        transform_from((0, 0, 0), (0, 0, 0, 0))
