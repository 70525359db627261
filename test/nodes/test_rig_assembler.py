# SPDX-License-Identifier: Apache-2.0
"""A rig from CameraInfo and tf: what is missing is named and stood in for, rebuilt exactly when something changed."""

from __future__ import annotations

import numpy as np
import pytest
from ros_harness import camera_info
from sensor_msgs.msg import CameraInfo

from semi_smd_ros.nodes.rig_assembler import RigAssembler
from semi_smd_ros.rig import FrameMissing, Rig, RigConfigCamera


class Vehicle:
    """Two cameras and a transform tree that we write ourselves."""

    def __init__(self, masks: dict[str, np.ndarray] | None = None) -> None:
        self.transforms: dict[str, np.ndarray] = {}
        self.asked: list[int | None] = []
        cameras = [RigConfigCamera(n, None, f'{n}/image_raw', f'{n}/camera_info', None) for n in ('left', 'right')]
        self.assembler = RigAssembler(cameras, 'base_link', self.lookup, masks)

    def lookup(self, target: str, source: str, stamp_ns: int | None) -> np.ndarray:
        self.asked.append(stamp_ns)
        if source not in self.transforms:
            raise FrameMissing(f'frame {source} is unknown')
        return self.transforms[source]

    def whole(self) -> Rig | None:
        """The rig when nothing is wrong with any camera."""
        rig, problems = self.assembler.rig()
        return None if problems else rig

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
    assert vehicle.whole() is not None
    return vehicle


def test_says_what_is_missing_until_it_is_complete() -> None:
    vehicle = Vehicle()
    assert vehicle.whole() is None
    assert 'left/camera_info' in vehicle.assembler.problems()['left']
    vehicle.info(0)
    vehicle.info(1)
    vehicle.place('left_optical')
    assert vehicle.whole() is None
    assert list(vehicle.assembler.problems()) == ['right']
    assert 'base_link' in vehicle.assembler.problems()['right']
    assert 'right_optical' in vehicle.assembler.problems()['right']
    vehicle.place('right_optical')
    rig = vehicle.whole()
    assert rig is not None
    assert rig.names == ('left', 'right')
    assert [camera.frame_id for camera in rig.cameras] == ['left_optical', 'right_optical']
    assert vehicle.assembler.problems() == {}


def test_the_same_rig_as_long_as_nothing_changes(complete: Vehicle) -> None:
    rig = complete.whole()
    assert not complete.info(0)
    jitter = np.eye(4)
    for shift in (1e-9, 9e-4):
        jitter[0, 3] = shift
        complete.transforms['left_optical'] = jitter
        assert complete.whole() is rig
    complete.assembler.tolerance = 1e-4
    assert complete.whole() is not rig


def test_a_slow_drift_is_noticed_in_the_end(complete: Vehicle) -> None:
    rig = complete.whole()
    for k in range(1, 30):
        drift = np.eye(4)
        drift[0, 3] = k * 1e-4
        complete.transforms['left_optical'] = drift
        current = complete.whole()
        assert np.abs(current.cameras[0].base_T_cam - drift).max() <= 1e-3
    assert current is not rig


def test_every_camera_is_looked_up_at_its_own_stamp(complete: Vehicle) -> None:
    complete.asked.clear()
    complete.assembler.rig([5, 7])
    complete.assembler.problems()
    assert complete.asked == [5, 7, None, None]


def test_a_camera_without_a_place_is_stood_in_for(complete: Vehicle) -> None:
    whole = complete.whole()
    del complete.transforms['right_optical']
    rig, problems = complete.assembler.rig()
    assert list(problems) == ['right']
    assert rig.names == whole.names
    assert rig.cameras[0] is not None
    np.testing.assert_array_equal(rig.cameras[1].base_T_cam, rig.cameras[0].base_T_cam)
    assert complete.assembler.rig()[0] is rig  # the same for as long as the camera is lost
    complete.place('right_optical')
    assert complete.whole().fingerprint() == whole.fingerprint()


def test_an_ego_mask_of_another_size_is_named() -> None:
    vehicle = Vehicle({'left': np.zeros((48, 80), bool), 'right': np.zeros((96, 160), bool)})
    vehicle.info(0)
    vehicle.info(1)
    vehicle.place('left_optical', 'right_optical')
    rig, problems = vehicle.assembler.rig()
    assert 'it is for 160x96, the ego mask is 80x48' in problems['left']
    assert rig.cameras[1].ego_mask is not None


def test_changes_of_calibration_are_counted(complete: Vehicle) -> None:
    assert complete.assembler.changes(0) == 0
    complete.info(0, width=320, height=192)
    complete.info(0, width=320, height=192)
    assert complete.assembler.changes(0) == 1


def test_another_calibration_makes_another_rig(complete: Vehicle) -> None:
    rig = complete.whole()
    assert complete.info(0, width=320, height=192)
    changed = complete.whole()
    assert changed is not rig
    assert changed.cameras[0].model.width == 320
    assert changed.fingerprint() != rig.fingerprint()


def test_another_place_makes_another_rig(complete: Vehicle) -> None:
    rig = complete.whole()
    moved = np.eye(4)
    moved[0, 3] = 0.01
    complete.transforms['left_optical'] = moved
    assert complete.whole().fingerprint() != rig.fingerprint()


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
    assert complete.whole() is None
    assert text in complete.assembler.problems()['right']
    assert not complete.assembler.is_calibrated(1)


def test_an_empty_frame_is_named() -> None:
    vehicle = Vehicle()
    message = camera_info()
    vehicle.assembler.add_camera_info(0, message)
    assert 'no frame_id' in vehicle.assembler.problems()['left']


def test_a_place_that_is_no_rotation_is_named(complete: Vehicle) -> None:
    complete.transforms['left_optical'] = np.diag([2.0, 2.0, 2.0, 1.0])
    assert complete.whole() is None
    assert 'no proper rotation' in complete.assembler.problems()['left']
