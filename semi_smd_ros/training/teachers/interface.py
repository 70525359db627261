# SPDX-License-Identifier: Apache-2.0
"""What every teacher promises: pictures in, relative inverse depth or classes out.

A teacher is frozen and sees single pictures; it knows nothing of the rig. Two kinds, one method each:

- `DepthTeacher.disparity`: what it returns for a picture is d = s / Z + b, Z the depth along the optical axis, with a
  scale s > 0 and a shift b that nobody knows and that differ from picture to picture, also between cameras of one
  moment and between two moments of one camera. Larger is nearer. Only what does not change with s and b may be used of
  it: the order of two pixels, ratios of differences (d1 - d2) / (d3 - d4), and whatever is derived from d once its own
  shift and spread are taken out (median and mean deviation, for example). Differences between pictures mean nothing,
  nor does zero: where sky is, d is the picture's smallest value, about b.
- `SemanticTeacher.classes`: absolute, Cityscapes train ids.

A teacher of metric depth is a depth teacher whose depth was inverted; that it would know s and b is not used.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class TeacherIdentity:
    """Which teacher made a label: the same identity gives the same labels for the same picture.

    `kind`: transformers, onnx or synthetic. `name`: of the model. `sha256`: of its weights and of all files that say
    how it is run; empty for the synthetic teacher, which has none. `options`: what was chosen beside them.
    """

    kind: str
    name: str
    sha256: str
    options: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class DepthTeacher(Protocol):
    """Gives relative inverse depth ("disparity")."""

    identity: TeacherIdentity

    def disparity(self, images_mhw3: np.ndarray, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Relative inverse depth (M,H,W) float32, see above; larger is nearer, NaN where the teacher says nothing.

        Args:
            images_mhw3: (M,H,W,3) uint8 RGB.
            size_hw: height and width of what is returned; without, those of the pictures. It covers the whole picture:
                pixel centres lie where OpenCV's and PyTorch's (align_corners=False) resizing has them.

        Raises:
            ValueError: pictures of another shape or type.
        """


class SemanticTeacher(Protocol):
    """Gives Cityscapes classes."""

    identity: TeacherIdentity

    def classes(self, images_mhw3: np.ndarray, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Train ids (M,H,W) uint8, the index in `network.config.CITYSCAPES_CLASSES`; 255 where they are to be ignored:
        where the teacher is less sure than its threshold, or sees a class that Cityscapes does not judge.

        Args and errors as in `DepthTeacher.disparity`.
        """


def check_images(images_mhw3: np.ndarray) -> None:
    """Raise ValueError unless these are (M,H,W,3) uint8."""
    if images_mhw3.dtype != np.uint8 or images_mhw3.ndim != 4 or images_mhw3.shape[3] != 3 or not images_mhw3.size:
        raise ValueError(f'images are {images_mhw3.dtype} {images_mhw3.shape}; expected uint8 (M,H,W,3) RGB')
