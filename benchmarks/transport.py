# SPDX-License-Identifier: Apache-2.0
"""From six cameras to the cloud, through DDS: this process plays the cameras and hears the cloud, the node runs in
one of its own, with the settings of the launch file: its parameters, its middleware.

    python benchmarks/transport.py [--images raw|compressed|both] [--sets 100] [--json]

Six 1600x900 images at 10 Hz from reliable publishers, and an engine that does next to nothing. The latency counts from
the stamp of a set's last image, set when its driver hands it over, to the arrival of its cloud, less the engine's own
time. For a machine that does nothing else; ends with 1 where a limit is broken.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from measure import Figure, show

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'test'))

CAMERAS, WIDTH, HEIGHT, RATE_HZ = 6, 1600, 900, 10.0
NET_WIDTH, NET_HEIGHT = 640, 352
PARAMETERS = ROOT / 'config' / 'surround_depth.yaml'
# The last keeps other machines out; all else is what launch/surround_depth.launch.py sets.
MIDDLEWARE = {
    'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
    'FASTDDS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
}
NAMES = [f'cam_{i}' for i in range(CAMERAS)]
START_TIMEOUT_S, SILENCE_S = 30.0, 2.0


def pictures() -> list[np.ndarray]:
    """Six pictures with about as much detail as a street has."""
    import cv2

    rng = np.random.default_rng(0)
    found = []
    for _ in range(CAMERAS):
        small = rng.integers(0, 255, (HEIGHT // 12, WIDTH // 12, 3), np.uint8)
        found.append(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
    return found


class Cameras:
    """Six cameras, and who listens to the cloud. Arrivals of clouds of all six are kept by the cloud's stamp."""

    def __init__(self, compressed: bool) -> None:
        import cv2
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

        rclpy.init()
        self.node = rclpy.create_node('cameras')
        self.arrived: dict[int, int] = {}
        self.stages: dict[str, float] = {}
        self.cloud_bytes = 0
        self.log = ''
        kind, suffix = (CompressedImage, '/compressed') if compressed else (Image, '')
        self._images = [self.node.create_publisher(kind, f'{name}/image_raw{suffix}', 5) for name in NAMES]
        self._infos = [self.node.create_publisher(CameraInfo, f'{name}/camera_info', 5) for name in NAMES]
        self._messages = []
        for picture in pictures():
            if compressed:
                jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
                self._messages.append(CompressedImage(format='jpeg', data=array.array('B', jpeg.tobytes())))
            else:
                data = array.array('B', picture.tobytes())
                self._messages.append(Image(height=HEIGHT, width=WIDTH, encoding='bgr8', step=3 * WIDTH, data=data))
        self._info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model='plumb_bob', d=[-0.1, 0.02, 0.0, 0.0, 0.0])
        self._info.k = np.array([1260.0, 0, 800, 0, 1260, 450, 0, 0, 1])
        self.node.create_subscription(PointCloud2, '/surround_depth/points', self._on_cloud, 5)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 5)
        self._send_tf()
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _send_tf(self) -> None:
        from geometry_msgs.msg import TransformStamped

        from semi_smd_ros.nodes.ros import tf2_ros
        from semi_smd_ros.rig import quaternion_from

        self._tf = tf2_ros.StaticTransformBroadcaster(self.node)
        transforms = []
        for i, name in enumerate(NAMES):
            yaw = 2 * np.pi * i / CAMERAS
            turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
            transform = TransformStamped(child_frame_id=name)
            transform.header.frame_id = 'base_link'
            transform.transform.translation.z = 1.5
            rotation = transform.transform.rotation
            rotation.x, rotation.y, rotation.z, rotation.w = (
                float(v) for v in quaternion_from(turn @ [[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
            )
            transforms.append(transform)
        self._tf.sendTransform(transforms)

    def _spin(self) -> None:
        while not self._closing.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def _on_cloud(self, message: Any) -> None:
        now = time.time_ns()
        stamp = message.header.stamp
        # Byte 16 of a point is its camera. A set that went on without an image has lost it, and is a set lost.
        cameras = np.bincount(np.frombuffer(message.data, np.uint8)[16 :: message.point_step], minlength=CAMERAS)
        if cameras.all():
            self.arrived[stamp.sec * 10**9 + stamp.nanosec] = now
        self.cloud_bytes = len(message.data)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.endswith('sets'):
                self.log = ', '.join(f'{pair.key} {pair.value}' for pair in status.values if pair.value != '0')
            for pair in status.values:
                if pair.key.endswith('p50 (ms)'):
                    self.stages[pair.key.removesuffix(' p50 (ms)')] = float(pair.value)

    def send(self) -> int:
        """Hand over one set; returns the last image's stamp, ns."""
        stamp_ns = 0
        for name, images, infos, message in zip(NAMES, self._images, self._infos, self._messages, strict=True):
            stamp_ns = time.time_ns()
            message.header.frame_id = name
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
            self._info.header = message.header
            infos.publish(self._info)
            images.publish(message)
        return stamp_ns

    def close(self) -> None:
        """Leave."""
        import rclpy

        self._closing.set()
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()


@contextlib.contextmanager
def running_node(folder: Path, compressed: bool) -> Iterator[subprocess.Popen[bytes]]:
    """The node with an engine that does next to nothing."""
    from tiny_model import write_tiny_model

    values = {
        'rig': '',
        'cameras': NAMES,
        'model': str(write_tiny_model(folder / 'tiny.onnx', NET_HEIGHT, NET_WIDTH)),
        'image_transport': 'compressed' if compressed else 'raw',
    }
    overrides = folder / 'overrides.yaml'
    overrides.write_text(yaml.safe_dump({'/**': {'ros__parameters': values}}), encoding='utf-8')
    command = [sys.executable, '-m', 'semi_smd_ros.nodes.surround_depth_node', '--ros-args']
    files = [word for path in (PARAMETERS, overrides) for word in ('--params-file', str(path))]
    process = subprocess.Popen([*command, *files])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if code:
        raise RuntimeError(f'the node ended with {code}; expected 0')


def measure(cameras: Cameras, node: subprocess.Popen[bytes], sets: int) -> list[Figure]:
    """Send until the node answers, then the sets that count."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not cameras.arrived:
        if time.monotonic() > deadline or node.poll() is not None:
            raise RuntimeError(f'no cloud came within {START_TIMEOUT_S:g} s; expected the node to serve by then')
        cameras.send()
        time.sleep(0.2)
    sent = []
    start = time.monotonic()
    for i in range(sets + 10):
        time.sleep(max(0.0, start + i / RATE_HZ - time.monotonic()))
        began = time.time_ns()
        stamp_ns = cameras.send()
        if i >= 10:
            sent.append((stamp_ns, (time.time_ns() - began) * 1e-6))
    time.sleep(SILENCE_S)
    latencies = [(cameras.arrived[stamp] - stamp) * 1e-6 for stamp, _ in sent if stamp in cameras.arrived]
    if not latencies:
        raise RuntimeError(f'none of {len(sent)} sets came back; see what the node said')
    p50, p95 = (float(np.percentile(latencies, share)) for share in (50, 95))
    engine_ms = cameras.stages.get('engine', 0.0)
    handed_over = float(np.median([ms for _, ms in sent]))
    figures = [
        Figure('sets lost', len(sent) - len(latencies), 'sets', 0, f'of {len(sent)}'),
        Figure('last image to cloud, p50', p50 - engine_ms, 'ms', note='less the engine'),
        Figure('last image to cloud, p95', p95 - engine_ms, 'ms', 60, 'less the engine'),
        Figure('cloud', cameras.cloud_bytes / 1e6, 'MB'),
        Figure('six images handed over', handed_over, 'ms', note='in this process'),
    ]
    figures += [Figure(f'  node: {name}, p50', value, 'ms') for name, value in cameras.stages.items()]
    return figures


def run(compressed: bool, sets: int) -> list[Figure]:
    """The figures of one kind of images, in a ROS domain of its own."""
    from semi_smd_ros.cli.demo.domain import DomainClaim

    with contextlib.closing(DomainClaim()) as domain, tempfile.TemporaryDirectory() as folder:
        paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
        domain_of = {'ROS_DOMAIN_ID': str(domain.number), 'ROS_LOG_DIR': folder}
        os.environ.update({**MIDDLEWARE, **domain_of, 'PYTHONPATH': os.pathsep.join(paths)})
        with running_node(Path(folder), compressed) as node:
            cameras = Cameras(compressed)
            try:
                figures = measure(cameras, node, sets)
            finally:
                cameras.close()
    sys.stderr.write(f'{cameras.log}\n')
    kind = 'compressed' if compressed else 'raw'
    return [dataclasses.replace(figure, name=f'{kind}: {figure.name}') for figure in figures]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', choices=('raw', 'compressed', 'both'), default='both', help='compressed: JPEG')
    parser.add_argument('--sets', type=int, default=100, help='sets that count')
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')
    arguments = parser.parse_args()
    from semi_smd_ros.nodes.allocator import keep_freed_memory

    keep_freed_memory()
    kinds = [kind == 'compressed' for kind in ('raw', 'compressed') if arguments.images in (kind, 'both')]
    return show([figure for compressed in kinds for figure in run(compressed, arguments.sets)], arguments.json)


if __name__ == '__main__':
    sys.exit(main())
