# SPDX-License-Identifier: Apache-2.0
"""Image topics that are no camera of the vehicle, cameras chosen by name, and pictures that cannot be re-recorded."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring

from semi_smd_ros.cli.record import record_source
from semi_smd_ros.datasets.messages import camera_info, compressed_image, message, raw_image, transform_stamped
from semi_smd_ros.datasets.recording import BagWriter
from semi_smd_ros.datasets.rosbag import SurroundBag, find_cameras
from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.sources import open_source

START, PERIOD = 1_767_268_800 * 10**9, 10**8
IMAGE, COMPRESSED, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/CameraInfo'


def jpeg(value: int) -> bytes:
    return cv2.imencode('.jpg', np.full((96, 160, 3), value, np.uint8))[1].tobytes()


def drive(path: Path, pictures: list[list[bytes]], unplaced: bool = False) -> None:
    """A drive with these pictures of each set's cameras, and a debug view without CameraInfo."""
    rig = ring(len(pictures[0]))
    with BagWriter(path) as bag:
        placed = rig.cameras[:-1] if unplaced else rig.cameras
        mounts = [transform_stamped('base_link', c.frame_id, c.base_T_cam, START) for c in placed]
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=mounts), START)
        for k, own in enumerate(pictures):
            stamp = START + k * PERIOD
            for camera, data in zip(rig.cameras, own, strict=True):
                bag.write(f'/{camera.name}/camera_info', camera_info(camera, stamp), stamp)
                image = compressed_image(data, 'jpeg', stamp, camera.frame_id)
                bag.write(f'/{camera.name}/image_raw/compressed', image, stamp)
            debug = raw_image(np.zeros((4, 4, 3), np.uint8), 'bgr8', stamp, 'nowhere')
            bag.write('/debug/image_raw', debug, stamp)


def test_a_stray_image_topic_is_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drive(tmp_path / 'd', [[jpeg(10 * k + i) for i in range(3)] for k in range(2)])
    with open_source(f'rosbag:{tmp_path / "d"}') as source:
        assert [sample.rig.names for sample in source] == [('cam_0', 'cam_1', 'cam_2')] * 2
        (told,) = source.skipped
    assert told.startswith('/debug/image_raw: ')
    assert 'there is no /debug/camera_info' in told
    caplog.clear()
    with caplog.at_level(logging.WARNING), SurroundBag(tmp_path / 'd') as bag:
        assert [camera.name for camera in bag.cameras] == ['cam_0', 'cam_1', 'cam_2']
    assert '/debug/image_raw is left out' in caplog.text


def test_a_camera_without_a_place_is_left_out_and_counted(tmp_path: Path) -> None:
    drive(tmp_path / 'd', [[jpeg(i) for i in range(3)]] * 2, unplaced=True)
    with open_source(f'rosbag:{tmp_path / "d"}') as source:
        assert [sample.rig.names for sample in source] == [('cam_0', 'cam_1')] * 2
        assert [told.split(': ')[0] for told in source.skipped] == ['/debug/image_raw', '/cam_2/image_raw/compressed']
        assert 'cam_2_optical' in source.skipped[1]
    with pytest.raises(DataError, match='cam_2_optical'):
        open_source(f'rosbag:{tmp_path / "d"}?cameras=cam_0,cam_2')


def test_cameras_are_chosen_by_name(tmp_path: Path) -> None:
    drive(tmp_path / 'd', [[jpeg(10 * k + i) for i in range(3)] for k in range(2)])
    with open_source(f'rosbag:{tmp_path / "d"}?cameras=cam_2,cam_0') as source:
        samples = list(source)
        assert source.skipped == []
    assert [sample.rig.names for sample in samples] == [('cam_2', 'cam_0')] * 2
    assert [int(image.rgb().mean() + 0.5) for image in samples[1].images] == [12, 10]
    # So are those of a recording that names its samples itself.
    record_source(f'rosbag:{tmp_path / "d"}', tmp_path / 'again')
    with open_source(f'rosbag:{tmp_path / "again"}', cameras='cam_1') as source:
        assert [(s.rig.names, int(s.images[0].rgb().mean() + 0.5)) for s in source] == [
            (('cam_1',), k) for k in (1, 11)
        ]
    for wrong, says in (
        ('front', 'cameras front are asked for; expected some of cam_0,cam_1,cam_2,debug, each once'),
        ('cam_0,cam_0', 'each once'),
        ('cam_0,debug', '/debug/camera_info are missing'),
    ):
        with pytest.raises(DataError, match=says):
            open_source(f'rosbag:{tmp_path / "d"}?cameras={wrong}')


def test_the_few_of_another_kind_are_left_out() -> None:
    topics = {f'/{name}/image_raw/compressed': COMPRESSED for name in 'ab'} | {'/c/image_raw': IMAGE}
    topics |= {f'/{name}/camera_info': INFO for name in 'abc'}
    told: list[tuple[str, str]] = []
    found = find_cameras(topics, Path('x'), on_stray=lambda topic, error: told.append((topic, str(error))))
    assert [(camera.name, camera.compressed) for camera in found] == [('a', True), ('b', True)]
    assert told == [('/c/image_raw', 'x: it is raw, and most cameras are not')]
    assert [camera.name for camera in find_cameras(topics, Path('x'), ['c'])] == ['c']
    with pytest.raises(DataError, match='some cameras are raw'):
        find_cameras(topics, Path('x'), ['a', 'c'])


def test_recording_raw_skips_sets_with_a_picture_that_cannot_be_decoded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # It begins as a JPEG of the right size does and ends as one, but has no picture in it.
    whole = jpeg(90)
    head = whole.index(b'\xff\xda')
    broken = whole[:head] + b'\xff\xd9'
    drive(tmp_path / 'd', [[jpeg(k), broken if k in (0, 2) else jpeg(k)] for k in range(5)])
    with caplog.at_level(logging.WARNING):
        counts = record_source(f'rosbag:{tmp_path / "d"}?cameras=cam_0,cam_1', tmp_path / 'raw', raw=True)
    assert counts == {'d': 3}
    assert 'skipped d/000000: cam_1: ' in caplog.text
    assert 'skipped d/000002: cam_1: ' in caplog.text
    assert 'skipped 2, told above' in caplog.text
    with open_source(f'rosbag:{tmp_path / "raw"}') as source:
        read = list(source)
    assert [sample.name for sample in read] == ['d/000001', 'd/000003', 'd/000004']
    assert [sample.previous and sample.previous.name for sample in read] == [None, None, 'd/000003']
    assert [int(sample.images[0].rgb().mean() + 0.5) for sample in read] == [1, 3, 4]
    drive(tmp_path / 'none', [[broken]])
    with pytest.raises(DataError, match='no sample has pictures that can all be decoded'):
        record_source(f'rosbag:{tmp_path / "none"}', tmp_path / 'out', raw=True)
    assert not list(tmp_path.glob('out*'))
