# SPDX-License-Identifier: Apache-2.0
"""nuScenes v1.0 as a source: key frames as samples, the sweep before each as context, LiDAR as sparse depth.

The vehicle's frame has its origin below the middle of the rear axle, on the ground, x forward and z up: our `base`.
Pictures are published undistorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..rig import CameraModel, Rig, RigCamera, RigError
from .files import read_ego_mask, read_image
from .lidar import visible_points
from .nuscenes_splits import SELECTIONS, SPLITS, in_split, select
from .nuscenes_tables import Datum, Moment, Tables
from .sample import DataError, SurroundSample
from .source import Options, SampleSequence, Skipped, Source

MAX_DEPTH_M = 80.0
LIDAR = 'LIDAR_TOP'
CONTEXTS = ('sweep', 'keyframe', 'none')
# Rows of the 32-beam LiDAR are 1.33 degrees apart, 29 pixels at these focal lengths; two such blocks reach over one.
OCCLUSION_BLOCK = 16
_POINT_BYTES = 20


@dataclass(frozen=True)
class _Reading:
    """How samples are read: `root` of the files, ego masks, occlusion filter, where `previous` comes from."""

    root: Path
    masks: Path | None
    occlusion_filter: bool
    context: str


class NuScenesSource(Source):
    """`path`: the folder that holds v1.0-*, samples and sweeps.

    Options: `version` (v1.0-trainval, v1.0-mini, v1.0-test; without, the first of these that is there), `split`
    (val, train, test or all; without, val where the version has it), `select` (all, or vfdepth; see
    `nuscenes_splits`), `context` (sweep: `previous` is each camera's picture just before, at 12 Hz; keyframe: the
    sample before, at 2 Hz; none), `masks` (folder of ego masks, see `files.read_ego_mask`), `occlusion` (filter, or
    none: keep LiDAR points the camera cannot see). Raises DataError for a table that is missing or malformed.
    """

    def __init__(self, address: str, path: Path, options: Options) -> None:
        super().__init__(address, MAX_DEPTH_M)
        version = options.text('version')
        split = options.text('split', '', SPLITS)
        selection = options.text('select', 'all', SELECTIONS)
        masks = options.text('masks')
        reading = _Reading(
            path,
            Path(masks).expanduser() if masks else None,
            options.text('occlusion', 'filter', ('filter', 'none')) == 'filter',
            options.text('context', 'sweep', CONTEXTS),
        )
        options.finish()
        folder = _version_folder(path, version)
        split = split or ('all' if folder.name == 'v1.0-test' else 'val')
        tables = Tables(folder, lambda scene: in_split(scene, folder.name, split), options.tell)
        scenes = select(tables.scenes, selection)
        if not any(moments for _, moments in scenes):
            raise DataError(f'{folder}: has no samples of split {split}; name another with ?split=')
        self._scenes = [_Scene(name, moments, tables, reading, self.skips) for name, moments in scenes if moments]

    def sequences(self) -> Sequence[SampleSequence]:
        return self._scenes


class _Scene(SampleSequence):
    """The key frames of one scene."""

    def __init__(
        self, name: str, moments: Sequence[Moment], tables: Tables, reading: _Reading, skipped: Skipped
    ) -> None:
        super().__init__(name, skipped)
        self._moments = moments
        self._tables = tables
        self._reading = reading
        self._rigs: dict[tuple[str, ...], Rig] = {}
        # The cameras of the scene's fullest moment: one that lacks a picture is told, not made a smaller rig.
        fullest = max(moments, key=lambda moment: len(moment.datums))
        self._cameras = sorted(channel for channel in fullest.datums if self._modality(fullest, channel) == 'camera')

    def __len__(self) -> int:
        return len(self._moments)

    def let_go(self) -> None:
        super().let_go()
        self._rigs.clear()

    def read(self, index: int) -> SurroundSample:
        moment = self._moments[index]
        absent = [channel for channel in self._cameras if channel not in moment.datums]
        if absent or not self._cameras:
            raise DataError(f'{self._tables.folder}: sample {moment.token} has no key frame of {", ".join(absent)}')
        pictures = [self._tables.datums[moment.datums[channel]] for channel in self._cameras]
        points = None
        if LIDAR in moment.datums:
            world_points = self._world_points(self._tables.datums[moment.datums[LIDAR]])
            points = tuple(
                self._depth_points(datum, camera.model, world_points)
                for datum, camera in zip(pictures, self._rig(pictures).cameras, strict=True)
            )
        return self._sample(pictures, points)

    def previous_name(self, index: int) -> str:
        return (
            super().previous_name(index) if self._reading.context == 'keyframe' else f'{self.sample_name(index)}:sweep'
        )

    def read_previous(self, index: int) -> SurroundSample | None:
        if self._reading.context == 'keyframe':
            return super().read_previous(index)
        datums = self._moments[index].datums
        keys = [self._tables.datums[datums[channel]] for channel in self._cameras if channel in datums]
        before = [self._tables.datums[key.prev] for key in keys if key.prev in self._tables.datums]
        # Where a scene begins, a camera has nothing before its key frame.
        if self._reading.context == 'none' or len(before) < len(self._cameras):
            return None
        return self._sample(before, None, self.previous_name(index))

    def _sample(
        self, pictures: Sequence[Datum], points: tuple[np.ndarray, ...] | None, name: str = ''
    ) -> SurroundSample:
        rig = self._rig(pictures)
        images = tuple(read_image(self._reading.root / datum.file, datum.size) for datum in pictures)
        stamps = tuple(datum.stamp_us * 1000 for datum in pictures)
        poses = {stamp: self._tables.pose(datum.pose) for stamp, datum in zip(stamps, pictures, strict=True)}
        return SurroundSample(rig, images, stamps, points, tuple(sorted(poses.items(), key=lambda p: p[0])), name=name)

    def _rig(self, pictures: Sequence[Datum]) -> Rig:
        key = tuple(datum.sensor for datum in pictures)
        if key not in self._rigs:
            self._rigs[key] = Rig(tuple(self._camera(datum) for datum in pictures))
        return self._rigs[key]

    def _camera(self, datum: Datum) -> RigCamera:
        sensor = self._tables.sensor(datum.sensor)
        mask = None
        if self._reading.masks is not None:
            mask = read_ego_mask(self._reading.masks, datum.channel, datum.size, self.name)
        try:
            assert sensor.K is not None
            model = CameraModel(*datum.size, sensor.K, np.zeros(0))
            return RigCamera(datum.channel, datum.channel, model, sensor.base_T_sensor, mask)
        except RigError as error:
            raise DataError(f'{self._tables.folder}: calibrated_sensor {datum.sensor}: {error}') from error

    def _world_points(self, datum: Datum) -> np.ndarray:
        """The LiDAR's points in the world: sensor to vehicle to world at the LiDAR's own time."""
        path = self._reading.root / datum.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(
                f'{path}: the data set names this LiDAR sweep, but it cannot be read: {error.strerror}'
            ) from error
        if not data or len(data) % _POINT_BYTES:
            raise DataError(
                f'{path}: {len(data)} bytes; expected points of {_POINT_BYTES} bytes each (5 float32), is it cut off?'
            )
        points = np.frombuffer(data, '<f4').reshape(-1, 5)[:, :3].astype(np.float64)
        points = points[np.isfinite(points).all(axis=1)]
        world_T_lidar = self._tables.pose(datum.pose) @ self._tables.sensor(datum.sensor).base_T_sensor
        return points @ world_T_lidar[:3, :3].T + world_T_lidar[:3, 3]

    def _depth_points(self, datum: Datum, model: CameraModel, world_points: np.ndarray) -> np.ndarray:
        """What the camera sees of it: world to vehicle to camera at the picture's own time."""
        cam_T_world = np.linalg.inv(self._tables.pose(datum.pose) @ self._tables.sensor(datum.sensor).base_T_sensor)
        points = world_points @ cam_T_world[:3, :3].T + cam_T_world[:3, 3]
        return visible_points(points, model, OCCLUSION_BLOCK, occlusion_filter=self._reading.occlusion_filter)

    def _modality(self, moment: Moment, channel: str) -> str:
        return self._tables.sensor(self._tables.datums[moment.datums[channel]].sensor).modality


def _version_folder(path: Path, version: str) -> Path:
    """The folder of the tables. Raises DataError saying what is there."""
    here = sorted(folder.name for folder in path.glob('v1.0-*') if folder.is_dir())
    order = [version] if version else ['v1.0-trainval', 'v1.0-mini', 'v1.0-test']
    for name in order:
        if name in here:
            return path / name
    expected = version or 'v1.0-trainval, v1.0-mini or v1.0-test'
    raise DataError(
        f'{path}: holds {", ".join(here) or "no folder v1.0-*"}; expected {expected}, the tables of nuScenes'
    )
