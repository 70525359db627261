# SPDX-License-Identifier: Apache-2.0
"""Files of a data set, read with errors that name them: JSON, pictures, ego masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .sample import DataError, EncodedImage

# Start-of-frame markers of JPEG; C4, C8 and CC in between mean something else.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG = b'\x89PNG\r\n\x1a\n'
# Cameras may pad a JPEG; its end marker cannot occur within coded data.
_PADDING = 4096


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in `path`, `what` saying what it should be. Raises DataError."""
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: expected {what}: {error}') from error
    if not isinstance(data, dict):
        raise DataError(f'{path}: expected {what}: a JSON object; got {type(data).__name__}')
    return data


def read_image(path: Path, size: tuple[int, int]) -> EncodedImage:
    """The picture in `path`, still encoded. Raises DataError unless it is a whole JPEG or PNG of (width, height)."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f'{path}: the data set names this image, but it cannot be read: {error.strerror}') from error
    return EncodedImage(data, check_image(data, size, str(path)))


def check_image(data: bytes, size: tuple[int, int], where: str) -> str:
    """'jpeg' or 'png'. Raises DataError naming `where` unless `data` is whole and of (width, height) pixels.

    Looks at header and end only: pictures are decoded where they are used, and a decoder of JPEG would fill the
    missing rest of a truncated one with grey without a word.
    """
    if data.startswith(_PNG):
        kind, got = 'png', (int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big'))
        whole = data[-8:-4] == b'IEND'
    elif data.startswith(b'\xff\xd8'):
        kind, got = 'jpeg', _jpeg_size(data, where)
        whole = data.rfind(b'\xff\xd9', max(2, len(data) - _PADDING)) >= 0
    else:
        raise DataError(f'{where}: starts with {data[:4].hex() or "nothing"}; expected a JPEG or PNG')
    if not whole:
        raise DataError(
            f'{where}: {len(data)} bytes without the end of a {kind}; expected the whole file, is it cut off?'
        )
    if got != size:
        raise DataError(f'{where}: the image is {got[0]}x{got[1]}; its calibration says {size[0]}x{size[1]}')
    return kind


def _jpeg_size(data: bytes, where: str) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xFF:  # fill byte
            at += 1
        elif data[at + 1] in _SOF:
            return int.from_bytes(data[at + 7 : at + 9], 'big'), int.from_bytes(data[at + 5 : at + 7], 'big')
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    raise DataError(f'{where}: a JPEG without a frame header; expected a whole picture, is it cut off?')


def read_ego_mask(folder: Path, camera: str, size: tuple[int, int], scene: str = '') -> np.ndarray | None:
    """(H,W) bool from `<folder>/<scene>/<camera>.png`, else `<folder>/<camera>.png`; None where there is neither.

    White (128 and more) is where the ego vehicle itself is in view. Raises DataError for a file that is no picture, has
    another size than (width, height), or covers nearly everything, which is what an inverted mask does.
    """
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder; expected ego masks, one <camera>.png each, white on the vehicle')
    path = folder / scene / f'{camera}.png'
    if not path.is_file():
        path = folder / f'{camera}.png'
    if not path.is_file():
        return None
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise DataError(f'{path}: cannot be read as a picture; expected a PNG, white where the vehicle is in view')
    if picture.shape != size[::-1]:
        raise DataError(
            f'{path}: the mask is {picture.shape[1]}x{picture.shape[0]}; expected {size[0]}x{size[1]} as the images'
        )
    mask: np.ndarray = picture >= 128
    if mask.mean() > 0.9:
        raise DataError(
            f'{path}: {mask.mean():.0%} of the mask is white; expected white only on the vehicle: invert it'
        )
    return mask
