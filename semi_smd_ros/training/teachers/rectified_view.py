# SPDX-License-Identifier: Apache-2.0
"""The picture that teachers see and labels lie on: the camera's, without lens distortion, at its own size."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from semi_smd_ros.network.config import IGNORE_CLASS
from semi_smd_ros.rig import CameraModel, RectifyMap


class RectifiedView:
    """Takes what lies on a camera's own picture to the rectified one; without distortion these are the same.

    The engine's input is this view at another size (see `rig.rectify`), and so a label of any size fits it.
    """

    def __init__(self, camera: CameraModel) -> None:
        self._map = RectifyMap(camera, camera.width, camera.height) if camera.is_distorted else None
        self._size_hw = camera.height, camera.width

    def picture(self, image_hw3: np.ndarray) -> np.ndarray:
        """(H,W,3) uint8. Raises ValueError when the picture has another size than its calibration."""
        if image_hw3.shape[:2] != self._size_hw:
            (height, width), (expected_height, expected_width) = image_hw3.shape[:2], self._size_hw
            raise ValueError(f'image is {width}x{height}; its calibration says {expected_width}x{expected_height}')
        return image_hw3 if self._map is None else self._map(image_hw3)

    def disparity(self, inverse_hw: np.ndarray) -> np.ndarray:
        """Inverse depth (H,W) float32 of the camera's picture; NaN where the view looks past it. Z stays what it is, as
        the optical axis does."""
        if self._map is None:
            return inverse_hw
        rows, columns = self._source_pixels
        return np.where(self._map.valid_hw, inverse_hw[rows, columns], np.float32(np.nan))

    def classes(self, classes_hw: np.ndarray) -> np.ndarray:
        """Classes (H,W) uint8 of the camera's picture, nearest neighbour; 255 where the view looks past it."""
        if self._map is None:
            return classes_hw
        rows, columns = self._source_pixels
        return np.where(self._map.valid_hw, classes_hw[rows, columns], IGNORE_CLASS).astype(np.uint8)

    @property
    def valid_hw(self) -> np.ndarray | None:
        """Where the view looks at the camera's picture, bool; None where that is everywhere."""
        return None if self._map is None else self._map.valid_hw

    @cached_property
    def _source_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of the picture's pixel nearest to each of the view: the map, applied to the positions."""
        assert self._map is not None
        height, width = self._size_hw
        positions = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing='ij')
        rows, columns = (np.rint(self._map(position)).astype(np.intp) for position in positions)
        return rows, columns


@lru_cache(maxsize=16)
def rectified_view(camera: CameraModel) -> RectifiedView:
    """The view of a camera; a model is one object for as long as its calibration holds."""
    return RectifiedView(camera)
