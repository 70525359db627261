# SPDX-License-Identifier: Apache-2.0
"""A rig of cameras that plays over real DDS in a thread of its own, with a switch for every fault."""

from __future__ import annotations

import array
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from ros_harness import HEIGHT, WIDTH, camera_info, raw_image
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

SECOND = 10**9
HOUR = 3600 * SECOND
RATE_HZ = 10.0
DARKEST, SHADES = 40, 160
# Pictures whose brightness is remembered, to tell later which of them a depth image was made of.
REMEMBERED = 5000
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

Spoil = Callable[[Any, CameraInfo], None]


class SimulatedCamera:
    """One camera. Every picture has one shade of grey and no two neighbours have the same; every method but the last
    begins a fault, `recovers` ends all of them."""

    def __init__(self, node: Any, namespace: str, name: str, compressed: bool) -> None:
        self.name, self.frame = name, f'{namespace}_{name}_optical'
        self.image_topic = f'/{namespace}/{name}/image_raw' + ('/compressed' if compressed else '')
        self.shade_of: dict[int, int] = {}
        self.sent = 0
        self._compressed = compressed
        self._images = node.create_publisher(CompressedImage if compressed else Image, self.image_topic, 5)
        self._infos = node.create_publisher(CameraInfo, f'/{namespace}/{name}/camera_info', 5)
        self._last_stamp_ns = 0
        self._dice = random.Random(name)
        self.recovers()

    def recovers(self) -> None:
        """End every fault."""
        self.is_alive = True
        self.rate_hz = RATE_HZ
        self._stamp_offset_ns = 0
        self._stands_still = False
        self._shade: int | None = None
        self._scale = self._info_scale = 1.0
        self._spoil: Spoil | None = None
        self._loss = 0.0

    def dies(self) -> None:
        """Send nothing."""
        self.is_alive = False

    def repeats_its_stamp(self) -> None:
        """Go on with the stamp of the last picture, as a driver with a stuck clock."""
        self._stands_still = True

    def shows_only(self, shade: int) -> None:
        """Show the same shade (0 black .. 255 white) for ever."""
        self._shade = shade

    def is_off_by(self, offset_ns: int) -> None:
        """Stamp with a clock that is off."""
        self._stamp_offset_ns = offset_ns

    def sends_at(self, rate_hz: float) -> None:
        """Send at another rate."""
        self.rate_hz = rate_hz

    def resizes(self, scale: float, info: bool) -> None:
        """Send pictures of another size; `info`: and a CameraInfo that knows of it."""
        self._scale, self._info_scale = scale, scale if info else 1.0

    def loses(self, share: float) -> None:
        """Lose this share of the pictures on the way."""
        self._loss = share

    def spoils(self, spoil: Spoil) -> None:
        """Have every message changed by `spoil(image, camera_info)`."""
        self._spoil = spoil

    def play(self, tick: int, now_ns: int) -> None:
        """Send one picture with its CameraInfo."""
        if self._loss and self._dice.random() < self._loss:
            return
        stamp_ns = self._last_stamp_ns if self._stands_still else now_ns + self._stamp_offset_ns
        self._last_stamp_ns = stamp_ns
        shade = DARKEST + tick * 7 % SHADES if self._shade is None else self._shade
        self.shade_of[stamp_ns] = shade
        if len(self.shade_of) > REMEMBERED:
            del self.shade_of[next(iter(self.shade_of))]
        pixels = np.full((round(HEIGHT * self._scale), round(WIDTH * self._scale), 3), shade, np.uint8)
        image, info = self._message(pixels), _scaled_info(self._info_scale)
        image.header.stamp, image.header.frame_id = Time(nanoseconds=stamp_ns).to_msg(), self.frame
        info.header.stamp, info.header.frame_id = image.header.stamp, self.frame
        if self._spoil is not None:
            self._spoil(image, info)
        self._infos.publish(info)
        self._images.publish(image)
        self.sent += 1

    def _message(self, pixels: np.ndarray) -> Any:
        if not self._compressed:
            return raw_image(pixels, 'bgr8')
        return CompressedImage(format='jpeg', data=array.array('B', cv2.imencode('.jpg', pixels)[1].tobytes()))


class SimulatedRig:
    """Cameras, transforms and, with `simulated_time`, `/clock`, in a namespace of their own.

    Cameras send at the same moments with the same stamps. Nothing plays before `start`.
    """

    def __init__(
        self, node: Any, namespace: str, names: Sequence[str], compressed: bool = False, simulated_time: bool = False
    ) -> None:
        self.node, self.namespace, self.names = node, namespace, list(names)
        self.cameras = {name: SimulatedCamera(node, namespace, name, compressed) for name in names}
        self._static = node.create_publisher(TFMessage, '/tf_static', _LATCHED)
        self._moving = node.create_publisher(TFMessage, '/tf', 100)
        self._clock = node.create_publisher(Clock, '/clock', 5) if simulated_time else None
        self.moving_frames: dict[str, str] = {}
        self.time_offset_ns = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def start(self) -> None:
        """Begin to play."""
        self._thread.start()

    def close(self) -> None:
        """Play no more."""
        self._closing.set()
        self._thread.join()

    def recovers(self) -> None:
        """End every fault of every camera."""
        for camera in self.cameras.values():
            camera.recovers()

    def place(self, names: Sequence[str], parent: str = 'base_link', forward: float = 0.0) -> None:
        """Publish on /tf_static where cameras are: 1.5 m above `parent`, `forward` metres ahead."""
        self._static.publish(TFMessage(transforms=[self.link(parent, self.cameras[n].frame, forward) for n in names]))

    def link_statically(self, parent: str, child: str) -> None:
        """Publish one static transform."""
        self._static.publish(TFMessage(transforms=[self.link(parent, child)]))

    def restart_static_publisher(self) -> None:
        """Have the node that publishes /tf_static go and come back with the same transforms."""
        self.node.destroy_publisher(self._static)
        self._static = self.node.create_publisher(TFMessage, '/tf_static', _LATCHED)
        self.place(self.names)

    def link_once(self, parent: str, child: str, ahead_ns: int = 0) -> None:
        """Publish one moving transform, of now."""
        transform = self.link(parent, child)
        transform.header.stamp = Time(nanoseconds=self.now_ns() + ahead_ns).to_msg()
        self._moving.publish(TFMessage(transforms=[transform]))

    def link(self, parent: str, child: str, forward: float = 0.0) -> TransformStamped:
        """A level camera, 1.5 m above `parent`."""
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id = parent
        transform.transform.translation.x, transform.transform.translation.z = forward, 1.5
        rotation = transform.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = -0.5, 0.5, -0.5, 0.5
        return transform

    def now_ns(self) -> int:
        """The time that stamps are of."""
        return time.time_ns() + self.time_offset_ns

    def _play(self) -> None:
        start, start_ns = time.monotonic(), time.time_ns()
        sent_at = dict.fromkeys(self.names, -1.0)
        while not self._closing.is_set():
            # Of a rate all moments have the same stamps, whenever this thread gets round to them.
            due = {n: (math.floor(sent_at[n] * c.rate_hz) + 1) / c.rate_hz for n, c in self.cameras.items()}
            self._closing.wait(max(0.0, min(due.values()) - (time.monotonic() - start)))
            now = time.monotonic() - start
            self._send_moving()
            for name, camera in self.cameras.items():
                if due[name] > now:
                    continue
                sent_at[name] = now
                tick = math.floor(now * camera.rate_hz)
                if camera.is_alive:
                    camera.play(tick, start_ns + round(tick / camera.rate_hz * SECOND) + self.time_offset_ns)

    def _send_moving(self) -> None:
        if self._clock is not None:
            self._clock.publish(Clock(clock=Time(nanoseconds=self.now_ns()).to_msg()))
        for child, parent in list(self.moving_frames.items()):
            self.link_once(parent, child)


def _scaled_info(scale: float) -> CameraInfo:
    info = camera_info()
    info.width, info.height = round(WIDTH * scale), round(HEIGHT * scale)
    for matrix in (info.k, info.p):
        matrix[: 2 * len(matrix) // 3] *= scale
    return info
