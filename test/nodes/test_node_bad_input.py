# SPDX-License-Identifier: Apache-2.0
"""Bad input to a node that runs, over real DDS: what it says, what it still publishes, and that it goes on after."""

from __future__ import annotations

import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_harness import HEIGHT, OFTEN, WIDTH, Bench, Scene, raw_image, start_node, wait_for
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header


@pytest.fixture
def serving(running: Scene) -> Iterator[Scene]:
    """The running node; afterwards it must serve all cameras again as if nothing had been."""
    running.quiet()
    yield running
    running.quiet()
    running.until(lambda: all(running.depths.values()), 'depth of every camera after the bad input')


def unknown_encoding(image: Any, info: Any) -> None:
    image.encoding = 'bgr8x'


def wrong_step(image: Any, info: Any) -> None:
    image.step = WIDTH * 3 - 1


def short_data(image: Any, info: Any) -> None:
    image.data = array.array('B', bytes(HEIGHT * WIDTH * 3 - 1))


def other_size(image: Any, info: Any) -> None:
    half = raw_image(np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8), 'bgr8')
    image.height, image.width, image.step, image.data = half.height, half.width, half.step, half.data


def no_stamp(image: Any, info: Any) -> None:
    image.header = Header(frame_id=info.header.frame_id)


@pytest.mark.parametrize(
    ('spoil', 'reason', 'text'),
    [
        (no_stamp, 'stamp', 'its stamp is 0 ns'),
        (unknown_encoding, 'encoding', "'bgr8x' is not supported"),
        (wrong_step, 'step', 'step is 479'),
        (short_data, 'length', '46079 bytes'),
        (other_size, 'size', 'image is 80x48; its CameraInfo says 160x96'),
    ],
)
def test_a_bad_image_is_rejected_and_named(serving: Scene, spoil: Any, reason: str, text: str) -> None:
    def spoil_right(name: str, image: Any, info: Any) -> None:
        if name == 'right':
            spoil(image, info)

    before = int(serving.values('camera right').get(f'rejected: {reason}', 0))
    serving.until(lambda: serving.says('camera right', text, DiagnosticStatus.WARN), 'a warning', change=spoil_right)
    assert int(serving.values('camera right')[f'rejected: {reason}']) > before
    assert 'camera right (frame running_right_optical): image rejected' in serving.process.log()
    # The other camera is served; the spoilt one is not, rather than with something made up.
    serving.quiet()
    serving.send(change=spoil_right)
    wait_for(lambda: serving.depths['left'], 'depth of the good camera')
    assert not serving.depths['right']
    cloud = wait_for(lambda: serving.clouds and serving.clouds[0], 'a cloud')
    assert cloud.width == 960


def test_camera_info_of_zeros_takes_its_camera_out(serving: Scene) -> None:
    def zeros(name: str, image: Any, info: Any) -> None:
        if name == 'left':
            info.k = np.zeros(9)

    serving.until(
        lambda: serving.says('camera left', 'looks uncalibrated', DiagnosticStatus.ERROR), 'an error', change=zeros
    )
    serving.until(lambda: serving.says('sets', 'camera left', DiagnosticStatus.ERROR), 'an error', change=zeros)
    # Sets wait a while for a better CameraInfo, then go on without this camera.
    serving.quiet()
    serving.until(lambda: serving.depths['right'], 'depth of the good camera', change=zeros)
    assert not serving.depths['left']
    assert serving.clouds[0].width == 960
    assert serving.values('camera left')['calibration'] == 'missing'
    changes = int(serving.values('camera left')['calibration changes'])
    serving.until(lambda: serving.depths['left'], 'depth after a good CameraInfo')
    serving.until(lambda: int(serving.values('camera left')['calibration changes']) > changes, 'a counted change')


def test_wrong_frame_of_the_image_is_named(serving: Scene) -> None:
    def misname(name: str, image: Any, info: Any) -> None:
        image.header = Header(stamp=info.header.stamp, frame_id='elsewhere')

    serving.until(
        lambda: serving.says('camera left', 'in frame elsewhere', DiagnosticStatus.WARN), 'a warning', change=misname
    )


def test_missing_tf_then_a_broken_jpeg(bench: Bench, tiny: Path, tmp_path: Path) -> None:
    scene = Scene(bench, 'compressed', ['front', 'rear'], compressed=True)
    scene.send_tf(['front'])
    start_node(
        tmp_path,
        scene,
        model=str(tiny),
        cameras='[front, rear]',
        image_transport='compressed',
        **{'tf.timeout': 60.0, 'sync.missing_after': 0.0},
        **OFTEN,
    )
    missing = scene.frame('rear')
    scene.until(lambda: scene.values('camera front').get('tf') == 'ok', 'the front transform')
    scene.until(lambda: scene.says('camera rear', missing, DiagnosticStatus.ERROR), 'word of the missing frame')
    scene.until(lambda: missing in scene.process.log(), 'a warning')
    assert 'camera rear' in scene.process.log()
    assert 'base_link' in scene.process.log()
    assert scene.values('camera rear')['tf'] == 'missing'
    assert not scene.clouds

    # The set that waits is used as soon as the transform is there, without another image.
    stamps_ns = [scene.send() for _ in range(3)]
    scene.quiet()
    scene.send_tf(['rear'])
    cloud = wait_for(lambda: scene.clouds and scene.clouds[0], 'a cloud of the waiting set')
    assert cloud.header.stamp.sec * 10**9 + cloud.header.stamp.nanosec in stamps_ns
    scene.until(lambda: all(scene.depths.values()), 'depth of every camera')

    def corrupt(name: str, image: CompressedImage, info: Any) -> None:
        if name == 'rear':
            image.data = array.array('B', b'not a JPEG')

    scene.quiet()
    scene.until(lambda: scene.says('camera rear', 'neither a JPEG nor a PNG'), 'a warning', change=corrupt)
    scene.quiet()
    scene.send(change=corrupt)
    wait_for(lambda: scene.depths['front'], 'depth of the good camera')
    assert not scene.depths['rear']
    scene.until(lambda: scene.depths['rear'], 'depth after the broken one')
    assert scene.process.stop() == 0


def test_a_camera_that_is_not_there_and_one_with_another_qos(bench: Bench, tiny: Path, tmp_path: Path) -> None:
    scene = Scene(bench, 'absent', ['front', 'shy'])
    scene.send_tf()
    shy = bench.node.create_publisher(
        Image, '/absent/ghost/image_raw', QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    start_node(
        tmp_path, scene, model=str(tiny), cameras='[front, shy, ghost]', image_reliability='reliable',
        **OFTEN,
    )  # fmt: skip
    scene.until(lambda: scene.says('camera ghost', 'camera ghost: no image at all', DiagnosticStatus.ERROR), 'an error')
    scene.until(lambda: scene.says('camera ghost', 'RELIABILITY'), 'word of the incompatible QoS')
    assert '/absent/ghost/image_raw' in scene.status('camera ghost').message
    assert '/bench offers' in scene.status('camera ghost').message
    wait_for(lambda: 'node /bench offers an incompatible RELIABILITY on /absent/ghost' in scene.process.log(), 'a name')
    assert scene.says('camera front', 'images arrive')
    # Sets wait for its CameraInfo for tf.timeout, and go on without it then.
    scene.until(lambda: scene.depths['front'] and scene.depths['shy'], 'depth of the others')
    bench.do(lambda: bench.node.destroy_publisher(shy))
    assert scene.process.stop() == 0
