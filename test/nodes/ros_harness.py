# SPDX-License-Identifier: Apache-2.0
"""Both ends of a test over real DDS: cameras that we play, outputs that we hear, the node in a process of its own."""

from __future__ import annotations

import array
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
import service_calls
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from spinner import Spinner
from std_srvs.srv import Trigger

from semi_smd_ros.nodes.ros import tf2_ros

WIDTH, HEIGHT = 160, 96
K = (100.0, 0.0, 79.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0)
TIMEOUT_S = 15.0
OFTEN = {'diagnostics.period': 0.2}

Change = Callable[[str, Any, CameraInfo], None]


class Bench:
    """One node with a thread that spins it."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = rclpy.create_node('bench')
        self.tf = tf2_ros.StaticTransformBroadcaster(self.node)
        self.diagnostics: list[DiagnosticArray] = []
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self.diagnostics.append, 50)
        self.processes: list[NodeProcess] = []
        self._spinner = Spinner(self.node)

    def do(self, work: Callable[[], Any]) -> Any:
        """Do something between two callbacks."""
        task = self._spinner.executor.create_task(work)
        wait_for(task.done, 'turn in the executor')
        return task.result()

    def call(self, service_type: Any, name: str, request: Any) -> Any:
        """Call a service and wait for the answer."""
        return service_calls.call(self.node, service_type, name, request)

    def close(self) -> None:
        """Kill what a failed test left running, stop spinning, and shut rclpy down."""
        for process in self.processes:
            process.popen.kill()
        self._spinner.close()
        self.node.destroy_node()
        rclpy.shutdown()


class NodeProcess:
    """The node under test."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self._log = log
        path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')])
        with log.open('wb') as output:
            self.popen = subprocess.Popen(
                [sys.executable, '-m', 'semi_smd_ros.nodes.surround_depth_node', *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    'PYTHONPATH': path,
                    'RCUTILS_LOGGING_BUFFERED_STREAM': '0',
                },
            )

    def log(self) -> str:
        """Everything that it has printed."""
        return self._log.read_text(errors='replace')

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        try:
            return self.popen.wait(timeout=TIMEOUT_S)
        finally:
            self.popen.kill()


class Scene:
    """Cameras that we play in a namespace of their own, and what the node in that namespace says.

    Without `hear` nothing is subscribed to but diagnostics. `topics` gives a camera's image topic another name.
    """

    def __init__(
        self,
        bench: Bench,
        namespace: str,
        names: Sequence[str],
        compressed: bool = False,
        hear: bool = True,
        topics: Mapping[str, str] | None = None,
    ) -> None:
        self.bench, self.namespace, self.names, self.compressed = bench, namespace, list(names), compressed
        self.node_name = f'/{namespace}/surround_depth'
        self.process: NodeProcess
        self.depths: dict[str, list[Image]] = {name: [] for name in names}
        self.infos: dict[str, list[CameraInfo]] = {name: [] for name in names}
        self.clouds: list[PointCloud2] = []
        self.odometry: list[Odometry] = []
        node = bench.node
        image_type, suffix = (CompressedImage, '/compressed') if compressed else (Image, '')
        renamed = topics or {}
        image_topics = {n: renamed.get(n, f'/{namespace}/{n}/image_raw{suffix}') for n in names}
        self._images = {n: node.create_publisher(image_type, topic, 5) for n, topic in image_topics.items()}
        self._camera_infos = {n: node.create_publisher(CameraInfo, f'/{namespace}/{n}/camera_info', 5) for n in names}
        self._subscriptions: list[Any] = []
        if hear:
            self.hear(PointCloud2, f'{self.node_name}/points', self.clouds)
            self.hear(Odometry, f'{self.node_name}/odometry', self.odometry)
            for n in names:
                self.hear(Image, f'/{namespace}/{n}/depth/image', self.depths[n])
                self.hear(CameraInfo, f'/{namespace}/{n}/depth/camera_info', self.infos[n])

    def hear(self, message_type: Any, topic: str, heard: list[Any]) -> list[Any]:
        """Subscribe to a topic; messages are added to `heard`, which is returned."""
        self._subscriptions.append(self.bench.node.create_subscription(message_type, topic, heard.append, 5))
        return heard

    def frame(self, name: str) -> str:
        """The optical frame of a camera of this scene."""
        return f'{self.namespace}_{name}_optical'

    def send_tf(self, names: Sequence[str] | None = None) -> None:
        """Publish where the cameras are: 1.5 m above base_link, looking forward."""
        transforms = []
        for name in names or self.names:
            transform = TransformStamped(child_frame_id=self.frame(name))
            transform.header.frame_id = 'base_link'
            transform.transform.translation.z = 1.5
            rotation = transform.transform.rotation
            rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
            transforms.append(transform)
        self.bench.tf.sendTransform(transforms)

    def send(
        self, grey: int = 128, change: Change | None = None, names: Sequence[str] | None = None, stamp_ns: int = 0
    ) -> int:
        """Publish one set of grey images with their CameraInfo; `change` may spoil it. Returns the stamp, ns."""
        stamp = Time(nanoseconds=stamp_ns) if stamp_ns else self.bench.node.get_clock().now()
        for name in names or self.names:
            image, info = self._image(grey), camera_info()
            image.header.stamp = stamp.to_msg()
            image.header.frame_id = self.frame(name)
            info.header = image.header
            if change is not None:
                change(name, image, info)
            self._camera_infos[name].publish(info)
            self._images[name].publish(image)
        return stamp.nanoseconds

    def _image(self, grey: int) -> Any:
        if not self.compressed:
            return raw_image(np.full((HEIGHT, WIDTH, 3), grey, np.uint8), 'bgr8')
        jpeg = cv2.imencode('.jpg', np.full((HEIGHT, WIDTH, 3), grey, np.uint8))[1]
        return CompressedImage(format='jpeg', data=array.array('B', jpeg.tobytes()))

    def until(self, condition: Callable[[], Any], what: str, **send: Any) -> Any:
        """Send a set every 50 ms until `condition` holds; fails after a while, showing the node's log."""
        deadline = time.monotonic() + TIMEOUT_S
        while not (result := condition()):
            assert time.monotonic() < deadline, f'no {what}; the node said:\n{self.process.log()}'
            assert self.process.popen.poll() is None, f'the node ended:\n{self.process.log()}'
            self.send(**send)
            time.sleep(0.05)
        return result

    def quiet(self) -> None:
        """Wait until nothing that was sent before is on its way any more, then forget all that was heard."""
        time.sleep(0.3)
        for heard in (*self.depths.values(), *self.infos.values(), self.clouds, self.odometry):
            heard.clear()
        self.bench.diagnostics.clear()

    def status(self, name: str) -> DiagnosticStatus | None:
        """The newest status that this scene's node gave under `name`, such as 'camera left'."""
        for message in reversed(self.bench.diagnostics):
            for status in message.status:
                if status.name == f'{self.node_name[1:]}: {name}':
                    return status
        return None

    def values(self, name: str) -> dict[str, str]:
        """Key-value pairs of that status."""
        status = self.status(name)
        return {} if status is None else {pair.key: pair.value for pair in status.values}

    def says(self, name: str, text: str, level: bytes | None = None) -> bool:
        """Whether that status says `text`, at `level`."""
        status = self.status(name)
        return status is not None and text in status.message and level in (None, status.level)

    def transition(self, name: str) -> bool:
        """Ask for a lifecycle transition; returns whether it succeeded."""
        return service_calls.transition(self.bench.node, self.node_name, name)

    def state(self) -> str:
        """The lifecycle state's label."""
        return service_calls.state(self.bench.node, self.node_name)

    def set_text(self, name: str, text: str) -> str:
        """Set a text parameter; returns the reason of a refusal, or ''."""
        return self._set(name, ParameterValue(type=4, string_value=text))

    def set_whole_number(self, name: str, number: int) -> str:
        """Set a whole number; returns the reason of a refusal, or ''."""
        return self._set(name, ParameterValue(type=2, integer_value=number))

    def set_number(self, name: str, number: float) -> str:
        """Set a number; returns the reason of a refusal, or ''."""
        return self._set(name, ParameterValue(type=3, double_value=number))

    def _set(self, name: str, value: ParameterValue) -> str:
        request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
        result = self.bench.call(SetParameters, f'{self.node_name}/set_parameters', request).results[0]
        return '' if result.successful else result.reason

    def reset(self) -> Trigger.Response:
        """Call ~/reset."""
        return self.bench.call(Trigger, f'{self.node_name}/reset', Trigger.Request())


def start_node(folder: Path, scene: Scene, remaps: Sequence[str] = (), **parameters: Any) -> NodeProcess:
    """Start the node in the scene's namespace with these parameters."""
    arguments = ['--ros-args', '-r', f'__ns:=/{scene.namespace}']
    for remap in remaps:
        arguments += ['-r', remap]
    for name, value in parameters.items():
        arguments += ['-p', f'{name}:={value}']
    scene.process = NodeProcess(arguments, folder / 'node.log')
    scene.bench.processes.append(scene.process)
    return scene.process


def raw_image(pixels: np.ndarray, encoding: str) -> Image:
    """An Image message of an 8 bit array."""
    height, width = pixels.shape[:2]
    data = array.array('B', pixels.tobytes())
    return Image(height=height, width=width, encoding=encoding, step=pixels.nbytes // height, data=data)


def camera_info() -> CameraInfo:
    """The CameraInfo of every camera here: an undistorted pinhole."""
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model='plumb_bob', d=[0.0] * 5)
    info.k = np.array(K)
    info.p = np.array([*K[0:3], 0.0, *K[3:6], 0.0, *K[6:9], 0.0])
    return info


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f'no {what}'
        time.sleep(0.02)
    return result
