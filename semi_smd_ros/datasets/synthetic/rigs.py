# SPDX-License-Identifier: Apache-2.0
"""Surround rigs for the synthetic world: like DDAD's, like nuScenes', and random ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Optical axes (x right, y down, z forward) in a body frame (x forward, y left, z up): REP 103.
_BODY_R_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class SyntheticRig:
    """N rectified pinhole cameras on a vehicle.

    Attributes:
        names: N camera names, each once.
        width, height: picture size in pixels, the same for all.
        intrinsics_n33: float64, pixels; pixel centres at integer coordinates.
        base_T_cam_n44: float64, metres; base is x forward, y left, z up on the ground, optical frames REP 103.
    """

    names: tuple[str, ...]
    width: int
    height: int
    intrinsics_n33: np.ndarray
    base_T_cam_n44: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0 or len(set(self.names)) != n:
            raise ValueError(f'camera names {self.names} must be at least one and all different; rename them')
        if self.intrinsics_n33.shape != (n, 3, 3) or self.base_T_cam_n44.shape != (n, 4, 4):
            raise ValueError(
                f'got intrinsics {self.intrinsics_n33.shape} and poses {self.base_T_cam_n44.shape} for {n} names; '
                f'expected {(n, 3, 3)} and {(n, 4, 4)}'
            )

    def resized(self, height: int, width: int) -> SyntheticRig:
        """The same rig with pictures scaled to height x width (both axes scaled on their own)."""
        sx, sy = width / self.width, height / self.height
        k = self.intrinsics_n33.copy()
        k[:, 0, 0] *= sx
        k[:, 1, 1] *= sy
        k[:, 0, 2] = (k[:, 0, 2] + 0.5) * sx - 0.5
        k[:, 1, 2] = (k[:, 1, 2] + 0.5) * sy - 0.5
        return SyntheticRig(self.names, width, height, k, self.base_T_cam_n44.copy())


def camera_pose(xyz: tuple[float, float, float], yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """base_T_cam of a camera at xyz (m); yaw to the left, pitch downwards, roll clockwise, radians. (4, 4)."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    z = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    y = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    x = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    pose = np.eye(4)
    pose[:3, :3] = z @ y @ x @ _BODY_R_OPTICAL
    pose[:3, 3] = xyz
    return pose


def _rig(
    cameras: list[tuple[str, tuple[float, float, float], tuple[float, float, float], float]],
    native: tuple[int, int],
    height: int,
    width: int,
) -> SyntheticRig:
    """Rig of (name, xyz, (yaw, pitch, roll) in degrees, horizontal field of view in degrees)."""
    native_width, native_height = native
    intrinsics, poses, names = [], [], []
    for name, xyz, angles, fov in cameras:
        f = native_width / 2.0 / math.tan(math.radians(fov) / 2.0)
        intrinsics.append([[f, 0.0, native_width / 2.0 - 0.5], [0.0, f, native_height / 2.0 - 0.5], [0.0, 0.0, 1.0]])
        yaw, pitch, roll = (math.radians(a) for a in angles)
        poses.append(camera_pose(xyz, yaw, pitch, roll))
        names.append(name)
    rig = SyntheticRig(tuple(names), native_width, native_height, np.array(intrinsics), np.stack(poses))
    return rig.resized(height, width)


def ddad_like_rig(height: int, width: int) -> SyntheticRig:
    """Six cameras on a roof rack as in DDAD: a long lens ahead, wide ones around. Native 1936 x 1216."""
    return _rig(
        [
            ('front', (1.75, 0.0, 1.53), (0.0, 0.0, 0.0), 48.0),
            ('front_left', (1.40, 0.40, 1.52), (58.0, 0.5, 0.0), 85.0),
            ('front_right', (1.40, -0.40, 1.52), (-58.0, 0.5, 0.0), 85.0),
            ('rear_left', (0.95, 0.55, 1.51), (117.0, 0.5, 0.0), 85.0),
            ('rear_right', (0.95, -0.55, 1.51), (-117.0, 0.5, 0.0), 85.0),
            ('rear', (0.70, 0.0, 1.55), (180.0, 0.5, 0.0), 85.0),
        ],
        (1936, 1216),
        height,
        width,
    )


def nuscenes_like_rig(height: int, width: int) -> SyntheticRig:
    """Six cameras as in nuScenes: 65 degrees, and a wide one (90) astern. Native 1600 x 900."""
    return _rig(
        [
            ('front', (1.70, 0.0, 1.51), (0.0, 0.0, 0.0), 64.6),
            ('front_left', (1.52, 0.49, 1.51), (55.0, 0.0, 0.0), 64.6),
            ('front_right', (1.55, -0.49, 1.50), (-55.0, 0.0, 0.0), 64.6),
            ('back_left', (1.04, 0.48, 1.56), (110.0, 0.0, 0.0), 64.6),
            ('back_right', (1.01, -0.48, 1.56), (-110.0, 0.0, 0.0), 64.6),
            ('back', (0.03, 0.0, 1.58), (180.0, 0.0, 0.0), 89.0),
        ],
        (1600, 900),
        height,
        width,
    )


def random_rig(rng: np.random.Generator, height: int, width: int, cameras: int = 6) -> SyntheticRig:
    """A plausible rig nobody has built: 1..12 cameras spread around, 0.8..3 m high, 40..120 degrees wide."""
    if not 1 <= cameras <= 12:
        raise ValueError(f'got {cameras} cameras, expected 1..12')
    car_height = float(rng.uniform(0.9, 2.2)) if rng.random() < 0.85 else float(rng.uniform(0.8, 3.0))
    wide = float(rng.uniform(max(50.0, 330.0 / cameras if cameras > 3 else 50.0), 105.0))
    first = float(rng.normal(0.0, 4.0))
    x0, spread = float(rng.uniform(0.3, 1.6)), float(rng.uniform(0.1, 1.0))
    found = []
    for i in range(cameras):
        # Front, then alternating left and right, ending astern.
        step = (i + 1) // 2 * (360.0 / cameras)
        yaw = first + (step if i % 2 else -step) + float(rng.normal(0.0, 5.0))
        fov = float(np.clip(wide + rng.normal(0.0, 4.0), 40.0, 120.0))
        if i == 0 and rng.random() < 0.35:
            fov = float(rng.uniform(40.0, 60.0))
        radians = math.radians(yaw)
        xyz = (
            x0 + spread * math.cos(radians) * 1.2,
            spread * math.sin(radians) * 0.7,
            float(np.clip(car_height + rng.normal(0.0, 0.05), 0.8, 3.0)),
        )
        pitch = float(rng.normal(1.0 + 3.0 * max(0.0, car_height - 1.6), 2.0))
        found.append((f'camera_{i}', xyz, (yaw, pitch, float(rng.normal(0.0, 1.0))), fov))
    aspect = width / height
    return _rig(found, (round(1200 * aspect), 1200), height, width)
