# SPDX-License-Identifier: Apache-2.0
"""A rig from CameraInfo messages and tf, complete or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rig import CameraModel, Rig, RigCamera, RigConfigCamera, RigError, TransformError

# A transform that moves by less (metres, and entries of the rotation) is the same: moving parts of a tf tree
# jitter in the last digits, and every new rig wipes the temporal memory.
SAME_TRANSFORM = 1e-6

Lookup = Callable[[str, str], np.ndarray]


@dataclass(frozen=True)
class _Calibration:
    key: tuple[Any, ...]
    frame_id: str
    model: CameraModel | None
    problem: str


class RigAssembler:
    """Collects every camera's CameraInfo and looks up its place on the vehicle.

    `lookup(base_frame, camera_frame)` returns `base_T_cam` (4,4) or raises TransformError. There is a rig only
    when every camera has a calibration and a transform; until then `problems` says what is missing, by camera.
    Thread-safe.
    """

    def __init__(self, cameras: Sequence[RigConfigCamera], base_frame: str, lookup: Lookup) -> None:
        self._cameras = tuple(cameras)
        self._base_frame = base_frame
        self._lookup = lookup
        self._lock = threading.Lock()
        self._calibrations: list[_Calibration | None] = [None] * len(self._cameras)
        self._problems: dict[str, str] = {camera.name: _waiting_for_info(camera) for camera in cameras}
        self._rig: Rig | None = None

    def add_camera_info(self, index: int, msg: Any) -> bool:
        """Take one CameraInfo of camera `index`; returns whether it says anything new."""
        camera = self._cameras[index]
        frame_id = (camera.frame_id or msg.header.frame_id).removeprefix('/')
        key = (
            frame_id, msg.width, msg.height, msg.distortion_model, tuple(msg.d), tuple(msg.k), tuple(msg.p),
            msg.binning_x, msg.binning_y, msg.roi.width, msg.roi.height,
        )  # fmt: skip
        known = self._calibrations[index]
        if known is not None and known.key == key:
            return False
        model, problem = None, ''
        if not frame_id:
            problem = 'its CameraInfo has no frame_id; expected the name of the optical frame'
        else:
            try:
                model = CameraModel.from_camera_info(msg)
            except (RigError, ValueError) as error:
                problem = f'its CameraInfo cannot be used: {error}'
        with self._lock:
            self._calibrations[index] = _Calibration(key, frame_id, model, problem)
        return True

    def rig(self) -> Rig | None:
        """The rig as of now: the same object as long as nothing changed, None while anything is missing."""
        with self._lock:
            calibrations = list(self._calibrations)
        cameras: list[RigCamera] = []
        problems: dict[str, str] = {}
        for camera, calibration in zip(self._cameras, calibrations, strict=True):
            if calibration is None:
                problems[camera.name] = _waiting_for_info(camera)
            elif calibration.model is None:
                problems[camera.name] = calibration.problem
            else:
                try:
                    base_T_cam = self._lookup(self._base_frame, calibration.frame_id)
                    cameras.append(RigCamera(camera.name, calibration.frame_id, calibration.model, base_T_cam))
                except (TransformError, RigError) as error:
                    problems[camera.name] = (
                        f'waiting for the transform from {self._base_frame} to {calibration.frame_id} '
                        f'on /tf or /tf_static: {error}'
                    )
        with self._lock:
            self._problems = problems
            if problems:
                return None
            if self._rig is None or not _same(self._rig.cameras, cameras):
                self._rig = Rig(tuple(cameras), self._base_frame)
            return self._rig

    def problems(self) -> dict[str, str]:
        """What keeps the rig from being complete, by camera, as of the last call of `rig`."""
        with self._lock:
            return dict(self._problems)

    def frame_id(self, index: int) -> str:
        """The optical frame of camera `index`, or '' while it is not known."""
        calibration = self._calibrations[index]
        return '' if calibration is None else calibration.frame_id

    def is_calibrated(self, index: int) -> bool:
        """Whether camera `index` has sent a usable CameraInfo."""
        calibration = self._calibrations[index]
        return calibration is not None and calibration.model is not None


def _waiting_for_info(camera: RigConfigCamera) -> str:
    return f'waiting for its CameraInfo on {camera.camera_info_topic}'


def _same(old: Sequence[RigCamera], new: Sequence[RigCamera]) -> bool:
    # A model is made once per CameraInfo that says something new, so its identity tells whether it changed.
    return all(
        a.model is b.model
        and a.frame_id == b.frame_id
        and float(np.abs(a.base_T_cam - b.base_T_cam).max()) < SAME_TRANSFORM
        for a, b in zip(old, new, strict=True)
    )
