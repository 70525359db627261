# SPDX-License-Identifier: Apache-2.0
"""What the kernel is told of a camera's bytes: one row of integers per camera."""

from __future__ import annotations

import numpy as np

from ...rig import RectifyMap
from ..images import SUPPORTED_ENCODINGS, CameraImage, InputError

# As in rectify.cu.
FIELDS = ('width', 'height', 'row_bytes', 'layout', 'order', 'pixel_bytes', 'levels', 'valid')
MAX_REDUCTION = 16
_PACKED, _GREY, _GREY16, _BAYER, _YUV422, _YUV420 = range(6)
# Layout, order (see rectify.cu) and bytes per pixel.
_LAYOUTS: dict[str, tuple[int, int, int]] = {
    'rgb8': (_PACKED, 0, 3), 'bgr8': (_PACKED, 2, 3), '8UC3': (_PACKED, 2, 3),
    'rgba8': (_PACKED, 0, 4), 'bgra8': (_PACKED, 2, 4), '8UC4': (_PACKED, 2, 4),
    'mono8': (_GREY, 0, 1), '8UC1': (_GREY, 0, 1), 'mono16': (_GREY16, 0, 2), '16UC1': (_GREY16, 0, 2),
    'bayer_rggb8': (_BAYER, 0, 1), 'bayer_grbg8': (_BAYER, 1, 1),
    'bayer_gbrg8': (_BAYER, 2, 1), 'bayer_bggr8': (_BAYER, 3, 1),
    'yuv422': (_YUV422, 1, 2), 'uyvy': (_YUV422, 1, 2), 'yuv422_yuy2': (_YUV422, 0, 2), 'yuyv': (_YUV422, 0, 2),
    'nv12': (_YUV420, 0, 1), 'nv21': (_YUV420, 1, 1),
}  # fmt: skip
assert frozenset(_LAYOUTS) == SUPPORTED_ENCODINGS


def camera_row(image: CameraImage | None, remap: RectifyMap) -> tuple[int, ...]:
    """The kernel's integers (FIELDS) for `image`, whose rows lie one after the other; zeros for a missing one.

    Raises InputError for an image that was decoded smaller than `remap` allows, or that is too large for the network.
    """
    if image is None:
        return (0,) * len(FIELDS)
    if remap.reduction % image.reduction or remap.reduction > MAX_REDUCTION * image.reduction:
        raise InputError(
            'size',
            f'image is reduced by {image.reduction} for a network that wants it reduced by {remap.reduction} in all; '
            f'expected a divisor, and at most {MAX_REDUCTION} times left',
        )
    layout, order, pixel_bytes = _LAYOUTS[image.encoding]
    width, height = (size // image.reduction for size in image.size)
    levels = (remap.reduction // image.reduction).bit_length() - 1
    return width, height, width * pixel_bytes, layout, order, pixel_bytes, levels, 1


def byte_rows(image: CameraImage) -> np.ndarray:
    """The image's bytes (rows, bytes of one row), uint8, as a view wherever each row lies in one piece."""
    pixels = image.pixels
    if not pixels[0].flags.c_contiguous:
        pixels = np.ascontiguousarray(pixels)
    rows = pixels.reshape(len(pixels), -1)
    return rows.view(np.uint8)
