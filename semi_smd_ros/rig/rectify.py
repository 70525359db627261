# SPDX-License-Identifier: Apache-2.0
"""Rectify and resize as one fixed map per camera, computed once."""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass

import cv2
import numpy as np

from .camera import CameraModel, scale_intrinsics

# Bytes of a halved image that stay in a core's cache between being written and being sampled.
_BAND_BYTES = 600_000


@dataclass(frozen=True, eq=False)
class _Band:
    """Rows `first`..`last` of the target come from rows `top`..`bottom` of the reduced image (ends excluded)."""

    first: int
    last: int
    top: int
    bottom: int
    map1: np.ndarray
    map2: np.ndarray


class _Scratch(threading.local):
    """What a thread halves into, by what is left of the factor: for all maps, since it is used up at once."""

    def __init__(self) -> None:
        self.by_factor: dict[int, np.ndarray] = {}


_SCRATCH = _Scratch()


class RectifyMap:
    """Takes a raw camera image to an undistorted pinhole image of the network's size in one `cv2.remap`.

    The target keeps the whole image: its intrinsics are those of `P` (the rectified image that the calibration
    asks for) or, without one, of `K`, scaled to the new size. An image more than twice as large as its target is halved
    first (once or more, by averaging 2x2 pixels), until bilinear sampling steps by less than two pixels and can't skip
    any. Halving and sampling go band by band, so that what is halved is sampled from the cache. Any number of threads
    may call it at a time.

    Attributes: `model` (the undistorted target camera), `valid_hw` (bool: the target pixel looks at a pixel of
    the source image), `reduction` (the factor of the halvings together: 1, 2, 4, ...), `source_reduction` (the largest
    factor of two that the source may have been reduced by already, see `__call__`).
    """

    def __init__(self, camera: CameraModel, width: int, height: int) -> None:
        self.source_size = (camera.width, camera.height)
        self.reduction = 2 ** max(0, math.floor(math.log2(min(camera.width / width, camera.height / height))))
        # Halving drops odd columns and rows at the right and bottom; the map is computed for the exact pixel centres of
        # the reduced image, so nothing shifts.
        self._reduced_size = (camera.width // self.reduction, camera.height // self.reduction)
        source = camera.P if camera.P is not None and camera.is_distorted else camera.K
        target_K = scale_intrinsics(source, width / camera.width, height / camera.height)
        self.model = CameraModel(width, height, target_K, np.zeros(0))

        map_u, map_v, seen = _source_pixels(camera, target_K, width, height)
        seen &= np.isfinite(map_u) & np.isfinite(map_v)
        self.valid_hw = (
            seen
            & (map_u >= -0.5) & (map_u <= camera.width - 0.5)
            & (map_v >= -0.5) & (map_v <= camera.height - 0.5)
        )  # fmt: skip
        # What sees nothing repeats the image's left edge at its own height, and is marked in `valid_hw`.
        map_u[~seen] = 0
        map_v[~seen] = (np.nonzero(~seen)[0] + 0.5) * camera.height / height
        reduced_u = np.clip((map_u + 0.5) / self.reduction - 0.5, 0, self._reduced_size[0] - 1)
        reduced_v = np.clip((map_v + 0.5) / self.reduction - 0.5, 0, self._reduced_size[1] - 1)
        self._bands = _bands(reduced_u.astype(np.float32), reduced_v.astype(np.float32), self._reduced_size)
        self.source_reduction = self.reduction
        # What a lens or `P` magnifies here and there would be enlarged from too small a picture.
        most = _least_step(map_u, map_v, self.valid_hw)
        while self.source_reduction > 1 and (
            self.source_reduction > most or any(size % self.source_reduction for size in self.source_size)
        ):
            self.source_reduction //= 2

    def __call__(self, image: np.ndarray, out: np.ndarray | None = None, reduced_by: int = 1) -> np.ndarray:
        """Rectify `image` (H,W) or (H,W,C) of the camera's size; returns the target size, same dtype.

        `reduced_by`: the image comes reduced by this factor already, a divisor of `reduction`, in such a way that each
        of its pixels stands for that many columns and rows of the camera's. `out`, where given, is written and
        returned. Raises ValueError when the image has another size than the calibration.
        """
        height, width = image.shape[:2]
        if (width * reduced_by, height * reduced_by) != self.source_size:
            reduced = f' reduced by {reduced_by}' if reduced_by > 1 else ''
            raise ValueError(
                f'image is {width}x{height}; the calibration is for '
                f'{self.source_size[0]}x{self.source_size[1]}{reduced}'
            )
        if self.reduction % reduced_by:
            raise ValueError(f'image is reduced by {reduced_by}; expected a divisor of {self.reduction}')
        if out is None:
            out = np.empty((self.model.height, self.model.width, *image.shape[2:]), image.dtype)
        for band in self._bands:
            rows = self._reduced(image, band.top, band.bottom, self.reduction // reduced_by)
            # The map stays inside the band, but for half a step at the image's own edges, which repeats them.
            cv2.remap(
                rows, band.map1, band.map2, cv2.INTER_LINEAR, dst=out[band.first : band.last],
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
        return out

    def fixed_point_map(self) -> tuple[np.ndarray, np.ndarray]:
        """What `__call__` samples the reduced image by, for whoever does the same elsewhere.

        Whole pixels (h,w,2) int16, u then v, and the 32nds of one beyond them (h,w) uint16, v * 32 + u. A tap outside
        the reduced image is the nearest pixel inside.
        """
        whole = [band.map1 + np.array([0, band.top], np.int16) for band in self._bands]
        return np.concatenate(whole), np.concatenate([band.map2 for band in self._bands])

    def _reduced(self, image: np.ndarray, top: int, bottom: int, factor: int) -> np.ndarray:
        """Rows `top`..`bottom` of the image reduced by `factor`, which leaves what the map is for."""
        width = self._reduced_size[0]
        rows = image[top * factor : bottom * factor, : width * factor]
        while factor > 1:
            factor //= 2
            shape = ((bottom - top) * factor, width * factor, *image.shape[2:])
            size = math.prod(shape)
            scratch = _SCRATCH.by_factor.get(factor)
            if scratch is None or scratch.dtype != image.dtype or scratch.size < size:
                scratch = _SCRATCH.by_factor[factor] = np.empty(size, image.dtype)
            half = scratch[:size].reshape(shape)
            cv2.resize(rows, shape[1::-1], dst=half, interpolation=cv2.INTER_AREA)
            rows = half
        return rows


def _bands(map_u: np.ndarray, map_v: np.ndarray, size: tuple[int, int]) -> list[_Band]:
    """Split a map into bands of rows that need few enough rows of the reduced image each."""
    height = len(map_v)
    count = max(1, min(height // 16, round(size[0] * size[1] * 3 / _BAND_BYTES)))
    edges = [height * i // count for i in range(count + 1)]
    bands = []
    for first, last in itertools.pairwise(edges):
        top = int(map_v[first:last].min())
        bottom = min(size[1], int(map_v[first:last].max()) + 2)
        map1, map2 = cv2.convertMaps(map_u[first:last], map_v[first:last] - top, cv2.CV_16SC2)
        bands.append(_Band(first, last, top, bottom, map1, map2))
    if count > 1 and sum(band.bottom - band.top for band in bands) > 1.3 * size[1]:
        # A lens that bends rows this much would have most of them reduced twice.
        return [_Band(0, height, 0, size[1], *cv2.convertMaps(map_u, map_v, cv2.CV_16SC2))]
    return bands


def _least_step(map_u: np.ndarray, map_v: np.ndarray, valid_hw: np.ndarray) -> float:
    """Least distance in the source, in pixels, between valid neighbours of the target; 0 where there are none."""
    least = math.inf
    for axis in (0, 1):
        steps = np.hypot(np.diff(map_u, axis=axis), np.diff(map_v, axis=axis))
        both = np.delete(valid_hw, 0, axis) & np.delete(valid_hw, -1, axis)
        least = min(least, float(steps[both].min(initial=math.inf)))
    # Positions of large pictures are rounded to a thousandth of a pixel.
    return 1.001 * least if math.isfinite(least) else 0.0


def _source_pixels(
    camera: CameraModel, target_K: np.ndarray, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where every target pixel lies in the source image (u, v), and whether the lens maps it there at all (bool)."""
    size = (width, height)
    everywhere = np.ones((height, width), bool)
    if camera.distortion_model == 'equidistant':
        D = camera.D if camera.D.size else np.zeros(4)
        map_u, map_v = cv2.fisheye.initUndistortRectifyMap(camera.K, D, np.eye(3), target_K, size, cv2.CV_32FC1)
        return map_u.copy(), map_v.copy(), everywhere
    map_u, map_v = cv2.initUndistortRectifyMap(camera.K, camera.D, np.eye(3), target_K, size, cv2.CV_32FC1)
    if not camera.is_distorted:
        return map_u.copy(), map_v.copy(), everywhere
    # Beyond its calibrated field of view a polynomial folds back into the image: such pixels see nothing.
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    radius = np.hypot((u - target_K[0, 2]) / target_K[0, 0], (v - target_K[1, 2]) / target_K[1, 1])
    return map_u.copy(), map_v.copy(), radius < _folding_radius(camera.D, float(radius.max()))


def _folding_radius(D: np.ndarray, most: float) -> float:
    """Distance from the axis (tangent of the angle) up to which a lens of plumb_bob or rational_polynomial coefficients
    images what is farther out farther out; inf where that holds up to `most`."""
    k1, k2, _, _, k3, k4, k5, k6 = np.pad(D, (0, 8 - D.size))
    radius = np.linspace(0, most, 4000)
    square = radius**2
    above = 1 + square * (k1 + square * (k2 + square * k3))
    below = 1 + square * (k4 + square * (k5 + square * k6))
    with np.errstate(divide='ignore', invalid='ignore'):
        grows = np.diff(radius * above / below) > 0
    return math.inf if grows.all() else float(radius[int(np.argmin(grows))])
