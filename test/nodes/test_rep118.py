# SPDX-License-Identifier: Apache-2.0
"""Depth images to the letter of REP 118 and REP 117, over real DDS: near, sky, unknown, the vehicle itself; headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from rclpy.time import Time
from ros_harness import HEIGHT, OFTEN, WIDTH, Bench, Scene, raw_image, start_node, wait_for
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header
from tiny_model import write_tiny_model

from semi_smd_ros.nodes.messages import depth_message
from semi_smd_ros.runtime.engine.trust import write_checksum

MS = 10**6
GREY = 102
NAMESPACE = 'lettered'
POINTS = f'/{NAMESPACE}/surround_depth/points'
# Of the 80 columns of depth: those well within the black, the grey and the white stripe of the picture.
UNKNOWN, NEAR, SKY = slice(0, 25), slice(28, 52), slice(55, 80)
FIRST_MASKED_ROW = 40
LATE = {'left': 0, 'right': 20 * MS}


def write_sky_model(path: Path) -> Path:
    """The tiny model with depth = 10 * brightness metres, but +inf on white; on black that is 0, which is no depth."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(write_tiny_model(path))
    graph = model.graph
    node = next(node for node in graph.node if 'depth' in node.output)
    graph.node.remove(node)
    graph.initializer.append(helper.make_tensor('nearly', TensorProto.FLOAT, [], [0.02]))
    graph.node.extend(
        [
            helper.make_node('Add', ['grey', 'nearly'], ['brighter']),
            helper.make_node('Floor', ['brighter'], ['is_white']),
            helper.make_node('Sub', ['one', 'is_white'], ['is_not_white']),
            helper.make_node('Div', ['grey10', 'is_not_white'], ['depth']),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    write_checksum(path)
    return path


@pytest.fixture(scope='module')
def lettered(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp(NAMESPACE)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2 * FIRST_MASKED_ROW :] = 255
    (folder / 'mask.png').write_bytes(cv2.imencode('.png', mask)[1].tobytes())
    scene = Scene(bench, NAMESPACE, ['left', 'right'])
    scene.send_tf()
    settings = {
        'ego_mask.right': folder / 'mask.png',
        # Less than half of the time between two sets, so that one is enough.
        'sync.slop': 0.022,
        'sync.missing_after': 2.0,
        'cloud.stride': 1,
        'cloud.min_range': 0.0,
        f'qos_overrides.{POINTS}.publisher.reliability': 'best_effort',
    }
    model = write_sky_model(folder / 'sky.onnx')
    start_node(folder, scene, model=str(model), cameras='[left, right]', **settings, **OFTEN)
    heard = (*scene.depths.values(), *scene.infos.values(), scene.odometry)
    scene.until(lambda: all(heard), 'every output')
    yield scene
    assert scene.process.stop() == 0, scene.process.log()


def stripes(name: str, image: Any, info: CameraInfo) -> None:
    """A black, a grey and a white stripe; each camera is exposed at a time of its own."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, 53:107], pixels[:, 107:] = GREY, 255
    image.data = raw_image(pixels, 'bgr8').data
    stamp = Time(nanoseconds=Time.from_msg(info.header.stamp).nanoseconds + LATE[name]).to_msg()
    image.header = info.header = Header(stamp=stamp, frame_id=info.header.frame_id)


def of(stamp_ns: int, messages: list[Any]) -> Any:
    """The message of this very stamp; what was sent before may still come on a busy machine."""
    return next((m for m in list(messages) if Time.from_msg(m.header.stamp).nanoseconds == stamp_ns), None)


def test_near_sky_unknown_and_the_vehicle(lettered: Scene) -> None:
    stamp_ns = lettered.send(change=stripes)
    for name in lettered.names:
        # Stamp and frame of the very image that it is made of, and the same for its CameraInfo.
        own_ns = stamp_ns + LATE[name]
        image = wait_for(lambda n=name, s=own_ns: of(s, lettered.depths[n]), f'depth of {name}')
        info = wait_for(lambda n=name, s=own_ns: of(s, lettered.infos[n]), f'CameraInfo of {name}')
        assert image.header == info.header
        assert image.header.frame_id == lettered.frame(name)
        assert (info.height, info.width) == (image.height, image.width)
        assert (image.encoding, image.height, image.width, image.step) == ('32FC1', 48, 80, 320)
        assert not image.is_bigendian
        depth_hw = np.frombuffer(image.data, '<f4').reshape(48, 80)
        seen = depth_hw[:FIRST_MASKED_ROW] if name == 'right' else depth_hw
        np.testing.assert_allclose(seen[:, NEAR], 10 * GREY / 255, rtol=1e-5)
        assert np.isposinf(seen[:, SKY]).all()
        assert np.isnan(seen[:, UNKNOWN]).all()
        if name == 'right':
            assert np.isnan(depth_hw[FIRST_MASKED_ROW:]).all()


def test_the_cloud_has_what_is_near_at_the_newest_stamp(lettered: Scene) -> None:
    clouds: list[PointCloud2] = []
    node = lettered.bench.node
    hearing = node.create_subscription(PointCloud2, POINTS, clouds.append, qos_profile_sensor_data)
    lettered.until(lambda: clouds, 'a cloud')
    sent_ns: list[int] = []

    def recorded(name: str, image: Any, info: CameraInfo) -> None:
        stripes(name, image, info)
        if LATE[name] == max(LATE.values()):
            sent_ns.append(Time.from_msg(image.header.stamp).nanoseconds)

    def answered() -> Any:
        """Cloud and odometry of one set: a single cloud may be lost on a busy machine, it is heard best effort."""
        pairs = ((of(stamp_ns, clouds), of(stamp_ns, lettered.odometry)) for stamp_ns in sent_ns)
        return next((pair for pair in pairs if all(pair)), None)

    cloud, odometry = lettered.until(answered, 'cloud and odometry of one set', change=recorded)
    lettered.bench.do(lambda: node.destroy_subscription(hearing))
    assert (odometry.header.frame_id, odometry.child_frame_id) == ('odom', 'base_link')
    assert (cloud.header.frame_id, cloud.is_dense) == ('base_link', True)
    points = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_step)
    xyz = points[:, :12].copy().view(np.float32)
    assert np.isfinite(xyz).all()
    # The edges of the stripes lie between; the sky and what is unknown are nowhere.
    assert xyz[:, 0].max() < 10
    of_left = int((points[:, 16] == 0).sum())
    assert 48 * (NEAR.stop - NEAR.start) <= of_left <= 48 * (SKY.start - UNKNOWN.stop)
    assert int((points[:, 16] == 1).sum()) == of_left * FIRST_MASKED_ROW // 48


def test_the_override_of_an_output_is_taken(lettered: Scene) -> None:
    (info,) = lettered.bench.node.get_publishers_info_by_topic(POINTS)
    assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    others = lettered.bench.node.get_publishers_info_by_topic(f'/{NAMESPACE}/left/depth/image')
    assert [other.qos_profile.reliability for other in others] == [ReliabilityPolicy.RELIABLE]


def test_millimetres_have_no_infinity() -> None:
    depth_hw = np.array([[np.nan, np.inf, 0.0004], [1.2346, 65.535, 65.5361]], np.float32)
    image: Image = depth_message(depth_hw, Header(), '16UC1')
    assert np.frombuffer(image.data, '<u2').tolist() == [0, 0, 0, 1235, 65535, 0]
