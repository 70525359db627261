# SPDX-License-Identifier: Apache-2.0
"""Parameters, resources, odometry, and messages: the node's parts one by one."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from ros_harness import raw_image
from std_msgs.msg import Header

from semi_smd_ros.nodes import parameters, resources
from semi_smd_ros.nodes.images import ImageDecoder, receive_raw
from semi_smd_ros.nodes.messages import depth_message
from semi_smd_ros.nodes.odometry import OdometryIntegrator
from semi_smd_ros.nodes.throttle import ThrottledLogger
from semi_smd_ros.rig import CameraModel, RigError

ROOT = Path(__file__).parents[2]
DEFAULTS = {parameter.name: parameter.default for parameter in parameters.PARAMETERS}


def change(name: str, value: object) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=name, value=value)]


def test_the_shipped_parameter_file_holds_every_parameter_at_its_default() -> None:
    tree = yaml.safe_load((ROOT / 'config' / 'surround_depth.yaml').read_text())['/**']['ros__parameters']
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat.update({f'{key}.{name}': v for name, v in value.items()} if isinstance(value, dict) else {key: value})
    assert flat == {**DEFAULTS, 'rig': 'nuscenes'}


@pytest.mark.parametrize('parameter', parameters.PARAMETERS, ids=lambda parameter: parameter.name)
def test_every_parameter_is_described_and_its_default_accepted(parameter: parameters.Parameter) -> None:
    descriptor = parameter.descriptor()
    assert descriptor.description
    assert parameters.refusal(change(parameter.name, parameter.default), {}, is_configured=False) == ''
    is_number = isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
    assert bool(descriptor.integer_range or descriptor.floating_point_range) == is_number


def test_changes_are_checked_together() -> None:
    both = change('cloud.min_range', 100.0) + change('cloud.max_range', 200.0)
    assert parameters.refusal(both, DEFAULTS, is_configured=True) == ''
    assert 'min < max' in parameters.refusal(both[:1], DEFAULTS, is_configured=True)
    assert 'raw, compressed' in parameters.refusal(change('image_transport', 'theora'), DEFAULTS, is_configured=False)
    assert 'finite' in parameters.refusal(change('temporal.max_gap', math.inf), DEFAULTS, is_configured=True)
    assert 'configured' in parameters.refusal(change('model', 'x.onnx'), DEFAULTS, is_configured=True)
    assert parameters.refusal(change('model', 'x.onnx'), DEFAULTS, is_configured=False) == ''
    assert parameters.refusal(change('use_sim_time', True), DEFAULTS, is_configured=True) == ''


@pytest.mark.parametrize('rig', ['nuscenes', 'ddad'])
def test_shipped_rigs_have_six_cameras(rig: str) -> None:
    cameras, base_frame = parameters.rig_config({**DEFAULTS, 'rig': rig})
    assert len(cameras) == 6
    assert base_frame == 'base_link'
    assert all(camera.image_topic == f'{camera.name}/image_raw' for camera in cameras)


def test_cameras_choose_from_a_rig_or_stand_alone() -> None:
    some, _ = parameters.rig_config({**DEFAULTS, 'rig': 'nuscenes', 'cameras': ['CAM_BACK', 'CAM_FRONT']})
    assert [camera.name for camera in some] == ['CAM_BACK', 'CAM_FRONT']
    alone, base = parameters.rig_config({**DEFAULTS, 'cameras': ['a'], 'base_frame': 'rear_axle'})
    assert (alone[0].camera_info_topic, base) == ('a/camera_info', 'rear_axle')
    with pytest.raises(RigError, match='a are not in'):
        parameters.rig_config({**DEFAULTS, 'rig': 'nuscenes', 'cameras': ['a']})
    with pytest.raises(RigError, match='every name once'):
        parameters.rig_config({**DEFAULTS, 'cameras': ['a', 'a']})
    with pytest.raises(RigError, match='neither rig nor cameras'):
        parameters.rig_config(DEFAULTS)


def test_model_paths(tmp_path: Path) -> None:
    assert resources.model_path('') == ROOT / 'models' / resources.DEFAULT_MODEL
    assert resources.model_path(str(tmp_path / 'm.onnx')) == tmp_path / 'm.onnx'
    assert resources.model_path('~/m.onnx') == Path.home() / 'm.onnx'


def test_dead_reckoning_integrates_and_grows_less_certain() -> None:
    integrator = OdometryIntegrator()
    start = integrator.update(0, None)
    assert np.array_equal(start.odom_T_base, np.eye(4))
    quarter = np.eye(4)
    quarter[:2, :2] = [[0, -1], [1, 0]]
    quarter[0, 3] = 2.0
    for k in range(1, 5):
        motion = integrator.update(k * 500_000_000, quarter)
    np.testing.assert_allclose(motion.odom_T_base, np.eye(4), atol=1e-9)  # once around a square
    # A quarter of a circle of radius sqrt(2) m in 0.5 s: 4.44 m/s along the way, which begins 45 degrees to the right.
    np.testing.assert_allclose(motion.twist_6, [math.pi, -math.pi, 0, 0, 0, math.pi], atol=1e-9)
    assert (np.diag(motion.pose_covariance_66) > np.diag(start.pose_covariance_66)).all()


def test_the_pose_covariance_is_that_of_many_drives() -> None:
    step = np.eye(4)
    step[0, 3] = 1.0
    steps, drives, rng = 300, 4000, np.random.default_rng(0)
    integrator = OdometryIntegrator()
    integrator.update(0, None)
    for k in range(1, steps + 1):
        covariance = integrator.update(k * 100_000_000, step).pose_covariance_66
    # The errors of one step, drawn as the covariance of a first step says they are.
    first = OdometryIntegrator()
    first.update(0, None)
    sigma_m, _, _, _, _, sigma_rad = np.sqrt(np.diag(first.update(100_000_000, step).pose_covariance_66))
    yaw = np.cumsum(rng.normal(0, sigma_rad, (drives, steps)), axis=1)
    heading = np.hstack([np.zeros((drives, 1)), yaw[:, :-1]])
    sideways = np.sin(heading).sum(axis=1) + rng.normal(0, sigma_m, (drives, steps)).sum(axis=1)
    # What a steady error of heading does over a long way, and not the sum of what it does in every step.
    assert math.sqrt(covariance[1, 1]) == pytest.approx(sideways.std(), rel=0.05)
    assert covariance[1, 5] == pytest.approx(np.cov(sideways, yaw[:, -1])[0, 1], rel=0.1)
    np.testing.assert_allclose(covariance, covariance.T, rtol=1e-12)


def test_a_covariance_that_is_as_large_as_can_be_remains_one() -> None:
    integrator = OdometryIntegrator()
    integrator.update(0, None)
    step = np.eye(4)
    step[:3, 3] = 30.0, 10.0, 1.0
    for k in range(1, 3000):
        covariance = integrator.update(k * 100_000_000, step).pose_covariance_66
    assert np.diag(covariance).max() == 1e6
    assert np.linalg.eigvalsh(covariance).min() > -1e-3


def test_rounding_does_not_grow_over_days() -> None:
    integrator = OdometryIntegrator()
    integrator.update(0, None)
    step = np.eye(4)
    # A network in half precision gives rotations that are none by this much.
    step[:3, :3] *= 1 + 1e-3
    step[0, 3] = 1.0
    for k in range(1, 3001):
        motion = integrator.update(k * 100_000_000, step)
    rotation = motion.odom_T_base[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(motion.odom_T_base[:3, 3], [3000, 0, 0], rtol=1e-6)


def test_a_wiped_memory_keeps_the_pose_and_grows_the_covariance() -> None:
    integrator = OdometryIntegrator()
    integrator.update(0, None)
    step = np.eye(4)
    step[0, 3] = 1.0
    before = integrator.update(100_000_000, step)
    after = integrator.update(3_100_000_000, None)
    np.testing.assert_array_equal(after.odom_T_base, before.odom_T_base)
    assert after.pose_covariance_66[0, 0] > before.pose_covariance_66[0, 0] + 1000
    assert not after.twist_6.any()
    assert after.twist_covariance_66[0, 0] >= 400


def test_depth_messages_keep_nan_and_infinity() -> None:
    depth = np.array([[1.5, np.nan], [np.inf, 80.0]], np.float32)
    message = depth_message(depth, Header(frame_id='cam'))
    assert (message.encoding, message.step, message.height, message.width) == ('32FC1', 8, 2, 2)
    np.testing.assert_array_equal(np.frombuffer(message.data, np.float32).reshape(2, 2), depth)


@pytest.mark.parametrize(
    ('encoding', 'channels'), [('bgr8', 3), ('mono8', 1), ('rgba8', 4), ('uyvy', 2), ('yuv422', 2)]
)
def test_pixels_are_decoded_without_a_copy(encoding: str, channels: int) -> None:
    message = raw_image(np.arange(4 * 6 * channels, dtype=np.uint8).reshape(4, 6, channels), encoding)
    model = CameraModel(6, 4, np.diag([5.0, 5.0, 1.0]), np.zeros(0))
    message.header.stamp.sec = 1
    decoded = ImageDecoder()(receive_raw(message), model)
    assert decoded.size == (6, 4)
    message.data[0] = 77
    assert decoded.pixels.reshape(-1)[0] == 77


@pytest.mark.parametrize('encoding', ['bgr8', 'mono8', 'bayer_rggb8'])
def test_what_cv_bridge_would_stumble_over_is_viewed_without_it(encoding: str) -> None:
    class Stumbling:
        def imgmsg_to_cv2(self, *arguments: object, **named: object) -> np.ndarray:
            raise AttributeError("'numpy.ndarray' object has no attribute 'newbyteorder'")

    channels = 3 if encoding == 'bgr8' else 1
    decode = ImageDecoder()
    decode._bridge = Stumbling()
    pixels = np.arange(4 * 6 * channels, dtype=np.uint8).reshape(4, 6, channels)
    model = CameraModel(6, 4, np.diag([5.0, 5.0, 1.0]), np.zeros(0))
    big, cut = raw_image(pixels, encoding), raw_image(np.pad(pixels, ((0, 0), (0, 2), (0, 0))), encoding)
    # Drivers do say that of 8 bit pixels; others leave out the padding of the last row.
    big.is_bigendian = 1
    cut.width, cut.data = 6, cut.data[: -2 * channels]
    for message in (big, cut):
        message.header.stamp.sec = 1
        decoded = decode(receive_raw(message), model)
        np.testing.assert_array_equal(decoded.pixels.reshape(pixels.shape), pixels)


def test_throttling_is_by_key() -> None:
    said: list[str] = []
    log = ThrottledLogger(SimpleNamespace(warning=said.append, error=said.append), period_s=60)
    for _ in range(3):
        log.warning(('left', 'step'), 'left')
        log.warning(('right', 'step'), 'right')
    assert said == ['left', 'right']
