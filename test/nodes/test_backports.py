# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for message_filters, tf2_ros and cv_bridge."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time
from ros_harness import Bench, wait_for
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from semi_smd_ros.nodes.backports import cv_bridge, message_filters, tf2_ros
from semi_smd_ros.rig.transforms import MAX_FRAMES, MAX_HISTORY

SECOND = 1_000_000_000


def transform(parent: str, child: str, x: float = 0.0, yaw: float = 0.0, stamp_ns: int = 0) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, Time(nanoseconds=stamp_ns).to_msg()
    message.transform.translation.x = x
    message.transform.rotation.z, message.transform.rotation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


# message_filters


def test_filters_hand_on_messages_and_arguments() -> None:
    heard: list[tuple] = []
    source = message_filters.SimpleFilter()
    assert source.registerCallback(lambda *args: heard.append(args)) == 0
    assert source.registerCallback(lambda *args: heard.append(args), 'queue', 3) == 1
    source.signalMessage('message')
    assert heard == [('message',), ('message', 'queue', 3)]


def test_subscriber_hears_its_topic(bench: Bench) -> None:
    heard: list[Header] = []
    subscriber = message_filters.Subscriber(bench.node, Header, 'backport/header', qos_profile=3)
    subscriber.registerCallback(heard.append)
    publisher = bench.node.create_publisher(Header, 'backport/header', 3)
    wait_for(publisher.get_subscription_count, 'a match')
    publisher.publish(Header(frame_id='here'))
    wait_for(lambda: heard, 'a message')
    assert heard[0].frame_id == 'here'
    assert subscriber.getTopic() == 'backport/header'
    assert subscriber.topic_name == '/backport/header'
    bench.node.destroy_subscription(subscriber.sub)
    bench.node.destroy_publisher(publisher)


# tf2_ros


def test_lookup_chains_and_inverts() -> None:
    buffer = tf2_ros.Buffer()
    buffer.set_transform_static(transform('base', 'mast', x=1.0, yaw=math.pi / 2), 'test')
    buffer.set_transform_static(transform('mast', 'camera', x=2.0), 'test')
    found = buffer.lookup_transform('base', 'camera', Time())
    assert (found.header.frame_id, found.child_frame_id) == ('base', 'camera')
    position = found.transform.translation
    np.testing.assert_allclose([position.x, position.y, position.z], [1, 2, 0], atol=1e-12)
    back = buffer.lookup_transform('camera', 'base', Time()).transform
    np.testing.assert_allclose([back.translation.x, back.translation.y], [-2, 1], atol=1e-12)
    np.testing.assert_allclose([back.rotation.z, back.rotation.w], [-math.sqrt(0.5), math.sqrt(0.5)])


def test_lookup_interpolates_between_stamps() -> None:
    buffer = tf2_ros.Buffer(cache_time=Duration(seconds=5))
    buffer.set_transform(transform('odom', 'base', x=0.0, yaw=0.0, stamp_ns=10 * SECOND), 'test')
    buffer.set_transform(transform('odom', 'base', x=2.0, yaw=1.0, stamp_ns=11 * SECOND), 'test')
    between = buffer.lookup_transform('odom', 'base', Time(nanoseconds=10 * SECOND + SECOND // 4)).transform
    assert between.translation.x == pytest.approx(0.5)
    assert 2 * math.atan2(between.rotation.z, between.rotation.w) == pytest.approx(0.25)
    assert buffer.lookup_transform('odom', 'base', Time()).transform.translation.x == 2.0
    with pytest.raises(tf2_ros.ExtrapolationException, match='odom -> base'):
        buffer.lookup_transform('odom', 'base', Time(nanoseconds=12 * SECOND))


def test_errors_name_the_frames() -> None:
    buffer = tf2_ros.Buffer()
    buffer.set_transform_static(transform('base', 'camera'), 'test')
    buffer.set_transform_static(transform('map', 'lamp'), 'test')
    with pytest.raises(tf2_ros.LookupException, match='nowhere'):
        buffer.lookup_transform('base', 'nowhere', Time())
    with pytest.raises(tf2_ros.ConnectivityException, match='lamp'):
        buffer.lookup_transform('base', 'lamp', Time())
    with pytest.raises(tf2_ros.InvalidArgumentException, match='different'):
        buffer.set_transform_static(transform('base', 'base'), 'test')
    assert issubclass(tf2_ros.ExtrapolationException, tf2_ros.TransformException)
    assert buffer.can_transform('base', '/camera', Time())
    can, why = buffer.can_transform('base', 'nowhere', Time(), Duration(seconds=0.05), return_debug_tuple=True)
    assert not can
    assert 'nowhere' in why


def test_clear_forgets_what_moves_and_keeps_what_is_static() -> None:
    buffer = tf2_ros.Buffer()
    buffer.set_transform_static(transform('base', 'camera', x=1.0), 'test')
    buffer.set_transform(transform('odom', 'base', stamp_ns=SECOND), 'test')
    buffer.clear()
    assert buffer.can_transform('base', 'camera', Time())
    assert not buffer.can_transform('odom', 'base', Time())


def test_broadcasters_reach_a_listener_that_comes_later(bench: Bench) -> None:
    static, moving = tf2_ros.StaticTransformBroadcaster(bench.node), tf2_ros.TransformBroadcaster(bench.node)
    static.sendTransform(transform('backport_base', 'backport_a', x=1.0))
    static.sendTransform([transform('backport_base', 'backport_b', x=2.0)])
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, bench.node)
    wait_for(lambda: buffer.can_transform('backport_a', 'backport_b', Time()), 'both static transforms')
    wait_for(moving.pub_tf.get_subscription_count, 'a match')
    moving.sendTransform(transform('backport_odom', 'backport_base', stamp_ns=SECOND))
    wait_for(lambda: buffer.can_transform('backport_odom', 'backport_a', Time()), 'the moving transform')
    listener.callback(TFMessage(transforms=[transform('same', 'same')]))  # logged, not raised
    listener.unregister()
    for broadcaster in (static, moving):
        bench.node.destroy_publisher(broadcaster.pub_tf)


# cv_bridge


def test_passthrough_is_a_view_that_honours_step() -> None:
    rows = np.arange(2 * 10, dtype=np.uint8)
    message = Image(height=2, width=3, encoding='rgb8', step=10, data=rows.tolist())
    pixels = cv_bridge.CvBridge().imgmsg_to_cv2(message)
    assert pixels.tolist() == [[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[10, 11, 12], [13, 14, 15], [16, 17, 18]]]
    message.data[0] = 99
    assert pixels[0, 0, 0] == 99


@pytest.mark.parametrize('encoding', ['mono8', 'bgr8', 'rgba8', 'mono16', '32FC1', '16UC1', '8UC2'])
def test_there_and_back(encoding: str) -> None:
    bridge = cv_bridge.CvBridge()
    dtype = {'mono16': np.uint16, '16UC1': np.uint16, '32FC1': np.float32}.get(encoding, np.uint8)
    channels = {'bgr8': 3, 'rgba8': 4, '8UC2': 2}.get(encoding)
    shape = (4, 5) if channels is None else (4, 5, channels)
    pixels = np.random.default_rng(1).integers(0, 255, shape).astype(dtype)
    message = bridge.cv2_to_imgmsg(pixels, encoding, header=Header(frame_id='here'))
    assert message.header.frame_id == 'here'
    assert message.step * message.height == len(message.data) == pixels.nbytes
    np.testing.assert_array_equal(bridge.imgmsg_to_cv2(message), pixels)


def test_colours_are_converted() -> None:
    bridge = cv_bridge.CvBridge()
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 200
    message = bridge.cv2_to_imgmsg(red, 'bgr8')
    assert bridge.imgmsg_to_cv2(message, 'rgb8')[0, 0].tolist() == [200, 0, 0]
    assert bridge.imgmsg_to_cv2(message, 'rgba8')[0, 0].tolist() == [200, 0, 0, 255]
    assert bridge.imgmsg_to_cv2(message, 'mono8')[0, 0] == 60
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[0::2, 0::2] = 200  # the red pixels of rggb
    bayer = bridge.cv2_to_imgmsg(mosaic, 'bayer_rggb8')
    assert bridge.imgmsg_to_cv2(bayer, 'rgb8')[4, 4].tolist() == [200, 0, 0]


def test_big_endian_numbers_are_read() -> None:
    message = Image(height=1, width=2, encoding='mono16', step=4, is_bigendian=1, data=[1, 0, 0, 2])
    assert cv_bridge.CvBridge().imgmsg_to_cv2(message).tolist() == [[256, 2]]


def test_compressed_images() -> None:
    bridge = cv_bridge.CvBridge()
    grey = np.full((8, 8, 3), 90, np.uint8)
    png = CompressedImage(format='png', data=cv2.imencode('.png', grey)[1].ravel().tolist())
    np.testing.assert_array_equal(bridge.compressed_imgmsg_to_cv2(png), grey)
    assert bridge.compressed_imgmsg_to_cv2(png, 'mono8').shape == (8, 8)
    with pytest.raises(cv_bridge.CvBridgeError, match='3 bytes'):
        bridge.compressed_imgmsg_to_cv2(CompressedImage(format='jpeg', data=[1, 2, 3]))


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'encoding': 'rgb9'}, "'rgb9' is unknown"),
        ({'step': 8}, 'step 8'),
        ({'data': [0] * 17}, '17 bytes'),
    ],
)
def test_bad_images_are_refused(fields: dict, text: str) -> None:
    message = Image(**{'height': 2, 'width': 3, 'encoding': 'rgb8', 'step': 9, 'data': [0] * 18, **fields})
    with pytest.raises(cv_bridge.CvBridgeError, match=text):
        cv_bridge.CvBridge().imgmsg_to_cv2(message)


def test_unknown_conversions_are_refused() -> None:
    bridge = cv_bridge.CvBridge()
    with pytest.raises(cv_bridge.CvBridgeError, match="'32FC1' to 'bgr8'"):
        bridge.imgmsg_to_cv2(bridge.cv2_to_imgmsg(np.zeros((2, 2), np.float32)), 'bgr8')
    with pytest.raises(cv_bridge.CvBridgeError, match='bgr8 is uint8 x 3'):
        bridge.cv2_to_imgmsg(np.zeros((2, 2), np.uint8), 'bgr8')


def test_the_latest_transform_says_when_it_is_from() -> None:
    buffer = tf2_ros.Buffer()
    for second in (2, 5):
        buffer.set_transform(transform('base', 'cab', 1.0, stamp_ns=second * SECOND), 'test')
    buffer.set_transform(transform('cab', 'cam', 1.0, stamp_ns=3 * SECOND), 'test')
    assert Time.from_msg(buffer.lookup_transform('base', 'cam', Time()).header.stamp).nanoseconds == 3 * SECOND
    assert Time.from_msg(buffer.lookup_transform('base', 'cab', Time()).header.stamp).nanoseconds == 5 * SECOND
    buffer.set_transform_static(transform('base', 'lidar', 1.0), 'test')
    assert Time.from_msg(buffer.lookup_transform('base', 'lidar', Time()).header.stamp).nanoseconds == 0


def test_a_flood_of_transforms_is_bounded() -> None:
    buffer = tf2_ros.Buffer()
    for k in range(MAX_HISTORY + 100):
        buffer.set_transform(transform('base', 'cab', 1.0, stamp_ns=SECOND + k), 'test')
    assert len(buffer._tree._edges['cab'].stamps_ns) == MAX_HISTORY
    for k in range(MAX_FRAMES - 1):
        buffer.set_transform_static(transform('base', f'frame_{k}'), 'test')
    with pytest.raises(tf2_ros.InvalidArgumentException, match='expected fewer'):
        buffer.set_transform_static(transform('base', 'one_too_many'), 'test')
    buffer.set_transform(transform('base', 'cab', 2.0, stamp_ns=2 * SECOND), 'test')  # known ones go on


def test_a_transform_from_before_time_is_ignored(bench: Bench) -> None:
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, bench.node)
    early = transform('base', 'cab')
    early.header.stamp.sec = -5
    listener.callback(TFMessage(transforms=[early, transform('base', 'cam', stamp_ns=SECOND)]))
    listener.unregister()
    assert buffer.can_transform('base', 'cam', Time())
    assert not buffer.can_transform('base', 'cab', Time())
