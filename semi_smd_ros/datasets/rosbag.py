# SPDX-License-Identifier: Apache-2.0
"""Read a rosbag2 of surrounding cameras: any folder, .mcap or .db3, without a ROS installation."""

from __future__ import annotations

import logging
import re
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError

if sys.version_info >= (3, 14):  # as the rosbags library chooses
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError

from ..rig import RigError, TransformTree, transform_from
from .messages import TYPESTORE, stamp_of
from .recording import GROUND_TRUTH_SUFFIX
from .sample import DataError

_log = logging.getLogger(__name__)
_IMAGE_TOPIC = re.compile(r'^/(?P<camera>.+)/image_raw(?P<compressed>/compressed)?$')
# What the reader raises for a chunk that is cut off or does not decompress.
_DAMAGED = (AnyReaderError, ReaderError, OSError, RuntimeError, ZstdError, struct.error)
_IMAGE_TYPES = {False: 'sensor_msgs/msg/Image', True: 'sensor_msgs/msg/CompressedImage'}


@dataclass(frozen=True)
class BagCamera:
    """The topics of one camera in a recording; `ground_truth_topic` is None where it has none."""

    name: str
    image_topic: str
    compressed: bool
    info_topic: str
    ground_truth_topic: str | None


class SurroundBag:
    """A recording that holds `/<cam>/image_raw` or `/<cam>/image_raw/compressed` and `/<cam>/camera_info`.

    Use as a context manager. Raises DataError naming the file for one that cannot be read or that lacks topics.

    Args:
        path: a folder, .mcap or .db3.
        chosen: the cameras to read, in this order; without, all that can be, by name.
        on_stray: called with each image topic that is left out, and why; without, that is logged as a warning.
    """

    def __init__(
        self, path: str | Path, chosen: Sequence[str] = (), on_stray: Callable[[str, DataError], None] | None = None
    ) -> None:
        self.path = Path(path)
        on_stray = on_stray or _warn
        if not self.path.exists():
            raise DataError(f'{self.path}: no such file or folder; expected a rosbag2 (a folder, .mcap or .db3)')
        try:
            self._reader = AnyReader([_bag_path(self.path)], default_typestore=TYPESTORE)
            self._reader.open()
        except (AnyReaderError, OSError, ValueError, KeyError) as error:
            raise DataError(
                f'{self.path}: cannot be read as a rosbag2: {error}; a recording that was cut off can often be '
                'repaired (mcap recover, or ros2 bag reindex)'
            ) from error
        try:
            # Recorders list topics that nobody published on; raw ones would hide the compressed ones.
            full = {c.topic: c.msgtype for c in self._reader.connections if c.msgcount}
            self.cameras = find_cameras(full, self.path, chosen, on_stray)
        except DataError:
            self._reader.close()
            raise

    def __enter__(self) -> SurroundBag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """Message type of every topic."""
        return {connection.topic: connection.msgtype for connection in self._reader.connections}

    @property
    def start_ns(self) -> int:
        """Time of the first message, nanoseconds."""
        return int(self._reader.start_time)

    @property
    def duration_s(self) -> float:
        """From the first message to the last, seconds."""
        return float(self._reader.end_time - self._reader.start_time) / 1e9

    def raw_messages(
        self, topics: Sequence[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, str, int, bytes]]:
        """(topic, type, time in ns, CDR bytes) of the messages of `topics`, in the order recorded.

        Only those whose time is in [start_ns, stop_ns), where given. Raises DataError where the file is damaged.
        """
        wanted = [c for c in self._reader.connections if c.topic in set(topics)]
        if not wanted:
            return
        try:
            for connection, time_ns, data in self._reader.messages(wanted, start_ns, stop_ns):
                yield connection.topic, connection.msgtype, time_ns, bytes(data)
        except _DAMAGED as error:
            raise DataError(f'{self.path}: the recording is damaged ({error}); try mcap recover') from error

    def messages(
        self, topics: Sequence[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, int, Any]]:
        """(topic, time in ns, message) of `topics`, as `raw_messages` gives them."""
        for topic, msgtype, time_ns, data in self.raw_messages(topics, start_ns, stop_ns):
            yield topic, time_ns, self.deserialize(data, msgtype, topic)

    def deserialize(self, data: bytes, msgtype: str, topic: str) -> Any:
        """The message in CDR bytes. Raises DataError naming the topic where they do not fit the type."""
        try:
            return self._reader.deserialize(data, msgtype)
        except (AnyReaderError, ValueError, IndexError) as error:
            raise DataError(f'{self.path}: a message on {topic} is no {msgtype}: {error}') from error

    def transforms(self) -> TransformTree:
        """Everything that /tf_static and /tf say, kept for the whole length of the recording."""
        tree = TransformTree(cache_time_s=self.duration_s + 1.0, max_history=sys.maxsize)
        for topic, _, msg in self.messages(('/tf_static', '/tf')):
            for stamped in msg.transforms:
                t, q = stamped.transform.translation, stamped.transform.rotation
                parent, child = (name.removeprefix('/') for name in (stamped.header.frame_id, stamped.child_frame_id))
                try:
                    matrix = transform_from([t.x, t.y, t.z], [q.x, q.y, q.z, q.w])
                    tree.set_transform(parent, child, matrix, stamp_of(stamped), static=topic == '/tf_static')
                except RigError as error:
                    # A gripper that publishes nonsense is no reason to refuse the cameras; tf2 does the same.
                    _log.warning('%s: transform %s -> %s is ignored: %s', self.path, parent, child, error)
        return tree

    def camera_infos(self) -> dict[str, Any]:
        """The first CameraInfo of every camera, by name; DataError naming a camera whose topic is empty."""
        by_topic = {camera.info_topic: camera.name for camera in self.cameras}
        infos: dict[str, Any] = {}
        for topic, _, msg in self.messages(tuple(by_topic)):
            infos.setdefault(by_topic[topic], msg)
            if len(infos) == len(by_topic):
                return infos
        absent = sorted(set(by_topic.values()) - set(infos))
        raise DataError(f'{self.path}: no CameraInfo message of {", ".join(absent)}')

    def stamp(self, data: bytes) -> int:
        """The header stamp, ns, of a serialised message whose first member is a std_msgs/Header. Raises DataError."""
        if len(data) < 12:
            raise DataError(f'{self.path}: a message of {len(data)} bytes; expected one that begins with a header')
        # CDR: four bytes of encapsulation (the second tells the byte order), then sec (int32) and nanosec (uint32).
        sec, nanosec = np.frombuffer(data, '<i4' if data[1] & 1 else '>i4', 2, 4)
        return int(sec) * 10**9 + int(np.uint32(nanosec))


def find_cameras(
    topics: dict[str, str],
    path: Path,
    chosen: Sequence[str] = (),
    on_stray: Callable[[str, DataError], None] | None = None,
) -> tuple[BagCamera, ...]:
    """The cameras that a recording's topics describe; raw images are preferred to compressed ones.

    Without `chosen`, all by name, but image topics that do not belong to the vehicle's cameras are left out: those
    without CameraInfo, and the few that are raw where most are compressed, or the other way. `on_stray` is called
    with each, and why; without, it is logged as a warning. With `chosen`, these cameras and no others, in this order.

    Raises DataError where no camera is left, as many are raw as are compressed, or one that is chosen cannot be read.
    """
    on_stray = on_stray or _warn
    found: dict[str, dict[bool, str]] = {}
    for topic, msgtype in sorted(topics.items()):
        match = _IMAGE_TOPIC.match(topic)
        if match and msgtype == _IMAGE_TYPES[match['compressed'] is not None]:
            found.setdefault(match['camera'], {})[match['compressed'] is not None] = topic
    if not found:
        raise DataError(
            f'{path}: no image topics; expected /<cam>/image_raw or /<cam>/image_raw/compressed, '
            f'got {", ".join(sorted(topics)) or "no topics"}'
        )
    if chosen:
        found = _chosen(found, path, chosen)
    lacking = [name for name in found if f'/{name}/camera_info' not in topics]
    if lacking and (chosen or len(lacking) == len(found)):
        infos = ', '.join(f'/{name}/camera_info' for name in lacking)
        raise DataError(f'{path}: topics {infos} are missing; expected one CameraInfo topic per camera')
    for name in lacking:
        told = f'there is no /{name}/camera_info, so it is taken for no camera of the vehicle'
        on_stray(min(found.pop(name).values()), DataError(f'{path}: {told}'))
    kinds = {compressed: [name for name, own in found.items() if compressed in own] for compressed in (False, True)}
    compressed = len(kinds[True]) > len(kinds[False])
    others = [name for name in found if name not in kinds[compressed]]
    if others and (chosen or len(kinds[True]) == len(kinds[False])):
        raise DataError(
            f'{path}: some cameras are raw ({", ".join(kinds[False])}) and some compressed ({", ".join(kinds[True])}); '
            'expected all of one kind; a rosbag: source is told with ?cameras=NAME,NAME which to read'
        )
    for name in others:
        told = f'it is {"raw" if compressed else "compressed"}, and most cameras are not'
        on_stray(min(found.pop(name).values()), DataError(f'{path}: {told}'))
    return tuple(
        BagCamera(
            name,
            own[compressed],
            compressed,
            f'/{name}/camera_info',
            f'/{name}/{GROUND_TRUTH_SUFFIX}' if f'/{name}/{GROUND_TRUTH_SUFFIX}' in topics else None,
        )
        for name, own in found.items()
    )


def _chosen(found: dict[str, dict[bool, str]], path: Path, chosen: Sequence[str]) -> dict[str, dict[bool, str]]:
    unknown = [name for name in chosen if name not in found]
    if unknown or len(set(chosen)) != len(chosen):
        raise DataError(
            f'{path}: cameras {",".join(chosen)} are asked for; expected some of {",".join(sorted(found))}, each once'
        )
    return {name: found[name] for name in chosen}


def _warn(topic: str, error: DataError) -> None:
    _log.warning('%s is left out: %s', topic, error)


def is_rosbag(path: Path) -> bool:
    """Whether `path` looks like a rosbag2: a .mcap or .db3 file, or a folder with metadata or one such file."""
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or len([*path.glob('*.mcap'), *path.glob('*.db3')]) == 1
    return path.suffix in ('.mcap', '.db3')


def _bag_path(path: Path) -> Path:
    """A folder without metadata.yaml (a recorder that was killed) is read through its only data file."""
    if path.is_dir() and not (path / 'metadata.yaml').is_file():
        files = [*path.glob('*.mcap'), *path.glob('*.db3')]
        if len(files) != 1:
            raise ValueError(f'no metadata.yaml and {len(files)} data files; expected one .mcap or .db3')
        return files[0]
    return path
