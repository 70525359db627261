# SPDX-License-Identifier: Apache-2.0
"""Rigs for tests."""

from __future__ import annotations

import numpy as np

from semi_smd_ros.rig import CameraModel, Rig, RigCamera

# Columns: where a level camera's x (right), y (down), z (forward) point in base, looking along base x.
FORWARD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
LENSES = {
    'plumb_bob': np.array([-0.21, 0.06, 0.001, -0.0008, 0.0]),
    'rational_polynomial': np.array([0.9, 0.2, 0.0004, -0.0003, 0.01, 1.2, 0.4, 0.05]),
    'equidistant': np.array([-0.02, 0.004, -0.003, 0.0006]),
}


def yaw_rotation(angle: float) -> np.ndarray:
    """Rotation about z by `angle` radians, counter-clockwise from above."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def level_pose(yaw: float, height: float = 1.5) -> np.ndarray:
    """base_T_cam of a level camera."""
    pose = np.eye(4)
    pose[:3, :3] = yaw_rotation(yaw) @ FORWARD
    pose[:3, 3] = yaw_rotation(yaw) @ [0.5, 0.0, 0.0] + [1.0, 0.0, height]
    return pose


def camera(width: int = 160, height: int = 96, lens: str | None = None, focal: float | None = None) -> CameraModel:
    """A camera whose horizontal field of view is 90 degrees unless `focal` says otherwise."""
    f = width / 2 if focal is None else focal
    K = np.array([[f, 0, width / 2 + 1.3], [0, f * 1.02, height / 2 - 0.7], [0, 0, 1]])
    return CameraModel(width, height, K, np.zeros(0) if lens is None else LENSES[lens], lens or 'plumb_bob')


def ring(count: int = 3, width: int = 160, height: int = 96, lens: str | None = None) -> Rig:
    """`count` cameras looking outward, evenly spread."""
    names = [f'cam_{i}' for i in range(count)]
    return Rig(
        tuple(
            RigCamera(name, f'{name}_optical', camera(width, height, lens), level_pose(2 * np.pi * i / count))
            for i, name in enumerate(names)
        )
    )
