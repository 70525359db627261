# SPDX-License-Identifier: Apache-2.0
"""Memory that is handed out again once nobody holds it: pages that are new to the process cost more than what is done
in them."""

from __future__ import annotations

import math
import weakref

import numpy as np


class RecycledArrays:
    """uint8 arrays of one shape, with any contents; for one thread at a time.

    Up to `most` pieces of memory are kept. Each is reused only when neither its array nor a view of it is held by
    anybody. Whoever holds more gets memory of his own.
    """

    def __init__(self, shape: tuple[int, ...], most: int = 3) -> None:
        self.shape, self.most = shape, most
        self._kept: list[tuple[bytearray, weakref.ref[np.ndarray]]] = []

    def take(self) -> np.ndarray:
        index = next((i for i, (_, user) in enumerate(self._kept) if user() is None), len(self._kept))
        if index == self.most:
            return np.empty(self.shape, np.uint8)
        memory = self._kept[index][0] if index < len(self._kept) else bytearray(math.prod(self.shape))
        # Every view of it refers to this very array, since what is behind it is none.
        array = np.frombuffer(memory, np.uint8)
        self._kept[index : index + 1] = [(memory, weakref.ref(array))]
        return array.reshape(self.shape)
