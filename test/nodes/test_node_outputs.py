# SPDX-License-Identifier: Apache-2.0
"""A node with every output: 16 bit depth, labels, ego masks, QoS overrides; and what it may do under SROS 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rclpy.qos import ReliabilityPolicy
from ros_harness import HEIGHT, OFTEN, WIDTH, Bench, Scene, start_node, wait_for
from sensor_msgs.msg import CameraInfo, Image

from semi_smd_ros.nodes import security_policy
from semi_smd_ros.nodes.resources import rig_path
from semi_smd_ros.rig import RigConfigCamera, load_rig_yaml

ROOT = Path(__file__).parents[2]
NAMESPACE = '/equipped'
DEPTH_OF_128_MM = round((10 * 128 / 255 + 1) * 1000)
LABEL_OF_128 = int(18 * 128 / 255)
# Rows of the depth image below this one look at the vehicle.
FIRST_MASKED_ROW = 32


class Equipped(Scene):
    """The scene, with labels heard, too."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, NAMESPACE[1:], ['left', 'right'])
        self.labels = {n: self.hear(Image, f'{NAMESPACE}/{n}/semantics/image', []) for n in self.names}
        self.label_infos = {n: self.hear(CameraInfo, f'{NAMESPACE}/{n}/semantics/camera_info', []) for n in self.names}


@pytest.fixture(scope='module')
def equipped(bench: Bench, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Equipped]:
    folder = tmp_path_factory.mktemp('equipped')
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2 * FIRST_MASKED_ROW :] = 255
    (folder / 'mask.png').write_bytes(cv2.imencode('.png', mask)[1].tobytes())
    scene = Equipped(bench)
    scene.send_tf()
    overrides = {
        f'qos_overrides.{NAMESPACE}/left/image_raw.subscription.reliability': 'best_effort',
        f'qos_overrides.{NAMESPACE}/surround_depth/points.publisher.depth': 1,
        'ego_mask.left': folder / 'mask.png',
    }
    start_node(
        folder, scene, model=str(tiny), cameras='[left, right]', semantics='true', depth_encoding='16UC1',
        **overrides, **OFTEN,
    )  # fmt: skip
    scene.until(lambda: scene.clouds and all(scene.labels.values()), 'clouds and labels')
    scene.quiet()
    yield scene
    assert scene.process.stop() == 0, scene.process.log()


def test_depth_in_millimetres_and_nothing_where_the_vehicle_is(equipped: Equipped) -> None:
    equipped.quiet()
    equipped.send(grey=128)
    images = wait_for(lambda: all(equipped.depths.values()) and equipped.depths, 'depth of every camera')
    left, right = (images[name][0] for name in ('left', 'right'))
    assert (left.encoding, left.step, left.width, left.height) == ('16UC1', 160, 80, 48)
    depth = np.frombuffer(left.data, np.uint16).reshape(48, 80)
    assert (depth[:FIRST_MASKED_ROW] == DEPTH_OF_128_MM).all()
    assert not depth[FIRST_MASKED_ROW:].any()
    assert (np.frombuffer(right.data, np.uint16) == DEPTH_OF_128_MM).all()


def test_labels_with_their_camera_info(equipped: Equipped) -> None:
    equipped.quiet()
    for heard in (*equipped.labels.values(), *equipped.label_infos.values()):
        heard.clear()
    stamp_ns = equipped.send(grey=128)
    wait_for(lambda: all(equipped.labels.values()) and all(equipped.label_infos.values()), 'labels of every camera')
    image, info = equipped.labels['left'][0], equipped.label_infos['left'][0]
    assert (image.encoding, image.step, image.width, image.height) == ('mono8', 80, 80, 48)
    assert (info.width, info.height, info.k[0]) == (80, 48, 50)
    for header in (image.header, info.header):
        assert header.stamp.sec * 10**9 + header.stamp.nanosec == stamp_ns
        assert header.frame_id == equipped.frame('left')
    labels = np.frombuffer(image.data, np.uint8).reshape(48, 80)
    assert (labels[:FIRST_MASKED_ROW] == LABEL_OF_128).all()
    assert (labels[FIRST_MASKED_ROW:] == 255).all()
    wait_for(lambda: 'road, sidewalk' in equipped.values('engine').get('classes', ''), 'the names of the classes')


def test_points_have_a_class_and_none_is_the_vehicle(equipped: Equipped) -> None:
    equipped.quiet()
    equipped.send(grey=128)
    cloud = wait_for(lambda: equipped.clouds and equipped.clouds[0], 'a cloud')
    offsets = {field.name: field.offset for field in cloud.fields}
    points = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_step)
    (label,) = offsets.keys() - {'x', 'y', 'z', 'rgb', 'camera', 'confidence'}
    assert (points[:, offsets[label]] == LABEL_OF_128).all()
    rows_of_left = len(range(0, FIRST_MASKED_ROW, 2))
    assert np.bincount(points[:, offsets['camera']]).tolist() == [rows_of_left * 40, 24 * 40]


def test_qos_overrides_are_taken(equipped: Equipped) -> None:
    def reliability(camera: str) -> ReliabilityPolicy:
        infos = equipped.bench.node.get_subscriptions_info_by_topic(f'{NAMESPACE}/{camera}/image_raw')
        return next(info.qos_profile.reliability for info in infos if info.node_name == 'surround_depth')

    assert reliability('left') == ReliabilityPolicy.BEST_EFFORT
    assert reliability('right') == ReliabilityPolicy.RELIABLE


def names_in(policy: str) -> dict[tuple[str, str], set[str]]:
    """{(rule, what is allowed): full names} of a policy."""
    root = ElementTree.fromstring(policy)
    # As sros2's schema of this version has it; `ros2 security create_permission` refuses all else.
    assert (root.tag, root.attrib) == ('policy', {'version': '0.2.0'})
    (profile,) = root.findall('enclaves/enclave/profiles/profile')
    (enclave,) = root.findall('enclaves/enclave')
    assert enclave.attrib == {'path': '/surround_depth'}
    namespace, node = profile.attrib['ns'], profile.attrib['node']
    prefix = namespace.rstrip('/')
    found = {}
    for rule in profile:
        names = [item.text or '' for item in rule]
        full = {n if n[0] == '/' else f'{prefix}/{n}'.replace('/~/', f'/{node}/') for n in names}
        ((right, verdict),) = rule.attrib.items()
        assert verdict == 'ALLOW'
        assert len(full) == len(names)
        found[rule.tag, right] = full
    return found


def test_the_policy_allows_what_the_running_node_has_and_no_more(equipped: Equipped) -> None:
    cameras = [RigConfigCamera(n, None, f'{n}/image_raw', f'{n}/camera_info', None) for n in equipped.names]
    allowed = names_in(security_policy.policy_xml(cameras, NAMESPACE))
    node = equipped.bench.node
    at = ('surround_depth', NAMESPACE)
    assert {n for n, _ in node.get_publisher_names_and_types_by_node(*at)} == allowed['topics', 'publish']
    assert {n for n, _ in node.get_service_names_and_types_by_node(*at)} == allowed['services', 'reply']
    assert not node.get_client_names_and_types_by_node(*at)
    # The other image transport, and the clock of use_sim_time, are allowed and not in use here.
    idle = {f'{NAMESPACE}/{n}/image_raw/compressed' for n in equipped.names} | {'/clock'}
    assert {n for n, _ in node.get_subscriber_names_and_types_by_node(*at)} == allowed['topics', 'subscribe'] - idle


def test_the_shipped_policy_is_that_of_the_nuscenes_rig(capsys: pytest.CaptureFixture[str]) -> None:
    shipped = (ROOT / 'config' / 'sros2_policy.xml').read_text()
    assert security_policy.policy_xml(load_rig_yaml(rig_path('nuscenes')).cameras) == shipped
    assert names_in(shipped)['topics', 'subscribe'] >= {'/CAM_FRONT/image_raw', '/tf', '/tf_static'}
    assert security_policy.main(['nuscenes']) == 0
    assert capsys.readouterr().out == shipped
    assert security_policy.main(['kitti']) == 1
    assert security_policy.main([]) == 2
