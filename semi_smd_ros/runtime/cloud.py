# SPDX-License-Identifier: Apache-2.0
"""Depth images to one packed point cloud."""

from __future__ import annotations

import array
from dataclasses import dataclass

import numpy as np

from ..rig import Rig, rays
from .frame import SurroundDepth

# sensor_msgs/PointField's numbers of the types.
UINT8, FLOAT32 = 2, 7
POINT_DTYPE = np.dtype(
    {
        'names': ['x', 'y', 'z', 'rgb', 'camera', 'confidence'],
        'formats': ['<f4', '<f4', '<f4', '<u4', 'u1', '<f4'],
        'offsets': [0, 4, 8, 12, 16, 20],
        'itemsize': 24,
    }
)
# `rgb` is 0x00rrggbb in the bits of a float32, as PCL and RViz read it.
POINT_FIELDS: tuple[tuple[str, int, int, int], ...] = (
    ('x', 0, FLOAT32, 1),
    ('y', 4, FLOAT32, 1),
    ('z', 8, FLOAT32, 1),
    ('rgb', 12, FLOAT32, 1),
    ('camera', 16, UINT8, 1),
    ('confidence', 20, FLOAT32, 1),
)


@dataclass(frozen=True)
class CloudConfig:
    """Which points go into the cloud: range from the camera's axis and height above the ground, metres;
    confidence 0..1; every `stride`-th pixel of every `stride`-th row."""

    min_range: float = 0.5
    max_range: float = 80.0
    min_height: float = -2.0
    max_height: float = 6.0
    min_confidence: float = 0.0
    stride: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.min_range < self.max_range:
            raise ValueError(f'cloud range is {self.min_range}..{self.max_range} m; expected 0 <= min < max')
        if not self.min_height < self.max_height:
            raise ValueError(f'cloud height is {self.min_height}..{self.max_height} m; expected min < max')
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f'cloud min_confidence is {self.min_confidence}; expected 0..1')
        if self.stride < 1:
            raise ValueError(f'cloud stride is {self.stride}; expected 1 or more')


@dataclass(frozen=True, eq=False)
class PackedCloud:
    """Points ready to send: `data` holds `n_points` records of `point_step` bytes, laid out as `fields` says."""

    data: array.array[int]
    n_points: int
    point_step: int
    fields: tuple[tuple[str, int, int, int], ...] = POINT_FIELDS

    def points(self) -> np.ndarray:
        """The records as a structured array (a view)."""
        return np.frombuffer(self.data, POINT_DTYPE)


class CloudBuilder:
    """Back-projects the depths of a rig into its base frame; rays are computed once per rig and stride."""

    def __init__(self) -> None:
        self._key: tuple[str, int] | None = None
        self._rays_nhw3 = np.empty(0)

    def __call__(self, depth: SurroundDepth, config: CloudConfig) -> PackedCloud:
        """Pack the points of `depth` that `config` lets through, camera by camera, row by row."""
        step = config.stride
        self._prepare(depth.rectified, step)
        z = depth.depth_nhw[:, ::step, ::step]
        confidence = depth.confidence_nhw[:, ::step, ::step]
        # NaN and +inf fail these comparisons, so unknown and sky never become points.
        keep = (z >= config.min_range) & (z <= config.max_range)
        if config.min_confidence > 0:
            keep &= confidence >= config.min_confidence
        keep &= np.asarray(depth.camera_valid)[:, None, None]
        camera, row, column = np.nonzero(keep)
        origins = depth.rectified.base_T_cam_n44[:, :3, 3].astype(np.float32)
        xyz = self._rays_nhw3[camera, row, column] * z[keep][:, None] + origins[camera]
        level = (xyz[:, 2] >= config.min_height) & (xyz[:, 2] <= config.max_height)
        xyz, camera, row, column = xyz[level], camera[level], row[level], column[level]

        points = np.zeros(len(xyz), POINT_DTYPE)
        points['x'], points['y'], points['z'] = xyz.T
        rgb = depth.images_nhw3[:, ::step, ::step][camera, row, column].astype(np.uint32)
        points['rgb'] = rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2]
        points['camera'] = camera
        points['confidence'] = confidence[camera, row, column]
        data = array.array('B')
        data.frombytes(points.view(np.uint8).data)
        return PackedCloud(data, len(points), POINT_DTYPE.itemsize)

    def _prepare(self, rig: Rig, step: int) -> None:
        key = (rig.fingerprint(), step)
        if key == self._key:
            return
        self._rays_nhw3 = np.stack(
            [
                rays(camera.model.K, camera.model.width, camera.model.height)[::step, ::step]
                @ camera.base_T_cam[:3, :3].T.astype(np.float32)
                for camera in rig.cameras
            ]
        )
        self._key = key
