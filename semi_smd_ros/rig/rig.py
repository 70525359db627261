# SPDX-License-Identifier: Apache-2.0
"""A rig: cameras with their places on the vehicle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .camera import CameraModel, RigError
from .transforms import TransformTree

MAX_CAMERAS = 12


@dataclass(frozen=True, eq=False)
class RigCamera:
    """One camera of a rig: `base_T_cam` (4,4) takes points of its optical frame into `base`, metres.

    `ego_mask` (H,W) bool of the raw image is True where the vehicle itself is in view.
    """

    name: str
    frame_id: str
    model: CameraModel
    base_T_cam: np.ndarray
    ego_mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        transform = np.asarray(self.base_T_cam, dtype=np.float64)
        check_rigid(transform, f'base_T_cam of camera {self.name}')
        object.__setattr__(self, 'base_T_cam', transform)
        size = (self.model.height, self.model.width)
        if self.ego_mask is not None and self.ego_mask.shape != size:
            raise RigError(f'ego mask of camera {self.name} is {self.ego_mask.shape}; expected {size}')


@dataclass(frozen=True, eq=False)
class Rig:
    """1 to 12 cameras with distinct names, in the order in which they are published."""

    cameras: tuple[RigCamera, ...]
    base_frame: str = 'base_link'

    def __post_init__(self) -> None:
        if not 1 <= len(self.cameras) <= MAX_CAMERAS:
            raise RigError(f'the rig has {len(self.cameras)} cameras; expected 1 to {MAX_CAMERAS}')
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise RigError(f'camera names are {names}; expected every name once')

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras' names, in order."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def intrinsics_n33(self) -> np.ndarray:
        """K of every camera, (N,3,3) float64, pixels."""
        return np.stack([camera.model.K for camera in self.cameras])

    @property
    def base_T_cam_n44(self) -> np.ndarray:
        """Extrinsics of every camera, (N,4,4) float64, metres."""
        return np.stack([camera.base_T_cam for camera in self.cameras])

    def fingerprint(self) -> str:
        """A hash that tells rigs apart by any camera's calibration, pose, frame or mask."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        # Asked for with every set of images, and masks have millions of pixels; a rig never changes.
        digest = hashlib.sha1(self.base_frame.encode(), usedforsecurity=False)
        for camera in self.cameras:
            model = camera.model
            digest.update(
                f'{camera.name}|{camera.frame_id}|{model.width}x{model.height}|{model.distortion_model}'.encode()
            )
            for array in (model.K, model.D, model.P, camera.base_T_cam, camera.ego_mask):
                digest.update(b'-' if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def check_rigid(transform: np.ndarray, what: str) -> None:
    """Raise RigError unless `transform` is a (4,4) rotation and translation."""
    if transform.shape != (4, 4) or not np.isfinite(transform).all():
        raise RigError(f'{what} is {transform.tolist()}; expected a finite 4x4 matrix')
    rotation = transform[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise RigError(f'{what} has no proper rotation: {rotation.tolist()}; expected a rotation matrix')
    if np.abs(transform[3] - (0, 0, 0, 1)).max() > 1e-9:
        raise RigError(f'{what} ends in {transform[3].tolist()}; expected [0, 0, 0, 1]')


def rig_from_camera_infos(
    camera_infos: Mapping[str, Any],
    tree: TransformTree,
    base_frame: str = 'base_link',
    stamp_ns: int | None = None,
    frame_ids: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
) -> Rig:
    """Build a rig from one CameraInfo per camera and a transform tree.

    `frame_ids` overrides the frame of a camera's CameraInfo header; `names` sets the order. Raises RigError for
    a bad calibration (naming the camera) and TransformError when a camera's frame cannot be reached from
    `base_frame`.
    """
    base_frame = base_frame.removeprefix('/')
    cameras = []
    for name in names if names is not None else camera_infos:
        if name not in camera_infos:
            raise RigError(f'camera {name} has no CameraInfo; got those of {sorted(camera_infos)}')
        info = camera_infos[name]
        try:
            model = CameraModel.from_camera_info(info)
        except RigError as error:
            raise RigError(f'camera {name}: {error}') from error
        # tf2 knows no leading slash, but messages of older systems carry one.
        frame_id = ((frame_ids or {}).get(name) or info.header.frame_id).removeprefix('/')
        if not frame_id:
            raise RigError(f'camera {name}: CameraInfo has an empty frame_id; expected the optical frame')
        cameras.append(RigCamera(name, frame_id, model, tree.lookup(base_frame, frame_id, stamp_ns)))
    return Rig(tuple(cameras), base_frame)
