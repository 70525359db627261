# SPDX-License-Identifier: Apache-2.0
"""Transforms that move, stop, form a loop or are published anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rig_simulator import HOUR
from watched_node import ERROR, OK, WatchedNode

MAST = 'serving_mast'


@pytest.fixture
def on_a_mast(node: WatchedNode) -> Iterator[WatchedNode]:
    """The left camera stands on a mast, whose transform comes on /tf with every image."""
    node.rig.moving_frames[MAST] = 'base_link'
    node.rig.place(['left'], parent=MAST)
    node.serves('front', 'left', 'right')
    yield node
    node.rig.place(node.rig.names)
    node.rig.moving_frames.clear()


def test_a_moving_transform_stops_and_comes_back(on_a_mast: WatchedNode) -> None:
    node = on_a_mast
    node.rig.moving_frames.clear()
    node.says('camera left', ERROR, 'expected at most tf.max_age')
    node.says('sets', ERROR, 'camera left')
    node.serves('front', 'right')
    node.rig.moving_frames[MAST] = 'base_link'
    node.says('camera left', OK, 'images arrive')
    node.serves('front', 'left', 'right')


def test_one_transform_from_the_future_does_no_lasting_harm(on_a_mast: WatchedNode) -> None:
    node = on_a_mast
    node.rig.link_once('base_link', MAST, HOUR)
    node.says('camera left', OK, 'images arrive')
    node.serves('front', 'left', 'right')


def test_transforms_form_a_loop(node: WatchedNode) -> None:
    camera = node.rig.cameras['left']
    node.rig.place(['left'], parent='serving_bracket')
    node.rig.link_statically(camera.frame, 'serving_bracket')
    node.says('camera left', ERROR, 'loop')
    node.serves('front', 'right')
    # Whoever made the loop is mended: the camera hangs on the vehicle again.
    node.rig.place(['left'])
    node.says('camera left', OK, 'images arrive')


def test_the_publisher_of_static_transforms_restarts(node: WatchedNode) -> None:
    wiped = node.number('engine', 'memory resets')
    node.rig.restart_static_publisher()
    node.serves('front', 'left', 'right')
    node.rig.place(node.rig.names)
    node.serves('front', 'left', 'right')
    assert node.number('engine', 'memory resets') == wiped
    # This time it has learned a better calibration.
    node.rig.place(['left'], forward=0.5)
    node.counts('engine', 'memory reset: rig changed', 1)
    node.serves('front', 'left', 'right')
    node.rig.place(['left'])
