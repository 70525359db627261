# SPDX-License-Identifier: Apache-2.0
"""Image messages as arrays: raw bytes become a view, never a copy, where the encoding allows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..rig import RectifyMap
from .compressed_size import compressed_size, is_jpeg
from .input_error import InputError as InputError  # most import it from here


@dataclass(frozen=True, eq=False)
class CameraImage:
    """One camera's picture: `pixels` (H,W) or (H,W,C) in the ROS encoding `encoding`, stamp in nanoseconds.

    `reduction`: each pixel stands for this many columns and rows of the camera's; 1 unless a JPEG was decoded smaller.
    `rectified_hw3` is the network's picture (uint8 RGB) where `rectified_by` has made it already.
    """

    pixels: np.ndarray
    encoding: str
    stamp_ns: int
    reduction: int = 1
    rectified_hw3: np.ndarray | None = None
    rectified_by: RectifyMap | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the camera's picture in pixels, before any reduction."""
        height, width = self.pixels.shape[:2]
        if self.encoding in ('nv12', 'nv21'):
            height = height * 2 // 3
        return width * self.reduction, height * self.reduction


# More than any camera has: what claims more is broken, or means harm.
MAX_PIXELS = 2**27

# Bytes per pixel and channels of what a driver may send. Planar 4:2:0 has 3/2 rows of one byte each.
_BYTES_PER_PIXEL: dict[str, int] = {
    'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, '8UC4': 4, 'mono8': 1, '8UC1': 1,
    'mono16': 2, '16UC1': 2,
    'bayer_rggb8': 1, 'bayer_bggr8': 1, 'bayer_gbrg8': 1, 'bayer_grbg8': 1,
    'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2, 'nv12': 1, 'nv21': 1,
}  # fmt: skip
SUPPORTED_ENCODINGS = frozenset(_BYTES_PER_PIXEL)

# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by the first row's first two.
_TO_RGB: dict[str, int | None] = {
    'rgb8': None,
    'bgr8': cv2.COLOR_BGR2RGB, '8UC3': cv2.COLOR_BGR2RGB,
    'rgba8': cv2.COLOR_RGBA2RGB, 'bgra8': cv2.COLOR_BGRA2RGB, '8UC4': cv2.COLOR_BGRA2RGB,
    'mono8': cv2.COLOR_GRAY2RGB, '8UC1': cv2.COLOR_GRAY2RGB,
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB, 'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB, 'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
    'yuv422': cv2.COLOR_YUV2RGB_UYVY, 'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuv422_yuy2': cv2.COLOR_YUV2RGB_YUY2, 'yuyv': cv2.COLOR_YUV2RGB_YUY2,
    'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21,
}  # fmt: skip
_PACKED_422 = frozenset({'yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv'})
# By how much the picture is reduced while it is decoded.
_COLOR: dict[int, int] = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}
# Subsampled colour cannot be interpolated as it lies in memory; these are converted before the remap.
_CONVERT_FIRST = frozenset(e for e in SUPPORTED_ENCODINGS if e.startswith(('bayer', 'yuv', 'uyvy', 'yuyv', 'nv')))


def decode_raw(
    data: Any, height: int, width: int, step: int, encoding: str, stamp_ns: int, is_bigendian: bool = False
) -> CameraImage:
    """View the bytes of a raw image message (anything with the buffer protocol) as pixels, without a copy.

    Raises InputError for an unknown encoding, a `step` or length that does not fit, or an empty image.
    """
    pixels = view_pixels(data, height, width, step, encoding, is_bigendian)
    return CameraImage(pixels, encoding, stamp_ns)


def check_layout(length: int, height: int, width: int, step: int, encoding: str) -> None:
    """Raise InputError unless `length` bytes can be `height` rows of `step` bytes in `encoding`."""
    if encoding not in SUPPORTED_ENCODINGS:
        raise InputError(
            'encoding',
            f'encoding {encoding!r} is not supported; expected one of {", ".join(sorted(SUPPORTED_ENCODINGS))}',
        )
    if height <= 0 or width <= 0:
        raise InputError('size', f'image is {width}x{height}; expected a positive size')
    planar = encoding in ('nv12', 'nv21')
    if planar and (height % 2 or width % 2):
        raise InputError('size', f'{encoding} image is {width}x{height}; expected even numbers')
    if _BYTES_PER_PIXEL[encoding] == 2 and 'mono' not in encoding and encoding != '16UC1' and width % 2:
        raise InputError(
            'size', f'{encoding} image is {width} wide; expected an even number, two pixels share a colour'
        )
    row_bytes = width * _BYTES_PER_PIXEL[encoding]
    rows = height * 3 // 2 if planar else height
    if step < row_bytes:
        raise InputError('step', f'step is {step}; expected {row_bytes} bytes or more for {width} pixels of {encoding}')
    needed = step * (rows - 1) + row_bytes
    if length < needed:
        raise InputError('length', f'data has {length} bytes; expected {step * rows} ({rows} rows of step {step})')


def view_pixels(data: Any, height: int, width: int, step: int, encoding: str, is_bigendian: bool = False) -> np.ndarray:
    """The pixels behind `decode_raw`: (H,W), (H,W,C), or (H*3/2,W) for planar 4:2:0. Raises InputError."""
    buffer = np.frombuffer(data, dtype=np.uint8)
    check_layout(buffer.size, height, width, step, encoding)
    rows = height * 3 // 2 if encoding in ('nv12', 'nv21') else height
    bytes_per_pixel = _BYTES_PER_PIXEL[encoding]
    row_bytes = width * bytes_per_pixel
    # The last row may end without its padding, so rows are laid out by strides instead of a reshape.
    lines = np.lib.stride_tricks.as_strided(buffer, (rows, row_bytes), (step, 1), writeable=False)
    if encoding in ('mono16', '16UC1'):
        words = (lines if step % 2 == 0 else lines.copy()).view('>u2' if is_bigendian else '<u2')
        # OpenCV takes every word for one of the machine's own byte order.
        return words.astype(np.uint16) if is_bigendian else words
    return lines if bytes_per_pixel == 1 else lines.reshape(rows, width, bytes_per_pixel)


def decode_compressed(data: Any, format: str, stamp_ns: int, reduction: int = 1) -> CameraImage:
    """Decode the bytes of a CompressedImage (JPEG or PNG) to bgr8. Raises InputError where it is broken.

    `reduction` (1, 2 or 4): a JPEG whose size it divides is decoded that much smaller, from the low frequencies of its
    blocks, which takes about half the time. Others come in full: OpenCV would decode a PNG whole and drop pixels.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    # Before a decoder makes room for what the header claims.
    width, height = compressed_size(buffer.data)
    if not is_jpeg(buffer.data) or width % reduction or height % reduction:
        reduction = 1
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError('size', f'image claims to be {width}x{height}; expected at most {MAX_PIXELS} pixels')
    try:
        # CameraInfo describes the sensor's rows, so a note on how to hold the picture must not turn it.
        pixels = cv2.imdecode(buffer, _COLOR[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError('compressed', f'{buffer.size} bytes of format {format!r}: {error}') from error
    if pixels is None:
        raise InputError(
            'compressed', f'{buffer.size} bytes of format {format!r} could not be decoded; expected a whole JPEG or PNG'
        )
    return CameraImage(pixels, 'bgr8', stamp_ns, reduction)


def to_network_size(
    image: CameraImage, remap: Callable[[np.ndarray], np.ndarray], out: np.ndarray | None = None
) -> np.ndarray:
    """RGB uint8 (h,w,3) of `image` after `remap`; colours change after the remap where that is exact, being smaller.

    `out`, where given, is written and returned.
    """
    pixels, encoding = image.pixels, image.encoding
    if encoding in _CONVERT_FIRST:
        code = _TO_RGB[encoding]
        assert code is not None
        pixels, code = cv2.cvtColor(pixels, code), None
    else:
        code = _TO_RGB.get(encoding, cv2.COLOR_GRAY2RGB)
    small = remap(pixels)
    if small.dtype != np.uint8:
        small = (small >> 8).astype(np.uint8)
    if code is not None:
        return cv2.cvtColor(small, code, dst=out)
    if out is None:
        return small
    np.copyto(out, small)
    return out
