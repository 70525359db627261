# SPDX-License-Identifier: Apache-2.0
"""LiDAR points as a camera's sparse depth, without those that the camera cannot see."""

from __future__ import annotations

import cv2
import numpy as np

from ..rig import CameraModel

MIN_DEPTH_M = 1.0


def visible_points(points_n3: np.ndarray, camera: CameraModel, block: int = 8, reach: int = 3) -> np.ndarray:
    """The points (M,3) of the optical frame that fall into the image, nearest per pixel, occluded ones dropped.

    A LiDAR on the roof sees over things that hide the ground from a camera below it. A point is taken as hidden
    when clearly nearer points lie both above and below it, within `reach` blocks of `block` pixels: ground that
    recedes has nearer points only below itself, so it stays.
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

    column, row = pixel[:, 0] // block, pixel[:, 1] // block
    near = np.full((camera.height // block + 1, camera.width // block + 1), np.inf, np.float32)
    np.minimum.at(near, (row, column), points[:, 2].astype(np.float32))
    window = np.ones((reach, 2 * (reach // 2) + 1), np.uint8)
    middle = reach // 2
    far = float(np.finfo(np.float32).max)
    # cv2.erode takes the minimum under the kernel; the anchor puts the window wholly above or below the block.
    above, below = (
        cv2.erode(shifted, window, anchor=(middle, anchor), borderType=cv2.BORDER_CONSTANT, borderValue=far)
        for shifted, anchor in ((_shift_rows(near, 1), reach - 1), (_shift_rows(near, -1), 0))
    )
    limit = 0.85 * points[:, 2] - 0.3
    hidden = (above[row, column] < limit) & (below[row, column] < limit)
    return points[~hidden].astype(np.float32)


def _shift_rows(image: np.ndarray, rows: int) -> np.ndarray:
    shifted = np.full_like(image, np.inf)
    if rows > 0:
        shifted[rows:] = image[:-rows]
    else:
        shifted[:rows] = image[-rows:]
    return shifted
