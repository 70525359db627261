# SPDX-License-Identifier: Apache-2.0
"""From image messages to pixels, checked before use."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ..rig import CameraModel
from ..runtime import CameraImage, InputError, check_layout, decode_compressed, decode_raw
from ..runtime.compressed_size import compressed_size
from ..runtime.preprocess import decode_reduction
from .ros import cv_bridge

# What CvBridge views without a copy and without an opinion of its own; the rest is viewed by the runtime.
BRIDGED_ENCODINGS = frozenset(
    {'mono8', 'rgb8', 'bgr8', 'rgba8', 'bgra8', '8UC1', '8UC3', '8UC4'}
    | {'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8'}
)  # fmt: skip
_BYTES = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, '8UC4': 4}


@dataclass(frozen=True, eq=False)
class ReceivedImage:
    """One camera's message on its way into a set; `problem` says why it cannot be used, if it cannot.

    `picture` is its picture in the making where that began before the set was whole; None where that was refused.
    """

    header: Any
    stamp_ns: int
    message: Any
    is_compressed: bool
    problem: InputError | None = None
    picture: Future[CameraImage | None] | None = None


def stamp_ns_of(header: Any) -> int:
    """A header's stamp in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def check_stamp(stamp_ns: int) -> None:
    """Raise InputError for a stamp that a driver never set: sets are made by stamps."""
    if stamp_ns <= 0:
        raise InputError('stamp', f'its stamp is {stamp_ns} ns; expected the time of exposure: set header.stamp')


def receive_raw(message: Any) -> ReceivedImage:
    """Take a sensor_msgs/Image after checking stamp, encoding, step and length; copies nothing."""
    header, stamp_ns = message.header, stamp_ns_of(message.header)
    try:
        check_stamp(stamp_ns)
        check_layout(len(message.data), message.height, message.width, message.step, message.encoding)
    except InputError as error:
        return _refused(header, stamp_ns, False, error)
    return ReceivedImage(header, stamp_ns, message, False)


def receive_compressed(message: Any) -> ReceivedImage:
    """Take a sensor_msgs/CompressedImage after checking its stamp; it is decoded only when its set is used."""
    header, stamp_ns = message.header, stamp_ns_of(message.header)
    try:
        check_stamp(stamp_ns)
    except InputError as error:
        return _refused(header, stamp_ns, True, error)
    return ReceivedImage(header, stamp_ns, message, True)


def _refused(header: Any, stamp_ns: int, is_compressed: bool, error: InputError) -> ReceivedImage:
    # A set may hold on to this for a while, and the bytes, which the traceback's frames hold, are of no use any more.
    return ReceivedImage(header, stamp_ns, None, is_compressed, error.with_traceback(None))


class ImageDecoder:
    """Pixels of received images. Raises InputError for whatever cannot be used.

    JPEGs come as small as a network of `network_size` (width, height) allows; in full where that is None.
    """

    def __init__(self, network_size: tuple[int, int] | None = None) -> None:
        self._network_size = network_size
        self._bridge = cv_bridge.CvBridge()

    def __call__(self, image: ReceivedImage, model: CameraModel) -> CameraImage:
        """Decode `image` and check its size against the calibration `model`."""
        if image.problem is not None:
            # Another one: `image`, held by the frames that the traceback holds, would hold the traceback.
            raise InputError(image.problem.reason, str(image.problem))
        message = image.message
        # What has not begun by now is begun here, since who asks may be the very thread that would do it.
        begun = None if image.picture is None or image.picture.cancel() else image.picture.result()
        # One begun for an older calibration may have been made smaller than this one allows.
        if begun is not None and self._reduction(model) % begun.reduction == 0:
            decoded = begun
        elif image.is_compressed:
            _check_size(compressed_size(memoryview(message.data).cast('B')), model)
            decoded = decode_compressed(message.data, message.format, image.stamp_ns, self._reduction(model))
        elif _is_bridged(message):
            decoded = CameraImage(self._view(message), message.encoding, image.stamp_ns)
        else:
            decoded = decode_raw(
                message.data, message.height, message.width, message.step, message.encoding, image.stamp_ns,
                bool(message.is_bigendian),
            )  # fmt: skip
        _check_size(decoded.size, model)
        return decoded

    def _reduction(self, model: CameraModel) -> int:
        return 1 if self._network_size is None else decode_reduction(model, *self._network_size)

    def _view(self, message: Any) -> Any:
        try:
            return self._bridge.imgmsg_to_cv2(message, desired_encoding='passthrough')
        except (cv_bridge.CvBridgeError, TypeError, ValueError) as error:
            raise InputError('cv_bridge', f'cv_bridge refuses it: {error}') from error


def _is_bridged(message: Any) -> bool:
    """Whether CvBridge takes a message as it is. It turns the bytes of what a driver calls big-endian, though 8 bit
    pixels have no order (under NumPy 2 it fails there), and wants the last row's padding."""
    return (
        message.encoding in BRIDGED_ENCODINGS
        and message.step % _BYTES.get(message.encoding, 1) == 0
        and not message.is_bigendian
        and len(message.data) >= message.step * message.height
    )


def _check_size(size: tuple[int, int], model: CameraModel) -> None:
    if size != (model.width, model.height):
        raise InputError(
            'size',
            f'image is {size[0]}x{size[1]}; its CameraInfo says {model.width}x{model.height}: '
            'publish the calibration of this resolution',
        )
