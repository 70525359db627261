# SPDX-License-Identifier: Apache-2.0
"""The launch file, and what it computes from a rig."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from semi_smd_ros.nodes.launch_support import (
    absolute,
    rviz_config,
    static_transform_arguments,
    write_bag_qos,
    write_rviz_config,
)
from semi_smd_ros.nodes.resources import rig_path
from semi_smd_ros.rig import RigError, load_rig_yaml

ROOT = Path(__file__).parents[2]
LAUNCH_FILE = ROOT / 'launch' / 'surround_depth.launch.py'
CALIBRATED = """
base_frame: rear_axle
cameras:
  - name: front
    frame_id: front_optical
    image_topic: /drivers/front/image
    calibration: {width: 64, height: 48, K: [50, 0, 31.5, 0, 50, 23.5, 0, 0, 1],
                  translation: [1.5, 0, 1.25], rotation_xyzw: [-0.5, 0.5, -0.5, 0.5]}
"""


@pytest.fixture
def calibrated(tmp_path: Path):
    path = tmp_path / 'rig.yaml'
    path.write_text(CALIBRATED)
    return load_rig_yaml(path)


def test_topics_resolve_as_in_ros() -> None:
    assert absolute('', 'a/b') == '/a/b'
    assert absolute('/car/', 'a') == '/car/a'
    assert absolute('car', '/a') == '/a'


def test_shipped_rviz_config_matches_the_nuscenes_rig() -> None:
    shipped = yaml.safe_load((ROOT / 'config' / 'rviz' / 'surround_depth.rviz').read_text())
    assert rviz_config(shipped, load_rig_yaml(rig_path('nuscenes')), '') == shipped


def test_rviz_config_of_another_rig() -> None:
    path = write_rviz_config(load_rig_yaml(rig_path('ddad')), 'car')
    displays = yaml.safe_load(path.read_text())['Visualization Manager']['Displays']
    path.unlink()
    topics = [d['Topic']['Value'] for d in displays if d['Class'].endswith('/Image')]
    assert topics == [f'/car/CAMERA_0{i}/depth/image' for i in (1, 5, 6, 7, 8, 9)]
    assert [d['Topic']['Value'] for d in displays if d['Class'].endswith('/PointCloud2')] == [
        '/car/surround_depth/points'
    ]
    assert {d['Class'].rsplit('/', 1)[-1] for d in displays} == {'Grid', 'TF', 'PointCloud2', 'Image'}


def test_static_transforms_come_from_the_calibration(calibrated) -> None:
    words = static_transform_arguments(calibrated)['front']
    pairs = dict(zip(words[::2], words[1::2], strict=True))
    numbers = {key: float(value) for key, value in pairs.items() if 'frame' not in key}
    assert (pairs['--frame-id'], pairs['--child-frame-id']) == ('rear_axle', 'front_optical')
    assert [numbers[key] for key in ('--x', '--y', '--z')] == [1.5, 0, 1.25]
    quaternion = [numbers[key] for key in ('--qx', '--qy', '--qz', '--qw')]
    assert quaternion == pytest.approx([-0.5, 0.5, -0.5, 0.5])


def test_a_rig_without_calibration_has_no_static_transforms() -> None:
    with pytest.raises(RigError, match='no calibration for CAM_FRONT_LEFT'):
        static_transform_arguments(load_rig_yaml(rig_path('nuscenes')))


def test_bags_are_replayed_reliably(calibrated) -> None:
    path = write_bag_qos(calibrated, 'car')
    overrides = yaml.safe_load(path.read_text())
    path.unlink()
    images = {'/drivers/front/image', '/drivers/front/image/compressed'}
    assert set(overrides) == {*images, '/car/front/camera_info'}
    assert all(qos['reliability'] == 'reliable' for qos in overrides.values())


def test_launch_file_compiles() -> None:
    compile(LAUNCH_FILE.read_text(), str(LAUNCH_FILE), 'exec')


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        ({}, ['surround_depth_node']),
        ({'rviz': 'true', 'namespace': 'car'}, ['surround_depth_node', 'rviz2']),
        ({'rig': 'CALIBRATED', 'static_tf': 'true'}, ['surround_depth_node', 'static_transform_publisher']),
        ({'rig': 'ddad', 'bag': 'drive'}, ['surround_depth_node', 'ros2']),
    ],
)
def test_launch_file_gives_its_actions(arguments: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    launch = pytest.importorskip('launch', reason='launch comes with a ROS installation, not with wheels')
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS installation, not with wheels')
    rig = tmp_path / 'rig.yaml'
    rig.write_text(CALIBRATED)
    spec = importlib.util.spec_from_file_location('surround_depth_launch', LAUNCH_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = launch.LaunchContext()
    for entity in module.generate_launch_description().entities[:-1]:
        entity.visit(context)
    context.launch_configurations.update({k: v.replace('CALIBRATED', str(rig)) for k, v in arguments.items()})
    actions = module.actions_of(context)
    commands = [
        action.node_executable if hasattr(action, 'node_executable') else action.cmd[0][0].text for action in actions
    ]
    assert commands == expected
