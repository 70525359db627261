# SPDX-License-Identifier: Apache-2.0
"""A rig from CameraInfo messages and tf."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rig import CameraModel, Rig, RigCamera, RigConfigCamera, RigError, TransformError

# Transforms jitter, in the last digits or with a joint's encoder, and every new rig wipes the temporal memory: one
# that moves by less (metres, and entries of the rotation: radians) is the same.
SAME_TRANSFORM = 1e-3

Lookup = Callable[[str, str, int | None], np.ndarray]
Stamps = Sequence[int | None]


@dataclass(frozen=True)
class _Calibration:
    key: tuple[Any, ...]
    frame_id: str
    model: CameraModel | None
    problem: str


class RigAssembler:
    """Collects every camera's CameraInfo and looks up its place on the vehicle.

    `lookup(base_frame, camera_frame, stamp_ns)` returns `base_T_cam` (4,4) or raises TransformError; a stamp of None
    means the latest. `ego_masks` holds (H,W) bool masks by camera. `tolerance` (metres, radians) may change at any
    time. Thread-safe.
    """

    def __init__(
        self,
        cameras: Sequence[RigConfigCamera],
        base_frame: str,
        lookup: Lookup,
        ego_masks: Mapping[str, np.ndarray] | None = None,
        tolerance: float = SAME_TRANSFORM,
    ) -> None:
        self.tolerance = tolerance
        self._cameras = tuple(cameras)
        self._base_frame = base_frame
        self._lookup = lookup
        self._ego_masks = dict(ego_masks or {})
        self._lock = threading.Lock()
        self._calibrations: list[_Calibration | None] = [None] * len(self._cameras)
        self._changes = [0] * len(self._cameras)
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
                model = self._model(camera.name, msg)
            except (RigError, ValueError) as error:
                problem = f'its CameraInfo cannot be used: {error}'
        with self._lock:
            self._calibrations[index] = _Calibration(key, frame_id, model, problem)
            self._changes[index] += known is not None
        return True

    def rig(self, stamps_ns: Stamps | None = None) -> tuple[Rig | None, dict[str, str]]:
        """The rig with every camera's place at its stamp (None: the latest), and what is wrong, by camera.

        A camera that something is wrong with stands in the rig as a copy of another's calibration, so that numbers and
        order stay: its picture must not be used. The rig is None while no camera has both calibration and transform,
        and the same object as long as nothing changed by more than `tolerance`.
        """
        found, problems = self._look(stamps_ns)
        if not found:
            return None, problems
        stand_in = next(iter(found.values()))
        cameras = [
            found.get(i) or RigCamera(camera.name, stand_in.frame_id, stand_in.model, stand_in.base_T_cam)
            for i, camera in enumerate(self._cameras)
        ]
        with self._lock:
            if self._rig is None or not _same(self._rig.cameras, cameras, self.tolerance):
                self._rig = Rig(tuple(cameras), self._base_frame)
            return self._rig, problems

    def problems(self, stamps_ns: Stamps | None = None) -> dict[str, str]:
        """What keeps cameras from being used, by name; the rig in use stays as it is."""
        return self._look(stamps_ns)[1]

    def frame_id(self, index: int) -> str:
        """The optical frame of camera `index`, or '' while it is not known."""
        calibration = self._calibrations[index]
        return '' if calibration is None else calibration.frame_id

    def is_calibrated(self, index: int) -> bool:
        """Whether camera `index` has sent a usable CameraInfo."""
        calibration = self._calibrations[index]
        return calibration is not None and calibration.model is not None

    def model(self, index: int) -> CameraModel | None:
        """What the newest CameraInfo of camera `index` says, or None while there is none that can be used."""
        calibration = self._calibrations[index]
        return None if calibration is None else calibration.model

    def changes(self, index: int) -> int:
        """How often the CameraInfo of camera `index` has changed since the first."""
        return self._changes[index]

    def _model(self, name: str, msg: Any) -> CameraModel:
        model = CameraModel.from_camera_info(msg)
        mask = self._ego_masks.get(name)
        if mask is not None and mask.shape != (model.height, model.width):
            raise RigError(
                f'it is for {model.width}x{model.height}, the ego mask is {mask.shape[1]}x{mask.shape[0]}; expected a '
                'mask of the size of the raw image'
            )
        return model

    def _look(self, stamps_ns: Stamps | None) -> tuple[dict[int, RigCamera], dict[str, str]]:
        with self._lock:
            calibrations = list(self._calibrations)
        found: dict[int, RigCamera] = {}
        problems: dict[str, str] = {}
        stamps = stamps_ns if stamps_ns is not None else [None] * len(self._cameras)
        for i, (camera, calibration, stamp_ns) in enumerate(zip(self._cameras, calibrations, stamps, strict=True)):
            if calibration is None:
                problems[camera.name] = f'waiting for its CameraInfo on {camera.camera_info_topic}'
            elif calibration.model is None:
                problems[camera.name] = calibration.problem
            else:
                try:
                    base_T_cam = self._lookup(self._base_frame, calibration.frame_id, stamp_ns)
                    mask = self._ego_masks.get(camera.name)
                    found[i] = RigCamera(camera.name, calibration.frame_id, calibration.model, base_T_cam, mask)
                except (TransformError, RigError) as error:
                    problems[camera.name] = (
                        f'waiting for the transform from {self._base_frame} to {calibration.frame_id} '
                        f'on /tf or /tf_static: {error}'
                    )
        return found, problems


def _same(old: Sequence[RigCamera], new: Sequence[RigCamera], tolerance: float) -> bool:
    # A model is made once per CameraInfo that says something new, so its identity tells whether it changed.
    return all(
        a.model is b.model
        and a.frame_id == b.frame_id
        and float(np.abs(a.base_T_cam - b.base_T_cam).max()) <= tolerance
        for a, b in zip(old, new, strict=True)
    )
