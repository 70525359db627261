# SPDX-License-Identifier: Apache-2.0
"""Rectify and resize as one fixed map per camera, computed once."""

from __future__ import annotations

import cv2
import numpy as np

from .camera import CameraModel, scale_intrinsics


class RectifyMap:
    """Takes a raw camera image to an undistorted pinhole image of the network's size in one `cv2.remap`.

    The target keeps the whole image: its intrinsics are those of `P` (the rectified image that the calibration
    asks for) or, without one, of `K`, scaled to the new size. An image much larger than its target is first
    shrunk by a whole factor with area averaging, since bilinear sampling of every sixth pixel would alias.

    Attributes: `model` (the undistorted target camera), `valid_hw` (bool: the target pixel looks at a pixel of
    the source image).
    """

    def __init__(self, camera: CameraModel, width: int, height: int) -> None:
        self.source_size = (camera.width, camera.height)
        self.reduction = max(1, min(camera.width // width, camera.height // height))
        # A whole-factor reduction drops the remainder columns at the right and bottom, so the map is
        # computed for the exact pixel centres of the reduced image and nothing shifts.
        self._reduced_size = (camera.width // self.reduction, camera.height // self.reduction)
        source = camera.P if camera.P is not None and camera.is_distorted else camera.K
        target_K = scale_intrinsics(source, width / camera.width, height / camera.height)
        self.model = CameraModel(width, height, target_K, np.zeros(0))

        map_u, map_v = _source_pixels(camera, target_K, width, height)
        self.valid_hw = (
            (map_u >= -0.5) & (map_u <= camera.width - 0.5) & (map_v >= -0.5) & (map_v <= camera.height - 0.5)
        )
        factor = self.reduction
        reduced_u = (map_u + 0.5) / factor - 0.5
        reduced_v = (map_v + 0.5) / factor - 0.5
        self._map1, self._map2 = cv2.convertMaps(
            reduced_u.astype(np.float32), reduced_v.astype(np.float32), cv2.CV_16SC2
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Rectify `image` (H,W) or (H,W,C) of the camera's size; returns the target size, same dtype.

        Raises ValueError when the image has another size than the calibration.
        """
        height, width = image.shape[:2]
        if (width, height) != self.source_size:
            raise ValueError(
                f'image is {width}x{height}; the calibration is for {self.source_size[0]}x{self.source_size[1]}'
            )
        if self.reduction > 1:
            whole_w, whole_h = (n * self.reduction for n in self._reduced_size)
            image = cv2.resize(image[:whole_h, :whole_w], self._reduced_size, interpolation=cv2.INTER_AREA)
        # The half pixel between the outermost centres and the image's edge repeats the edge; what lies farther
        # out is marked in `valid_hw`.
        return cv2.remap(image, self._map1, self._map2, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _source_pixels(camera: CameraModel, target_K: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    size = (width, height)
    if camera.distortion_model == 'equidistant':
        D = camera.D if camera.D.size else np.zeros(4)
        return cv2.fisheye.initUndistortRectifyMap(camera.K, D, np.eye(3), target_K, size, cv2.CV_32FC1)
    map_u, map_v = cv2.initUndistortRectifyMap(camera.K, camera.D, np.eye(3), target_K, size, cv2.CV_32FC1)
    if camera.is_distorted:
        # Beyond its calibrated field of view a polynomial folds back into the image: such pixels see nothing.
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2)
        points = np.column_stack([grid, np.ones(len(grid))]) @ np.linalg.inv(target_K).T
        inside = camera.project(points)[1].reshape(height, width)
        map_u, map_v = map_u.copy(), map_v.copy()
        outside = ~inside & (map_u >= 0) & (map_u < camera.width) & (map_v >= 0) & (map_v < camera.height)
        map_u[outside] = map_v[outside] = -1e4
    return map_u, map_v
