# SPDX-License-Identifier: Apache-2.0
"""The size that a compressed image claims, read from its header: known before a single pixel is decoded.

A few hundred bytes can claim a picture, or a part of one, of gigabytes, and a decoder believes them.
"""

from __future__ import annotations

import struct

from .input_error import InputError

_PNG = b'\x89PNG\r\n\x1a\n'
_JPEG = b'\xff\xd8'
# Frame headers are C0..CF without these: Huffman tables, a reserved one, arithmetic conditioning.
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
# Markers without a length: fill bytes, TEM, and the restart markers.
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def compressed_size(data: memoryview) -> tuple[int, int]:
    """(width, height) in pixels of a JPEG or PNG (ITU-T T.81, annex B; W3C PNG, 11.2.2).

    Raises InputError for another format, or a header or PNG that is cut off: other decoders are not offered what anyone
    sends.
    """
    head = bytes(data[:24])
    if head.startswith(_PNG) and head[12:16] == b'IHDR' and _has_whole_chunks(data):
        width, height = struct.unpack('>II', head[16:24])
        return int(width), int(height)
    if is_jpeg(data):
        size = _jpeg_size(data)
        if size is not None:
            return size
    raise InputError(
        'compressed',
        f'{len(data)} bytes beginning with {head[:8].hex()} could not be decoded: neither a JPEG nor a PNG, '
        'or not a whole one',
    )


def is_jpeg(data: memoryview) -> bool:
    """Whether the data begin as a JPEG does."""
    return bytes(data[: len(_JPEG)]) == _JPEG


def _has_whole_chunks(data: memoryview) -> bool:
    """Whether every chunk of a PNG ends within the data: decoders make room for as many bytes as a chunk claims."""
    at = len(_PNG)
    while at + 12 <= len(data):
        kind = bytes(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], 'big')
        if kind == b'IEND':
            return at <= len(data)
    return False


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in (_END_OF_IMAGE, _START_OF_SCAN):
            return None
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            if at + 9 > len(data):
                return None
            height, width = struct.unpack('>HH', data[at + 5 : at + 9])
            return int(width), int(height)
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4], 'big'))
    return None
