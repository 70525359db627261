# SPDX-License-Identifier: Apache-2.0
"""Rays through pixels and what the ground alone says about depth."""

from __future__ import annotations

import numpy as np

FAR_WITHOUT_GROUND_M = 20.0


def rays(K: np.ndarray, width: int, height: int) -> np.ndarray:
    """Rays (H,W,3) float32 of an undistorted pinhole in its optical frame, scaled to Z = 1.

    A pixel's point in metres is its ray times its depth.
    """
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1).astype(np.float64)
    return (pixels @ np.linalg.inv(K).T).astype(np.float32)


def flat_ground_depth(
    K: np.ndarray,
    base_T_cam: np.ndarray,
    width: int,
    height: int,
    far: float = FAR_WITHOUT_GROUND_M,
    plane_base: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 0.0),
) -> np.ndarray:
    """Depth (H,W) float32, metres, of the flat-ground prior: what a camera's pose says without any picture.

    Where a pixel's ray meets the plane `n.x + d = 0` (given in `base`; by default the vehicle's own z = 0)
    nearer than `far`, its Z there; elsewhere the constant `far`.
    """
    normal, offset = np.asarray(plane_base[:3]), float(plane_base[3])
    direction = rays(K, width, height).astype(np.float64) @ base_T_cam[:3, :3].T
    height_above = float(normal @ base_T_cam[:3, 3] + offset)
    descent = -(direction @ normal)
    with np.errstate(divide='ignore'):
        depth = np.where(descent > 1e-9, height_above / np.maximum(descent, 1e-9), np.inf)
    return np.minimum(np.where(depth > 0, depth, far), far).astype(np.float32)
