# SPDX-License-Identifier: Apache-2.0
"""Decodes and rectifies images while the others of their set are still on their way."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from ..rig import CameraModel, RectifyMap
from ..runtime import CameraImage, InputError
from ..runtime.preprocess import rectified
from .images import ImageDecoder, ReceivedImage

T = TypeVar('T')
MAX_THREADS = 4


class EarlyDecoder:
    """A few threads that decode and rectify, and of every camera at most one image that waits for them.

    A picture that was begun is kept by its message alone: there are as many as the synchronizer holds of raw images, of
    the size that the CameraInfo says and no other. `decode` makes the pictures. `begin` is for one thread.
    """

    def __init__(self, cameras: int, decode: ImageDecoder) -> None:
        self._decode = decode
        self._threads = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), 'surround_depth_decoder')
        self._begun: list[weakref.ref[Future[CameraImage | None]] | None] = [None] * cameras

    def begin(
        self, index: int, image: ReceivedImage, model: CameraModel, remap: RectifyMap | None = None
    ) -> ReceivedImage:
        """Decode camera `index`'s image soon, and rectify it by `remap`; gives the image that will have the picture.

        An older one of this camera that has not begun yet is left to whoever uses it, if anybody does.
        """
        before = self._begun[index]
        if before is not None and (waiting := before()) is not None:
            waiting.cancel()
        picture = self._threads.submit(self._attempt, image, model, remap)
        self._begun[index] = weakref.ref(picture)
        return replace(image, picture=picture)

    def map(self, function: Callable[..., T], *arguments: Iterable[Any]) -> tuple[T, ...]:
        """`function` of every camera's arguments, in these threads."""
        return tuple(self._threads.map(function, *arguments))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _attempt(self, image: ReceivedImage, model: CameraModel, remap: RectifyMap | None) -> CameraImage | None:
        try:
            decoded = self._decode(image, model)
            return decoded if remap is None else rectified(decoded, remap)
        except InputError:
            # Its set, if there will be one, asks again, counts it and says why: a new CameraInfo may have come by then.
            return None
