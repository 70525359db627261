# SPDX-License-Identifier: Apache-2.0
"""Cameras that die, freeze, flood or show nothing, in a system that runs: what is published, and what is said."""

from __future__ import annotations

import pytest
from watched_node import ERROR, OK, WARN, WatchedNode


def test_a_camera_dies_and_returns(node: WatchedNode) -> None:
    node.rig.cameras['left'].dies()
    node.serves('front', 'right')
    node.says('camera left', ERROR, 'no image for')
    node.says('sets', WARN, 'go on without left')
    node.says('camera front', OK, 'images arrive')
    node.rig.cameras['left'].recovers()
    node.serves('front', 'left', 'right')
    node.says('camera left', OK, 'images arrive')


def test_all_cameras_die_and_return(node: WatchedNode) -> None:
    for camera in node.rig.cameras.values():
        camera.dies()
    node.is_silent()
    for name in node.rig.names:
        node.says(f'camera {name}', ERROR, 'no image for')
    node.says('sets', ERROR, 'no set for')


def test_too_few_cameras_are_left(node: WatchedNode) -> None:
    for name in ('left', 'right'):
        node.rig.cameras[name].dies()
    node.is_silent()
    node.says('sets', ERROR, 'no set for')
    node.says('camera front', OK, 'images arrive')


def test_a_camera_repeats_its_stamp(node: WatchedNode) -> None:
    node.rig.cameras['left'].repeats_its_stamp()
    node.serves('front', 'right')
    node.says('camera left', WARN, 'stamp')
    node.says('sets', WARN, 'go on without left')


@pytest.mark.parametrize(
    ('shade', 'text'),
    [(0, 'is black'), (255, 'is white'), (90, 'has not changed for')],
    ids=['black', 'white', 'still'],
)
def test_a_picture_that_shows_nothing(node: WatchedNode, shade: int, text: str) -> None:
    node.rig.cameras['right'].shows_only(shade)
    node.says('camera right', WARN, f'images arrive, but the picture {text}')
    node.serves('front', 'left', 'right')


def test_a_camera_floods(node: WatchedNode) -> None:
    node.rig.cameras['left'].sends_at(200)
    sent = node.rig.cameras['left'].sent
    node.waits_for(lambda: node.rig.cameras['left'].sent > sent + 400, 'a flood')
    node.clouds_show('front', 'left', 'right')
    node.waits_for(
        lambda: float(node.values('camera left')['rate (Hz)']) > 50,
        'a rate that tells of the flood',
        lambda: str(node.values('camera left')),
    )
    node.says('camera front', OK, 'images arrive')
    node.counts_add_up()


def test_all_cameras_flood(node: WatchedNode) -> None:
    before, sent = node.memory_kb(), node.rig.cameras['left'].sent
    for camera in node.rig.cameras.values():
        camera.sends_at(200)
    node.waits_for(lambda: node.rig.cameras['left'].sent > sent + 400, 'a flood')
    begin = node.sets_heard
    node.waits_for(lambda: node.sets_heard > begin + 20, 'sets')
    node.counts_add_up()
    assert node.memory_kb() < before + 60_000
