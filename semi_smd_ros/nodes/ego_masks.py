# SPDX-License-Identifier: Apache-2.0
"""Ego masks: pictures that say where a camera sees its own vehicle."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from ..rig import RigError
from .resources import package_path

PREFIX = 'ego_mask.'
_PNG = b'\x89PNG\r\n\x1a\n'
MAX_PIXELS = 2**27


def load_ego_mask(camera: str, name: str) -> np.ndarray:
    """The mask (H,W) bool of `camera`, True where its own vehicle is in view, from the PNG that `name` means.

    White (128 and more) is the vehicle, black the world. `name` is a path, or `package://<package>/<path>` for a file
    in a package's share folder. Raises RigError naming camera and file for one that is missing, not a PNG, or white
    everywhere.
    """
    path = package_path(name)
    where = f'{PREFIX}{camera}: {path}'
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RigError(f'{where}: cannot be read: {error.strerror}; expected a PNG of the size of the image') from error
    if not data.startswith(_PNG) or len(data) < 24:
        raise RigError(f'{where}: not a PNG ({len(data)} bytes); expected white where the vehicle itself is in view')
    width, height = struct.unpack('>II', data[16:24])
    if not 0 < width * height <= MAX_PIXELS:
        raise RigError(f'{where}: {width}x{height} pixels; expected the size of the camera image')
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise RigError(f'{where}: a damaged PNG ({len(data)} bytes); copy it again')
    mask: np.ndarray = grey >= 128
    if mask.all():
        raise RigError(f'{where}: white everywhere, so nothing is left to see; expected white where the vehicle is')
    return mask
