# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: picture, depth and semantics side by side, to be judged by eye."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .sequence import SyntheticFrame

# Colours of the 19 classes, RGB, close to what street-scene tools show.
_CLASS_RGB = np.array(
    [
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
        (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ],
    dtype=np.uint8,
)  # fmt: skip


def colour_depth(depth_hw: np.ndarray, near: float = 1.5, far: float = 100.0) -> np.ndarray:
    """Depth as RGB, near warm and far cold on a logarithmic scale; sky pale, unknown black. (H, W, 3) uint8."""
    known = np.isfinite(depth_hw)
    log = np.log(np.clip(np.where(known, depth_hw, far), near, far) / near) / np.log(far / near)
    index = (255.0 * (1.0 - log)).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(index, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    rgb[np.isposinf(depth_hw)] = (225, 230, 235)
    rgb[np.isnan(depth_hw)] = 0
    return rgb


def colour_semantics(semantics_hw: np.ndarray) -> np.ndarray:
    """Class ids as RGB; 255 is black. (H, W, 3) uint8."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(_CLASS_RGB)] = _CLASS_RGB
    return table[semantics_hw]


def contact_sheet(frames: Sequence[SyntheticFrame], gap: int = 4) -> np.ndarray:
    """One RGB sheet: for every frame a row of pictures, a row of depths and a row of classes, one camera a column.

    Raises:
        ValueError: no frames.
    """
    if not frames:
        raise ValueError('got no frames for a contact sheet, expected at least one; render some first')
    rows = []
    for frame in frames:
        pictures = list(frame.images_nhw3)
        depths = [colour_depth(d) for d in frame.depth_nhw]
        classes = [colour_semantics(s) for s in frame.semantics_nhw]
        rows.extend([pictures, depths, classes])
    height, width = frames[0].images_nhw3.shape[1:3]
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            y, x = i * (height + gap), j * (width + gap)
            sheet[y : y + height, x : x + width] = tile
    return sheet
