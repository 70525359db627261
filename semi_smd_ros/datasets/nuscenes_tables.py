# SPDX-License-Identifier: Apache-2.0
"""The tables of nuScenes v1.0 as published, read row by row: only what the chosen scenes need is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..rig import RigError, transform_from
from .sample import DataError

_BLOCK = 1 << 22
# Matches everywhere, so that its end is where the next character of interest stands.
_BLANK = re.compile(r'[ \t\r\n\ufeff]*')
Progress = Callable[[str, float], None]


class Datum(NamedTuple):
    """One row of sample_data: a picture or a LiDAR sweep. `prev` is the token of the one before from the sensor."""

    channel: str
    stamp_us: int
    file: str
    pose: str
    sensor: str
    prev: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Sensor:
    """One row of calibrated_sensor with the sensor it is about: `base_T_sensor` (4,4), `K` (3,3) of a camera."""

    channel: str
    modality: str
    base_T_sensor: np.ndarray
    K: np.ndarray | None


@dataclass(frozen=True)
class Moment:
    """A key frame: the tokens of its pictures and LiDAR sweeps by channel."""

    token: str
    stamp_us: int
    datums: dict[str, str]


class Tables:
    """The tables in `folder` (v1.0-*), for the scenes whose names `wanted` accepts.

    `scenes`: (name, moments in time order), in the order of the table. `datums`, `sensors` by token; `pose(token)`.
    sample_data and ego_pose have millions of rows, so they are streamed and only what is referred to is kept.
    Raises DataError naming the file and the row.
    """

    def __init__(self, folder: Path, wanted: Callable[[str], bool], on_progress: Progress | None = None) -> None:
        self.folder = folder
        self._on_progress = on_progress
        try:
            self._read(wanted)
        except (TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f'{folder}: a table holds a value of another kind than the schema says: {error}') from error

    def _read(self, wanted: Callable[[str], bool]) -> None:
        self.sensors = self._read_sensors()
        scenes = {token: name for token, name in self._columns('scene', 'token', 'name') if wanted(name)}
        self.datums: dict[str, Datum] = {}
        moments: dict[str, Moment] = {}
        by_scene: dict[str, list[Moment]] = {token: [] for token in scenes}
        for token, scene, stamp in self._columns('sample', 'token', 'scene_token', 'timestamp'):
            if scene in by_scene:
                moments[token] = Moment(token, int(stamp), {})
                by_scene[scene].append(moments[token])
        self._read_sample_data(moments)
        self._pose_rows, self._poses = self._read_ego_poses({datum.pose for datum in self.datums.values()})
        self.scenes = [
            (scenes[token], sorted(found, key=lambda moment: moment.stamp_us)) for token, found in by_scene.items()
        ]

    def pose(self, token: str) -> np.ndarray:
        """`world_T_base` (4,4) of an ego_pose. Raises DataError."""
        if token not in self._pose_rows:
            raise DataError(f'{self.folder / "ego_pose.json"}: has no row {token}, which sample_data refers to')
        values = self._poses[self._pose_rows[token]]
        return self._transform(values[:3], values[3:], f'ego_pose.json: row {token}')

    def sensor(self, token: str) -> Sensor:
        """A row of calibrated_sensor. Raises DataError."""
        if token not in self.sensors:
            raise DataError(
                f'{self.folder / "calibrated_sensor.json"}: has no row {token}, which sample_data refers to'
            )
        return self.sensors[token]

    def _read_sensors(self) -> dict[str, Sensor]:
        kinds = {
            token: (channel, kind) for token, channel, kind in self._columns('sensor', 'token', 'channel', 'modality')
        }
        sensors = {}
        columns = ('token', 'sensor_token', 'translation', 'rotation', 'camera_intrinsic')
        for token, kind, translation, rotation, intrinsic in self._columns('calibrated_sensor', *columns):
            if kind not in kinds:
                raise DataError(f'{self.folder / "sensor.json"}: has no row {kind}, which calibrated_sensor refers to')
            where = f'calibrated_sensor.json: row {token}'
            channel, modality = kinds[kind]
            K = None
            if modality == 'camera':
                K = self._numbers(intrinsic, (3, 3), f'{where}: camera_intrinsic')
            sensors[token] = Sensor(channel, modality, self._transform(translation, rotation, where), K)
        return sensors

    def _read_sample_data(self, moments: dict[str, Moment]) -> None:
        """Key frames go into their moments; of the other pictures those stay that come just before a key frame."""
        sensors = {token: s.channel for token, s in self.sensors.items() if s.modality in ('camera', 'lidar')}
        modality = {s.channel: s.modality for s in self.sensors.values()}
        shared: dict[str, str] = {}
        sweeps: dict[str, Datum] = {}
        keys: list[Datum] = []
        columns = (
            'token', 'sample_token', 'calibrated_sensor_token', 'is_key_frame', 'timestamp', 'filename',
            'ego_pose_token', 'prev', 'width', 'height',
        )  # fmt: skip
        for token, sample, sensor, is_key, stamp, file, pose, prev, width, height in self._columns(
            'sample_data', *columns
        ):
            channel = sensors.get(sensor)
            if channel is None or sample not in moments:
                continue
            # Tokens repeat: an ego pose is mostly called as its picture, and every prev is a token.
            token, pose, prev = (shared.setdefault(text, text) for text in (token, pose, prev))
            sensor = shared.setdefault(sensor, sensor)
            datum = Datum(channel, int(stamp), str(file), pose, sensor, prev, (int(width or 0), int(height or 0)))
            if is_key:
                self.datums[token] = datum
                moments[sample].datums[channel] = token
                keys.append(datum)
            elif modality[channel] == 'camera':
                sweeps[token] = datum
        for datum in keys:
            if datum.prev in sweeps and modality[datum.channel] == 'camera':
                self.datums[datum.prev] = sweeps[datum.prev]

    def _read_ego_poses(self, wanted: Collection[str]) -> tuple[dict[str, int], np.ndarray]:
        rows: dict[str, int] = {}
        poses = np.empty((len(wanted), 7))
        for token, translation, rotation in self._columns('ego_pose', 'token', 'translation', 'rotation'):
            if token in wanted:
                where = f'ego_pose.json: row {token}'
                rows.setdefault(token, len(rows))
                poses[rows[token], :3] = self._numbers(translation, (3,), f'{where}: translation')
                poses[rows[token], 3:] = self._numbers(rotation, (4,), f'{where}: rotation')
        return rows, poses

    def _columns(self, table: str, *names: str) -> Iterator[tuple[Any, ...]]:
        """The values of columns `names`, row by row."""
        path = self.folder / f'{table}.json'
        for number, row in enumerate(rows_of(path, self._on_progress)):
            try:
                yield tuple([row[name] for name in names])
            except (KeyError, TypeError) as error:
                raise DataError(f'{path}: row {number} is {row!r:.200}; expected {", ".join(names)}') from error

    def _numbers(self, value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
        try:
            numbers = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            numbers = np.empty(0)
        if numbers.shape != shape or not np.isfinite(numbers).all():
            raise DataError(f'{self.folder}/{where} is {value!r:.200}; expected finite numbers of shape {shape}')
        return numbers

    def _transform(self, translation: Any, rotation_wxyz: Any, where: str) -> np.ndarray:
        w, x, y, z = self._numbers(rotation_wxyz, (4,), f'{where}: rotation')
        try:
            return transform_from(self._numbers(translation, (3,), f'{where}: translation'), [x, y, z, w])
        except RigError as error:
            raise DataError(f'{self.folder}/{where}: {error}') from error


def rows_of(path: Path, on_progress: Progress | None = None) -> Iterator[Any]:
    """The elements of the JSON list in `path`, one at a time: the largest table has more than a gigabyte.

    Raises DataError naming the file where it is missing, cut off, or no list.
    """
    decode = json.JSONDecoder().raw_decode
    try:
        total = max(path.stat().st_size, 1)
        with path.open(encoding='utf-8') as file:
            text, at, begun = file.read(_BLOCK), 0, False
            done = len(text)
            while True:
                at = _BLANK.match(text, at).end()  # type: ignore[union-attr]
                if not begun:
                    if text[at : at + 1] != '[':
                        raise DataError(f'{path}: starts with {text[at : at + 20]!r}; expected a JSON list of rows')
                    at, begun = at + 1, True
                    continue
                if text[at : at + 1] == ']':
                    return
                try:
                    row, end = decode(text, at)
                    # A row may end just where the block does; then the comma behind it is still to come.
                    after = _BLANK.match(text, end).end()  # type: ignore[union-attr]
                    if text[after : after + 1] not in (',', ']'):
                        raise json.JSONDecodeError('Expecting , or ] behind a row', '', 0)
                except json.JSONDecodeError as error:
                    # No row is as long as a block: more text would not make it whole.
                    more = file.read(_BLOCK) if len(text) - at < _BLOCK else ''
                    if not more:
                        raise DataError(f'{path}: not whole JSON near {text[at : at + 80]!r} ({error.msg})') from error
                    done += len(more)
                    if on_progress is not None:
                        on_progress(f'reading {path.name}', min(done / total, 1.0))
                    text, at = text[at:] + more, 0
                    continue
                yield row
                at = after + (text[after] == ',')
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: expected a table of nuScenes v1.0: {error}') from error
