# SPDX-License-Identifier: Apache-2.0
"""Write samples as a rosbag2, as a vehicle would have recorded them, with the ground truth as extra topics."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from ..rig import Rig, RigCamera
from ..runtime.images import InputError
from .messages import (
    TYPESTORE,
    camera_info,
    compressed_image,
    image_message,
    message,
    points_message,
    raw_image,
    transform_stamped,
)
from .sample import DataError, Picture, RawImage, SurroundSample
from .source import Skipped

WORLD_FRAME = 'odom'
GROUND_TRUTH_SUFFIX = 'ground_truth/points'
DEPTH_SUFFIX = 'ground_truth/depth'
SEMANTICS_SUFFIX = 'ground_truth/semantics'
MOVING_SUFFIX = 'ground_truth/moving'
EGO_MASK_SUFFIX = 'ground_truth/ego_mask'
SAMPLE_TOPIC = '/ground_truth/sample'
TRUTHS = ('all', 'points', 'none')


def qos(latched: bool = False) -> Qos:
    """Reliable, keep-last QoS to store with a topic; `latched` makes it transient local, as /tf_static is."""
    forever = QosTime(sec=9223372036, nsec=854775807)
    return Qos(
        QosHistory.KEEP_LAST, 1 if latched else 10, QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        forever, forever, QosLiveliness.AUTOMATIC, forever, False,
    )  # fmt: skip


class BagWriter:
    """A rosbag2 that appears under its name only when it is complete.

    `path`: a name that ends in .mcap becomes that one file, which carries types and QoS itself; any other a folder
    with metadata.yaml. It must not exist yet. `compress`: with zstd, in chunks, so that any reader of mcap can seek.
    Use as a context manager; a body that raises leaves nothing behind.
    """

    def __init__(self, path: str | Path, compress: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise FileExistsError(f'{self.path} exists already; name a new file or folder for the recording')
        self._partial = self.path.with_name(self.path.name + '.partial')
        self._compress = compress
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        if self._partial.exists():
            shutil.rmtree(self._partial)
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._writer = Writer(self._partial, version=9, storage_plugin=StoragePlugin.MCAP)
        if self._compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            if kind is None:
                _take_name(self._partial, self.path)
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def write(self, topic: str, msg: Any, time_ns: int) -> None:
        """Serialise a message made by `datasets.messages` and append it."""
        self.write_raw(topic, msg.__msgtype__, bytes(TYPESTORE.serialize_cdr(msg, msg.__msgtype__)), time_ns)

    def write_raw(self, topic: str, msgtype: str, cdr: bytes, time_ns: int) -> None:
        """Append a message that is serialised already; `msgtype` such as 'sensor_msgs/msg/Image'."""
        self.declare(topic, msgtype)
        self._writer.write(self._connections[topic], time_ns, cdr)

    def declare(self, topic: str, msgtype: str) -> None:
        """List a topic in the recording, whether or not a message follows."""
        if topic not in self._connections:
            latched = topic.endswith('/tf_static')
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=TYPESTORE, offered_qos_profiles=[qos(latched)]
            )


def _take_name(partial: Path, final: Path) -> None:
    """rosbag2 names the data file after its folder, and metadata.yaml names the file."""
    old, new = f'{partial.name}.mcap', f'{final.name}.mcap'
    if final.suffix == '.mcap':
        (partial / old).rename(final)
        return
    (partial / old).rename(partial / new)
    metadata = partial / 'metadata.yaml'
    metadata.write_text(metadata.read_text(encoding='utf-8').replace(old, new), encoding='utf-8')
    partial.rename(final)


def write_recording(
    samples: Iterable[SurroundSample],
    path: str | Path,
    raw: bool = False,
    truth: str = 'all',
    skipped: Skipped | None = None,
) -> int:
    """Write the samples of one drive as a rosbag2, see `BagWriter`; returns how many.

    Topics: `/<cam>/image_raw/compressed` (a JPEG or PNG as it is) or with `raw` `/<cam>/image_raw` (bgr8),
    `/<cam>/camera_info`, `/tf_static` (base to cameras), `/tf` (odom to base, where ego poses are known). Ground
    truth, each where it is known: `/<cam>/ground_truth/points` (PointCloud2 in the optical frame),
    `.../depth` (32FC1, metres), `.../semantics` (mono8, train ids), `.../moving` (mono8, 255 moves), `.../ego_mask`
    (mono8, 255 is the vehicle; once). `/ground_truth/sample` (String, JSON) names each sample, the stamps of its
    pictures and of those before it, and the ground's plane. A message's time in the bag is its stamp. `truth` leaves
    ground truth away: 'points' writes no dense maps (they are large), 'none' no points either.

    A sample with a picture that has to be decoded for this and cannot be is left out, counted in `skipped` and logged.

    Raises DataError when there are no samples, none can be written, or their rig changes: a recording is one drive of
    one vehicle.
    """
    check_truth(truth)
    iterator = iter(samples)
    first = next(iterator, None)
    if first is None:
        raise DataError(f'{path}: nothing to record; no sample could be read')
    # Pictures hardly shrink without loss, dense ground truth does.
    dense = first.depth_maps is not None and truth == 'all'
    with BagWriter(path, compress=dense) as bag:
        recorder = _Recorder(bag, first, raw, truth, Skipped() if skipped is None else skipped)
        recorder.write(first)
        for sample in iterator:
            recorder.write(sample)
        if not recorder.count:
            raise DataError(f'{path}: nothing to record; no sample has pictures that can all be decoded')
    return recorder.count


def check_truth(truth: str) -> None:
    """Raise DataError unless `truth` is one of TRUTHS."""
    if truth not in TRUTHS:
        raise DataError(f'ground truth to record is {truth!r}; expected one of {", ".join(TRUTHS)}')


class _Recorder:
    """Turns samples into messages; a picture that two samples share is written once."""

    def __init__(self, bag: BagWriter, first: SurroundSample, raw: bool, truth: str, skipped: Skipped) -> None:
        self.count = 0
        self._skipped = skipped
        self._bag = bag
        self._raw = raw
        self._truth = truth
        self._rig = first.rig
        # (camera, stamp) of pictures, ('', stamp) of poses.
        self._sent: set[tuple[str, int]] = set()
        earliest = min(first.stamps_ns if first.previous is None else first.previous.stamps_ns)
        transforms = [
            transform_stamped(self._rig.base_frame, camera.frame_id, camera.base_T_cam, earliest)
            for camera in self._rig.cameras
        ]
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=transforms), earliest)
        for camera in self._rig.cameras:
            if camera.ego_mask is not None:
                self._write_image(camera, EGO_MASK_SUFFIX, _mono(camera.ego_mask), 'mono8', earliest)

    def write(self, sample: SurroundSample) -> None:
        """Append a sample, after the pictures of the moment before it where they are not there yet."""
        try:
            pictures = self._pictures(sample)
        except InputError as error:
            self._skipped.add(sample.name, error)
            return
        if sample.previous is not None:
            try:
                self._write_pictures(sample.previous, self._pictures(sample.previous))
            except InputError as error:
                self._skipped.add(sample.previous.name, error)
                sample = dataclasses.replace(sample, previous=None)
        self._write_pictures(sample, pictures)
        self._write_truth(sample)
        text = json.dumps(_description(sample))
        self._bag.write(SAMPLE_TOPIC, message('std_msgs/msg/String')(data=text), sample.stamp_ns)
        self.count += 1

    def _pictures(self, sample: SurroundSample) -> list[tuple[RigCamera, int, str, Any]]:
        """Camera, stamp, topic and message of the pictures that are not written yet. Raises InputError, DataError."""
        if not _same_rig(sample.rig, self._rig):
            raise DataError(
                f'{sample.name}: has another rig than the first sample; a recording is one drive of one vehicle: '
                'record its sequences one by one'
            )
        return [
            (camera, stamp, *self._picture(camera, image, stamp))
            for camera, image, stamp in zip(self._rig.cameras, sample.images, sample.stamps_ns, strict=True)
            if (camera.name, stamp) not in self._sent
        ]

    def _picture(self, camera: RigCamera, image: Picture, stamp: int) -> tuple[str, Any]:
        """Topic and message of a picture. Raises InputError where it has to be decoded and cannot be."""
        topic = f'/{camera.name}/image_raw'
        try:
            if self._raw:
                if isinstance(image, RawImage):
                    return topic, image_message(image, stamp, camera.frame_id)
                return topic, raw_image(image.rgb()[..., ::-1], 'bgr8', stamp, camera.frame_id)
            data, kind = (_png(image.rgb()), 'png') if isinstance(image, RawImage) else (image.data, image.format)
        except InputError as error:
            raise InputError(error.reason, f'{camera.name}: {error}') from error
        return f'{topic}/compressed', compressed_image(data, kind, stamp, camera.frame_id)

    def _write_pictures(self, sample: SurroundSample, pictures: list[tuple[RigCamera, int, str, Any]]) -> None:
        for stamp, world_T_base in sample.ego_poses:
            if ('', stamp) not in self._sent:
                self._sent.add(('', stamp))
                pose = transform_stamped(WORLD_FRAME, sample.rig.base_frame, world_T_base, stamp)
                self._bag.write('/tf', message('tf2_msgs/msg/TFMessage')(transforms=[pose]), stamp)
        for camera, stamp, topic, picture in pictures:
            if (camera.name, stamp) in self._sent:  # with the moment before, a moment ago
                continue
            self._sent.add((camera.name, stamp))
            self._bag.write(f'/{camera.name}/camera_info', camera_info(camera, stamp), stamp)
            self._bag.write(topic, picture, stamp)

    def _write_truth(self, sample: SurroundSample) -> None:
        if self._truth == 'none':
            return
        for i, (camera, stamp) in enumerate(zip(self._rig.cameras, sample.stamps_ns, strict=True)):
            if sample.depth_points is not None:
                points = points_message(sample.depth_points[i], stamp, camera.frame_id)
                self._bag.write(f'/{camera.name}/{GROUND_TRUTH_SUFFIX}', points, stamp)
            if self._truth == 'points':
                continue
            if sample.depth_maps is not None:
                self._write_image(camera, DEPTH_SUFFIX, sample.depth_maps[i].astype('<f4'), '32FC1', stamp)
            if sample.semantics is not None:
                self._write_image(camera, SEMANTICS_SUFFIX, sample.semantics[i], 'mono8', stamp)
            if sample.moving is not None:
                self._write_image(camera, MOVING_SUFFIX, _mono(sample.moving[i]), 'mono8', stamp)

    def _write_image(self, camera: RigCamera, suffix: str, pixels: np.ndarray, encoding: str, stamp: int) -> None:
        self._bag.write(f'/{camera.name}/{suffix}', raw_image(pixels, encoding, stamp, camera.frame_id), stamp)


def _description(sample: SurroundSample) -> dict[str, Any]:
    """What `/ground_truth/sample` says of a sample; `rosbag_source` reads it."""
    names = sample.rig.names
    described: dict[str, Any] = {
        'name': sample.name,
        'stamps_ns': dict(zip(names, sample.stamps_ns, strict=True)),
        'previous': None,
    }
    if sample.previous is not None:
        stamps = dict(zip(names, sample.previous.stamps_ns, strict=True))
        described['previous'] = {'name': sample.previous.name, 'stamps_ns': stamps}
    if sample.ground_plane_base is not None:
        described['ground_plane_base'] = [float(value) for value in sample.ground_plane_base]
    return described


def _same_rig(a: Rig, b: Rig) -> bool:
    return a is b or a.fingerprint() == b.fingerprint()


def _mono(mask_hw: np.ndarray) -> np.ndarray:
    return np.where(mask_hw, np.uint8(255), np.uint8(0))


def _png(rgb_hw3: np.ndarray) -> bytes:
    done, data = cv2.imencode('.png', rgb_hw3[..., ::-1])
    if not done:
        raise DataError(f'an image of shape {rgb_hw3.shape} could not be encoded as PNG')
    return data.tobytes()
