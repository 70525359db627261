# SPDX-License-Identifier: Apache-2.0
"""One sample type for every source: a synchronised set of images with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..rig import Rig
from ..runtime.images import CameraImage, decode_compressed, decode_raw, to_network_size


class DataError(ValueError):
    """A data set or recording that cannot be read. The message names the file and what was expected."""


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """A camera's picture as its compressed bytes; `format` as in sensor_msgs/CompressedImage ('jpeg', 'png')."""

    data: bytes
    format: str

    def camera_image(self, stamp_ns: int = 0, reduction: int = 1) -> CameraImage:
        """Decode it as the vehicle does, a JPEG smaller by `reduction`. Raises InputError where it is broken."""
        return decode_compressed(self.data, self.format, stamp_ns, reduction)

    def rgb(self) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises InputError where it is broken."""
        return to_network_size(self.camera_image(), lambda pixels: pixels)


@dataclass(frozen=True, eq=False)
class RawImage:
    """A camera's picture as the bytes of a sensor_msgs/Image: `height` rows of `step` bytes in `encoding`."""

    data: bytes
    height: int
    width: int
    step: int
    encoding: str
    is_bigendian: bool = False

    def camera_image(self, stamp_ns: int = 0, reduction: int = 1) -> CameraImage:
        """View it as the vehicle does: in full, as `reduction` is for JPEGs. Raises InputError where layout and length
        do not fit."""
        return decode_raw(
            self.data, self.height, self.width, self.step, self.encoding, stamp_ns, self.is_bigendian
        )  # fmt: skip

    def rgb(self) -> np.ndarray:
        """(H,W,3) uint8 RGB. Raises InputError where layout and length do not fit."""
        return to_network_size(self.camera_image(), lambda pixels: pixels)


Picture = EncodedImage | RawImage


@dataclass(frozen=True, eq=False)
class SurroundSample:
    """One moment of a rig. Everything per camera follows the rig's order.

    `images`, `stamps_ns` (nanoseconds since 1970). Ground truth, None where unknown:
    `depth_points`: (M,3) float32 points of the optical frame at the camera's own stamp, metres, visible from the
    camera (sparse). `depth_maps`: (H,W) float32 metres along the optical axis, +inf sky, NaN unknown (dense).
    `semantics`: (H,W) uint8 Cityscapes train ids, 255 to ignore. `moving`: (H,W) bool, things that move by
    themselves. `ground_plane_base`: (4,) float64, n.x + d = 0 in `base`.
    `ego_poses`: (stamp_ns, `world_T_base` (4,4)) pairs, oldest first; empty where unknown.
    `name`: sequence and moment, for reports. `previous`: the moment before it in the same sequence, whose own
    `previous` is None; None at a sequence's start and where that moment cannot be read.
    """

    rig: Rig
    images: tuple[Picture, ...]
    stamps_ns: tuple[int, ...]
    depth_points: tuple[np.ndarray, ...] | None = None
    ego_poses: tuple[tuple[int, np.ndarray], ...] = ()
    depth_maps: tuple[np.ndarray, ...] | None = None
    semantics: tuple[np.ndarray, ...] | None = None
    moving: tuple[np.ndarray, ...] | None = None
    ground_plane_base: np.ndarray | None = None
    name: str = ''
    previous: SurroundSample | None = None

    @property
    def stamp_ns(self) -> int:
        """The sample's own time: that of its newest image, as in `runtime.SurroundFrame`."""
        return max(self.stamps_ns)
