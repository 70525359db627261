# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels as PNG: 16 bit for disparity, 8 bit for classes. Any viewer shows them, and nothing is unpickled.

Disparity d is stored as v = 1 .. 65535 with d = offset + step (v - 1), and 0 where it is unknown; offset and step are
the picture's own, in a tEXt chunk of the PNG. The rounding is less than a hundred-thousandth of the picture's range.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from semi_smd_ros.datasets.sample import DataError

DISPARITY, CLASSES = 'disparity', 'classes'
KINDS = (DISPARITY, CLASSES)
_LAST = 65535
_KEYWORD = b'semi_smd_ros'
_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_AFTER_HEADER = len(_SIGNATURE) + 25  # the IHDR chunk, always first, has 13 bytes of content


def label_path(folder: Path, sequence: str, stamp_ns: int, camera: str, kind: str) -> Path:
    """Where a label lies: <folder>/<sequence>/<camera>/<stamp>.<kind>.png, names safe for any file system."""
    return folder / _safe(sequence) / _safe(camera) / f'{stamp_ns}.{kind}.png'


def write_disparity(path: Path, disparity_hw: np.ndarray) -> None:
    """Write (H,W) float32, NaN unknown; complete or not at all. Raises ValueError for an infinite value."""
    known = ~np.isnan(disparity_hw)
    low, high = (float(disparity_hw[known].min()), float(disparity_hw[known].max())) if known.any() else (0.0, 0.0)
    step = (high - low) / (_LAST - 1)
    if not np.isfinite([low, high, step]).all():
        raise ValueError(f'disparity from {low} to {high}; expected finite numbers, or NaN where it is unknown')
    level = (disparity_hw.astype(np.float64) - low) / (step or 1.0)
    stored = np.where(known, np.rint(np.nan_to_num(level)) + 1, 0).astype(np.uint16)
    text = json.dumps({'offset': low, 'step': step}).encode('ascii')
    data = _png(stored)
    _write(path, data[:_AFTER_HEADER] + _chunk(b'tEXt', _KEYWORD + b'\0' + text) + data[_AFTER_HEADER:])


def write_classes(path: Path, classes_hw: np.ndarray) -> None:
    """Write (H,W) uint8; complete or not at all."""
    _write(path, _png(classes_hw))


def read_disparity(path: Path) -> np.ndarray:
    """(H,W) float32, NaN unknown. Raises DataError for a file that is broken, FileNotFoundError where there is none."""
    data = path.read_bytes()
    stored = _pixels(data, np.uint16, path)
    length = int.from_bytes(data[_AFTER_HEADER : _AFTER_HEADER + 4], 'big')
    name, _, text = data[_AFTER_HEADER + 4 : _AFTER_HEADER + 8 + length].partition(b'\0')
    try:
        if name != b'tEXt' + _KEYWORD:
            raise ValueError('its text is missing')
        scale = json.loads(text)
        offset, step = float(scale['offset']), float(scale['step'])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{path}: does not say scale and offset ({error}); label it again') from error
    disparity = np.float32(offset) + np.float32(step) * (stored.astype(np.float32) - 1)
    disparity[stored == 0] = np.nan
    return disparity


def read_classes(path: Path) -> np.ndarray:
    """(H,W) uint8. Raises DataError for a file that is broken, FileNotFoundError where there is none."""
    return _pixels(path.read_bytes(), np.uint8, path)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is complete or not there, in whatever way the process ends. The folder must exist.

    It isn't forced onto the disk, which would take longer than a teacher does; a file that a power failure has cut off
    is told when it is read.
    """
    part = path.with_name(path.name + '.part')
    part.write_bytes(data)
    part.replace(path)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)


def _png(pixels_hw: np.ndarray) -> bytes:
    done, data = cv2.imencode('.png', pixels_hw)
    if not done:
        raise ValueError(f'a label of shape {pixels_hw.shape} could not be encoded as PNG')
    return data.tobytes()


def _pixels(data: bytes, dtype: type, path: Path) -> np.ndarray:
    whole = data.startswith(_SIGNATURE) and data[-8:-4] == b'IEND'
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if whole else None
    if pixels is None or pixels.dtype != dtype or pixels.ndim != 2:
        raise DataError(f'{path}: {len(data)} bytes, not a whole PNG of {np.dtype(dtype)}; delete it and label again')
    return pixels


def _chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG: length, kind, content, checksum (PNG specification, section 5.3)."""
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def _safe(name: str) -> str:
    quoted = quote(name, safe=' ')
    return '%2E' + quoted[1:] if quoted.startswith('.') else quoted
