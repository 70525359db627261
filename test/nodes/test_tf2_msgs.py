# SPDX-License-Identifier: Apache-2.0
"""The message package that set-up builds from wheels: the same type as upstream's, and usable from any folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import deserialize_message, serialize_message
from ros_harness import Bench, wait_for
from tf2_msgs.msg import TFMessage

# Of tf2_msgs/msg/TFMessage in Jazzy and Kilted: two systems talk only when it agrees.
UPSTREAM_HASH = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'
ROOT = Path(__file__).parents[2]


def test_type_hash_is_upstreams(bench: Bench) -> None:
    publisher = bench.node.create_publisher(TFMessage, 'type_hash', 1)
    info = wait_for(lambda: bench.node.get_publishers_info_by_topic('/type_hash'), 'a publisher')[0]
    bench.node.destroy_publisher(publisher)
    if not hasattr(info, 'topic_type_hash'):
        pytest.skip('this distribution knows no type hashes')
    assert str(info.topic_type_hash) == UPSTREAM_HASH


def test_round_trip() -> None:
    message = TFMessage(transforms=[TransformStamped(child_frame_id='camera')])
    message.transforms[0].header.frame_id = 'base'
    message.transforms[0].transform.translation.x = 1.5
    assert deserialize_message(serialize_message(message), TFMessage) == message


@pytest.mark.parametrize('folder', ['.', 'tools', 'tools/tf2_msgs'])
def test_the_sources_never_shadow_the_module(folder: str) -> None:
    code = 'from tf2_msgs.msg import TFMessage; TFMessage()'
    subprocess.run([sys.executable, '-c', code], cwd=ROOT / folder, check=True)


def test_colcon_ignores_the_sources() -> None:
    assert (ROOT / 'tools' / 'tf2_msgs' / 'COLCON_IGNORE').exists()


def test_building_again_does_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / 'build_tf2_msgs.py')], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, 'tf2_msgs: already there\n')
