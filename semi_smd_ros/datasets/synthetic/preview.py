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
_CLASS_NAMES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation', 'terrain',
    'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle',
)  # fmt: skip
NEAR_M, FAR_M = 1.5, 100.0
_SKY_RGB = (225, 230, 235)
_LEGEND_HEIGHT = 64
_TITLE_HEIGHT = 18
_LETTERS = cv2.FONT_HERSHEY_SIMPLEX


def colour_depth(depth_hw: np.ndarray, near: float = NEAR_M, far: float = FAR_M) -> np.ndarray:
    """Depth as RGB, near warm and far cold on a logarithmic scale; sky pale, unknown black. (H, W, 3) uint8."""
    known = np.isfinite(depth_hw)
    log = np.log(np.clip(np.where(known, depth_hw, far), near, far) / near) / np.log(far / near)
    index = (255.0 * (1.0 - log)).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(index, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    rgb[np.isposinf(depth_hw)] = _SKY_RGB
    rgb[np.isnan(depth_hw)] = 0
    return rgb


def colour_semantics(semantics_hw: np.ndarray) -> np.ndarray:
    """Class ids as RGB; 255 is black. (H, W, 3) uint8."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(_CLASS_RGB)] = _CLASS_RGB
    return table[semantics_hw]


def hatched(rgb_hw3: np.ndarray, mask_hw: np.ndarray) -> np.ndarray:
    """The picture with fine diagonal stripes where `mask_hw` is: the own vehicle, out of the truth."""
    height, width = mask_hw.shape
    stripe = (np.arange(height)[:, None] + np.arange(width)[None, :]) % 8 < 2
    result = rgb_hw3.copy()
    result[mask_hw] = (25, 25, 25)
    result[mask_hw & stripe] = (200, 200, 200)
    return result


def contact_sheet(frames: Sequence[SyntheticFrame], titles: Sequence[str] = (), gap: int = 4) -> np.ndarray:
    """One RGB sheet: for every frame a row of pictures, a row of depths and a row of classes, one camera a column.

    Above stands a legend; with `titles`, one line of text above every frame. Stripes mark the own vehicle.

    Raises:
        ValueError: no frames, or another number of titles.
    """
    if not frames:
        raise ValueError('got no frames for a contact sheet, expected at least one; render some first')
    if titles and len(titles) != len(frames):
        raise ValueError(f'got {len(titles)} titles for {len(frames)} frames, expected one each or none')
    widest = max(len(frame.images_nhw3) * (frame.images_nhw3.shape[2] + gap) - gap for frame in frames)
    blocks = [_legend(widest)]
    for index, frame in enumerate(frames):
        if titles:
            blocks.append(_text(titles[index], widest))
        masks = frame.ego_mask_nhw
        depths = [hatched(colour_depth(d), m) for d, m in zip(frame.depth_nhw, masks, strict=True)]
        classes = [hatched(colour_semantics(s), m) for s, m in zip(frame.semantics_nhw, masks, strict=True)]
        for row in (list(frame.images_nhw3), depths, classes):
            blocks.append(_row(row, widest, gap))
    return np.concatenate(blocks)


def _row(tiles: Sequence[np.ndarray], width: int, gap: int) -> np.ndarray:
    height = tiles[0].shape[0]
    row = np.full((height + gap, width, 3), 255, dtype=np.uint8)
    x = 0
    for tile in tiles:
        row[:height, x : x + tile.shape[1]] = tile
        x += tile.shape[1] + gap
    return row


def _text(text: str, width: int) -> np.ndarray:
    line = np.full((_TITLE_HEIGHT, width, 3), 255, dtype=np.uint8)
    cv2.putText(line, text, (2, _TITLE_HEIGHT - 5), _LETTERS, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def _legend(width: int) -> np.ndarray:
    """Class colours, the scale of depth, and the own vehicle's stripes; as many columns as there is room for."""
    entries = [(name, np.array(rgb)) for name, rgb in zip(_CLASS_NAMES, _CLASS_RGB, strict=True)]
    cell = 112
    columns = max(1, (width - 320) // cell) if width > 700 else max(1, width // cell)
    lines = -(-(len(entries) + 1) // columns)
    scale_beside = width > 700
    height = max(_LEGEND_HEIGHT, 16 * lines + 6) + (0 if scale_beside else 34)
    legend = np.full((height, width, 3), 255, dtype=np.uint8)
    for index in range(len(entries) + 1):
        x, y = index % columns * cell + 4, index // columns * 16 + 4
        swatch = legend[y : y + 12, x : x + 16]
        if index < len(entries):
            name, rgb = entries[index]
            swatch[:] = rgb
        else:
            name = 'own vehicle'
            swatch[:] = hatched(swatch, np.ones(swatch.shape[:2], dtype=bool))
        cv2.putText(legend, name, (x + 20, y + 10), _LETTERS, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    left, top = (width - 300, 8) if scale_beside else (8, height - 34)
    length = min(280, width - left - 12)
    ramp = NEAR_M * (FAR_M / NEAR_M) ** (np.arange(length) / (length - 1))
    legend[top : top + 14, left : left + length] = colour_depth(np.tile(ramp.astype(np.float32), (14, 1)))
    for metres in (2, 5, 10, 20, 50, 100):
        x = left + int(np.log(metres / NEAR_M) / np.log(FAR_M / NEAR_M) * (length - 1))
        cv2.putText(legend, f'{metres}m', (x - 12, top + 26), _LETTERS, 0.34, (0, 0, 0), 1, cv2.LINE_AA)
    return legend
