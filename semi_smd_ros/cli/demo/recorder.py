# SPDX-License-Identifier: Apache-2.0
"""Records the node's outputs to a rosbag2 (mcap) until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from ...datasets.recording import BagWriter
from .protocol import ODOMETRY_TOPIC, POINTS_TOPIC, say


def output_topics(cameras: list[str]) -> dict[str, Any]:
    """Every topic that is recorded, with its message class."""
    topics: dict[str, Any] = {'/tf_static': TFMessage, '/tf': TFMessage, '/diagnostics': DiagnosticArray}
    for camera in cameras:
        topics[f'/{camera}/depth/image'] = Image
        topics[f'/{camera}/depth/camera_info'] = CameraInfo
    return {**topics, POINTS_TOPIC: PointCloud2, ODOMETRY_TOPIC: Odometry}


class Recorder(Node):
    """Writes messages as they come, undecoded; a message's time in the bag is that of its arrival."""

    def __init__(self, bag: BagWriter, cameras: list[str]) -> None:
        super().__init__('output_recorder')
        self._bag = bag
        self.received: Counter[str] = Counter()
        for topic, kind in output_topics(cameras).items():
            durability = DurabilityPolicy.TRANSIENT_LOCAL if topic == '/tf_static' else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
            msgtype = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
            self.create_subscription(kind, topic, partial(self._on_message, topic, msgtype), qos, raw=True)

    def _on_message(self, topic: str, msgtype: str, cdr: bytes) -> None:
        self._bag.write_raw(topic, msgtype, cdr, time.time_ns())
        self.received[topic] += 1


def main() -> int:
    """Entry point of the recorder's process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('bag')
    parser.add_argument('cameras', nargs='+')
    arguments = parser.parse_args()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        _record(arguments.bag, arguments.cameras, stopping)
    except OSError as error:
        sys.stderr.write(f'cannot record to {arguments.bag}: {error}; nothing of it is kept: free some space\n')
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _record(path: str, cameras: list[str], stopping: threading.Event) -> None:
    with BagWriter(path) as bag:
        recorder = Recorder(bag, cameras)
        say('ready')
        per_set = [POINTS_TOPIC, *(t for t in output_topics(cameras) if '/depth/' in t)]
        told = 0
        while not stopping.is_set():
            rclpy.spin_once(recorder, timeout_sec=0.05)
            messages = sum(recorder.received[topic] for topic in per_set)
            if messages > told:
                told = messages
                say('recorded', sets=recorder.received[POINTS_TOPIC])
        recorder.destroy_node()


if __name__ == '__main__':
    sys.exit(main())
