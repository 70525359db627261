# SPDX-License-Identifier: Apache-2.0
"""Pictures that arrive well and show nothing: black or white ones, and ones that never change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLACK, WHITE = 8, 247
FROZEN_AFTER_NS = 1_000_000_000


class PictureWatch:
    """Says of every camera what is odd about its picture. A sensor's noise makes no two pictures alike, so equal ones
    with different stamps come from a driver that repeats itself."""

    def __init__(self, cameras: int) -> None:
        self._last: list[np.ndarray | None] = [None] * cameras
        self._since_ns = [0] * cameras

    def __call__(self, preview_nhw3: np.ndarray, stamps_ns: Sequence[int | None]) -> list[str]:
        """One sentence per camera, '' where all is well or there is no picture (its stamp is None)."""
        return [
            '' if stamp_ns is None else self._look(i, preview_nhw3[i], stamp_ns) for i, stamp_ns in enumerate(stamps_ns)
        ]

    def _look(self, index: int, picture: np.ndarray, stamp_ns: int) -> str:
        last = self._last[index]
        if last is None or not np.array_equal(last, picture) or stamp_ns < self._since_ns[index]:
            self._last[index], self._since_ns[index] = picture.copy(), stamp_ns
        if picture.max() <= BLACK:
            return 'the picture is black'
        if picture.min() >= WHITE:
            return 'the picture is white: overexposed'
        if stamp_ns - self._since_ns[index] > FROZEN_AFTER_NS:
            return f'the picture has not changed for {(stamp_ns - self._since_ns[index]) * 1e-9:.1f} s'
        return ''
