# SPDX-License-Identifier: Apache-2.0
"""LiDAR points as a camera's sparse depth, without those that the camera cannot see."""

from __future__ import annotations

import cv2
import numpy as np

from ..rig import CameraModel

MIN_DEPTH_M = 1.0
# How far a point looks for nearer ones, in blocks, and what counts as clearly nearer.
_REACH_VERTICAL = 2
_REACH_SIDEWAYS = 3
_NEARER_SHARE = 0.8
_NEARER_M = 0.3


def visible_points(
    points_n3: np.ndarray, camera: CameraModel, block: int = 8, occlusion_filter: bool = True
) -> np.ndarray:
    """The points (M,3) of the optical frame that fall into the image, nearest per pixel, occluded ones dropped.

    A LiDAR on the roof sees over things that hide the ground from a camera below it. A point is taken as hidden
    when clearly nearer points lie both above and below it, or on both sides and above or below, within a few blocks
    of `block` pixels: ground that recedes has nearer points only below itself, a wall only on one side; they stay.
    Without `occlusion_filter` hidden ones stay too.
    """
    points = np.asarray(points_n3, dtype=np.float64)
    uv, inside = camera.project(points)
    inside &= points[:, 2] > MIN_DEPTH_M
    points, uv = points[inside], uv[inside]

    pixel = np.rint(uv).astype(np.int64)
    order = np.argsort(points[:, 2], kind='stable')
    _, first = np.unique(pixel[order, 1] * camera.width + pixel[order, 0], return_index=True)
    nearest = np.sort(order[first])
    points, pixel = points[nearest], pixel[nearest]
    if occlusion_filter:
        points = points[~_hidden(points[:, 2], pixel // block)]
    return points.astype(np.float32)


def _hidden(depth: np.ndarray, block_n2: np.ndarray) -> np.ndarray:
    """Which points, given by depth and (column, row) of their block, have clearly nearer ones around them."""
    if not len(depth):
        return np.zeros(0, bool)
    column, row = block_n2[:, 0], block_n2[:, 1]
    near = np.full((row.max() + 1, column.max() + 1), np.inf, np.float32)
    np.minimum.at(near, (row, column), depth.astype(np.float32))
    limit = _NEARER_SHARE * depth - _NEARER_M
    # Rows of a LiDAR are far apart, points within a row near: look wider upwards and downwards than sideways.
    above = _nearest_beside(near, _REACH_VERTICAL, 3)[row, column] < limit
    below = _nearest_beside(near[::-1], _REACH_VERTICAL, 3)[::-1][row, column] < limit
    left = _nearest_beside(near.T, _REACH_SIDEWAYS, 1).T[row, column] < limit
    right = _nearest_beside(near.T[::-1], _REACH_SIDEWAYS, 1)[::-1].T[row, column] < limit
    hidden: np.ndarray = (above & below) | (left & right & (above | below))
    return hidden


def _nearest_beside(near: np.ndarray, reach: int, wide: int) -> np.ndarray:
    """The minimum of the `reach` rows before each row, over `wide` columns around each column."""
    shifted = np.full_like(near, np.inf)
    shifted[1:] = near[:-1]
    window = np.ones((reach, wide), np.uint8)
    # cv2.erode takes the minimum under the kernel; the anchor puts it wholly before the row.
    return cv2.erode(
        shifted, window, anchor=(wide // 2, reach - 1), borderType=cv2.BORDER_CONSTANT,
        borderValue=float(np.finfo(np.float32).max),
    )  # fmt: skip
