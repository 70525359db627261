# SPDX-License-Identifier: Apache-2.0
"""The picture sheet: best, median and worst set of a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..runtime import SurroundDepth
from .pictures import colour_error, mosaic

# Sets kept as candidates for the median one, before every other is dropped again.
_CANDIDATES = 64
_QUALITY = 90

# Predictions (N,), true depths (N,) and rectified pixels (N,2) of one camera.
CameraErrors = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Pick:
    """One drawn set: its name, its AbsRel (mean over cameras) and the picture's JPEG bytes."""

    name: str
    abs_rel: float
    picture: bytes


class SheetMaker:
    """Keeps pictures of the best and the worst set so far, and of evenly spread ones to take the median from.

    A data set has thousands of sets, so not all can be kept, and drawing them again would need their memory.
    """

    def __init__(self) -> None:
        self._best: Pick | None = None
        self._worst: Pick | None = None
        self._spread: list[Pick] = []
        self._stride = 1
        self._values: list[float] = []

    def add(self, name: str, abs_rel: float, draw: Callable[[], np.ndarray]) -> None:
        """One set; `draw` makes its picture and is called only if it may be wanted. NaN sets are passed over."""
        if np.isnan(abs_rel):
            return
        is_best = self._best is None or abs_rel < self._best.abs_rel
        is_worst = self._worst is None or abs_rel > self._worst.abs_rel
        is_spread = len(self._values) % self._stride == 0
        self._values.append(abs_rel)
        if not (is_best or is_worst or is_spread):
            return
        done, data = cv2.imencode('.jpg', draw(), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if not done:
            raise OSError(f'the picture of {name} could not be encoded')
        pick = Pick(name, abs_rel, data.tobytes())
        if is_best:
            self._best = pick
        if is_worst:
            self._worst = pick
        if is_spread:
            self._spread.append(pick)
        if len(self._spread) > _CANDIDATES:
            self._spread = self._spread[::2]
            self._stride *= 2

    def picks(self) -> dict[str, Pick]:
        """'best', 'median' and 'worst', as many as there are different sets."""
        if self._best is None or self._worst is None:
            return {}
        ends = {self._best.name: self._best, self._worst.name: self._worst}
        between = [pick for pick in self._spread if pick.name not in ends]
        middle = float(np.median(self._values))
        chosen = {'best': self._best}
        if between:
            chosen['median'] = min(between, key=lambda pick: abs(pick.abs_rel - middle))
        if len(ends) == 2:
            chosen['worst'] = self._worst
        return chosen


def draw_set(depth: SurroundDepth, errors: list[CameraErrors], title: str) -> np.ndarray:
    """One set as a BGR picture: six images, their depths, and the errors at the truth's points."""
    maps = [
        colour_error(image, uv, predicted, truth)
        for image, (predicted, truth, uv) in zip(depth.images_nhw3, errors, strict=True)
    ]
    names = depth.rectified.names
    return mosaic(depth.images_nhw3, depth.depth_nhw, names, depth.rectified.base_T_cam_n44, title, np.stack(maps))


def sheet(picks: dict[str, Pick]) -> bytes | None:
    """All picks below each other as one JPEG; None without any."""
    if not picks:
        return None
    blocks = []
    for label, pick in picks.items():
        block = cv2.imdecode(np.frombuffer(pick.picture, np.uint8), cv2.IMREAD_COLOR)
        if block is None:
            raise OSError(f'the picture of {pick.name} could not be decoded')
        bar = np.full((34, block.shape[1], 3), 245, np.uint8)
        text = f'{label}: {pick.name}, AbsRel {pick.abs_rel:.3f}'
        cv2.putText(bar, text, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (20, 20, 20), 2, cv2.LINE_AA)
        blocks += [bar, block]
    width = max(block.shape[1] for block in blocks)
    # Sets of different rigs may differ in width.
    padded = [
        cv2.copyMakeBorder(b, 0, 0, 0, width - b.shape[1], cv2.BORDER_CONSTANT, value=(24, 24, 24)) for b in blocks
    ]
    done, data = cv2.imencode('.jpg', np.vstack(padded), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise OSError('the picture sheet could not be encoded')
    return data.tobytes()
