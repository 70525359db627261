# SPDX-License-Identifier: Apache-2.0
"""One camera's intrinsics: a pinhole with one of the three distortion models that CameraInfo names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

# Numbers of coefficients that sensor_msgs/distortion_models.hpp and OpenCV allow for each model.
DISTORTION_LENGTHS: dict[str, tuple[int, ...]] = {
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (8,),
    'equidistant': (0, 4),
}


class RigError(ValueError):
    """A calibration that cannot be used. The message says what was got, what was expected and what to do."""


@dataclass(frozen=True, eq=False)
class CameraModel:
    """Pinhole intrinsics and lens distortion of one camera, checked when made.

    `K` (3,3) and `P` (3,3, optional: the projection of the rectified image) are in pixels, pixel centres at
    integer coordinates; `D` holds the coefficients in CameraInfo's order.
    """

    width: int
    height: int
    K: np.ndarray
    D: np.ndarray
    distortion_model: str = 'plumb_bob'
    P: np.ndarray | None = None

    def __post_init__(self) -> None:
        K = np.asarray(self.K, dtype=np.float64)
        D = np.asarray(self.D, dtype=np.float64).ravel()
        model = self.distortion_model or 'plumb_bob'
        if self.width <= 0 or self.height <= 0:
            raise RigError(f'image size is {self.width}x{self.height}; expected positive numbers of pixels')
        if K.shape != (3, 3) or not np.isfinite(K).all():
            raise RigError(f'K is {K.tolist()}; expected nine finite numbers')
        if not (K[0, 0] > 0 and K[1, 1] > 0 and K[2, 2] == 1):
            raise RigError(
                f'K has fx={K[0, 0]:g}, fy={K[1, 1]:g}, K[2,2]={K[2, 2]:g}; expected positive focal lengths and 1: '
                'the camera looks uncalibrated, publish a CameraInfo with its calibration'
            )
        if model not in DISTORTION_LENGTHS:
            raise RigError(
                f'distortion model {model!r} is unknown; expected one of {", ".join(sorted(DISTORTION_LENGTHS))}'
            )
        if not np.isfinite(D).all():
            raise RigError(f'D is {D.tolist()}; expected finite coefficients')
        if D.size not in DISTORTION_LENGTHS[model] and (D.size and D.any()):
            allowed = ' or '.join(str(n) for n in DISTORTION_LENGTHS[model])
            raise RigError(f'{model} has {D.size} coefficients in D; expected {allowed}')
        if self.P is not None:
            P = np.asarray(self.P, dtype=np.float64)
            if P.shape != (3, 3) or not np.isfinite(P).all() or not (P[0, 0] > 0 and P[1, 1] > 0):
                raise RigError(f'P is {P.tolist()}; expected a 3x3 projection with positive focal lengths')
            object.__setattr__(self, 'P', P)
        object.__setattr__(self, 'K', K)
        object.__setattr__(self, 'D', D if D.any() else np.zeros(0))
        object.__setattr__(self, 'distortion_model', model)

    @classmethod
    def from_camera_info(cls, msg: Any) -> CameraModel:
        """Read a sensor_msgs/CameraInfo, or anything with its fields.

        Raises RigError for an uncalibrated camera (K of zeros), an unknown distortion model, binning or a
        region of interest: those describe an image other than the calibrated one.
        """
        if max(int(msg.binning_x), int(msg.binning_y)) > 1:
            raise RigError(
                f'binning is {msg.binning_x}x{msg.binning_y}; expected none: '
                'publish a CameraInfo that describes the image as it is sent'
            )
        roi = msg.roi
        if roi.width and roi.height and (roi.width, roi.height) != (msg.width, msg.height):
            raise RigError(
                f'region of interest is {roi.width}x{roi.height} of {msg.width}x{msg.height}; expected the full '
                'image: publish a CameraInfo that describes the image as it is sent'
            )
        P = np.asarray(msg.p, dtype=np.float64).reshape(3, 4)[:, :3]
        return cls(
            width=int(msg.width),
            height=int(msg.height),
            K=np.asarray(msg.k, dtype=np.float64).reshape(3, 3),
            D=np.asarray(msg.d, dtype=np.float64),
            distortion_model=str(msg.distortion_model),
            P=P if P[0, 0] > 0 and P[1, 1] > 0 else None,
        )

    @property
    def is_distorted(self) -> bool:
        """Whether any distortion coefficient differs from zero."""
        return self.distortion_model == 'equidistant' or bool(self.D.size)

    def resized(self, width: int, height: int) -> CameraModel:
        """The same camera for an image resized to `width` x `height`; pixel centres stay at integers."""
        return CameraModel(
            width,
            height,
            scale_intrinsics(self.K, width / self.width, height / self.height),
            self.D,
            self.distortion_model,
            None if self.P is None else scale_intrinsics(self.P, width / self.width, height / self.height),
        )

    def project(self, points_n3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project points of the optical frame, metres, into the (distorted) image.

        Returns `uv_n2` (float64 pixels) and `valid_n`: in front of the camera, inside the image, and within the
        field of view in which the distortion polynomial is monotonic (beyond it a lens folds points back in).
        """
        points = np.asarray(points_n3, dtype=np.float64).reshape(-1, 3)
        uv = np.full((len(points), 2), np.nan)
        front = points[:, 2] > 1e-6
        if front.any():
            uv[front] = self._project_front(points[front])
        with np.errstate(invalid='ignore'):
            valid = (
                front
                & (uv[:, 0] >= -0.5)
                & (uv[:, 0] < self.width - 0.5)
                & (uv[:, 1] >= -0.5)
                & (uv[:, 1] < self.height - 0.5)
            )
        if self.is_distorted and valid.any():
            back = self.unproject(uv[valid])
            true = points[valid] / np.linalg.norm(points[valid], axis=1, keepdims=True)
            valid[valid] = np.einsum('ij,ij->i', back, true) > np.cos(np.radians(0.5))
        return uv, valid

    def _project_front(self, points: np.ndarray) -> np.ndarray:
        if self.distortion_model == 'equidistant':
            coefficients = self.D if self.D.size else np.zeros(4)
            uv, _ = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), self.K, coefficients)
        else:
            uv, _ = cv2.projectPoints(points[:, None], np.zeros(3), np.zeros(3), self.K, self.D)
        return uv.reshape(-1, 2)

    def unproject(self, uv_n2: np.ndarray) -> np.ndarray:
        """Unit viewing rays (N,3) in the optical frame of (distorted) pixels `uv_n2`."""
        uv = np.asarray(uv_n2, dtype=np.float64).reshape(-1, 1, 2)
        # OpenCV's default of five iterations leaves whole pixels of error at the rim of a wide lens.
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
        if self.distortion_model == 'equidistant':
            coefficients = self.D if self.D.size else np.zeros(4)
            xy = cv2.fisheye.undistortPoints(uv, self.K, coefficients, criteria=criteria)
        else:
            xy = cv2.undistortPointsIter(uv, self.K, self.D, np.eye(3), np.eye(3), criteria)
        ray = np.concatenate([xy.reshape(-1, 2), np.ones((len(uv), 1))], axis=1)
        return ray / np.linalg.norm(ray, axis=1, keepdims=True)


def scale_intrinsics(K: np.ndarray, sx: float, sy: float) -> np.ndarray:
    """K (3,3) of an image resized by `sx`, `sy`, with pixel centres at integer coordinates before and after."""
    scaled = np.array(K, dtype=np.float64)
    scaled[0] *= sx
    scaled[1] *= sy
    scaled[0, 2] += 0.5 * sx - 0.5
    scaled[1, 2] += 0.5 * sy - 0.5
    return scaled
