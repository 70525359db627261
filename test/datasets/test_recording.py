# SPDX-License-Identifier: Apache-2.0
"""Recordings: written as a vehicle would, read back the same, and refused with the reason where they are broken."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring
from rosbags.rosbag2 import Reader

from semi_smd_ros.datasets.messages import (
    camera_info,
    compressed_image,
    message,
    points_message,
    raw_image,
    read_xyz,
    stamp_of,
    transform_stamped,
)
from semi_smd_ros.datasets.recording import BagWriter, write_recording
from semi_smd_ros.datasets.replay import bag_rig, frames, image_stamps, suggested_slop, synchronized_stamps
from semi_smd_ros.datasets.rosbag import SurroundBag, find_cameras, is_rosbag
from semi_smd_ros.datasets.sample import DataError, EncodedImage, SurroundSample
from semi_smd_ros.rig import FrameMissing, Rig

START = 1_767_268_800 * 10**9
PERIOD = 10**8


def samples(count: int = 3, cameras: int = 2) -> list[SurroundSample]:
    rig = ring(cameras)
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        pictures = [rng.integers(0, 255, (96, 160, 3), np.uint8) for _ in rig.cameras]
        images = tuple(EncodedImage(cv2.imencode('.png', p)[1].tobytes(), 'png') for p in pictures)
        stamps = tuple(START + i * PERIOD + 1000 * c for c in range(cameras))
        points = tuple(rng.uniform(1, 50, (20 + c, 3)).astype(np.float32) for c in range(cameras))
        pose = np.eye(4)
        pose[0, 3] = i
        made.append(SurroundSample(rig, images, stamps, points, ((stamps[0], pose),)))
    return made


def test_a_recording_reads_back_the_same(tmp_path: Path) -> None:
    written = samples()
    assert write_recording(written, tmp_path / 'drive') == 3
    with SurroundBag(tmp_path / 'drive') as bag:
        assert [camera.name for camera in bag.cameras] == ['cam_0', 'cam_1']
        assert all(camera.compressed for camera in bag.cameras)
        rig = bag_rig(bag)
        assert rig.names == written[0].rig.names
        np.testing.assert_allclose(rig.base_T_cam_n44, written[0].rig.base_T_cam_n44, atol=1e-12)
        np.testing.assert_allclose(rig.intrinsics_n33, written[0].rig.intrinsics_n33)
        np.testing.assert_allclose(bag.transforms().lookup('odom', 'base_link', START + PERIOD // 2)[0, 3], 0.5)
        read = list(frames(bag, rig, suggested_slop(image_stamps(bag), 2)))
        assert [frame.stamp_ns for frame in read] == [max(s.stamps_ns) for s in written]
        for frame, sample in zip(read, written, strict=True):
            for image, encoded in zip(frame.images, sample.images, strict=True):
                assert image is not None
                expected = cv2.imdecode(np.frombuffer(encoded.data, np.uint8), cv2.IMREAD_COLOR)
                np.testing.assert_array_equal(image.pixels, expected)
        truth = [m for t, _, m in bag.messages(('/cam_1/ground_truth/points',))]
        for msg, sample in zip(truth, written, strict=True):
            assert sample.depth_points is not None
            assert (stamp_of(msg), msg.header.frame_id) == (sample.stamps_ns[1], 'cam_1_optical')
            np.testing.assert_array_equal(read_xyz(msg), sample.depth_points[1])


def test_rig_and_frames_agree_on_the_order_of_the_cameras(tmp_path: Path) -> None:
    """A driver's order is no alphabet: the picture of a camera must meet the calibration of that camera."""
    (sample,) = samples(1, 3)
    backwards = Rig(sample.rig.cameras[::-1])
    images = tuple(
        EncodedImage(cv2.imencode('.png', np.full((96, 160, 3), 10 * int(c.name[-1]), np.uint8))[1].tobytes(), 'png')
        for c in backwards.cameras
    )
    write_recording([SurroundSample(backwards, images, sample.stamps_ns)], tmp_path / 'drive')
    with SurroundBag(tmp_path / 'drive') as bag:
        rig = bag_rig(bag)
        (frame,) = frames(bag, rig, 0.05)
    by_name = {camera.name: camera.base_T_cam for camera in backwards.cameras}
    for camera, image in zip(rig.cameras, frame.images, strict=True):
        np.testing.assert_allclose(camera.base_T_cam, by_name[camera.name], atol=1e-12)
        assert image is not None
        assert image.pixels[0, 0, 0] == 10 * int(camera.name[-1])


def test_the_stamp_is_read_from_the_bytes(tmp_path: Path) -> None:
    write_recording(samples(), tmp_path / 'drive')
    with SurroundBag(tmp_path / 'drive') as bag:
        topics = [camera.info_topic for camera in bag.cameras]
        raw = [bag.stamp(data) for _, _, _, data in bag.raw_messages(topics)]
        assert raw == [stamp_of(msg) for _, _, msg in bag.messages(topics)]


def test_sets_are_known_before_they_are_played(tmp_path: Path) -> None:
    write_recording(samples(4, 3), tmp_path / 'drive')
    with SurroundBag(tmp_path / 'drive') as bag:
        stamps = image_stamps(bag)
    assert suggested_slop(stamps, 3) == pytest.approx(0.06)
    sets = synchronized_stamps(stamps, 3, 0.06)
    assert [ordinal for ordinal, _ in sets] == [2, 5, 8, 11]
    assert [s.stamps_ns[0] for _, s in sets] == [START + i * PERIOD for i in range(4)]


def test_staggered_cameras_get_the_slop_that_they_need() -> None:
    def staggered(step_ns: int) -> list[tuple[int, int]]:
        return [(c, START + i * PERIOD + c * step_ns) for i in range(6) for c in range(6)]

    for step_ms, slop in ((1, 0.06), (15, 0.08), (16.5, 0.095)):
        stamps = staggered(round(step_ms * 10**6))
        assert suggested_slop(stamps, 6) == pytest.approx(slop)
        assert len(synchronized_stamps(stamps, 6, slop)) == 6
    assert suggested_slop([(c, START) for c in range(6)], 6) == 0.25  # one moment has no period


def test_topics_carry_the_qos_of_a_vehicle(tmp_path: Path) -> None:
    write_recording(samples(1), tmp_path / 'drive')
    with Reader(tmp_path / 'drive') as reader:
        profiles = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}  # type: ignore[union-attr]
    assert profiles['/tf_static'].durability.name == 'TRANSIENT_LOCAL'
    assert profiles['/cam_0/image_raw/compressed'].durability.name == 'VOLATILE'
    assert {p.reliability.name for p in profiles.values()} == {'RELIABLE'}


def test_folder_and_file_are_the_same_recording(tmp_path: Path) -> None:
    write_recording(samples(1), tmp_path / 'drive')
    data = tmp_path / 'drive' / 'drive.mcap'
    assert is_rosbag(tmp_path / 'drive')
    assert is_rosbag(data)
    assert not is_rosbag(tmp_path)
    with SurroundBag(data) as bag:
        assert len(bag.cameras) == 2
    (tmp_path / 'drive' / 'metadata.yaml').unlink()  # a recorder that was killed leaves none
    with SurroundBag(tmp_path / 'drive') as bag:
        assert len(bag.cameras) == 2


def test_raw_images_are_played_too(tmp_path: Path) -> None:
    rig = ring(1)
    pixels = np.random.default_rng(0).integers(0, 255, (96, 160, 3), np.uint8)
    with BagWriter(tmp_path / 'raw') as bag:
        bag.write('/cam_0/camera_info', camera_info(rig.cameras[0], START), START)
        bag.write('/cam_0/image_raw', raw_image(pixels, 'rgb8', START, 'cam_0_optical'), START)
    with SurroundBag(tmp_path / 'raw') as read:
        (frame,) = frames(read, rig, 0.05)
    assert frame.images[0] is not None
    np.testing.assert_array_equal(frame.images[0].pixels, pixels)
    assert frame.images[0].encoding == 'rgb8'


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> object:
        yield samples(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recording(interrupted(), tmp_path / 'half')  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_existing_recording_is_never_overwritten(tmp_path: Path) -> None:
    write_recording(samples(1), tmp_path / 'drive')
    with pytest.raises(FileExistsError, match='exists already'):
        write_recording(samples(1), tmp_path / 'drive')


IMAGE, COMPRESSED, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'sensor_msgs/msg/CameraInfo'


@pytest.mark.parametrize(
    ('topics', 'says'),
    [
        ({}, 'no image topics; .*got no topics'),
        ({'/scan': 'sensor_msgs/msg/LaserScan'}, 'no image topics; .*got /scan'),
        (
            {'/a/image_raw': IMAGE, '/b/image_raw': IMAGE, '/c/camera_info': INFO},
            'topics /a/camera_info, /b/camera_info',
        ),
        (
            {
                '/a/image_raw': IMAGE,
                '/b/image_raw/compressed': COMPRESSED,
                '/a/camera_info': INFO,
                '/b/camera_info': INFO,
            },
            r'some cameras are raw \(a\) and some compressed \(b\)',
        ),
    ],
)
def test_topics_that_do_not_make_a_rig_are_told(topics: dict[str, str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        find_cameras(topics, Path('x.mcap'))


def test_raw_topics_are_preferred() -> None:
    topics = {'/n/a/image_raw': IMAGE, '/n/a/image_raw/compressed': COMPRESSED, '/n/a/camera_info': INFO}
    (camera,) = find_cameras(topics, Path('x'))
    assert (camera.name, camera.image_topic, camera.compressed) == ('n/a', '/n/a/image_raw', False)


def test_a_topic_without_messages_hides_nothing(tmp_path: Path) -> None:
    (sample,) = samples(1, 1)
    with BagWriter(tmp_path / 'drive') as bag:
        bag.write('/cam_0/camera_info', camera_info(sample.rig.cameras[0], START), START)
        image = compressed_image(sample.images[0].data, 'png', START, 'f')
        bag.write('/cam_0/image_raw/compressed', image, START)
        bag.declare('/cam_0/image_raw', IMAGE)
    with SurroundBag(tmp_path / 'drive') as read:
        assert [camera.compressed for camera in read.cameras] == [True]


def test_frames_with_a_slash_and_nonsense_from_others_are_taken_as_tf2_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (sample,) = samples(1, 1)
    camera = sample.rig.cameras[0]
    slashed = dataclasses.replace(camera, frame_id='/' + camera.frame_id)
    gripper = transform_stamped('base_link', 'gripper', np.eye(4), START)
    gripper.transform.rotation.w = 0.0
    mount = transform_stamped('/base_link', '/' + camera.frame_id, camera.base_T_cam, START)
    with BagWriter(tmp_path / 'drive') as bag:
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=[gripper, mount]), START)
        bag.write('/cam_0/camera_info', camera_info(slashed, START), START)
        bag.write('/cam_0/image_raw/compressed', compressed_image(sample.images[0].data, 'png', START, 'f'), START)
    with SurroundBag(tmp_path / 'drive') as read:
        rig = bag_rig(read)
    assert rig.cameras[0].frame_id == 'cam_0_optical'
    np.testing.assert_allclose(rig.cameras[0].base_T_cam, camera.base_T_cam, atol=1e-12)
    assert 'base_link -> gripper is ignored' in caplog.text


def test_a_broken_recording_is_named(tmp_path: Path) -> None:
    broken = tmp_path / 'broken.mcap'
    broken.write_bytes(b'not a bag')
    with pytest.raises(DataError, match=r'broken.mcap: cannot be read as a rosbag2'):
        SurroundBag(broken)
    with pytest.raises(DataError, match='no such file'):
        SurroundBag(tmp_path / 'gone')


def test_a_recording_without_transforms_names_the_frame(tmp_path: Path) -> None:
    rig = ring(1)
    with BagWriter(tmp_path / 'no_tf') as bag:
        bag.write('/cam_0/camera_info', camera_info(rig.cameras[0], START), START)
        bag.write('/cam_0/image_raw', raw_image(np.zeros((96, 160, 3), np.uint8), 'rgb8', START, 'f'), START)
    with SurroundBag(tmp_path / 'no_tf') as read, pytest.raises(FrameMissing, match='cam_0_optical'):
        bag_rig(read)


def test_points_survive_a_message() -> None:
    points = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(read_xyz(points_message(points, 0, 'f')), points)
