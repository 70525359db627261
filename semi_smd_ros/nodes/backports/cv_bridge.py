# SPDX-License-Identifier: Apache-2.0
"""Stand-in for `cv_bridge`: `CvBridge` for 8 and 16 bit images and 32 bit floats, and `CvBridgeError`."""

from __future__ import annotations

import array
import re
import sys
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

_COLOURS = {
    'mono8': (np.uint8, 1), 'mono16': (np.uint16, 1),
    'rgb8': (np.uint8, 3), 'bgr8': (np.uint8, 3), 'rgba8': (np.uint8, 4), 'bgra8': (np.uint8, 4),
    'rgb16': (np.uint16, 3), 'bgr16': (np.uint16, 3), 'rgba16': (np.uint16, 4), 'bgra16': (np.uint16, 4),
    'bayer_rggb8': (np.uint8, 1), 'bayer_bggr8': (np.uint8, 1),
    'bayer_gbrg8': (np.uint8, 1), 'bayer_grbg8': (np.uint8, 1),
    'yuv422': (np.uint8, 2), 'yuv422_yuy2': (np.uint8, 2),
}  # fmt: skip
_NUMBERS = {
    '8U': np.uint8, '8S': np.int8, '16U': np.uint16, '16S': np.int16, '32S': np.int32, '32F': np.float32,
    '64F': np.float64,
}  # fmt: skip
# To BGR from each, and from BGR to each. OpenCV names Bayer patterns by other pixels than ROS does.
_TO_BGR = {
    'mono8': cv2.COLOR_GRAY2BGR, 'rgb8': cv2.COLOR_RGB2BGR, 'bgr8': None, 'rgba8': cv2.COLOR_RGBA2BGR,
    'bgra8': cv2.COLOR_BGRA2BGR, '8UC1': cv2.COLOR_GRAY2BGR, '8UC3': None, '8UC4': cv2.COLOR_BGRA2BGR,
    'bayer_rggb8': cv2.COLOR_BayerBG2BGR, 'bayer_bggr8': cv2.COLOR_BayerRG2BGR,
    'bayer_gbrg8': cv2.COLOR_BayerGR2BGR, 'bayer_grbg8': cv2.COLOR_BayerGB2BGR,
    'yuv422': cv2.COLOR_YUV2BGR_UYVY, 'yuv422_yuy2': cv2.COLOR_YUV2BGR_YUY2,
}  # fmt: skip
_FROM_BGR = {
    'mono8': cv2.COLOR_BGR2GRAY, 'rgb8': cv2.COLOR_BGR2RGB, 'bgr8': None, 'rgba8': cv2.COLOR_BGR2RGBA,
    'bgra8': cv2.COLOR_BGR2BGRA,
}  # fmt: skip


class CvBridgeError(TypeError):
    """An image that cannot be converted."""


class CvBridge:
    """Converts between image messages and OpenCV arrays."""

    def imgmsg_to_cv2(self, img_msg: Image, desired_encoding: str = 'passthrough') -> np.ndarray:
        """(H,W) or (H,W,C) array of a message: with 'passthrough' a view of its data, never a copy.

        Raises CvBridgeError for an unknown encoding, data too short, or a conversion that is not known.
        """
        dtype, channels = _layout(img_msg.encoding)
        item = np.dtype(dtype).newbyteorder('>' if img_msg.is_bigendian else '<')
        height, width, step = img_msg.height, img_msg.width, img_msg.step
        if step < width * channels * item.itemsize or len(img_msg.data) < step * height:
            raise CvBridgeError(
                f'{width}x{height} {img_msg.encoding} image has step {step} and {len(img_msg.data)} bytes; '
                f'expected a step of at least {width * channels * item.itemsize} and {step * height} bytes'
            )
        shape = (height, width) if channels == 1 else (height, width, channels)
        strides = (step, channels * item.itemsize, item.itemsize)[: len(shape)]
        pixels: np.ndarray = np.ndarray(shape, item, img_msg.data, strides=strides)
        if item.byteorder == ('>' if sys.byteorder == 'little' else '<'):
            pixels = pixels.astype(dtype)
        if desired_encoding in ('passthrough', '', img_msg.encoding):
            return pixels
        return _convert(pixels, img_msg.encoding, desired_encoding)

    def cv2_to_imgmsg(self, cvim: np.ndarray, encoding: str = 'passthrough', header: Any = None) -> Image:
        """Message of an array. `encoding` names what the array holds; 'passthrough' names it by its type alone.

        Raises CvBridgeError when the array does not fit the encoding.
        """
        channels = 1 if cvim.ndim == 2 else cvim.shape[2]
        generic = next((name for name, dtype in _NUMBERS.items() if cvim.dtype == dtype), None)
        if cvim.ndim not in (2, 3) or generic is None:
            raise CvBridgeError(f'array is {cvim.shape} of {cvim.dtype}; expected (H,W) or (H,W,C) numbers')
        name = f'{generic}C{channels}' if encoding == 'passthrough' else encoding
        dtype, wanted = _layout(name)
        if (cvim.dtype, channels) != (np.dtype(dtype), wanted):
            raise CvBridgeError(f'array is {cvim.dtype} x {channels}; {name} is {np.dtype(dtype)} x {wanted}')
        message = Image(height=cvim.shape[0], width=cvim.shape[1], encoding=name)
        if header is not None:
            message.header = header
        message.is_bigendian = int(sys.byteorder == 'big')
        message.step = cvim.shape[1] * channels * cvim.itemsize
        data = array.array('B')
        data.frombytes(np.ascontiguousarray(cvim).data.cast('B'))
        message.data = data
        return message

    def compressed_imgmsg_to_cv2(
        self, cmprs_img_msg: CompressedImage, desired_encoding: str = 'passthrough'
    ) -> np.ndarray:
        """Decode a JPEG or PNG to bgr8, or to `desired_encoding`. Raises CvBridgeError where it is broken."""
        buffer = np.frombuffer(cmprs_img_msg.data, np.uint8)
        pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if buffer.size else None
        if pixels is None:
            raise CvBridgeError(f'{buffer.size} bytes of format {cmprs_img_msg.format!r} could not be decoded')
        if desired_encoding in ('passthrough', 'bgr8'):
            return pixels
        return _convert(pixels, 'bgr8', desired_encoding)


def _layout(encoding: str) -> tuple[type, int]:
    if encoding in _COLOURS:
        return _COLOURS[encoding]
    match = re.fullmatch(r'(8U|8S|16U|16S|32S|32F|64F)(?:C(\d+))?', encoding)
    if match is None:
        known = ', '.join(_COLOURS)
        raise CvBridgeError(f'encoding {encoding!r} is unknown; expected one of {known}, or a type such as 8UC3')
    return _NUMBERS[match[1]], int(match[2] or 1)


def _convert(pixels: np.ndarray, source: str, target: str) -> np.ndarray:
    if source == 'mono16' and target == 'mono8':
        return (pixels >> 8).astype(np.uint8)
    if source not in _TO_BGR or target not in _FROM_BGR:
        raise CvBridgeError(f'no conversion from {source!r} to {target!r}')
    to_bgr, from_bgr = _TO_BGR[source], _FROM_BGR[target]
    bgr = pixels if to_bgr is None else cv2.cvtColor(np.ascontiguousarray(pixels), to_bgr)
    return bgr if from_bgr is None else cv2.cvtColor(bgr, from_bgr)
