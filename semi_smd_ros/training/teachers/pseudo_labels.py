# SPDX-License-Identifier: Apache-2.0
"""Reads what `semi-smd label` has written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.network.config import CITYSCAPES_CLASSES
from semi_smd_ros.runtime.labels import nearest

from .label_files import CLASSES, DISPARITY, label_path, read_classes, read_disparity
from .label_folder import TEACHERS, read_manifest


class PseudoLabels:
    """The labels in a folder, by sequence, stamp of the camera's picture (nanoseconds) and camera.

    They lie on the rectified picture, as the engine's input does: at the size of the network they fit its pixels.
    `manifest` says what made them. Any number of threads and processes may read, also while labels are added.

    Raises DataError for a folder without labels, or with classes of another kind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = read_manifest(folder)
        if self.manifest.get('classes') != list(CITYSCAPES_CLASSES):
            raise DataError(f'{folder}: its classes are {self.manifest.get("classes")}; expected those of this version')

    @property
    def has_disparity(self) -> bool:
        return self.manifest['depth'] is not None

    @property
    def has_classes(self) -> bool:
        return self.manifest['semantics'] is not None

    def disparity(
        self, sequence: str, stamp_ns: int, camera: str, size_hw: tuple[int, int] | None = None
    ) -> np.ndarray:
        """Relative inverse depth (H,W) float32, scale and shift unknown (see `interface`); NaN where it is unknown.

        `size_hw`: without, as stored. Where one of the pixels that make up one of the result is unknown, it is too.
        Raises DataError where there is no such label.
        """
        stored = self._read(read_disparity, sequence, stamp_ns, camera, DISPARITY)
        if size_hw is None or stored.shape == tuple(size_hw):
            return stored
        shrinks = size_hw[0] <= stored.shape[0] and size_hw[1] <= stored.shape[1]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(stored, size_hw[::-1], interpolation=interpolation)

    def classes(self, sequence: str, stamp_ns: int, camera: str, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Train ids (H,W) uint8, 255 to be ignored; nearest neighbour at `size_hw`, without as stored.

        Raises DataError where there is no such label.
        """
        stored = self._read(read_classes, sequence, stamp_ns, camera, CLASSES)
        if size_hw is None:
            return stored
        rows, columns = (nearest(size, of) for size, of in zip(size_hw, stored.shape, strict=True))
        return stored[rows][:, columns]

    def disparity_set(
        self, sequence: str, stamps_ns: Sequence[int], cameras: Sequence[str], size_hw: tuple[int, int]
    ) -> np.ndarray:
        """Of a whole sample, (N,H,W), in the order of its rig; see `disparity`."""
        pairs = zip(stamps_ns, cameras, strict=True)
        return np.stack([self.disparity(sequence, stamp, camera, size_hw) for stamp, camera in pairs])

    def classes_set(
        self, sequence: str, stamps_ns: Sequence[int], cameras: Sequence[str], size_hw: tuple[int, int]
    ) -> np.ndarray:
        """Of a whole sample, (N,H,W), in the order of its rig; see `classes`."""
        pairs = zip(stamps_ns, cameras, strict=True)
        return np.stack([self.classes(sequence, stamp, camera, size_hw) for stamp, camera in pairs])

    def _read(
        self, read: Callable[[Path], np.ndarray], sequence: str, stamp_ns: int, camera: str, kind: str
    ) -> np.ndarray:
        teacher = TEACHERS[kind]
        if self.manifest[teacher] is None:
            raise DataError(f'{self.folder}: holds no {kind}; label again with a teacher for it (--{teacher})')
        path = label_path(self.folder, sequence, stamp_ns, camera, kind)
        try:
            return read(path)
        except FileNotFoundError as error:
            between = '' if self.manifest['context'] else ', with --context for pictures between the sets'
            raise DataError(
                f'{path}: no {kind} for sequence {sequence}, camera {camera} at {stamp_ns} ns; labels of '
                f'{self.manifest["source"]} are here: run `semi-smd label` to its end{between}'
            ) from error
