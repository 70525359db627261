# SPDX-License-Identifier: Apache-2.0
"""What is read from an ONNX file without ONNX Runtime and without the package onnx: its metadata.

An ONNX file is a protobuf message ModelProto (onnx.proto): field 14 is `metadata_props`, each entry a message with a
key (field 1) and a value (field 2). The wire format is protobuf's: a varint tag holds field number and kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from .contract import METADATA_KEY, ModelError

_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def onnx_metadata(data: bytes, where: str, key: str = METADATA_KEY) -> str | None:
    """The metadata entry `key` of an ONNX file, or None where it has no such entry.

    Raises ModelError for bytes that are not a protobuf message.
    """
    try:
        for number, entry in _fields(memoryview(data)):
            if number == _METADATA_PROPS:
                pair = {part: bytes(text).decode('utf-8') for part, text in _fields(entry)}
                if pair.get(_KEY) == key:
                    return pair.get(_VALUE, '')
    except (IndexError, ValueError) as error:
        raise ModelError(
            f'{where} ({len(data)} bytes) is not an ONNX file ({error}): copy or export the model again'
        ) from error
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of every field of a message that holds bytes; the others are skipped."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f'a field of kind {kind} at byte {at}')
        if number == 0 or at + size > len(message):
            raise ValueError(f'field {number} of {size} bytes at byte {at} of {len(message)}')
        if kind == _BYTES:
            yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the least first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError(f'an endless number at byte {at}')
