# SPDX-License-Identifier: Apache-2.0
"""Messages of a camera, as a driver sends them, and as broken drivers, networks and strangers do."""

from __future__ import annotations

import array
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from semi_smd_ros.runtime.images import SUPPORTED_ENCODINGS

WIDTH, HEIGHT = 160, 96
MOST_CHANGES = 4
# The bytes of one row: by pixel, in the encodings of the runtime.
_PIXEL_BYTES = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, '8UC4': 4, 'mono16': 2, '16UC1': 2,
                'yuv422': 2, 'uyvy': 2, 'yuv422_yuy2': 2, 'yuyv': 2}  # fmt: skip
_ODD_NUMBERS = (0, 1, 2, 3, 7, 95, 96, 97, 159, 160, 161, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_ODD_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e-9, 1e9, 1e300, float('nan'), float('inf'), float('-inf'))
_ODD_TEXTS = ('', ' ', 'RGB8', 'rgb8 ', '32FC1', '64FC4', '8UC', '16UC3', 'bayer', 'jpeg', 'größe', 'a' * 4096, '\x00')
_SIGNATURES = (
    b'GIF89a', b'RIFF\x00\x00\x10\x00WEBPVP8 ', b'II*\x00', b'BM', b'P6\n60000 60000\n255\n',
    b'#?RADIANCE\n', b'\x76\x2f\x31\x01',
    b'\x00\x00\x00\x0cjP  \r\n\x87\n', b'\x00\x00\x00\x20ftypavif', b'\x89PNG\r\n\x1a\n', b'\xff\xd8',
    b'\xff\xd8\xff' + b'\xff' * 50,
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One message of a `kind` (raw, compressed, camera_info), with the names of its `changes`."""

    kind: str
    message: Any
    changes: tuple[str, ...]


def mutate(seed: int, number: int) -> Mutant:
    """The message of this number: always the same."""
    dice = random.Random(f'{seed}/{number}')
    kind = dice.choices(('raw', 'compressed', 'camera_info'), (45, 45, 10))[0]
    message = {'raw': _raw_message, 'compressed': _compressed_message, 'camera_info': lambda _: camera_info_message()}[
        kind
    ](dice)
    changes = []
    for _ in range(dice.randint(0, MOST_CHANGES)):
        change = dice.choice(_CHANGES[kind])
        change(dice, message)
        changes.append(change.__name__.strip('_'))
    return Mutant(kind, message, tuple(changes))


def camera_info_message() -> CameraInfo:
    """A calibrated camera."""
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model='plumb_bob', d=[-0.1, 0.02, 0.0, 0.0, 0.0])
    info.header.stamp.sec, info.header.frame_id = 1, 'optical'
    info.k = np.array([100.0, 0.0, 79.5, 0.0, 100.0, 47.5, 0.0, 0.0, 1.0])
    info.p = np.array([100.0, 0.0, 79.5, 0.0, 0.0, 100.0, 47.5, 0.0, 0.0, 0.0, 1.0, 0.0])
    return info


def _raw_message(dice: random.Random) -> Image:
    encoding = dice.choice(sorted(SUPPORTED_ENCODINGS))
    step = WIDTH * _PIXEL_BYTES.get(encoding, 1) + dice.choice((0, 0, 1, 13, 64))
    rows = HEIGHT * 3 // 2 if encoding in ('nv12', 'nv21') else HEIGHT
    message = Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=step, is_bigendian=dice.choice((0, 1)))
    message.header.stamp.sec, message.header.frame_id = 1, 'optical'
    message.data = array.array('B', (dice.randbytes(64) * (step * rows // 64 + 1))[: step * rows])
    return message


@cache
def _pictures() -> tuple[bytes, ...]:
    rng = np.random.default_rng(0)
    noise_hw3 = cv2.GaussianBlur(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 3)
    grey_hw = noise_hw3[..., 0]
    encoded = [
        cv2.imencode('.jpg', noise_hw3), cv2.imencode('.jpg', noise_hw3, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        cv2.imencode('.jpg', noise_hw3, [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]), cv2.imencode('.jpg', grey_hw),
        cv2.imencode('.png', noise_hw3), cv2.imencode('.png', grey_hw),
        cv2.imencode('.png', grey_hw.astype(np.uint16) * 257),
    ]  # fmt: skip
    return tuple(data.tobytes() for _, data in encoded)


def _compressed_message(dice: random.Random) -> CompressedImage:
    message = CompressedImage(format=dice.choice(('jpeg', 'png', 'bgr8; jpeg compressed bgr8')))
    message.header.stamp.sec, message.header.frame_id = 1, 'optical'
    message.data = array.array('B', dice.choice(_pictures()))
    return message


# Changes of any message with data.


def _bytes_of(message: Any) -> bytearray:
    return bytearray(message.data)


def _give(message: Any, data: bytes | bytearray) -> None:
    message.data = array.array('B', bytes(data))


def _cut(dice: random.Random, message: Any) -> None:
    message.data = message.data[: dice.randrange(len(message.data) + 1)]


def _empty(dice: random.Random, message: Any) -> None:
    message.data = array.array('B')


def _append(dice: random.Random, message: Any) -> None:
    message.data = message.data + array.array('B', dice.randbytes(dice.choice((1, 2, 100, 50_000))))


def _flip_bits(dice: random.Random, message: Any) -> None:
    data = _bytes_of(message)
    for _ in range(dice.randint(1, 20) if data else 0):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    _give(message, data)


def _overwrite(dice: random.Random, message: Any) -> None:
    data = _bytes_of(message)
    at, size = dice.randrange(len(data) + 1), dice.choice((1, 4, 64, 1000))
    data[at : at + size] = dice.choice((b'\x00', b'\xff', dice.randbytes(1))) * size
    _give(message, data)


def _shuffle(dice: random.Random, message: Any) -> None:
    data = _bytes_of(message)
    a, b = sorted(dice.randrange(len(data) + 1) for _ in range(2))
    _give(message, data[b:] + data[a:b] + data[:a])


def _stamp(dice: random.Random, message: Any) -> None:
    message.header.stamp.sec = dice.choice((0, -1, -(2**31), 2**31 - 1))
    message.header.stamp.nanosec = dice.choice((0, 10**9, 2**32 - 1))


def _frame(dice: random.Random, message: Any) -> None:
    message.header.frame_id = dice.choice(_ODD_TEXTS)


# Of raw images.


def _height(dice: random.Random, message: Image) -> None:
    message.height = dice.choice(_ODD_NUMBERS)


def _width(dice: random.Random, message: Image) -> None:
    message.width = dice.choice(_ODD_NUMBERS)


def _step(dice: random.Random, message: Image) -> None:
    message.step = dice.choice((*_ODD_NUMBERS, max(0, message.step + dice.randint(-3, 3))))


def _swap_sides(dice: random.Random, message: Image) -> None:
    message.height, message.width = message.width, message.height


def _encoding(dice: random.Random, message: Image) -> None:
    message.encoding = dice.choice((*sorted(SUPPORTED_ENCODINGS), *_ODD_TEXTS))


def _byte_order(dice: random.Random, message: Image) -> None:
    message.is_bigendian = dice.randrange(256)


# Of compressed images.


def _claim_a_size(dice: random.Random, message: CompressedImage) -> None:
    """Have the header of a JPEG or PNG claim another size, up to 60000x60000, with checksums that are right."""
    data, size = _bytes_of(message), dice.choice((1, 160, 161, 3000, 20_000, 60_000))
    frame = max(data.find(b'\xff\xc0'), data.find(b'\xff\xc2'))
    if data.startswith(b'\xff\xd8') and frame > 0:
        data[frame + 5 : frame + 9] = struct.pack('>HH', size, dice.choice((size, WIDTH)))
    elif data.startswith(b'\x89PNG') and len(data) > 33:
        data[16:24] = struct.pack('>II', dice.choice((size, 2**31 - 1)), size)
        data[29:33] = struct.pack('>I', zlib.crc32(data[12:29]))
    _give(message, data)


@cache
def _packed_zeros(count: int) -> bytes:
    return zlib.compress(bytes(count), 9)


def _zip_bomb(dice: random.Random, message: CompressedImage) -> None:
    """A PNG of the right size whose few kilobytes unpack to many megabytes."""
    packed = _packed_zeros(dice.choice((100_000, 20_000_000)))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))

    header = struct.pack('>IIBBBBB', WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    text = chunk(b'zTXt', b'comment\x00\x00' + packed) if dice.random() < 0.5 else b''
    chunks = (b'\x89PNG\r\n\x1a\n', chunk(b'IHDR', header), text, chunk(b'IDAT', packed), chunk(b'IEND', b''))
    _give(message, b''.join(chunks))


def _claim_a_chunk(dice: random.Random, message: CompressedImage) -> None:
    """A part of a PNG claims to be gigabytes long."""
    data = _bytes_of(message)
    at = data.find(b'IDAT') - 4
    if at > 0:
        data[at : at + 4] = struct.pack('>I', dice.choice((2**24, 2**31 - 1, 2**31 + 1, 2**32 - 1)))
    _give(message, data)


def _signature(dice: random.Random, message: CompressedImage) -> None:
    signature = dice.choice(_SIGNATURES)
    _give(message, signature + bytes(message.data[len(signature) :]))


def _splice(dice: random.Random, message: CompressedImage) -> None:
    other = dice.choice(_pictures())
    _give(message, bytes(message.data[: dice.randrange(len(message.data) + 1)]) + other[dice.randrange(len(other)) :])


def _format(dice: random.Random, message: CompressedImage) -> None:
    message.format = dice.choice(_ODD_TEXTS)


# Of calibrations.


def _info_size(dice: random.Random, message: CameraInfo) -> None:
    message.width, message.height = dice.choice(_ODD_NUMBERS), dice.choice(_ODD_NUMBERS)


def _matrix(name: str) -> Callable[[random.Random, CameraInfo], None]:
    def change(dice: random.Random, message: CameraInfo) -> None:
        entries = getattr(message, name)
        entries[dice.randrange(len(entries))] = dice.choice((*_ODD_FLOATS, dice.uniform(-1000, 1000)))

    change.__name__ = name
    return change


def _distortion(dice: random.Random, message: CameraInfo) -> None:
    message.distortion_model = dice.choice(
        ('plumb_bob', 'rational_polynomial', 'equidistant', 'equidistant', *_ODD_TEXTS)
    )
    count = dice.choice((0, 1, 4, 5, 8, 12, 14, 1000))
    message.d = [dice.choice((*_ODD_FLOATS, dice.uniform(-1, 1), dice.uniform(-1, 1))) for _ in range(count)]


def _window(dice: random.Random, message: CameraInfo) -> None:
    message.binning_x, message.binning_y = dice.choice(_ODD_NUMBERS), dice.choice(_ODD_NUMBERS)
    message.roi.width, message.roi.height = dice.choice(_ODD_NUMBERS), dice.choice(_ODD_NUMBERS)


_OF_DATA = (_cut, _empty, _append, _flip_bits, _flip_bits, _overwrite, _shuffle, _stamp, _frame)
_CHANGES: dict[str, tuple[Callable[[random.Random, Any], None], ...]] = {
    'raw': (*_OF_DATA, _height, _width, _step, _swap_sides, _encoding, _encoding, _byte_order),
    'compressed': (*_OF_DATA, _claim_a_size, _claim_a_size, _claim_a_chunk, _zip_bomb, _signature, _splice, _format),
    'camera_info': (_info_size, _matrix('k'), _matrix('k'), _matrix('p'), _matrix('r'), _distortion, _window, _frame),
}
