# SPDX-License-Identifier: Apache-2.0
"""What the launch file computes from a rig: RViz config, static transforms, QoS of a replayed bag.

Needs neither launch nor rclpy, so that it can be tested anywhere.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import yaml

from ..rig import RigConfig, quaternion_from
from .resources import share_path

IMAGE_DISPLAY = 'rviz_default_plugins/Image'
CLOUD_DISPLAY = 'rviz_default_plugins/PointCloud2'


def absolute(namespace: str, topic: str) -> str:
    """A topic's full name: relative topics resolve in the namespace."""
    if topic.startswith('/'):
        return topic
    prefix = namespace.strip('/')
    return f'/{prefix}/{topic}' if prefix else f'/{topic}'


def rviz_config(template: dict[str, Any], rig: RigConfig, namespace: str) -> dict[str, Any]:
    """The RViz config `template` with one depth image for every camera of `rig`, and its topics and fixed frame."""
    config = copy.deepcopy(template)
    manager = config['Visualization Manager']
    manager['Global Options']['Fixed Frame'] = rig.base_frame
    images = [display for display in manager['Displays'] if display['Class'] == IMAGE_DISPLAY]
    displays = [display for display in manager['Displays'] if display['Class'] != IMAGE_DISPLAY]
    for camera in rig.cameras:
        display = copy.deepcopy(images[0])
        display['Name'] = camera.name
        display['Topic']['Value'] = absolute(namespace, f'{camera.name}/depth/image')
        displays.append(display)
    for display in displays:
        if display['Class'] == CLOUD_DISPLAY:
            display['Topic']['Value'] = absolute(namespace, 'surround_depth/points')
    manager['Displays'] = displays
    return config


def write_rviz_config(rig: RigConfig, namespace: str) -> Path:
    """Write the RViz config of `rig` to a temporary file and return its path."""
    template = yaml.safe_load(share_path('config', 'rviz', 'surround_depth.rviz').read_text(encoding='utf-8'))
    return _temporary(rviz_config(template, rig, namespace), '.rviz')


def static_transform_arguments(rig: RigConfig) -> dict[str, list[str]]:
    """Arguments of one `static_transform_publisher` per camera, by camera name, from the calibration in the rig file.

    Raises RigError naming the cameras that have none.
    """
    arguments = {}
    for camera in rig.rig().cameras:
        x, y, z = camera.base_T_cam[:3, 3]
        qx, qy, qz, qw = quaternion_from(camera.base_T_cam[:3, :3])
        numbers = {'x': x, 'y': y, 'z': z, 'qx': qx, 'qy': qy, 'qz': qz, 'qw': qw}
        words = [word for name, number in numbers.items() for word in (f'--{name}', f'{number:.12g}')]
        arguments[camera.name] = [*words, '--frame-id', rig.base_frame, '--child-frame-id', camera.frame_id]
    return arguments


def write_bag_qos(rig: RigConfig, namespace: str) -> Path:
    """Write QoS overrides for `ros2 bag play`, so that images are replayed reliably however they were recorded."""
    topics = [
        topic
        for camera in rig.cameras
        for topic in (camera.image_topic, f'{camera.image_topic}/compressed', camera.camera_info_topic)
    ]
    reliable = {'history': 'keep_last', 'depth': 10, 'reliability': 'reliable', 'durability': 'volatile'}
    return _temporary({absolute(namespace, topic): dict(reliable) for topic in topics}, '.yaml')


def _temporary(content: dict[str, Any], suffix: str) -> Path:
    with tempfile.NamedTemporaryFile(
        'w', prefix='semi_smd_ros_', suffix=suffix, delete=False, encoding='utf-8'
    ) as file:
        yaml.safe_dump(content, file, sort_keys=False)
    return Path(file.name)
