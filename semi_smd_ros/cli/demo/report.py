# SPDX-License-Identifier: Apache-2.0
"""What came out of a demo run: pictures, scores and latencies, read from the bag that was recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader

from ...datasets.messages import TYPESTORE, read_xyz, stamp_of
from ...datasets.replay import decode
from ...datasets.rosbag import BagCamera, SurroundBag
from ...evaluation import Tally, protocol_named, sample_depth
from ...evaluation.pictures import birds_eye, mosaic
from ...rig import CameraModel, RectifyMap, Rig, flat_ground_depth
from ...runtime import InputError
from ...runtime.images import to_network_size
from .protocol import NODE_NAME, POINTS_TOPIC

# The node's publishers keep five samples, so what is six sets late will never come.
_LATE_SETS = 5
MAX_DEPTH_M = 200.0
_DEPTH_TOPIC = re.compile(r'/(?P<camera>.+)/depth/(?P<kind>image|camera_info)')
_STAGE = re.compile(r'^(?P<stage>.+) (?P<percentile>p50|p95) \(ms\)$')


@dataclass
class OutputSet:
    """What the node published for one set: per camera (depth, its CameraInfo), and the cloud with its arrival.

    A camera whose image the node could not use has no depth.
    """

    depths: dict[str, Any] = field(default_factory=dict)
    infos: dict[str, Any] = field(default_factory=dict)
    cloud: Any = None
    arrived_ns: int = 0

    def is_whole(self, cameras: int) -> bool:
        """Whether nothing more can come."""
        return self.cloud is not None and len(self.depths) == len(self.infos) == cameras


class Report:
    """Collects a run's results. `sent`: the player's record of every set (stamps, when its last image left)."""

    def __init__(self, recording: SurroundBag, rig: Rig, output_bag: Path, sent: Sequence[Mapping[str, Any]]) -> None:
        self._recording = recording
        self._rig = rig
        self._output_bag = output_bag
        self._sent = list(sent)
        self._maps: dict[str, RectifyMap] = {}
        # What a recording shows of the ego vehicle nobody has masked.
        self._protocol = protocol_named('default', MAX_DEPTH_M, masks=False)
        self._scores, self._ground_scores = Tally(self._protocol), Tally(self._protocol)
        self._end_to_end_ms: list[float] = []
        self.sets_out = 0
        self.pictures: list[Path] = []

    def make(self, folder: Path, on_set: Callable[[], None]) -> dict[str, Any]:
        """Write the pictures into `folder` and return the summary's figures; `on_set` is called after every set."""
        truth = self._ground_truth()
        for number, (sent, images, output) in enumerate(
            zip(self._sent, self._input_images(), self._outputs(), strict=True)
        ):
            if output.cloud is not None:
                self.sets_out += 1
                self._end_to_end_ms.append((output.arrived_ns - sent['sent_ns']) / 1e6)
                self._draw(folder, number, images, output)
                self._score(sent, output, truth)
            on_set()
        scores, ground = self._scores.summary(), self._ground_scores.summary()
        diagnostics = self._last_diagnostics()
        return {
            'sets_in': len(self._sent),
            'sets_out': self.sets_out,
            'sets_dropped': len(self._sent) - self.sets_out,
            'drop_reasons': _counts(diagnostics.get('sets', {}), 'dropped: '),
            'images_rejected': {
                camera.name: reasons
                for camera in self._rig.cameras
                if (reasons := _counts(diagnostics.get(f'camera {camera.name}', {}), 'rejected: '))
            },
            'latency_ms': self._latency(diagnostics.get('engine', {})),
            'abs_rel': scores and scores.figure('abs_rel'),
            'd1': scores and scores.figure('d1'),
            'abs_rel_ground': ground and ground.figure('abs_rel'),
            'd1_ground': ground and ground.figure('d1'),
            'coverage': scores and scores.coverage['all'],
            'protocol': self._protocol.text,
            'pictures': [str(path) for path in self.pictures],
        }

    def _input_images(self) -> Iterator[list[Any]]:
        """(camera, message) of every camera, set by set."""
        topics = {camera.image_topic: i for i, camera in enumerate(self._recording.cameras)}
        number_of = {(i, stamp): n for n, sent in enumerate(self._sent) for i, stamp in enumerate(sent['stamps_ns'])}
        gathered: dict[int, list[Any]] = {}
        upcoming = 0
        for topic, _, msg in self._recording.messages(tuple(topics)):
            i = topics[topic]
            number = number_of.get((i, stamp_of(msg)), -1)
            if number < upcoming:
                continue
            gathered.setdefault(number, [None] * len(topics))[i] = (self._recording.cameras[i], msg)
            while None not in gathered.get(upcoming, [None]):
                yield gathered.pop(upcoming)
                upcoming += 1

    def _outputs(self) -> Iterator[OutputSet]:
        """Outputs of every set, in order; a set that never came out whole is given as far as it came."""
        pending: dict[int, OutputSet] = {}
        upcoming = newest = 0
        for number, camera, kind, time_ns, msg in self._output_messages():
            if number < upcoming:
                continue
            newest = max(newest, number)
            output = pending.setdefault(number, OutputSet())
            if kind == 'points':
                output.cloud, output.arrived_ns = msg, time_ns
            else:
                (output.depths if kind == 'image' else output.infos)[camera] = msg
            while upcoming <= newest and (
                pending.get(upcoming, OutputSet()).is_whole(len(self._rig)) or newest - upcoming > _LATE_SETS
            ):
                yield pending.pop(upcoming, OutputSet())
                upcoming += 1
        for number in range(upcoming, len(self._sent)):
            yield pending.pop(number, OutputSet())

    def _output_messages(self) -> Iterator[tuple[int, str, str, int, Any]]:
        """(number of the set, camera, 'image' | 'camera_info' | 'points', arrival in ns, message)."""
        cameras = [camera.name for camera in self._recording.cameras]
        number_of = {('', sent['stamp_ns']): n for n, sent in enumerate(self._sent)}
        for n, sent in enumerate(self._sent):
            number_of |= {(name, stamp): n for name, stamp in zip(cameras, sent['stamps_ns'], strict=True)}
        with AnyReader([self._output_bag], default_typestore=TYPESTORE) as reader:
            for connection, time_ns, data in reader.messages():
                match = _DEPTH_TOPIC.fullmatch(connection.topic)
                if match is None and connection.topic != POINTS_TOPIC:
                    continue
                msg: Any = reader.deserialize(data, connection.msgtype)
                camera, kind = ('', 'points') if match is None else (match['camera'], match['kind'])
                number = number_of.get((camera, stamp_of(msg)))
                if number is not None:
                    yield number, camera, kind, time_ns, msg

    def _last_diagnostics(self) -> dict[str, dict[str, str]]:
        """The newest values of every part of the node's diagnostics: 'node', 'sets', 'engine', 'camera <name>'."""
        newest: dict[str, dict[str, str]] = {}
        with AnyReader([self._output_bag], default_typestore=TYPESTORE) as reader:
            wanted = [c for c in reader.connections if c.topic == '/diagnostics']
            for connection, _, data in reader.messages(connections=wanted) if wanted else ():
                msg: Any = reader.deserialize(data, connection.msgtype)
                for status in msg.status:
                    node, _, part = status.name.partition(': ')
                    if node == NODE_NAME:
                        newest[part] = {pair.key: pair.value for pair in status.values}
        return newest

    def _latency(self, engine: Mapping[str, str]) -> dict[str, dict[str, float]]:
        """Percentiles per stage as the node tells them, and from the last image's departure to the cloud's arrival."""
        latency: dict[str, dict[str, float]] = {}
        for key, value in engine.items():
            match = _STAGE.match(key)
            if match:
                latency.setdefault(match['stage'], {})[match['percentile']] = float(value)
        if self._end_to_end_ms:
            p50, p95 = np.percentile(self._end_to_end_ms, [50, 95])
            latency['end_to_end'] = {'p50': round(float(p50), 2), 'p95': round(float(p95), 2)}
        return latency

    def _ground_truth(self) -> dict[tuple[str, int], np.ndarray]:
        topics = {c.ground_truth_topic: c.name for c in self._recording.cameras if c.ground_truth_topic}
        return {
            (topics[topic], stamp_of(msg)): read_xyz(msg) for topic, _, msg in self._recording.messages(tuple(topics))
        }

    def _draw(self, folder: Path, number: int, images: list[Any], output: OutputSet) -> None:
        when = f'set {number + 1} of {len(self._sent)}'
        if output.depths:
            height, width = depth_array(next(iter(output.depths.values()))).shape
            unknown = np.full((height, width), np.nan, np.float32)
            names = self._rig.names
            depths = np.stack(
                [depth_array(output.depths[name]) if name in output.depths else unknown for name in names]
            )
            rgb = np.stack([self._rectified(i, image, width, height) for i, image in enumerate(images)])
            picture = mosaic(rgb, depths, names, self._rig.base_T_cam_n44, f'{when}: metric depth')
            self._save(folder / f'mosaic_{number:04d}.png', picture)
        points = read_xyz(output.cloud)
        title = f'{when}: fused cloud, {len(points)} points, forward is up'
        self._save(folder / f'birds_eye_{number:04d}.png', birds_eye(points, cloud_rgb(output.cloud), title))

    def _rectified(self, index: int, image: tuple[BagCamera, Any], width: int, height: int) -> np.ndarray:
        """The picture that belongs to a depth image; black for one that cannot be used, as the node found too."""
        camera = self._rig.cameras[index]
        if camera.name not in self._maps:
            self._maps[camera.name] = RectifyMap(camera.model, width, height)
        remap = self._maps[camera.name]
        try:
            decoded = decode(*image)
        except InputError:
            return np.zeros((height, width, 3), np.uint8)
        if decoded.size != remap.source_size:
            return np.zeros((height, width, 3), np.uint8)
        return to_network_size(decoded, remap)

    def _save(self, path: Path, picture: np.ndarray) -> None:
        if not cv2.imwrite(str(path), picture):
            raise OSError(f'{path}: the picture could not be written')
        self.pictures.append(path)

    def _score(self, sent: Mapping[str, Any], output: OutputSet, truth: Mapping[tuple[str, int], np.ndarray]) -> None:
        for camera, stamp in zip(self._rig.cameras, sent['stamps_ns'], strict=True):
            points = truth.get((camera.name, stamp))
            if points is None or not len(points) or camera.name not in output.infos or camera.name not in output.depths:
                continue
            info = output.infos[camera.name]
            model = CameraModel.from_camera_info(info)
            uv, inside = model.project(points)
            depth = depth_array(output.depths[camera.name])
            ground = flat_ground_depth(model.K, camera.base_T_cam, model.width, model.height)
            # The prior is judged where the node knows a depth, so that both answer for the same points.
            ground = np.where(np.isnan(depth), np.float32(np.nan), ground)
            for tally, answer in ((self._scores, depth), (self._ground_scores, ground)):
                tally.add(camera.name, sample_depth(answer, uv[inside]), points[inside, 2])


def _counts(values: Mapping[str, str], prefix: str) -> dict[str, int]:
    return {key.removeprefix(prefix): int(value) for key, value in values.items() if key.startswith(prefix)}


def depth_array(msg: Any) -> np.ndarray:
    """(H,W) float32 metres of a 32FC1 Image."""
    if msg.encoding != '32FC1' or msg.step != 4 * msg.width:
        raise ValueError(f'depth image is {msg.encoding} with step {msg.step}; expected 32FC1, {4 * msg.width}')
    return np.frombuffer(memoryview(msg.data), '<f4').reshape(msg.height, msg.width)


def cloud_rgb(msg: Any) -> np.ndarray:
    """(M,3) uint8 RGB of a PointCloud2 with a packed `rgb` field."""
    offset = next(field.offset for field in msg.fields if field.name == 'rgb')
    dtype = np.dtype({'names': ['rgb'], 'formats': ['<u4'], 'offsets': [offset], 'itemsize': int(msg.point_step)})
    rgb = np.frombuffer(memoryview(msg.data), dtype)['rgb']
    return np.stack([rgb >> 16, rgb >> 8, rgb], axis=1).astype(np.uint8)
