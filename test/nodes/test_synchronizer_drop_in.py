# SPDX-License-Identifier: Apache-2.0
"""The synchroniser in the place of message_filters' own, in somebody else's program: real subscriptions, real DDS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rclpy.time import Time
from ros_harness import Bench, wait_for
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from semi_smd_ros.nodes.ros import message_filters
from semi_smd_ros.runtime import SurroundSynchronizer

MS = 1_000_000
START = 1_700_000_000 * 10**9
TOPICS = (('/drop_in/image', Image), ('/drop_in/camera_info', CameraInfo), ('/drop_in/other_image', Image))


class Somebody:
    """A node's three publishers, and subscribers as message_filters has them."""

    def __init__(self, bench: Bench) -> None:
        self._node = bench.node
        self.publishers = [bench.do(lambda t=t, k=k: self._node.create_publisher(k, t, 10)) for t, k in TOPICS]
        self.subscribers = [
            bench.do(lambda t=t, k=k: message_filters.Subscriber(self._node, k, t, qos_profile=10)) for t, k in TOPICS
        ]
        self._close = bench.do
        wait_for(lambda: all(p.get_subscription_count() for p in self.publishers), 'subscriptions')

    def send(self, index: int, stamp_ns: int) -> None:
        """Publish one message with this stamp."""
        message = TOPICS[index][1]()
        message.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        message.header.frame_id = f'{stamp_ns}'
        self.publishers[index].publish(message)

    def close(self) -> None:
        """Leave the bench as it was."""
        for publisher, subscriber in zip(self.publishers, self.subscribers, strict=True):
            self._close(lambda s=subscriber: self._node.destroy_subscription(s.sub))
            self._close(lambda p=publisher: self._node.destroy_publisher(p))


@pytest.fixture
def somebody(bench: Bench) -> Iterator[Somebody]:
    somebody = Somebody(bench)
    yield somebody
    somebody.close()


def test_real_subscribers_and_a_callback_with_arguments(somebody: Somebody) -> None:
    heard: list[tuple[Any, ...]] = []
    # As with message_filters.ApproximateTimeSynchronizer: filters, queue_size, slop.
    synchronizer = SurroundSynchronizer(somebody.subscribers, 10, 0.05)
    connection = synchronizer.registerCallback(lambda *got: heard.append(got), 'mine')
    assert isinstance(connection, int)
    for frame in range(10):
        for index in range(3):
            if (frame, index) != (4, 1):  # one is lost
                somebody.send(index, START + frame * 100 * MS + index * 3 * MS)
    wait_for(lambda: len(heard) >= 9, 'nine sets')
    assert len(heard) == 9
    frames = [frame for frame in range(10) if frame != 4]
    for frame, (image, info, other, argument) in zip(frames, heard, strict=True):
        assert (type(image), type(info), type(other), argument) == (Image, CameraInfo, Image, 'mine')
        stamps = [int(message.header.frame_id) for message in (image, info, other)]
        assert stamps == [START + frame * 100 * MS + index * 3 * MS for index in range(3)]


def test_a_filter_of_somebody_elses_behind_it(somebody: Somebody) -> None:
    class Counter(message_filters.SimpleFilter):  # type: ignore[misc]
        def __init__(self, source: Any) -> None:
            super().__init__()
            source.registerCallback(self.count)

        def count(self, *messages: Any) -> None:
            self.signalMessage(len(messages))

    synchronizer = SurroundSynchronizer(['image', 'info', 'other'])
    synchronizer.connectInput(somebody.subscribers)
    heard: list[int] = []
    Counter(synchronizer).registerCallback(heard.append)
    for index in (2, 0, 1):
        somebody.send(index, START)
    wait_for(lambda: heard == [3], 'a set')


def test_messages_without_a_header(bench: Bench) -> None:
    strings, images = message_filters.SimpleFilter(), message_filters.SimpleFilter()
    SurroundSynchronizer([strings, images])
    with pytest.raises(ValueError, match='input_0: String has no header; expected a stamped message'):
        strings.signalMessage(String(data='a'))

    heard: list[tuple[Any, ...]] = []
    strings, images = message_filters.SimpleFilter(), message_filters.SimpleFilter()
    synchronizer = SurroundSynchronizer([strings, images], 10, 0.5, True)  # allow_headerless, where it is upstream
    synchronizer.registerCallback(lambda *got: heard.append(got))
    image = Image()
    image.header.stamp = bench.node.get_clock().now().to_msg()
    images.signalMessage(image)
    strings.signalMessage(String(data='a'))
    assert [(text.data, picture is image) for text, picture in heard] == [('a', True)]
