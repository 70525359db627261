# SPDX-License-Identifier: Apache-2.0
"""nuScenes: a tiny tree in the published schema, splits and sample lists, and every way in which it can be amiss."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from nuscenes_tree import (
    HEIGHT,
    KEY_FRAMES,
    SENSORS,
    WIDTH,
    Tree,
    camera_stamp,
    ego_pose,
    expected_points,
    from_world,
    picture,
    rotate,
    to_world,
    token,
)

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.sources import open_source


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that nobody breaks."""
    return Tree(tmp_path_factory.mktemp('nuscenes')).write()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree to be broken."""
    return Tree(tmp_path).write()


def edit(tree: Path, table: str, change: object) -> None:
    """Apply `change(rows)` to a table."""
    path = tree / 'v1.0-mini' / f'{table}.json'
    rows = json.loads(path.read_text())
    change(rows)  # type: ignore[operator]
    path.write_text(json.dumps(rows))


def test_samples_are_what_the_tables_say(whole: Path) -> None:
    source = open_source(f'nuscenes:{whole}?split=all')
    assert source.max_depth_m == 80
    assert len(source) == 2 * KEY_FRAMES
    assert [sequence.name for sequence in source.sequences()] == ['scene-0061', 'scene-0103']
    for number, sequence in enumerate(source.sequences()):
        for key, sample in enumerate(sequence):
            assert sample.name == f'{sequence.name}/{key:06d}'
            assert sample.rig.names == ('CAM_BACK', 'CAM_FRONT')
            assert sample.rig.base_frame == 'base_link'
            for i, camera in enumerate(sample.rig.cameras):
                channel = camera.name
                assert sample.stamps_ns[i] == camera_stamp(number, key, channel) * 1000
                assert (camera.model.width, camera.model.height) == (WIDTH, HEIGHT)
                # JPEG of a smooth picture: near, and no other picture is.
                shown = sample.images[i].rgb()[..., ::-1].astype(int)
                assert np.abs(shown - picture(sequence.name, channel, key, False)).mean() < 4
                translation, rotation = SENSORS[channel]
                np.testing.assert_allclose(camera.base_T_cam[:3, 3], translation)
                np.testing.assert_allclose(camera.base_T_cam[:3, :3].T, rotate(rotation, np.eye(3)), atol=1e-12)
                stamp, pose = next(p for p in sample.ego_poses if p[0] == sample.stamps_ns[i])
                position, turn = ego_pose(number, stamp // 1000)
                np.testing.assert_allclose(pose[:3, 3], position)
                np.testing.assert_allclose(pose[:3, :3].T, rotate(turn, np.eye(3)), atol=1e-12)
    assert source.skipped == []


def test_lidar_becomes_depth_at_the_cameras_own_time(whole: Path) -> None:
    seen = 0
    for number, sequence in enumerate(open_source(f'nuscenes:{whole}?occlusion=none', split='all').sequences()):
        for key, sample in enumerate(sequence):
            assert sample.depth_points is not None
            for camera, points in zip(sample.rig.cameras, sample.depth_points, strict=True):
                expected = expected_points(number, key, camera.name)
                pixel = np.rint(camera.model.project(points)[0]).astype(int)
                mine = {(u, v): z for (u, v), z in zip(pixel.tolist(), points[:, 2].tolist(), strict=True)}
                both = sorted(set(mine) & set(expected))
                # Points are stored as float32: rounding moves a pixel now and then.
                assert len(both) >= 0.95 * len(expected)
                np.testing.assert_allclose([mine[p] for p in both], [expected[p] for p in both], rtol=1e-4)
                seen += len(both)
    assert seen > 400


def test_points_behind_a_wall_are_dropped(tree: Path) -> None:
    def through_wall() -> np.ndarray:
        """A wall 8 m ahead in rows as the LiDAR's, and points 25 m ahead seen from above it, between its rows."""
        y, z = np.mgrid[-4:4:0.05, 0:3:0.16]
        wall = np.column_stack([np.full(y.size, 8.0), y.ravel(), z.ravel()])
        y, z = np.mgrid[-3:3:0.3, 0.6:2.6:0.11]
        return np.vstack([wall, np.column_stack([np.full(y.size, 25.0), y.ravel(), z.ravel()])])

    path = min((tree / 'samples' / 'LIDAR_TOP').glob('scene-0103*'))
    points = through_wall()
    # Taken at the camera's time the vehicle stands elsewhere: go through the world.
    world = to_world(ego_pose(1, camera_stamp(1, 0, 'CAM_FRONT')), points)
    lidar = from_world(SENSORS['LIDAR_TOP'], from_world(ego_pose(1, camera_stamp(1, 0, 'LIDAR_TOP')), world))
    np.hstack([lidar, np.zeros((len(lidar), 2))]).astype('<f4').tofile(path)
    front = {}
    for occlusion in ('filter', 'none'):
        (sequence,) = open_source(f'nuscenes:{tree}', occlusion=occlusion).sequences()
        depth_points = sequence[0].depth_points
        assert depth_points is not None
        front[occlusion] = depth_points[1][:, 2]
    for depths in front.values():
        assert (depths < 8).sum() == (front['none'] < 8).sum() > 1000
    assert (front['none'] > 20).sum() > 100
    assert (front['filter'] > 20).sum() < 0.1 * (front['none'] > 20).sum()


def test_the_sweep_just_before_is_the_context(whole: Path) -> None:
    (sequence,) = open_source(f'nuscenes:{whole}').sequences()
    assert sequence.name == 'scene-0103'
    first, second, _ = sequence
    assert first.previous is None
    before = second.previous
    assert before is not None
    assert before.name == 'scene-0103/000001:sweep'
    assert before.previous is None
    assert before.stamps_ns == tuple(camera_stamp(1, 1, name, sweep=True) * 1000 for name in second.rig.names)
    shown = before.images[0].rgb()[..., ::-1].astype(int)
    assert np.abs(shown - picture('scene-0103', 'CAM_BACK', 1, True)).mean() < 4
    moved = np.linalg.norm(second.ego_poses[0][1][:3, 3] - before.ego_poses[0][1][:3, 3])
    assert moved == pytest.approx(11.0 * 0.083, rel=0.01)


def test_the_sample_before_can_be_the_context(whole: Path) -> None:
    (sequence,) = open_source(f'nuscenes:{whole}?context=keyframe').sequences()
    assert [s.previous.name if s.previous else None for s in sequence] == [
        None,
        'scene-0103/000000',
        'scene-0103/000001',
    ]
    assert all(sample.previous is None for sample in open_source(f'nuscenes:{whole}?context=none'))


def test_ego_masks_come_with_the_rig(whole: Path, tmp_path: Path) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[150:] = 255
    cv2.imwrite(str(tmp_path / 'CAM_BACK.png'), mask)
    back, front = open_source(f'nuscenes:{whole}', masks=tmp_path).sequences()[0][0].rig.cameras
    assert back.ego_mask is not None
    np.testing.assert_array_equal(back.ego_mask, mask > 0)
    assert front.ego_mask is None
    cv2.imwrite(str(tmp_path / 'CAM_BACK.png'), 255 - mask)
    cv2.imwrite(str(tmp_path / 'CAM_FRONT.png'), mask[:90])
    for wrong, text in (('CAM_FRONT', r'CAM_FRONT.png: the mask is 320x90; expected 320x180'),):
        (tmp_path / 'CAM_BACK.png').unlink()
        with pytest.raises(DataError, match=text):
            open_source(f'nuscenes:{whole}', masks=tmp_path).sequences()[0][0]
        (tmp_path / f'{wrong}.png').unlink()
    cv2.imwrite(str(tmp_path / 'CAM_FRONT.png'), np.full((HEIGHT, WIDTH), 255, np.uint8))
    with pytest.raises(DataError, match='invert it'):
        open_source(f'nuscenes:{whole}', masks=tmp_path).sequences()[0][0]
    with pytest.raises(DataError, match='no such folder; expected ego masks'):
        open_source(f'nuscenes:{whole}', masks=tmp_path / 'gone').sequences()[0][0]


def test_vfdepth_takes_the_beginning_in_whole_batches(whole: Path) -> None:
    # Six samples, nine tenths are five, a whole batch is four.
    source = open_source(f'nuscenes:{whole}?split=all&select=vfdepth')
    assert [sample.name for sample in source] == [f'scene-0061/{i:06d}' for i in range(3)] + ['scene-0103/000000']


def test_a_broken_sample_is_skipped_and_told(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = min((tree / 'samples' / 'CAM_BACK').glob('scene-0103*'))
    image.write_bytes(image.read_bytes()[:-400])
    lidar = sorted((tree / 'samples' / 'LIDAR_TOP').glob('scene-0061*'))[1]
    lidar.write_bytes(lidar.read_bytes()[:-7])
    source = open_source(f'nuscenes:{tree}?split=all')
    read = [sample.name for sample in source]
    assert len(read) == 2 * KEY_FRAMES - 2
    assert len(source.skipped) == 2
    assert f'{lidar.name}: 4793 bytes; expected points of 20 bytes each' in source.skipped[0]
    assert f'{image.name}: ' in source.skipped[1]
    assert 'is it cut off' in source.skipped[1]
    assert 'skipped scene-0061/000001' in caplog.text
    list(source)
    assert len(source.skipped) == 2, 'counted once, however often it is tried'


def test_a_missing_sweep_leaves_the_sample_without_context(tree: Path) -> None:
    for sweep in (tree / 'sweeps' / 'CAM_FRONT').glob('*'):
        sweep.unlink()
    source = open_source(f'nuscenes:{tree}')
    read = list(source)
    assert [sample.previous for sample in read] == [None] * KEY_FRAMES
    assert len(source.skipped) == KEY_FRAMES - 1
    assert 'scene-0103/000001:sweep' in source.skipped[0]


def test_a_camera_without_its_key_frame_is_told(tree: Path) -> None:
    gone = token('data', 'scene-0103', 'CAM_FRONT', 1, False)
    edit(tree, 'sample_data', lambda rows: rows.remove(next(row for row in rows if row['token'] == gone)))
    source = open_source(f'nuscenes:{tree}')
    assert len(list(source)) == KEY_FRAMES - 1
    assert 'has no key frame of CAM_FRONT' in source.skipped[0]


def rows_without(column: str) -> object:
    return lambda rows: rows[1].pop(column)


@pytest.mark.parametrize(
    ('table', 'change', 'says'),
    [
        (
            'sample_data',
            rows_without('ego_pose_token'),
            r'sample_data.json: row 1 is .*expected token, .*ego_pose_token',
        ),
        ('calibrated_sensor', rows_without('rotation'), r'calibrated_sensor.json: row 1 is .*rotation'),
        ('calibrated_sensor', lambda rows: rows[0].update(camera_intrinsic=[]), r'camera_intrinsic is \[\]; expected'),
        (
            'calibrated_sensor',
            lambda rows: rows[0].update(rotation=[0, 0, 0, 0]),
            r'calibrated_sensor.json.*quaternion',
        ),
        (
            'ego_pose',
            lambda rows: [row.update(translation=[1, 'x', 3]) for row in rows],
            r'ego_pose.json: row .*finite',
        ),
        ('sensor', lambda rows: rows.clear(), r'sensor.json: has no row'),
        ('sample', lambda rows: [row.update(timestamp='noon') for row in rows], 'another kind than the schema says'),
        ('scene', lambda rows: rows.clear(), 'has no samples of split val'),
    ],
)
def test_a_malformed_table_is_named(tree: Path, table: str, change: object, says: str) -> None:
    edit(tree, table, change)
    with pytest.raises(DataError, match=says):
        open_source(f'nuscenes:{tree}')


def test_a_missing_ego_pose_is_told_when_it_is_needed(tree: Path) -> None:
    gone = token('data', 'scene-0103', 'CAM_FRONT', 2, False)
    edit(tree, 'ego_pose', lambda rows: rows.remove(next(row for row in rows if row['token'] == gone)))
    source = open_source(f'nuscenes:{tree}')
    assert len(list(source)) == KEY_FRAMES - 1
    assert f'ego_pose.json: has no row {gone}' in source.skipped[0]


def test_a_table_that_is_missing_or_cut_off_is_named(tree: Path) -> None:
    path = tree / 'v1.0-mini' / 'sample_data.json'
    text = path.read_text()
    for broken in (text[: len(text) // 2], text[:-1], '', '{"a": 1}', text.replace('},', '} ', 1)):
        path.write_text(broken)
        with pytest.raises(DataError, match=r'sample_data.json: '):
            open_source(f'nuscenes:{tree}')
    path.unlink()
    with pytest.raises(DataError, match=r'sample_data.json: expected a table of nuScenes'):
        open_source(f'nuscenes:{tree}')


def test_what_is_not_there_is_told_with_what_is(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'holds v1.0-mini; expected v1.0-trainval'):
        open_source(f'nuscenes:{whole}?version=v1.0-trainval')
    with pytest.raises(DataError, match=r'no folder v1.0-'):
        open_source(f'nuscenes:{tmp_path}')
    with pytest.raises(DataError, match='has no samples of split test'):
        open_source(f'nuscenes:{whole}?split=test')
    with pytest.raises(DataError, match="option split is 'vla'; expected one of val, train, test, all"):
        open_source(f'nuscenes:{whole}?split=vla')
    with pytest.raises(DataError, match='unknown option spilt; expected version, split'):
        open_source(f'nuscenes:{whole}?spilt=val')
