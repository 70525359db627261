# SPDX-License-Identifier: Apache-2.0
"""Clocks that jump by an hour: one camera's, all cameras', and /clock itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rig_simulator import HOUR
from watched_node import OK, WARN, Ear, WatchedNode, served


@pytest.fixture(scope='module')
def simulated(ear: Ear, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedNode]:
    """A node on simulated time, one camera of which stands on a mast that moves."""
    folder = tmp_path_factory.mktemp('simulated')
    for node in served(ear, folder, model=tiny_model, simulated_time=True, use_sim_time='true'):
        node.rig.moving_frames['simulated_mast'] = 'base_link'
        node.rig.place(['left'], parent='simulated_mast')
        node.serves(*node.rig.names)
        yield node


@pytest.mark.parametrize(('offset_ns', 'text'), [(HOUR, 'ahead of'), (-HOUR, 'behind')], ids=['ahead', 'behind'])
def test_one_cameras_clock_is_an_hour_off(node: WatchedNode, offset_ns: int, text: str) -> None:
    node.rig.cameras['left'].is_off_by(offset_ns)
    node.serves('front', 'right')
    node.says('camera left', WARN, f'its stamps are 3600.0 s {text} those of the other cameras')
    node.says('sets', WARN, 'sets go on without left: stamps are not those of the other cameras')
    for other in ('front', 'right'):
        node.says(f'camera {other}', OK, 'images arrive')


@pytest.mark.parametrize(
    ('offset_ns', 'reason'), [(HOUR, 'gap in time'), (-HOUR, 'time went back')], ids=['ahead', 'back']
)
def test_the_stamps_of_all_cameras_jump(node: WatchedNode, offset_ns: int, reason: str) -> None:
    wiped = node.number('engine', f'memory reset: {reason}')
    for camera in node.rig.cameras.values():
        camera.is_off_by(offset_ns)
    node.serves('front', 'left', 'right')
    node.counts('engine', f'memory reset: {reason}', wiped + 1)
    node.counts_add_up()
    # And as far in the other direction, when the test ends.


@pytest.mark.parametrize('offset_ns', [HOUR, -HOUR], ids=['forward', 'back'])
def test_simulated_time_jumps_for_everybody(simulated: WatchedNode, offset_ns: int) -> None:
    simulated.rig.time_offset_ns += offset_ns
    simulated.serves('front', 'left', 'right')
    simulated.is_well()
    odometry = simulated.odometry[-1]
    assert np.isfinite(odometry.pose.covariance).all()
    assert abs(odometry.twist.twist.linear.x) < 10
