# SPDX-License-Identifier: Apache-2.0
"""A recording as synchronised frames, without ROS: what the live node would have made of the same messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..rig import Rig, rig_from_camera_infos
from ..runtime import (
    CameraImage,
    SurroundFrame,
    SurroundSynchronizer,
    SynchronizedSet,
    decode_compressed,
    decode_raw,
)
from ..runtime.preprocess import decode_reduction
from .messages import stamp_of
from .rosbag import BagCamera, SurroundBag
from .sample import DataError

# Shares of the frame period to try as slop, tightest first: the wider, the more staggered the cameras may be, and
# the easier two frames mix when one of them is incomplete.
SLOP_SHARES = (0.6, 0.8, 0.95)
MAX_SLOP_S = 0.25

# (camera's index, header stamp in ns) of every image, in the order recorded.
ImageStamps = Sequence[tuple[int, int]]


def bag_rig(bag: SurroundBag, base_frame: str = 'base_link') -> Rig:
    """The rig that a recording's CameraInfo and tf describe, its cameras in the order of `bag.cameras`.

    Raises RigError or TransformError saying what is missing.
    """
    names = [camera.name for camera in bag.cameras]
    return rig_from_camera_infos(bag.camera_infos(), bag.transforms(), base_frame, names=names)


def image_stamps(bag: SurroundBag) -> ImageStamps:
    """The stamps of a recording's images. Reads it once; DataError for a camera without any."""
    index = {camera.image_topic: i for i, camera in enumerate(bag.cameras)}
    stamps = [(index[topic], bag.stamp(data)) for topic, _, _, data in bag.raw_messages(tuple(index))]
    empty = [topic for topic, i in index.items() if not any(camera == i for camera, _ in stamps)]
    if empty:
        raise DataError(f'{bag.path}: no message on {", ".join(empty)}; expected images of every camera')
    return stamps


def suggested_slop(stamps: ImageStamps, cameras: int) -> float:
    """Slop in seconds: the tightest of `SLOP_SHARES` of the frame period that makes the most sets; at most 0.25."""
    by_camera = [sorted(stamp for camera, stamp in stamps if camera == i) for i in range(cameras)]
    periods = np.concatenate([np.diff(values) for values in by_camera])
    if not periods.size:
        return MAX_SLOP_S
    slops = [float(min(share * np.median(periods) * 1e-9, MAX_SLOP_S)) for share in SLOP_SHARES]
    return max(slops, key=lambda slop: (len(synchronized_stamps(stamps, cameras, slop)), -slop))


def synchronized_stamps(stamps: ImageStamps, cameras: int, slop_s: float) -> list[tuple[int, SynchronizedSet]]:
    """(ordinal of the image that completes it, set) for every complete set; a set's items are None."""
    synchronizer = SurroundSynchronizer([str(i) for i in range(cameras)], slop=slop_s)
    sets = []
    for ordinal, (camera, stamp) in enumerate(stamps):
        sets += [(ordinal, complete) for complete in synchronizer.add(camera, stamp, None)]
    return sets + [(len(stamps) - 1, complete) for complete in synchronizer.flush()]


def frames(
    bag: SurroundBag, rig: Rig, slop_s: float, network_size: tuple[int, int] | None = None
) -> Iterator[SurroundFrame]:
    """The synchronised frames of a recording, in order. Raises InputError for a broken image.

    For a network of `network_size` (width, height), JPEGs are decoded as small as the live node does; else in full.
    """
    cameras = {camera.image_topic: camera for camera in bag.cameras}
    index = {topic: i for i, topic in enumerate(cameras)}
    synchronizer = SurroundSynchronizer(tuple(index), slop=slop_s)
    for topic, _, msg in bag.messages(tuple(index)):
        for complete in synchronizer.add(index[topic], stamp_of(msg), (cameras[topic], msg)):
            yield _frame(rig, complete, network_size)
    for complete in synchronizer.flush():
        yield _frame(rig, complete, network_size)


def _frame(rig: Rig, complete: SynchronizedSet, network_size: tuple[int, int] | None) -> SurroundFrame:
    reductions = [1 if network_size is None else decode_reduction(c.model, *network_size) for c in rig.cameras]
    images = tuple(
        None if item is None else decode(item[0], item[1], reduction)
        for item, reduction in zip(complete.items, reductions, strict=True)
    )
    return SurroundFrame(rig, images, complete.stamp_ns)


def decode(camera: BagCamera, msg: Any, reduction: int = 1) -> CameraImage:
    """Pixels of an Image or CompressedImage as the rosbags library reads it, of a JPEG fewer by `reduction` along each
    axis. Raises InputError."""
    stamp = stamp_of(msg)
    if camera.compressed:
        return decode_compressed(msg.data, msg.format, stamp, reduction)
    return decode_raw(msg.data, msg.height, msg.width, msg.step, msg.encoding, stamp, bool(msg.is_bigendian))
