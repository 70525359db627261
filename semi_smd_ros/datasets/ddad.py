# SPDX-License-Identifier: Apache-2.0
"""Scenes in the DGP layout, as DDAD is published: scene JSON, calibration, images, LiDAR, poses."""

from __future__ import annotations

import calendar
import dataclasses
import logging
import re
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..rig import Rig, RigError, rig_from_dgp_calibration
from ..rig.dgp import dgp_pose
from .files import read_ego_mask, read_image, read_json_object
from .lidar import visible_points
from .sample import DataError, EncodedImage, SurroundSample
from .source import SampleSequence, Skipped

_log = logging.getLogger(__name__)
_STAMP = re.compile(r'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)')
_ROS_STAMP_LIMIT_NS = (2**31 - 1) * 10**9
# What numpy and zipfile raise for an archive that is cut off, not one, or holds something else.
_BROKEN_ARCHIVE = (
    OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class DdadScene(SampleSequence):
    """One scene, its samples oldest first. Raises DataError for a file that is amiss.

    `path`: the scene JSON, the folder that holds it, or a data set folder whose scene_dataset JSON names exactly
    one scene. `masks`: a folder of ego masks, see `files.read_ego_mask`. `occlusion_filter`: whether LiDAR points
    that the camera cannot see are dropped.
    """

    def __init__(
        self,
        path: str | Path,
        masks: Path | None = None,
        occlusion_filter: bool = True,
        skipped: Skipped | None = None,
    ) -> None:
        self.path = find_scene_json(Path(path))
        self.root = self.path.parent
        super().__init__(self.root.resolve().name, skipped)
        self._masks = masks
        self._occlusion_filter = occlusion_filter
        scene = read_json_object(self.path, 'a scene in the DGP layout')
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
        self._rigs: dict[str, Rig] = {}
        # What is amiss with calibration or masks is told now; the masks of hundreds of scenes are not kept.
        self._rig_of(0)
        self.let_go()

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def rig(self) -> Rig:
        """The rig of the first sample."""
        return self._rig_of(0)

    def let_go(self) -> None:
        super().let_go()
        self._rigs.clear()

    def read(self, index: int) -> SurroundSample:
        try:
            return self._read(index)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f'{self.path}: sample {index}: expected datums of the DGP layout ({type(error).__name__}: {error})'
            ) from error

    def _read(self, index: int) -> SurroundSample:
        rig = self._rig_of(index)
        cameras, lidars = self._datums(self._samples[index])
        absent = [name for name in rig.names if name not in cameras]
        if absent:
            raise DataError(f'{self.path}: sample {index} has no image of {", ".join(absent)}')
        images: list[EncodedImage] = []
        stamps, poses, world_T_cams = [], {}, []
        for camera in rig.cameras:
            datum = cameras[camera.name]
            image = datum['datum']['image']
            images.append(read_image(self.root / image['filename'], (camera.model.width, camera.model.height)))
            stamps.append(self._stamp(datum))
            world_T_cams.append(dgp_pose(image['pose']))
            poses[stamps[-1]] = world_T_cams[-1] @ np.linalg.inv(camera.base_T_cam)
        depth_points = None
        if lidars:
            world_points = np.concatenate([self._world_points(datum) for datum in lidars.values()])
            depth_points = tuple(
                visible_points(
                    _transform(np.linalg.inv(world_T_cam), world_points),
                    camera.model,
                    occlusion_filter=self._occlusion_filter,
                )
                for camera, world_T_cam in zip(rig.cameras, world_T_cams, strict=True)
            )
        return SurroundSample(rig, tuple(images), tuple(stamps), depth_points, tuple(sorted(poses.items())))

    def _rig_of(self, index: int) -> Rig:
        """The rig of a sample; the samples of a scene share few calibrations, mostly one."""
        sample = self._samples[index]
        key = sample.get('calibration_key')
        if not isinstance(key, str) or not key:
            raise DataError(f'{self.path}: sample {index} has calibration_key {key!r}; expected the name of a file')
        if key not in self._rigs:
            cameras, _ = self._datums(sample)
            if not cameras:
                raise DataError(f'{self.path}: sample {index} has no images')
            try:
                sizes = {
                    name: (int(datum['datum']['image']['width']), int(datum['datum']['image']['height']))
                    for name, datum in sorted(cameras.items())
                }
                rig = rig_from_dgp_calibration(self.root / 'calibration' / f'{key}.json', sizes)
            except (KeyError, TypeError, ValueError, RigError) as error:
                raise DataError(f'{self.path}: calibration {key}: {error}') from error
            self._rigs[key] = self._with_masks(rig)
        return self._rigs[key]

    def _with_masks(self, rig: Rig) -> Rig:
        if self._masks is None:
            return rig
        folder, scene = self._masks, self.name
        return Rig(
            tuple(
                dataclasses.replace(c, ego_mask=read_ego_mask(folder, c.name, (c.model.width, c.model.height), scene))
                for c in rig.cameras
            ),
            rig.base_frame,
        )

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
        except _BROKEN_ARCHIVE as error:
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
        splits = read_json_object(dataset, 'a list of scenes in the DGP layout').get('scene_splits', {})
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
