# SPDX-License-Identifier: Apache-2.0
"""A rig from CameraInfo and tf: complete or not at all, rebuilt exactly when something changed."""

from __future__ import annotations

import numpy as np
import pytest
from ros_harness import camera_info
from sensor_msgs.msg import CameraInfo

from semi_smd_ros.nodes.rig_assembler import RigAssembler
from semi_smd_ros.rig import FrameMissing, RigConfigCamera


class Vehicle:
    """Two cameras and a transform tree that we write ourselves."""

    def __init__(self) -> None:
        self.transforms: dict[str, np.ndarray] = {}
        cameras = [RigConfigCamera(n, None, f'{n}/image_raw', f'{n}/camera_info', None) for n in ('left', 'right')]
        self.assembler = RigAssembler(cameras, 'base_link', self.lookup)

    def lookup(self, target: str, source: str) -> np.ndarray:
        if source not in self.transforms:
            raise FrameMissing(f'frame {source} is unknown')
        return self.transforms[source]

    def info(self, index: int, **fields: object) -> bool:
        message: CameraInfo = camera_info()
        message.header.frame_id = f'{("left", "right")[index]}_optical'
        for name, value in fields.items():
            setattr(message, name, value)
        return self.assembler.add_camera_info(index, message)

    def place(self, *frames: str) -> None:
        self.transforms.update({frame: np.eye(4) for frame in frames})


@pytest.fixture
def complete() -> Vehicle:
    vehicle = Vehicle()
    vehicle.info(0)
    vehicle.info(1)
    vehicle.place('left_optical', 'right_optical')
    assert vehicle.assembler.rig() is not None
    return vehicle


def test_says_what_is_missing_until_it_is_complete() -> None:
    vehicle = Vehicle()
    assert vehicle.assembler.rig() is None
    assert 'left/camera_info' in vehicle.assembler.problems()['left']
    vehicle.info(0)
    vehicle.info(1)
    vehicle.place('left_optical')
    assert vehicle.assembler.rig() is None
    assert list(vehicle.assembler.problems()) == ['right']
    assert 'base_link' in vehicle.assembler.problems()['right']
    assert 'right_optical' in vehicle.assembler.problems()['right']
    vehicle.place('right_optical')
    rig = vehicle.assembler.rig()
    assert rig is not None
    assert rig.names == ('left', 'right')
    assert [camera.frame_id for camera in rig.cameras] == ['left_optical', 'right_optical']
    assert vehicle.assembler.problems() == {}


def test_the_same_rig_as_long_as_nothing_changes(complete: Vehicle) -> None:
    rig = complete.assembler.rig()
    assert not complete.info(0)
    jitter = np.eye(4)
    jitter[0, 3] = 1e-9
    complete.transforms['left_optical'] = jitter
    assert complete.assembler.rig() is rig


def test_another_calibration_makes_another_rig(complete: Vehicle) -> None:
    rig = complete.assembler.rig()
    assert complete.info(0, width=320, height=192)
    changed = complete.assembler.rig()
    assert changed is not rig
    assert changed.cameras[0].model.width == 320
    assert changed.fingerprint() != rig.fingerprint()


def test_another_place_makes_another_rig(complete: Vehicle) -> None:
    rig = complete.assembler.rig()
    moved = np.eye(4)
    moved[0, 3] = 0.01
    complete.transforms['left_optical'] = moved
    assert complete.assembler.rig().fingerprint() != rig.fingerprint()


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'k': np.zeros(9)}, 'looks uncalibrated'),
        ({'width': 0}, 'image size is 0x96'),
        ({'distortion_model': 'fov'}, "'fov' is unknown"),
        ({'binning_x': 2}, 'binning is 2x0'),
    ],
)
def test_a_bad_calibration_stops_the_rig_and_is_named(complete: Vehicle, fields: dict, text: str) -> None:
    complete.info(1, **fields)
    assert complete.assembler.rig() is None
    assert text in complete.assembler.problems()['right']
    assert not complete.assembler.is_calibrated(1)


def test_an_empty_frame_is_named() -> None:
    vehicle = Vehicle()
    message = camera_info()
    vehicle.assembler.add_camera_info(0, message)
    vehicle.assembler.rig()
    assert 'no frame_id' in vehicle.assembler.problems()['left']


def test_a_place_that_is_no_rotation_is_named(complete: Vehicle) -> None:
    complete.transforms['left_optical'] = np.diag([2.0, 2.0, 2.0, 1.0])
    assert complete.assembler.rig() is None
    assert 'no proper rotation' in complete.assembler.problems()['left']
