# SPDX-License-Identifier: Apache-2.0
"""Subscribers that do not keep up: the node must not wait for them, and others must not suffer."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from watched_node import WatchedNode

SETS = 30
PROGRAM = """
import sys, time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image, PointCloud2
rclpy.init()
node = rclpy.create_node('slow')
heard = []
qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
for topic in sys.argv[1:]:
    kind = PointCloud2 if topic.endswith('points') else Image
    node.create_subscription(kind, topic, lambda message: heard.append(1), qos)
while not heard:
    rclpy.spin_once(node, timeout_sec=0.1)
print('heard', flush=True)
time.sleep(1000)
"""


@pytest.fixture
def slow(node: WatchedNode) -> Iterator[subprocess.Popen[str]]:
    """A process that has subscribed, reliably, to everything large, has heard something, and never spins again."""
    topics = [f'/{node.name}/points', *(f'/{node.rig.namespace}/{name}/depth/image' for name in node.rig.names)]
    process = subprocess.Popen([sys.executable, '-c', PROGRAM, *topics], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == 'heard\n'
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize('stopped', [False, True], ids=['does not spin', 'is stopped'])
def test_a_reliable_subscriber_that_takes_nothing(
    node: WatchedNode, slow: subprocess.Popen[str], stopped: bool
) -> None:
    if stopped:
        slow.send_signal(signal.SIGSTOP)
    before, begin = node.memory_kb(), node.sets_heard
    node.waits_for(lambda: node.sets_heard >= begin + SETS, 'sets as if nobody were slow')
    node.is_well()
    assert node.memory_kb() < before + 20_000
