# SPDX-License-Identifier: Apache-2.0
"""A recording as synchronised frames, without ROS: what the live node would have made of the same messages."""

from __future__ import annotations

from collections.abc import Iterator
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
from .messages import stamp_of
from .rosbag import BagCamera, SurroundBag
from .sample import DataError

MAX_SLOP_S = 0.25


def bag_rig(bag: SurroundBag, base_frame: str = 'base_link') -> Rig:
    """The rig that a recording's CameraInfo and tf describe, its cameras in the order of `bag.cameras`.

    Raises RigError or TransformError saying what is missing.
    """
    names = [camera.name for camera in bag.cameras]
    return rig_from_camera_infos(bag.camera_infos(), bag.transforms(), base_frame, names=names)


def suggested_slop(bag: SurroundBag) -> float:
    """Slop in seconds for a recording: 0.6 of its frame period, so that no two frames can mix; at most 0.25."""
    stamps: dict[str, list[int]] = {camera.image_topic: [] for camera in bag.cameras}
    for topic, _, _, data in bag.raw_messages(tuple(stamps)):
        stamps[topic].append(bag.stamp(data))
    empty = [topic for topic, values in stamps.items() if not values]
    if empty:
        raise DataError(f'{bag.path}: no message on {", ".join(empty)}; expected images of every camera')
    periods = np.concatenate([np.diff(sorted(values)) for values in stamps.values()])
    return MAX_SLOP_S if not periods.size else float(min(0.6 * np.median(periods) * 1e-9, MAX_SLOP_S))


def synchronized_stamps(bag: SurroundBag, slop_s: float) -> list[tuple[int, SynchronizedSet]]:
    """(ordinal of the image message that completes it, set) for every complete set; items are None."""
    index = {camera.image_topic: i for i, camera in enumerate(bag.cameras)}
    synchronizer = SurroundSynchronizer(tuple(index), slop_s)
    sets = []
    for ordinal, (topic, _, _, data) in enumerate(bag.raw_messages(tuple(index))):
        complete = synchronizer.add(index[topic], bag.stamp(data), None)
        if complete is not None:
            sets.append((ordinal, complete))
    return sets


def frames(bag: SurroundBag, rig: Rig, slop_s: float) -> Iterator[SurroundFrame]:
    """The synchronised frames of a recording, in order. Raises InputError for a broken image."""
    cameras = {camera.image_topic: camera for camera in bag.cameras}
    index = {topic: i for i, topic in enumerate(cameras)}
    synchronizer = SurroundSynchronizer(tuple(index), slop_s)
    for topic, _, msg in bag.messages(tuple(index)):
        complete = synchronizer.add(index[topic], stamp_of(msg), (cameras[topic], msg))
        if complete is not None:
            yield SurroundFrame(rig, tuple(decode(*item) for item in complete.items), complete.stamp_ns)


def decode(camera: BagCamera, msg: Any) -> CameraImage:
    """Pixels of an Image or CompressedImage as the rosbags library reads it. Raises InputError."""
    stamp = stamp_of(msg)
    if camera.compressed:
        return decode_compressed(msg.data, msg.format, stamp)
    return decode_raw(
        msg.data,
        msg.height,
        msg.width,
        msg.step,
        msg.encoding,
        stamp,
        bool(msg.is_bigendian),
    )
