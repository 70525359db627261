# SPDX-License-Identifier: Apache-2.0
"""Camera bytes through page-locked memory to the GPU, each once, and there to the engine's input."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ...rig import RectifyMap
from ..frame import PREVIEW_STEP, SurroundFrame
from ..images import CameraImage
from ..preprocess import PreparedRig, check_size, unit_levels
from .camera_bytes import FIELDS, byte_rows, camera_row
from .driver import CudaContext, DeviceArray, Event, PinnedArray, Stream
from .kernels import Launcher

MAX_THREADS = 4
# Levels of grey that a byte can be.
_GREYS = 256


@dataclass(frozen=True, eq=False)
class _Slot:
    """One camera's bytes on both sides of the bus, and when they have come across."""

    pinned: PinnedArray
    device: DeviceArray
    arrived: Event


class DeviceRectifier:
    """Fills an engine's `images` (N,3,H,W), float32 or float16, on the GPU of `context`.

    `pictures` (N,H,W,3) uint8 RGB are the rectified images, `previews` every PREVIEW_STEP-th pixel of them, `known`
    (N,H,W) is PreparedRig's, `camera_valid` (N,) float32 is the set's. Good until the next `upload`.
    """

    def __init__(self, context: CudaContext, kernels: Launcher, images: DeviceArray) -> None:
        self._context = context
        self._kernels = kernels
        self._images = images
        self._cameras, _, self._height, self._width = images.shape
        n, small = self._cameras, (-(-self._height // PREVIEW_STEP), -(-self._width // PREVIEW_STEP))
        self._copies = context.stream()
        self._threads = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1), 'surround_depth_upload')
        self.pictures = context.device_array((n, self._height, self._width, 3), np.uint8)
        self.previews = context.device_array((n, *small, 3), np.uint8)
        self.known = context.device_array((n, self._height, self._width), np.uint8)
        self.camera_valid = context.device_array((n,), np.float32)
        self._valid = context.pinned_array((n,), np.float32)
        self._map = context.device_array((n, self._height, self._width, 4), np.int16)
        self._levels = context.device_array((_GREYS,), images.dtype)
        self._rows = context.device_array((n, len(FIELDS)), np.int32)
        self._pinned_rows = context.pinned_array((n, len(FIELDS)), np.int32)
        self._told = context.event()
        self._slots: list[_Slot | None] = [None] * n
        self._levels.put(unit_levels(np.arange(_GREYS, dtype=np.uint8)[None])[0], self._copies)

    def prepare(self, prepared: PreparedRig) -> None:
        """Take the maps of a rig."""
        self._map.put(np.stack([_map_entries(remap) for remap in prepared.maps]), self._copies)
        self.known.put(prepared.known_nhw, self._copies)

    def upload(self, frame: SurroundFrame, prepared: PreparedRig) -> bool:
        """Begin to bring a set's bytes to the GPU; returns whether memory was made anew for it.

        Raises InputError for a bad image, before anything is begun.
        """
        for camera, image, remap in zip(frame.rig.cameras, frame.images, prepared.maps, strict=True):
            if image is not None:
                check_size(camera.name, image, remap)
        # Idle already, unless a set failed half-way.
        self._copies.synchronize()
        self._pinned_rows.array[:] = [camera_row(*pair) for pair in zip(frame.images, prepared.maps, strict=True)]
        self._valid.array[:] = frame.camera_valid
        self._rows.copy_from(self._pinned_rows.array, self._copies)
        self.camera_valid.copy_from(self._valid.array, self._copies)
        self._told.record(self._copies)
        is_new = any([self._fit(i, image) for i, image in enumerate(frame.images)])
        # While one camera's bytes cross the bus, the next one's are put together.
        begun = [
            self._threads.submit(self._fill, slot, image) for slot, image in zip(self._slots, frame.images, strict=True)
        ]
        for slot, image, filled in zip(self._slots, frame.images, begun, strict=True):
            filled.result()
            if slot is not None and image is not None:
                slot.device.copy_from(slot.pinned.array, self._copies)
                slot.arrived.record(self._copies)
        return is_new

    def wait(self, stream: Stream) -> None:
        """Have `stream` wait for the whole set's bytes."""
        stream.wait(self._told.record(self._copies))

    def rectify(self, stream: Stream, wait: bool = True) -> None:
        """Put the rectification of the set on `stream`; with `wait`, of each camera as soon as its bytes are there."""
        if wait:
            stream.wait(self._told)
        for i, slot in enumerate(self._slots):
            if wait and slot is not None:
                stream.wait(slot.arrived)
            # A camera that has not given an image yet has nothing to read.
            raw = self._rows if slot is None else slot.device
            self._kernels.launch(
                'rectify', (self._width, self._height), stream,
                raw, self._rows.pointer_at(i), self._map.pointer_at(i), self._levels,
                self._images.pointer_at(i), int(self._images.dtype == np.float16),
                self.pictures.pointer_at(i), self.previews.pointer_at(i), PREVIEW_STEP, self._height, self._width,
            )  # fmt: skip

    def _fit(self, index: int, image: CameraImage | None) -> bool:
        slot = self._slots[index]
        if image is None:
            return False
        size = byte_rows(image).size
        if slot is not None and slot.device.nbytes == size:
            return False
        if slot is not None:
            slot.arrived.free()
            slot.device.free()
            slot.pinned.free()
        self._slots[index] = _Slot(
            self._context.pinned_array((size,), np.uint8),
            self._context.device_array((size,), np.uint8),
            self._context.event(),
        )
        return True

    @staticmethod
    def _fill(slot: _Slot | None, image: CameraImage | None) -> None:
        if slot is not None and image is not None:
            rows = byte_rows(image)
            np.copyto(slot.pinned.array.reshape(rows.shape), rows)


def _map_entries(remap: RectifyMap) -> np.ndarray:
    """(H,W,4) int16: whole pixels u and v, 32nds, nothing; a MapEntry of rectify.cu."""
    whole_hw2, fraction_hw = remap.fixed_point_map()
    unused_hw = np.zeros_like(fraction_hw)
    return np.concatenate([whole_hw2, np.stack([fraction_hw, unused_hw], -1).view(np.int16)], axis=-1)
