# SPDX-License-Identifier: Apache-2.0
"""Rigs from CameraInfo and tf, from YAML, from a DGP calibration; what the ground alone says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rigs import camera, level_pose, ring

from semi_smd_ros.datasets.messages import camera_info
from semi_smd_ros.rig import (
    FrameMissing,
    Rig,
    RigCamera,
    RigError,
    TransformTree,
    flat_ground_depth,
    load_rig_yaml,
    rig_from_camera_infos,
    rig_from_dgp_calibration,
)

GOOD_YAML = """
base_frame: base_link
cameras:
  - name: front
    frame_id: front_optical
    calibration:
      {width: 160, height: 96, distortion_model: plumb_bob, K: [80, 0, 80, 0, 80, 48, 0, 0, 1],
       D: [0.1, 0, 0, 0, 0], translation: [1.5, 0, 1.6], rotation_xyzw: [-0.5, 0.5, -0.5, 0.5]}
  - name: rear
    image_topic: back/image_raw
"""


def test_rig_from_camera_infos_and_transforms() -> None:
    rig, tree = ring(3), TransformTree()
    for cam in rig.cameras:
        tree.set_transform('base_link', cam.frame_id, cam.base_T_cam, static=True)
    infos = {cam.name: camera_info(cam, 0) for cam in rig.cameras}
    again = rig_from_camera_infos(infos, tree)
    assert again.names == rig.names
    np.testing.assert_allclose(again.base_T_cam_n44, rig.base_T_cam_n44, atol=1e-12)
    np.testing.assert_allclose(again.intrinsics_n33, rig.intrinsics_n33)


def test_a_camera_without_transform_is_an_error_and_never_identity() -> None:
    rig, tree = ring(2), TransformTree()
    tree.set_transform('base_link', 'cam_0_optical', np.eye(4), static=True)
    with pytest.raises(FrameMissing, match='cam_1_optical'):
        rig_from_camera_infos({cam.name: camera_info(cam, 0) for cam in rig.cameras}, tree)


def test_an_uncalibrated_camera_is_named() -> None:
    rig, tree = ring(1), TransformTree()
    message = dataclasses.replace(camera_info(rig.cameras[0], 0), k=np.zeros(9))
    with pytest.raises(RigError, match=r'camera cam_0: .*uncalibrated'):
        rig_from_camera_infos({'cam_0': message}, tree)


def test_the_fingerprint_changes_with_everything_that_matters() -> None:
    rig = ring(2)
    first = rig.cameras[0]
    moved = first.base_T_cam.copy()
    moved[0, 3] += 1e-6
    changed = [
        dataclasses.replace(first, base_T_cam=moved),
        dataclasses.replace(first, model=camera(lens='plumb_bob')),
        dataclasses.replace(first, frame_id='other'),
        dataclasses.replace(first, ego_mask=np.ones((96, 160), bool)),
    ]
    prints = {Rig((other, rig.cameras[1])).fingerprint() for other in [first, *changed]}
    assert len(prints) == 5
    assert ring(2).fingerprint() == rig.fingerprint()


def test_a_rig_is_checked() -> None:
    cam = ring(1).cameras[0]
    with pytest.raises(RigError, match='every name once'):
        Rig((cam, cam))
    with pytest.raises(RigError, match='0 cameras'):
        Rig(())
    with pytest.raises(RigError, match='rotation'):
        RigCamera('a', 'a', cam.model, np.diag([2.0, 1.0, 1.0, 1.0]))


def test_yaml(tmp_path: Path) -> None:
    path = tmp_path / 'rig.yaml'
    path.write_text(GOOD_YAML)
    config = load_rig_yaml(path)
    front, rear = config.cameras
    assert (front.image_topic, front.frame_id) == ('front/image_raw', 'front_optical')
    assert (rear.image_topic, rear.camera_info_topic, rear.frame_id) == ('back/image_raw', 'rear/camera_info', None)
    assert front.calibration is not None
    np.testing.assert_allclose(front.calibration.base_T_cam @ [0, 0, 1, 1], [2.5, 0, 1.6, 1], atol=1e-12)
    with pytest.raises(RigError, match='no calibration for rear'):
        config.rig()


@pytest.mark.parametrize(
    ('old', 'new', 'says'),
    [
        ('cameras:', 'cameras: [', 'not valid YAML'),
        ('name: rear', 'nam: rear', r'cameras\[1\]: unknown key nam'),
        ('name: rear', 'name: front', 'every name once'),
        ('K: [80, 0, 80, 0, 80, 48, 0, 0, 1]', 'K: [80, 0]', r'cameras\[0\].calibration.K: got \[80, 0\]'),
        ('K: [80, 0, 80, 0, 80, 48, 0, 0, 1]', 'K: [0, 0, 0, 0, 0, 0, 0, 0, 0]', 'uncalibrated'),
        ('translation: [1.5, 0, 1.6]', 'translation: [1.5, x, 1.6]', 'translation: got'),
        ('base_frame: base_link', 'base_frame: [1]', 'base_frame'),
        ('rotation_xyzw: [-0.5, 0.5, -0.5, 0.5]', 'rotation_xyzw: [0, 0, 0, 0]', 'quaternion'),
    ],
)
def test_a_malformed_yaml_names_file_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / 'broken.yaml'
    assert old in GOOD_YAML
    path.write_text(GOOD_YAML.replace(old, new))
    with pytest.raises(RigError, match=says) as caught:
        load_rig_yaml(path)
    assert 'broken.yaml' in str(caught.value)


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / 'evil.yaml'
    path.write_text('!!python/object/apply:os.getcwd []')
    with pytest.raises(RigError, match='not valid YAML'):
        load_rig_yaml(path)


def test_a_missing_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(RigError, match=r'nowhere.yaml: cannot be read'):
        load_rig_yaml(tmp_path / 'nowhere.yaml')


def test_a_dgp_calibration_that_is_malformed_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / 'calibration.json'
    path.write_text(json.dumps({'names': ['A'], 'intrinsics': [{}], 'extrinsics': [{}]}))
    with pytest.raises(RigError, match=r'calibration.json: camera A'):
        rig_from_dgp_calibration(path, {'A': (10, 10)})
    with pytest.raises(RigError, match=r'no camera B; it has \[.A.\]'):
        rig_from_dgp_calibration(path, {'B': (10, 10)})
    path.write_text('{')
    with pytest.raises(RigError, match='expected a DGP calibration'):
        rig_from_dgp_calibration(path, {'A': (10, 10)})


def test_lidar_through_the_rig_agrees_with_the_given_depth(real_scene: Path) -> None:
    """The scene's LiDAR, motion compensated and projected by our rig, is the ground truth given beside it."""
    frames = json.loads((real_scene / 'calib.json').read_text())['frames']
    calibration = next((real_scene / 'scene_02' / 'calibration').glob('*.json'))
    names = sorted(frames[0]['cameras'])
    rig = rig_from_dgp_calibration(calibration, {name: (1936, 1216) for name in names})
    for frame in frames:
        lidar = np.load(real_scene / frame['lidar']['file'])['data'][:, :3]
        for cam in rig.cameras:
            given = frame['cameras'][cam.name]
            np.testing.assert_allclose(cam.base_T_cam, given['T_ego_cam'], atol=1e-9)
            cam_T_lidar = np.array(given['T_cam_lidar'])
            points = lidar @ cam_T_lidar[:3, :3].T + cam_T_lidar[:3, 3]
            uv, valid = cam.model.project(points)
            valid &= points[:, 2] > 1
            pixel, depth = np.rint(uv[valid]).astype(int), points[valid, 2]
            nearest = np.full((1216, 1936), np.inf)
            np.minimum.at(nearest, (pixel[:, 1], pixel[:, 0]), depth)
            truth = np.load(real_scene / 'gt' / f'{frame["frame"]:02d}_{cam.name}.npz')
            same = np.abs(nearest[truth['v'], truth['u']] / truth['depth'] - 1) < 1e-3
            assert same.mean() > 0.999, (frame['frame'], cam.name)


def test_flat_ground() -> None:
    cam, pose = camera(), level_pose(0.7, height=1.5)
    depth = flat_ground_depth(cam.K, pose, 160, 96, far=20.0)
    v = 90
    assert depth[v, 30] == pytest.approx(1.5 * cam.K[1, 1] / (v - cam.K[1, 2]), rel=1e-5)
    assert (depth[:40] == 20.0).all()
    # Every point nearer than `far` lies on the ground.
    u, v = np.meshgrid(np.arange(160), np.arange(96))
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(cam.K).T
    z = (rays * depth[..., None]) @ pose[2, :3] + pose[2, 3]
    np.testing.assert_allclose(z[depth < 20], 0, atol=1e-4)
