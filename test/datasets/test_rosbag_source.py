# SPDX-License-Identifier: Apache-2.0
"""A user's own drives as a data set, and every way in which a recording can be amiss."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring

from semi_smd_ros.datasets.messages import (
    camera_info,
    compressed_image,
    header,
    message,
    points_message,
    raw_image,
    transform_stamped,
)
from semi_smd_ros.datasets.recording import SAMPLE_TOPIC, BagWriter
from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.rig import Rig, quaternion_from, transform_from

START = 1_767_268_800 * 10**9
PERIOD = 10**8


def drive(
    folder: Path, sets: int = 4, tf: bool = True, odometry: bool = False, world: str = 'map', compress: bool = False
) -> Rig:
    """A drive as a user's own recorder would have written it: nothing of ours in it."""
    rig = ring(2)
    with BagWriter(folder, compress) as bag:
        mounts = [transform_stamped('base_link', c.frame_id, c.base_T_cam, START) for c in rig.cameras]
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=mounts), START)
        for k in range(sets):
            for i, camera in enumerate(rig.cameras):
                stamp = START + k * PERIOD + i * 2_000_000
                bag.write(f'/{camera.name}/camera_info', camera_info(camera, stamp), stamp)
                data = cv2.imencode('.jpg', np.full((96, 160, 3), 10 * k + i, np.uint8))[1].tobytes()
                image = compressed_image(data, 'rgb8; jpeg compressed bgr8', stamp, camera.frame_id)
                # The recorder gets it 30 ms later than it was taken.
                bag.write(f'/{camera.name}/image_raw/compressed', image, stamp + 30_000_000)
            pose = transform_from([2.0 * k, 0.5, 0.1], [0, 0, np.sin(0.05 * k), np.cos(0.05 * k)])
            if tf:
                moved = transform_stamped(world, 'base_link', pose, START + k * PERIOD)
                bag.write('/tf', message('tf2_msgs/msg/TFMessage')(transforms=[moved]), START + k * PERIOD)
            if odometry:
                bag.write('/vehicle/odom', odometry_message(pose, START + k * PERIOD), START + k * PERIOD)
    return rig


def odometry_message(pose: np.ndarray, stamp: int) -> object:
    point, quaternion = message('geometry_msgs/msg/Point'), message('geometry_msgs/msg/Quaternion')
    vector, none = message('geometry_msgs/msg/Vector3'), np.zeros(36)
    x, y, z, w = quaternion_from(pose[:3, :3])
    still = vector(x=0.0, y=0.0, z=0.0)
    return message('nav_msgs/msg/Odometry')(
        header=header(stamp, 'odom'),
        child_frame_id='base_link',
        pose=message('geometry_msgs/msg/PoseWithCovariance')(
            pose=message('geometry_msgs/msg/Pose')(
                position=point(x=pose[0, 3], y=pose[1, 3], z=pose[2, 3]), orientation=quaternion(x=x, y=y, z=z, w=w)
            ),
            covariance=none,
        ),
        twist=message('geometry_msgs/msg/TwistWithCovariance')(
            twist=message('geometry_msgs/msg/Twist')(linear=still, angular=still), covariance=none
        ),
    )


def test_a_users_drive_is_a_data_set(tmp_path: Path) -> None:
    rig = drive(tmp_path / 'monday')
    with open_source(f'rosbag:{tmp_path / "monday"}') as source:
        assert (len(source), source.max_depth_m) == (4, 200)
        samples = list(source)
        assert source.skipped == []
    assert [sample.name for sample in samples] == [f'monday/{k:06d}' for k in range(4)]
    for k, sample in enumerate(samples):
        assert sample.stamps_ns == (START + k * PERIOD, START + k * PERIOD + 2_000_000)
        assert [int(image.rgb().mean() + 0.5) for image in sample.images] == [10 * k, 10 * k + 1]
        assert sample.depth_points is None
        np.testing.assert_allclose(sample.rig.base_T_cam_n44, rig.base_T_cam_n44, atol=1e-12)
    # The second camera's picture is 2 ms after a pose, so its pose is between two, and unknown after the last.
    assert [len(sample.ego_poses) for sample in samples] == [2, 2, 2, 1]
    np.testing.assert_allclose(samples[1].ego_poses[0][1][:3, 3], [2.0, 0.5, 0.1])
    np.testing.assert_allclose(samples[1].ego_poses[1][1][:3, 3], [2.04, 0.5, 0.1])


def test_ego_poses_come_from_odometry_where_tf_has_none(tmp_path: Path) -> None:
    drive(tmp_path / 'd', tf=False, odometry=True)
    with open_source(f'rosbag:{tmp_path / "d"}') as source:
        assert next(iter(source)).ego_poses == ()
    with open_source(f'rosbag:{tmp_path / "d"}?odometry=/vehicle/odom') as source:
        second = source.sequences()[0][1]
    np.testing.assert_allclose(second.ego_poses[0][1][:3, 3], [2.0, 0.5, 0.1])
    with pytest.raises(DataError, match=r'no message on /odom; it has .*/vehicle/odom'):
        open_source(f'rosbag:{tmp_path / "d"}?odometry=/odom')
    with pytest.raises(DataError, match='/tf_static is tf2_msgs/msg/TFMessage; expected nav_msgs/msg/Odometry'):
        open_source(f'rosbag:{tmp_path / "d"}?odometry=/tf_static')


def test_frames_can_be_named(tmp_path: Path) -> None:
    drive(tmp_path / 'd', world='utm')
    with open_source(f'rosbag:{tmp_path / "d"}') as source:
        assert next(iter(source)).ego_poses == ()
    with open_source(f'rosbag:{tmp_path / "d"}?world_frame=utm') as source:
        assert len(next(iter(source)).ego_poses) == 2
    with pytest.raises(DataError, match=r'world_frame odom: .*unknown'):
        open_source(f'rosbag:{tmp_path / "d"}?world_frame=odom')
    with pytest.raises(DataError, match=r'base_footprint.* \?base_frame=NAME'):
        open_source(f'rosbag:{tmp_path / "d"}?base_frame=base_footprint')


def test_a_folder_of_recordings_is_a_data_set(tmp_path: Path) -> None:
    for name in ('monday', 'tuesday'):
        drive(tmp_path / name, sets=2)
    (tmp_path / 'wednesday.mcap').write_bytes(b'never finished')
    with open_source(f'rosbag:{tmp_path}') as source:
        assert [sample.name for sample in source] == [f'{d}/{k:06d}' for d in ('monday', 'tuesday') for k in range(2)]
        assert len(source.skipped) == 1
        assert 'wednesday.mcap: cannot be read as a rosbag2' in source.skipped[0]
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty: no rosbag2 in it'):
        open_source(f'rosbag:{tmp_path / "empty"}')


def test_pictures_without_company_are_counted(tmp_path: Path) -> None:
    camera_0, camera_1 = ring(2).cameras
    with BagWriter(tmp_path / 'drive.of.monday') as bag:
        mounts = [transform_stamped('base_link', c.frame_id, c.base_T_cam, START) for c in (camera_0, camera_1)]
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=mounts), START)
        for k in range(6):
            # The second camera fails in the middle of the drive.
            for camera in (camera_0, camera_1)[: 1 if k in (2, 3) else 2]:
                stamp = START + k * PERIOD
                bag.write(f'/{camera.name}/camera_info', camera_info(camera, stamp), stamp)
                image = raw_image(np.zeros((96, 160, 3), np.uint8), 'bgr8', stamp, camera.frame_id)
                bag.write(f'/{camera.name}/image_raw', image, stamp)
    with open_source(f'rosbag:{tmp_path / "drive.of.monday"}') as source:
        assert [s.name for s in source] == [f'drive.of.monday/{k:06d}' for k in range(4)]
        assert source.skipped == [
            'recording drive.of.monday: 2 of 10 images make no set with one of every camera; there are of cam_0 6, '
            'cam_1 4'
        ]


def test_a_damaged_picture_skips_its_set(tmp_path: Path) -> None:
    rig = ring(1)
    camera = rig.cameras[0]
    good = cv2.imencode('.jpg', np.full((96, 160, 3), 90, np.uint8))[1].tobytes()
    other = cv2.imencode('.jpg', np.full((90, 160, 3), 90, np.uint8))[1].tobytes()
    with BagWriter(tmp_path / 'd') as bag:
        mount = transform_stamped('base_link', camera.frame_id, camera.base_T_cam, START)
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=[mount]), START)
        bag.write('/cam_0/camera_info', camera_info(camera, START), START)
        topic, kind = '/cam_0/image_raw/compressed', 'sensor_msgs/msg/CompressedImage'
        for k, data in enumerate((good, good[:-50], good, other, b'')):
            stamp = START + k * PERIOD
            bag.write(topic, compressed_image(data, 'jpeg', stamp, 'f'), stamp)
        # The recorder was killed while it wrote: a message without even a header.
        bag.write_raw(topic, kind, b'\0\1\0\0', START + 2 * PERIOD)
    with open_source(f'rosbag:{tmp_path / "d"}') as source:
        read = list(source)
        assert [sample.name for sample in read] == ['d/000000', 'd/000002']
        assert read[1].previous is None
        assert source.skipped[0].startswith(f'/cam_0/image_raw/compressed at {START + 2 * PERIOD} ns in the file: ')
        assert 'a message of 4 bytes; expected one that begins with a header' in source.skipped[0]
        assert [message.split(': ')[0] for message in source.skipped[1:]] == ['d/000001', 'd/000003', 'd/000004']
        assert 'is it cut off' in source.skipped[1]
        assert 'the image is 160x90; its calibration says 160x96' in source.skipped[2]


def test_raw_pictures_and_truth_that_do_not_fit_are_told(tmp_path: Path) -> None:
    camera = ring(1).cameras[0]
    with BagWriter(tmp_path / 'd') as bag:
        mount = transform_stamped('base_link', camera.frame_id, camera.base_T_cam, START)
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=[mount]), START)
        bag.write('/cam_0/camera_info', camera_info(camera, START), START)
        stamps = [START + k * PERIOD for k in range(5)]
        for stamp in stamps:
            image = raw_image(np.zeros((96, 160, 3), np.uint8), 'bgr8', stamp, 'f')
            if stamp == stamps[1]:
                image.encoding = 'rgba8'
            bag.write('/cam_0/image_raw', image, stamp)
        depth = raw_image(np.ones((96, 160), np.uint16), '16UC1', stamps[2], 'f')
        bag.write('/cam_0/ground_truth/depth', depth, stamps[2])
        points = points_message(np.ones((4, 3)), stamps[3], 'f')
        points.fields[2].name = 'w'
        bag.write('/cam_0/ground_truth/points', points, stamps[3])
        small = raw_image(np.ones((48, 80), np.float32), '32FC1', stamps[4], 'f')
        bag.write('/cam_0/ground_truth/depth', small, stamps[4])
    with open_source(f'rosbag:{tmp_path / "d"}') as source:
        assert [sample.name for sample in source] == ['d/000000']
        assert 'step is 480; expected 640' in source.skipped[0]
        assert '/cam_0/ground_truth/depth at' in source.skipped[1]
        assert 'expected 32FC1' in source.skipped[1]
        assert 'expected x, y, z' in source.skipped[2]
        assert 'is 80x48; expected 160x96 as its CameraInfo says' in source.skipped[3]


@pytest.mark.parametrize(
    'text',
    ['', '[]', '{"name": "a"}', '{"name": "a", "previous": null, "stamps_ns": {"cam_0": "now"}}',
     '{"name": "a", "previous": null, "stamps_ns": {}}', '{"name": "a", "previous": {}, "stamps_ns": {"cam_0": 1}}'],
)  # fmt: skip
def test_a_description_that_makes_no_sense_is_told(tmp_path: Path, text: str) -> None:
    camera = ring(1).cameras[0]
    with BagWriter(tmp_path / 'd') as bag:
        mount = transform_stamped('base_link', camera.frame_id, camera.base_T_cam, START)
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=[mount]), START)
        bag.write('/cam_0/camera_info', camera_info(camera, START), START)
        image = raw_image(np.zeros((96, 160, 3), np.uint8), 'bgr8', START, 'f')
        bag.write('/cam_0/image_raw', image, START)
        bag.write(SAMPLE_TOPIC, message('std_msgs/msg/String')(data=text), START)
    with pytest.raises(DataError, match=r'd: /ground_truth/sample (says .*expected JSON|lacks)'):
        open_source(f'rosbag:{tmp_path / "d"}')


@pytest.mark.parametrize('compress', [False, True])
def test_a_damaged_file_is_named(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / 'd.mcap'
    drive(path, compress=compress)
    whole = path.read_bytes()
    # Cut off; and with noise where the first chunk is.
    noise = np.random.default_rng(0).bytes(3000)
    for damaged in (whole[:-200], whole[:300] + noise + whole[3300:], b''):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r'd\.mcap: '):
            list(open_source(f'rosbag:{path}'))
