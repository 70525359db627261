# SPDX-License-Identifier: Apache-2.0
"""What came out of a demo run: pictures, scores and latencies, read from the bag that was recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader

from ...datasets.messages import TYPESTORE, read_xyz, stamp_of
from ...datasets.replay import decode
from ...datasets.rosbag import SurroundBag
from ...evaluation import PROTOCOL, DepthScores, score_depth, summarise
from ...evaluation.pictures import birds_eye, mosaic
from ...rig import CameraModel, RectifyMap, Rig, flat_ground_depth
from ...runtime.images import to_network_size
from .protocol import NODE_NAME, POINTS_TOPIC

_STAGE = re.compile(r'^(?P<stage>.+) (?P<percentile>p50|p95) \(ms\)$')


@dataclass
class OutputSet:
    """What the node published for one set: per camera (depth, its CameraInfo), and the cloud with its arrival."""

    depths: dict[str, Any]
    infos: dict[str, Any]
    cloud: Any = None
    arrived_ns: int = 0

    def is_complete(self, cameras: int) -> bool:
        return self.cloud is not None and len(self.depths) == len(self.infos) == cameras


class Report:
    """Collects a run's results. `sent`: the player's record of every set (stamps, when its last image left)."""

    def __init__(self, recording: SurroundBag, rig: Rig, output_bag: Path, sent: Sequence[Mapping[str, Any]]) -> None:
        self._recording = recording
        self._rig = rig
        self._output_bag = output_bag
        self._sent = list(sent)
        self._scores: list[tuple[str, DepthScores | None]] = []
        self._ground_scores: list[tuple[str, DepthScores | None]] = []
        self._end_to_end_ms: list[float] = []
        self.sets_out = 0
        self.pictures: list[Path] = []

    def make(self, folder: Path, on_set: Callable[[], None]) -> dict[str, Any]:
        """Write the pictures into `folder` and return the summary's figures; `on_set` is called after every set."""
        truth = self._ground_truth()
        for number, (sent, images, output) in enumerate(self._joined()):
            if output.is_complete(len(self._rig)):
                self.sets_out += 1
                self._end_to_end_ms.append((output.arrived_ns - sent['sent_ns']) / 1e6)
                self._draw(folder, number, images, output)
                self._score(sent, output, truth)
            on_set()
        scores, ground = summarise(self._scores), summarise(self._ground_scores)
        return {
            'sets_in': len(self._sent),
            'sets_out': self.sets_out,
            'sets_dropped': len(self._sent) - self.sets_out,
            'latency_ms': self._latency(),
            'abs_rel': scores and scores['abs_rel'],
            'd1': scores and scores['d1'],
            'abs_rel_ground': ground and ground['abs_rel'],
            'd1_ground': ground and ground['d1'],
            'coverage': scores and scores['coverage'],
            'protocol': PROTOCOL,
            'pictures': [str(path) for path in self.pictures],
        }

    def _joined(self) -> Iterator[tuple[Mapping[str, Any], list[Any], OutputSet]]:
        """Every set with its input images and its outputs, in order, one in memory at a time."""
        outputs = self._outputs()
        images = self._input_images()
        for sent in self._sent:
            yield sent, next(images), next(outputs)

    def _input_images(self) -> Iterator[list[Any]]:
        topics = {camera.image_topic: i for i, camera in enumerate(self._recording.cameras)}
        wanted = {
            (i, stamp): number for number, sent in enumerate(self._sent) for i, stamp in enumerate(sent['stamps_ns'])
        }
        gathered: dict[int, list[Any]] = {}
        upcoming = 0
        for topic, _, msg in self._recording.messages(tuple(topics)):
            i = topics[topic]
            number = wanted.get((i, stamp_of(msg)))
            if number is None:
                continue
            group = gathered.setdefault(number, [None] * len(topics))
            group[i] = (self._recording.cameras[i], msg)
            while upcoming in gathered and None not in gathered[upcoming]:
                yield gathered.pop(upcoming)
                upcoming += 1

    def _outputs(self) -> Iterator[OutputSet]:
        """Outputs of every set, in order; a set that never came out whole is given as far as it came."""
        cameras = [camera.name for camera in self._recording.cameras]
        by_stamp = {sent['stamp_ns']: n for n, sent in enumerate(self._sent)}
        by_camera_stamp = {
            (cameras[i], stamp): n for n, sent in enumerate(self._sent) for i, stamp in enumerate(sent['stamps_ns'])
        }
        pending = {n: OutputSet({}, {}) for n in range(len(self._sent))}
        upcoming = 0
        with AnyReader([self._output_bag], default_typestore=TYPESTORE) as reader:
            for connection, time_ns, data in reader.messages():
                match = re.fullmatch(r'/(.+)/depth/(image|camera_info)', connection.topic)
                if match is None and connection.topic != POINTS_TOPIC:
                    continue
                msg = reader.deserialize(data, connection.msgtype)
                key = stamp_of(msg)
                number = by_stamp.get(key) if match is None else by_camera_stamp.get((match[1], key))
                if number not in pending:
                    continue
                if match is None:
                    pending[number].cloud, pending[number].arrived_ns = msg, time_ns
                else:
                    getattr(pending[number], 'depths' if match[2] == 'image' else 'infos')[match[1]] = msg
                while upcoming in pending and pending[upcoming].is_complete(len(cameras)):
                    yield pending.pop(upcoming)
                    upcoming += 1
        for number in sorted(pending):
            yield pending[number]

    def _latency(self) -> dict[str, dict[str, float]]:
        """Percentiles per stage as the node last told them, and from the last image's departure to the cloud."""
        latency: dict[str, dict[str, float]] = {}
        with AnyReader([self._output_bag], default_typestore=TYPESTORE) as reader:
            wanted = [c for c in reader.connections if c.topic == '/diagnostics']
            for connection, _, data in reader.messages(connections=wanted) if wanted else ():
                msg: Any = reader.deserialize(data, connection.msgtype)
                for status in msg.status:
                    for pair in status.values if status.name == f'{NODE_NAME}: engine' else ():
                        match = _STAGE.match(pair.key)
                        if match:
                            latency.setdefault(match['stage'], {})[match['percentile']] = float(pair.value)
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
        depths = np.stack([depth_array(output.depths[camera.name]) for camera in self._rig.cameras])
        height, width = depths.shape[1:]
        rgb = np.stack(
            [
                to_network_size(decode(*image), RectifyMap(camera.model, width, height))
                for camera, image in zip(self._rig.cameras, images, strict=True)
            ]
        )
        poses = self._rig.base_T_cam_n44
        when = f'set {number + 1} of {len(self._sent)}'
        picture = mosaic(rgb, depths, self._rig.names, poses, f'{when}: metric depth')
        self._save(folder / f'mosaic_{number:04d}.png', picture)
        points = read_xyz(output.cloud)
        colours = cloud_rgb(output.cloud)
        title = f'{when}: fused cloud, {len(points)} points, forward is up'
        self._save(folder / f'birds_eye_{number:04d}.png', birds_eye(points, colours, title))

    def _save(self, path: Path, picture: np.ndarray) -> None:
        if not cv2.imwrite(str(path), picture):
            raise OSError(f'{path}: the picture could not be written')
        self.pictures.append(path)

    def _score(self, sent: Mapping[str, Any], output: OutputSet, truth: Mapping[tuple[str, int], np.ndarray]) -> None:
        for camera, stamp in zip(self._rig.cameras, sent['stamps_ns'], strict=True):
            points = truth.get((camera.name, stamp))
            if points is None or not len(points):
                continue
            info = output.infos[camera.name]
            model = CameraModel.from_camera_info(info)
            uv, inside = model.project(points)
            depth = depth_array(output.depths[camera.name])
            ground = flat_ground_depth(model.K, camera.base_T_cam, model.width, model.height)
            # The prior is judged where the node knows a depth, so that both answer for the same points.
            ground = np.where(np.isnan(depth), np.float32(np.nan), ground)
            self._scores.append((camera.name, score_depth(depth, uv[inside], points[inside, 2])))
            self._ground_scores.append((camera.name, score_depth(ground, uv[inside], points[inside, 2])))


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
