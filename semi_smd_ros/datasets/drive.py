# SPDX-License-Identifier: Apache-2.0
"""One recorded drive as a sequence of samples: an index of stamps first, then any sample on demand."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rig import (
    CameraModel,
    Rig,
    RigError,
    TransformError,
    TransformExtrapolation,
    rig_from_camera_infos,
    transform_from,
)
from ..runtime.images import InputError, check_layout
from .files import check_image
from .messages import read_image_message, read_map, stamp_of
from .moments import Stamps, described_samples, named_moments, synchronised_moments
from .recorded_truth import READERS, read_truth
from .recording import (
    DEPTH_SUFFIX,
    EGO_MASK_SUFFIX,
    GROUND_TRUTH_SUFFIX,
    MOVING_SUFFIX,
    SAMPLE_TOPIC,
    SEMANTICS_SUFFIX,
)
from .rosbag import BagCamera, SurroundBag
from .sample import DataError, EncodedImage, Picture, SurroundSample
from .source import SampleSequence, Skipped

WORLD_FRAMES = ('odom', 'map', 'world', 'earth')
# Messages nearer to each other than this in the file are fetched together.
_FETCH_GAP_NS = 200_000_000


@dataclass(frozen=True)
class DriveOptions:
    """How a recording is read; empty names mean that they are not given, see `rosbag_source.RosbagSource`."""

    base_frame: str = 'base_link'
    world_frame: str = ''
    odometry: str = ''
    slop_s: float | None = None
    cameras: tuple[str, ...] = ()


class Drive(SampleSequence):
    """The samples of an open recording, as it names them itself, else as its pictures synchronise.

    Raises DataError where CameraInfo or tf do not make a rig, or no moment has a picture of every camera.
    """

    def __init__(
        self, bag: SurroundBag, name: str, how: DriveOptions, skipped: Skipped, tell: Callable[[str, float], None]
    ) -> None:
        super().__init__(name, skipped)
        self._bag = bag
        self._tree = bag.transforms()
        if how.odometry:
            self._add_odometry(how.odometry)
        described = described_samples(bag) if how.slop_s is None else []
        self.rig = self._read_rig(self._names(described, how), how.base_frame)
        by_name = {camera.name: camera for camera in bag.cameras}
        self._cameras = tuple(by_name[camera] for camera in self.rig.names)
        self._times, order = self._index(tell)
        self._world_frame = self._choose_world(how)
        if described:
            self._moments = named_moments(bag, described, self.rig.names)
        else:
            self._moments = synchronised_moments(order, len(self.rig), how.slop_s)
            self._tell_left_over(order)
        if not self._moments:
            raise DataError(
                f'{bag.path}: no moment at which every camera has an image; expected cameras that agree in time'
            )

    def __len__(self) -> int:
        return len(self._moments)

    def sample_name(self, index: int) -> str:
        return self._moments[index].name or super().sample_name(index)

    def read(self, index: int) -> SurroundSample:
        moment = self._moments[index]
        sample = self._read(moment.stamps_ns, truth=True)
        return dataclasses.replace(sample, ground_plane_base=moment.ground_plane_base)

    def previous_name(self, index: int) -> str:
        previous = self._moments[index].previous
        return previous[0] if previous and previous[0] else super().previous_name(index)

    def read_previous(self, index: int) -> SurroundSample | None:
        previous = self._moments[index].previous
        if previous is None:
            return None
        if index > 0 and previous[1] == self._moments[index - 1].stamps_ns:
            return super().read_previous(index)
        return dataclasses.replace(self._read(previous[1], truth=False), name=previous[0])

    def _read(self, stamps: Stamps, truth: bool) -> SurroundSample:
        messages = self._fetch(stamps, tuple(READERS) if truth else ())
        images = tuple(
            self._picture(camera, self.rig.cameras[i].model, messages.get((camera.image_topic, stamps[i])), stamps[i])
            for i, camera in enumerate(self._cameras)
        )
        return SurroundSample(
            self.rig,
            images,
            stamps,
            read_truth(messages, self.rig, stamps, GROUND_TRUTH_SUFFIX, self._bag.path),
            self._poses(stamps),
            read_truth(messages, self.rig, stamps, DEPTH_SUFFIX, self._bag.path),
            read_truth(messages, self.rig, stamps, SEMANTICS_SUFFIX, self._bag.path),
            read_truth(messages, self.rig, stamps, MOVING_SUFFIX, self._bag.path),
        )

    def _fetch(self, stamps: Stamps, suffixes: Sequence[str]) -> dict[tuple[str, int], Any]:
        """Messages by (topic, stamp): the pictures, and what of the ground truth there is at the same stamps."""
        wanted: list[tuple[int, str, int]] = []
        for camera, stamp in zip(self._cameras, stamps, strict=True):
            for topic in (camera.image_topic, *(f'/{camera.name}/{suffix}' for suffix in suffixes)):
                time = self._times.get(topic, {}).get(stamp)
                if time is not None:
                    wanted.append((time, topic, stamp))
        keys = {(topic, stamp) for _, topic, stamp in wanted}
        found: dict[tuple[str, int], Any] = {}
        for group in _near(sorted(wanted)):
            topics = sorted({topic for _, topic, _ in group})
            for topic, msgtype, _, data, stamp in self._stamped(topics, group[0][0], group[-1][0] + 1):
                key = (topic, stamp)
                if key in keys:
                    found[key] = self._bag.deserialize(data, msgtype, topic)
        return found

    def _picture(self, camera: BagCamera, model: CameraModel, msg: Any, stamp: int) -> Picture:
        where = f'{self._bag.path}: {camera.image_topic} at {stamp} ns'
        size = (model.width, model.height)
        if msg is None:
            raise DataError(f'{where}: no such image; expected one of every camera of the sample')
        if camera.compressed:
            data = bytes(memoryview(msg.data))
            check_image(data, size, where)
            return EncodedImage(data, str(msg.format))
        raw = read_image_message(msg)
        if (raw.width, raw.height) != size:
            raise DataError(f'{where}: the image is {raw.width}x{raw.height}; its CameraInfo says {size[0]}x{size[1]}')
        try:
            check_layout(len(raw.data), raw.height, raw.width, raw.step, raw.encoding)
        except InputError as error:
            raise DataError(f'{where}: {error}') from error
        return raw

    def _tell_left_over(self, order: Sequence[tuple[int, int]]) -> None:
        """Count the pictures that are in no moment as skipped."""
        left = len(order) - len(self._moments) * len(self.rig)
        if left:
            counts = Counter(self.rig.names[camera] for camera, _ in order)
            by_camera = ', '.join(f'{name} {counts[name]}' for name in self.rig.names)
            told = f'{left} of {len(order)} images make no set with one of every camera; there are of {by_camera}'
            self.skipped.add(f'recording {self.name}', DataError(told))

    def _poses(self, stamps: Stamps) -> tuple[tuple[int, np.ndarray], ...]:
        if not self._world_frame:
            return ()
        poses = []
        for stamp in sorted(set(stamps)):
            try:
                poses.append((stamp, self._tree.lookup(self._world_frame, self.rig.base_frame, stamp)))
            except TransformExtrapolation:
                continue  # before the first pose or after the last nothing is known
        return tuple(poses)

    def _names(self, described: Sequence[Mapping[str, Any]], how: DriveOptions) -> tuple[str, ...]:
        """The cameras to read: those asked for, or that the recording names, or all that can be placed."""
        names = tuple(camera.name for camera in self._bag.cameras)
        if how.cameras:
            return names
        if described:
            return tuple(described[0]['stamps_ns'])
        infos = self._bag.camera_infos()
        strays: dict[str, Exception] = {}
        for name in names:
            try:
                rig_from_camera_infos({name: infos[name]}, self._tree, how.base_frame, names=(name,))
            except (RigError, TransformError) as error:
                strays[name] = error
        if len(strays) == len(names):
            return names  # all are amiss: reading the rig tells what
        for camera in self._bag.cameras:
            if camera.name in strays:
                told = DataError(f'{self._bag.path}: {strays[camera.name]}; choose with ?cameras= to insist on it')
                self.skipped.add(camera.image_topic, told)
        return tuple(name for name in names if name not in strays)

    def _read_rig(self, names: tuple[str, ...], base_frame: str) -> Rig:
        absent = sorted(set(names) - {camera.name for camera in self._bag.cameras})
        if absent:
            raise DataError(f'{self._bag.path}: {SAMPLE_TOPIC} names {", ".join(absent)}, which has no images here')
        try:
            rig = rig_from_camera_infos(self._bag.camera_infos(), self._tree, base_frame, names=names)
        except (RigError, TransformError) as error:
            raise DataError(
                f'{self._bag.path}: {error}; a vehicle whose frame is not called {base_frame} is opened with '
                '?base_frame=NAME'
            ) from error
        masks: dict[str, np.ndarray] = {}
        topics = {f'/{name}/{EGO_MASK_SUFFIX}': name for name in names}
        for topic, _, msg in self._bag.messages(tuple(topics)):
            try:
                masks.setdefault(topics[topic], read_map(msg, 'mono8') > 0)
            except ValueError as error:
                raise DataError(f'{self._bag.path}: {topic}: {error}') from error
        return Rig(
            tuple(
                dataclasses.replace(camera, model=_plain(camera.model), ego_mask=masks.get(camera.name))
                for camera in rig.cameras
            ),
            rig.base_frame,
        )

    def _choose_world(self, how: DriveOptions) -> str:
        for frame in (how.world_frame,) if how.world_frame else WORLD_FRAMES:
            try:
                self._tree.lookup(frame, self.rig.base_frame)
            except TransformError as error:
                if how.world_frame:
                    raise DataError(f'{self._bag.path}: world_frame {frame}: {error}') from error
                continue
            return frame
        return ''

    def _add_odometry(self, topic: str) -> None:
        count = 0
        for _, _, msg in self._bag.messages((topic,)):
            if msg.__msgtype__ != 'nav_msgs/msg/Odometry':
                raise DataError(f'{self._bag.path}: {topic} is {msg.__msgtype__}; expected nav_msgs/msg/Odometry')
            t, q = msg.pose.pose.position, msg.pose.pose.orientation
            parent, child = (name.removeprefix('/') for name in (msg.header.frame_id, msg.child_frame_id))
            try:
                pose = transform_from([t.x, t.y, t.z], [q.x, q.y, q.z, q.w])
                self._tree.set_transform(parent, child, pose, stamp_of(msg))
            except RigError as error:
                raise DataError(f'{self._bag.path}: {topic}: {error}') from error
            count += 1
        if not count:
            raise DataError(f'{self._bag.path}: no message on {topic}; it has {", ".join(sorted(self._bag.topics))}')

    def _index(self, tell: Callable[[str, float], None]) -> tuple[dict[str, dict[int, int]], list[tuple[int, int]]]:
        """Time in the file by topic and stamp; and (camera, stamp) of every picture, in the order recorded."""
        images = {camera.image_topic: i for i, camera in enumerate(self._cameras)}
        truth = [f'/{camera.name}/{suffix}' for camera in self._cameras for suffix in READERS]
        times: dict[str, dict[int, int]] = {}
        order: list[tuple[int, int]] = []
        start, length = self._bag.start_ns, max(self._bag.duration_s * 1e9, 1.0)
        for topic, _, time, _, stamp in self._stamped((*images, *truth)):
            times.setdefault(topic, {})[stamp] = time
            if topic in images:
                order.append((images[topic], stamp))
                tell(f'indexing {self._bag.path.name}', (time - start) / length)
        return times, order

    def _stamped(
        self, topics: Sequence[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[str, str, int, bytes, int]]:
        """As `SurroundBag.raw_messages`, each with its header's stamp; messages too short for one are skipped."""
        for topic, msgtype, time, data in self._bag.raw_messages(topics, start_ns, stop_ns):
            try:
                stamp = self._bag.stamp(data)
            except DataError as error:
                self.skipped.add(f'{topic} at {time} ns in the file', error)
                continue
            yield topic, msgtype, time, data, stamp


def _near(wanted: Sequence[tuple[int, str, int]]) -> list[list[tuple[int, str, int]]]:
    """`wanted`, sorted by time, in groups without a long gap."""
    groups: list[list[tuple[int, str, int]]] = []
    for item in wanted:
        if groups and item[0] - groups[-1][-1][0] <= _FETCH_GAP_NS:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def _plain(model: CameraModel) -> CameraModel:
    """Without a P that only repeats K, as a CameraInfo has to."""
    return dataclasses.replace(model, P=None) if model.P is not None and np.array_equal(model.P, model.K) else model
