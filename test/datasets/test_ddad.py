# SPDX-License-Identifier: Apache-2.0
"""Scenes in the DGP layout: the real one, and every way in which one can be amiss."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rigs import camera

from semi_smd_ros.datasets.ddad import DdadScene, find_scene_json, parse_stamp
from semi_smd_ros.datasets.lidar import visible_points
from semi_smd_ros.datasets.sample import DataError


def share_of_truth(pixel_n2: np.ndarray, depth: np.ndarray, truth: np.lib.npyio.NpzFile) -> float:
    """Share of the given kept points that have one of ours within a pixel and 2 %."""
    mine = np.full((int(truth['height']) + 2, int(truth['width']) + 2), np.inf)
    mine[pixel_n2[:, 1] + 1, pixel_n2[:, 0] + 1] = depth
    keep = truth['keep']
    u, v, z = truth['u'][keep].astype(int), truth['v'][keep].astype(int), truth['depth'][keep]
    around = np.stack([mine[v + dv, u + du] for dv in range(3) for du in range(3)])
    return float((np.abs(around / z - 1) <= 0.02).any(axis=0).mean())


def test_the_real_scene(real_scene: Path) -> None:
    scene = DdadScene(real_scene)
    frames = json.loads((real_scene / 'calib.json').read_text())['frames']
    assert len(scene) == 3
    assert scene.rig.names == tuple(sorted(frames[0]['cameras']))
    for sample, frame in zip(scene, frames, strict=True):
        assert sample.depth_points is not None
        for i, cam in enumerate(sample.rig.cameras):
            given = frame['cameras'][cam.name]
            # Its stamps are ten times too large in the file; a ROS stamp could not carry them.
            assert sample.stamps_ns[i] / 1e9 == pytest.approx(given['timestamp'], abs=1e-5)
            assert sample.images[i].data == (real_scene / given['image']).read_bytes()
            truth = np.load(real_scene / 'gt' / f'{frame["frame"]:02d}_{cam.name}.npz')
            points = sample.depth_points[i]
            pixel = np.rint(cam.model.project(points)[0]).astype(int)
            mine = {(u, v): z for (u, v), z in zip(pixel.tolist(), points[:, 2], strict=True)}
            pairs = list(zip(truth['u'].tolist(), truth['v'].tolist(), strict=True))
            found = np.array([pair in mine for pair in pairs])
            assert share_of_truth(pixel, points[:, 2], truth) >= 0.95, cam.name
            if (~truth['keep']).sum() > 200:
                assert found[~truth['keep']].mean() < 0.5, cam.name
            depth = np.array([mine[p] for p, f in zip(pairs, found, strict=True) if f])
            np.testing.assert_allclose(depth, truth['depth'][found], rtol=1e-3)


@pytest.fixture
def copied_scene(real_scene: Path, tmp_path: Path) -> Path:
    """A copy of the real scene's small files, to be broken; images and clouds are linked."""
    source, target = real_scene / 'scene_02', tmp_path / 'scene_02'
    shutil.copytree(source / 'calibration', target / 'calibration')
    for name in ('rgb', 'point_cloud'):
        shutil.copytree(source / name, target / name, copy_function=lambda a, b: Path(b).symlink_to(a))
    for path in source.glob('scene_*.json'):
        shutil.copy(path, target)
    return target


def test_a_missing_image_is_named_and_the_rest_is_read(copied_scene: Path) -> None:
    victim = sorted((copied_scene / 'rgb' / 'CAMERA_05').glob('*.jpg'))[0]
    victim.unlink()
    scene = DdadScene(copied_scene)
    with pytest.raises(DataError, match=victim.name):
        scene[0]
    read = list(scene)
    assert [sample.name for sample in read] == ['scene_02/000001', 'scene_02/000002']
    assert read[0].previous is None
    assert read[1].previous is not None
    assert len(scene.skipped.messages) == 1
    assert victim.name in scene.skipped.messages[0]


def test_a_truncated_image_is_named(copied_scene: Path) -> None:
    victim = sorted((copied_scene / 'rgb' / 'CAMERA_06').glob('*.jpg'))[1]
    data = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf'{victim.name}: .*is it cut off'):
        DdadScene(copied_scene)[1]


def test_a_broken_cloud_is_named(copied_scene: Path) -> None:
    victim = sorted((copied_scene / 'point_cloud' / 'LIDAR').glob('*.npz'))[0]
    victim.unlink()
    for broken in (b'no archive', b'PK\x03\x04 cut off', b''):
        victim.write_bytes(broken)
        with pytest.raises(DataError, match=rf'{victim.name}: expected an .npz'):
            DdadScene(copied_scene)[0]


def test_a_missing_calibration_is_named(copied_scene: Path) -> None:
    shutil.rmtree(copied_scene / 'calibration')
    with pytest.raises(DataError, match='expected a DGP calibration'):
        DdadScene(copied_scene)


def test_a_malformed_scene_is_named(copied_scene: Path) -> None:
    path = next(copied_scene.glob('scene_*.json'))
    path.write_text('{"data": []}')
    with pytest.raises(DataError, match=rf'{path.name}: expected a DGP scene'):
        DdadScene(copied_scene)
    path.write_text('{')
    with pytest.raises(DataError, match='expected a scene in the DGP layout: Expecting'):
        DdadScene(copied_scene)


def test_which_scene_is_meant(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='expected a scene in the DGP layout'):
        find_scene_json(tmp_path)
    for name in ('a', 'b'):
        (tmp_path / name).mkdir()
        (tmp_path / name / f'scene_{name}.json').write_text('{}')
    splits = {'0': {'filenames': ['a/scene_a.json', 'b/scene_b.json', 'c/scene_c.json']}}
    (tmp_path / 'scene_dataset_v1.json').write_text(json.dumps({'scene_splits': splits}))
    with pytest.raises(DataError, match=r'holds 2 scenes; name one of them:\n.*scene_a.json\n.*scene_b.json'):
        find_scene_json(tmp_path)
    assert find_scene_json(tmp_path / 'a').name == 'scene_a.json'


def test_stamps() -> None:
    assert parse_stamp('2019-06-27T14:30:24.993650Z', Path('x')) == 1561645824993650000
    assert parse_stamp('2019-06-27T14:30:24Z', Path('x')) == 1561645824 * 10**9
    assert parse_stamp('2019-06-27T14:30:24.000000007+00:00', Path('x')) == 1561645824 * 10**9 + 7
    for wrong in ('yesterday', '2019-13-27T14:30:24Z', None):
        with pytest.raises(DataError, match='ISO 8601'):
            parse_stamp(wrong, Path('x'))  # type: ignore[arg-type]


def test_what_a_camera_cannot_see_is_dropped_and_receding_ground_stays() -> None:
    cam = camera(1600, 960)
    v, u = np.mgrid[500:950:9, 50:1550:6]
    pixels = np.column_stack([u.ravel(), v.ravel(), np.ones(u.size)])
    directions = pixels @ np.linalg.inv(cam.K).T
    ground = directions * (1.5 / directions[:, 1])[:, None]
    assert len(visible_points(ground, cam)) == len(ground[ground[:, 2] > 1])
    # A wall at 5 m, and points at 30 m that a LiDAR above saw past it, between the wall's own points.
    v, u = np.mgrid[200:600:12, 600:1000:6]
    wall = (np.column_stack([u.ravel(), v.ravel(), np.ones(u.size)]) @ np.linalg.inv(cam.K).T) * 5.0
    v, u = np.mgrid[266:500:24, 650:950:6]
    behind = (np.column_stack([u.ravel(), v.ravel(), np.ones(u.size)]) @ np.linalg.inv(cam.K).T) * 30.0
    seen = visible_points(np.vstack([wall, behind]), cam)
    assert (seen[:, 2] < 10).sum() == len(wall)
    assert (seen[:, 2] > 10).sum() == 0
