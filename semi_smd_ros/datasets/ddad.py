# SPDX-License-Identifier: Apache-2.0
"""Scenes in the DGP layout, as DDAD is published: scene JSON, calibration, images, LiDAR, poses."""

from __future__ import annotations

import calendar
import json
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..rig import Rig, RigError, rig_from_dgp_calibration
from ..rig.dgp import dgp_pose
from .lidar import visible_points
from .sample import DataError, EncodedImage, SurroundSample

_log = logging.getLogger(__name__)
_STAMP = re.compile(r'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)')
_ROS_STAMP_LIMIT_NS = (2**31 - 1) * 10**9


class DdadScene:
    """One scene. `len()` and iteration give its samples, oldest first; DataError for a file that is amiss.

    `path`: the scene JSON, the folder that holds it, or a data set folder whose scene_dataset JSON names exactly
    one scene.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = find_scene_json(Path(path))
        self.root = self.path.parent
        scene = _read_json(self.path)
        try:
            self._data = {entry['key']: entry for entry in scene['data']}
            self._samples = sorted(
                scene['samples'], key=lambda sample: parse_stamp(sample['id']['timestamp'], self.path)
            )
        except (KeyError, TypeError) as error:
            raise DataError(f'{self.path}: expected a DGP scene with data and samples (lacks {error})') from error
        if not self._samples:
            raise DataError(f'{self.path}: the scene has no samples')
        self._divide_stamps = self._stamps_are_ten_fold()
        self.rig = self._rig(self._samples[0])

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[SurroundSample]:
        for index in range(len(self)):
            yield self[index]

    def __getitem__(self, index: int) -> SurroundSample:
        sample = self._samples[index]
        cameras, lidars = self._datums(sample)
        absent = [name for name in self.rig.names if name not in cameras]
        if absent:
            raise DataError(f'{self.path}: sample {index} has no image of {", ".join(absent)}')
        images, stamps, poses, world_T_cams = [], [], {}, []
        for camera in self.rig.cameras:
            datum = cameras[camera.name]
            file = self.root / datum['datum']['image']['filename']
            images.append(EncodedImage(_read_bytes(file), 'jpeg' if file.suffix in ('.jpg', '.jpeg') else 'png'))
            stamps.append(self._stamp(datum))
            world_T_cams.append(dgp_pose(datum['datum']['image']['pose']))
            poses[stamps[-1]] = world_T_cams[-1] @ np.linalg.inv(camera.base_T_cam)
        depth_points = None
        if lidars:
            world_points = np.concatenate([self._world_points(datum) for datum in lidars.values()])
            depth_points = tuple(
                visible_points(_transform(np.linalg.inv(world_T_cam), world_points), camera.model)
                for camera, world_T_cam in zip(self.rig.cameras, world_T_cams, strict=True)
            )
        return SurroundSample(self.rig, tuple(images), tuple(stamps), depth_points, tuple(sorted(poses.items())))

    def _rig(self, sample: dict[str, Any]) -> Rig:
        cameras, _ = self._datums(sample)
        if not cameras:
            raise DataError(f'{self.path}: the first sample has no images')
        sizes = {
            name: (int(datum['datum']['image']['width']), int(datum['datum']['image']['height']))
            for name, datum in sorted(cameras.items())
        }
        file = self.root / 'calibration' / f'{sample["calibration_key"]}.json'
        try:
            return rig_from_dgp_calibration(file, sizes)
        except RigError as error:
            raise DataError(str(error)) from error

    def _datums(self, sample: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Images and point clouds of a sample, by sensor name."""
        try:
            datums = [self._data[key] for key in sample['datum_keys']]
            images = {d['id']['name']: d for d in datums if 'image' in d['datum']}
            clouds = {d['id']['name']: d for d in datums if 'point_cloud' in d['datum']}
        except KeyError as error:
            raise DataError(f'{self.path}: sample {sample.get("id")} refers to what is not there: {error}') from error
        return images, clouds

    def _world_points(self, datum: dict[str, Any]) -> np.ndarray:
        file = self.root / datum['datum']['point_cloud']['filename']
        try:
            with np.load(file, allow_pickle=False) as archive:
                points = archive['data'][:, :3].astype(np.float64)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise DataError(f'{file}: expected an .npz with an array data (N,3 or more): {error}') from error
        return _transform(dgp_pose(datum['datum']['point_cloud']['pose']), points)

    def _stamp(self, datum: dict[str, Any]) -> int:
        stamp = parse_stamp(datum['id']['timestamp'], self.path)
        return stamp // 10 if self._divide_stamps else stamp

    def _stamps_are_ten_fold(self) -> bool:
        """Some published DGP scenes carry times ten times too large (the year 2464), which no ROS stamp can hold."""
        first = parse_stamp(self._samples[0]['id']['timestamp'], self.path)
        if first <= _ROS_STAMP_LIMIT_NS:
            return False
        if first // 10 > _ROS_STAMP_LIMIT_NS:
            raise DataError(f'{self.path}: stamp {first} ns is beyond what a ROS message can carry')
        _log.warning('%s: stamps lie beyond 2038 and are taken to be ten times too large; divided by ten', self.path)
        return True


def find_scene_json(path: Path) -> Path:
    """The scene JSON that `path` means; DataError says what was looked for, or lists the scenes to choose from."""
    if path.is_file() and path.suffix == '.json':
        return path
    scenes = sorted(file for file in path.glob('scene_*.json') if not file.name.startswith('scene_dataset'))
    for dataset in sorted(path.glob('scene_dataset*.json')):
        splits = _read_json(dataset).get('scene_splits', {})
        scenes += [path / name for split in splits.values() for name in split.get('filenames', [])]
    named = list(dict.fromkeys(scenes))
    if not named:
        raise DataError(f'{path}: no scene_*.json and no scene_dataset*.json; expected a scene in the DGP layout')
    # Excerpts of a data set keep its full list of scenes; only those that are here can be meant.
    unique = [scene for scene in named if scene.is_file()]
    if not unique:
        raise DataError(f'{named[0]}: no such file, though the data set in {path} names it')
    if len(unique) > 1:
        shown = '\n  '.join(str(scene) for scene in unique[:20])
        raise DataError(f'{path}: holds {len(unique)} scenes; name one of them:\n  {shown}')
    return unique[0]


def parse_stamp(text: str, where: Path) -> int:
    """Nanoseconds since 1970 of an ISO time in UTC such as 2019-06-27T14:30:24.993650Z, with 0 to 9 decimals."""
    match = _STAMP.fullmatch(text) if isinstance(text, str) else None
    try:
        seconds = calendar.timegm(time.strptime(match[1], '%Y-%m-%dT%H:%M:%S')) if match else None
    except ValueError:
        seconds = None
    if match is None or seconds is None:
        raise DataError(f'{where}: time is {text!r}; expected ISO 8601 in UTC')
    return seconds * 10**9 + int((match[2] or '').ljust(9, '0'))


def _transform(a_T_b: np.ndarray, points_n3: np.ndarray) -> np.ndarray:
    return points_n3 @ a_T_b[:3, :3].T + a_T_b[:3, 3]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: expected a JSON file of the DGP layout: {error}') from error
    if not isinstance(data, dict):
        raise DataError(f'{path}: expected a JSON object; got {type(data).__name__}')
    return data


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f'{path}: the scene names this image, but it cannot be read: {error.strerror}') from error
