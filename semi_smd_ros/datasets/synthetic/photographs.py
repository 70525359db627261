# SPDX-License-Identifier: Apache-2.0
"""Photographs of surfaces as tileable textures with mip levels, from a folder with a subfolder for every kind."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch

from ..sample import DataError

KINDS = ('road', 'pavement', 'grass', 'dirt', 'snow', 'foliage', 'bark', 'wall', 'wood_metal', 'facade')
SUFFIXES = ('.jpg', '.jpeg', '.png')
SIDE = 256  # texels of the finest level
LEVELS = 8
SMALLEST = 64  # pixels; a smaller picture has nothing to show
LUMINANCE = (0.2126, 0.7152, 0.0722)
_GAMMA = 2.2
_BLACK = 0.003  # added to linear light: a ratio to almost nothing says nothing
_STORED = 100.0  # stored units of the root of a ratio of one
_SEAM = 2.5  # how much edges may differ, in neighbouring texels' differences, before they are blended
_BLEND = 0.12  # width of the blended edge, of the picture's


@dataclass(frozen=True)
class Photographs:
    """The pictures of a folder. Each is kept as its light over its mean, so that it can be given any colour.

    `texels_t3`: uint8, all levels of all pictures one after the other; `tints_k3`: each picture's mean colour at a
    luminance of one; `numbers`: the pictures of every kind that the folder has.
    """

    texels_t3: torch.Tensor
    tints_k3: torch.Tensor
    numbers: dict[str, tuple[int, ...]]

    @staticmethod
    def read(folder: Path) -> Photographs:
        """Read `folder`, whose subfolders bear names of KINDS; others are left alone. The same folder is read once.

        Raises DataError where none of them holds a picture, and for a picture that cannot be read or is smaller than
        SMALLEST.
        """
        return _read(folder.resolve())

    def to(self, device: torch.device) -> Photographs:
        """The same on a device."""
        return replace(self, texels_t3=self.texels_t3.to(device), tints_k3=self.tints_k3.to(device))

    def kinds(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `wanted` that the folder has."""
        return tuple(kind for kind in wanted if self.numbers.get(kind))

    def ratios(
        self, number: torch.Tensor, u: torch.Tensor, v: torch.Tensor, metres: torch.Tensor, footprint: torch.Tensor
    ) -> torch.Tensor:
        """Light over its mean, (N,3), of pictures `number` that cover `metres` a side, at (u, v) metres, seen by pixels
        that cover `footprint` metres."""
        ratio = footprint * (SIDE / metres)
        level = (ratio.clamp(min=1.0).log2() + 0.3).clamp(max=LEVELS - 1.0).floor()
        shrunk = torch.exp2(-level)
        side = (shrunk * SIDE).to(torch.int64)
        x, y = (c * (SIDE / metres) * shrunk - 0.5 for c in (u, v))
        x0, y0 = x.floor(), y.floor()
        across, down = (x - x0)[:, None], (y - y0)[:, None]
        # The levels before hold 4/3 of the difference of squares.
        first = number * _texels_each() + ((SIDE * SIDE - side * side) * 4) // 3
        ix, iy = x0.to(torch.int64) % side, y0.to(torch.int64) % side
        jx, jy = (ix + 1) % side, (iy + 1) % side
        corner = [
            self.texels_t3.index_select(0, first + row * side + column).float()
            for row in (iy, jy)
            for column in (ix, jx)
        ]
        top, bottom = (torch.lerp(corner[i], corner[i + 1], across) for i in (0, 2))
        root = torch.lerp(top, bottom, down) / _STORED
        return root * root


def fingerprint(folder: Path) -> str:
    """Eight characters that change with the names and sizes of a folder's photographs; see `Photographs.read`."""
    told = [f'{path.relative_to(folder)} {path.stat().st_size}' for kind in KINDS for path in _pictures(folder, kind)]
    return hashlib.sha256('\n'.join(told).encode()).hexdigest()[:8]


def _pictures(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in (folder / kind).glob('*') if path.suffix.lower() in SUFFIXES)


def _texels_each() -> int:
    return sum((SIDE >> level) ** 2 for level in range(LEVELS))


@lru_cache(maxsize=2)
def _read(folder: Path) -> Photographs:
    texels: list[np.ndarray] = []
    tints: list[np.ndarray] = []
    numbers: dict[str, tuple[int, ...]] = {}
    for kind in KINDS:
        paths = _pictures(folder, kind)
        numbers[kind] = tuple(range(len(tints), len(tints) + len(paths)))
        for path in paths:
            levels, tint = _texture(path)
            texels.append(levels)
            tints.append(tint)
    if not tints:
        raise DataError(
            f'{folder} has no photographs; expected pictures ({", ".join(SUFFIXES)}) in subfolders named '
            f'{", ".join(KINDS)}'
        )
    return Photographs(torch.from_numpy(np.concatenate(texels)), torch.tensor(np.stack(tints)), numbers)


def _texture(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """All levels of a picture's upper left square, (T,3) uint8, and its tint."""
    image = cv2.imread(str(path))
    if image is None or min(image.shape[:2]) < SMALLEST:
        found = 'no picture' if image is None else f'{image.shape[1]}x{image.shape[0]} pixels'
        raise DataError(f'{path}: {found}; expected a photograph of at least {SMALLEST}x{SMALLEST}; take it away')
    side = min(image.shape[:2])
    image = cv2.resize(image[:side, :side, ::-1], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    linear = (image.astype(np.float32) / 255.0) ** _GAMMA + _BLACK
    ramp = np.clip((0.5 - np.abs(np.linspace(-0.5, 0.5, SIDE))) / _BLEND, 0.0, 1.0).astype(np.float32)
    for axis, kept in enumerate((ramp[:, None, None], ramp[None, :, None])):
        if _seam(linear, axis) > _SEAM:  # its own middle, moved to the edges, continues over them
            linear = kept * linear + (1 - kept) * np.roll(linear, SIDE // 2, axis)
    mean = linear.mean(axis=(0, 1))
    ratio, levels = linear / mean, []
    for _ in range(LEVELS):
        levels.append(np.clip(np.sqrt(ratio) * _STORED + 0.5, 0, 255).astype(np.uint8).reshape(-1, 3))
        ratio = cv2.resize(ratio, (ratio.shape[1] // 2, ratio.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.concatenate(levels), (mean / (mean @ np.array(LUMINANCE))).astype(np.float32)


def _seam(linear_hw3: np.ndarray, axis: int) -> float:
    """How much the picture's first and last rows (axis 0) or columns differ, against neighbouring ones."""
    across = np.abs(linear_hw3.take(0, axis) - linear_hw3.take(-1, axis)).mean()
    return float(across / (np.abs(np.diff(linear_hw3, axis=axis)).mean() + 1e-6))
