# SPDX-License-Identifier: Apache-2.0
"""Depth images to one packed point cloud."""

from __future__ import annotations

import array
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ..rig import Rig, rays
from .frame import SurroundDepth
from .labels import IGNORE, nearest
from .voxels import first_of_each, voxel_keys

# sensor_msgs/PointField's numbers of the types.
UINT8, FLOAT32 = 2, 7
# `rgb` is 0x00rrggbb in the bits of a float32, as PCL and RViz read it. Every field lies in one of six words of four
# bytes, so that a point is packed by interleaving six planes.
POINT_FIELDS: tuple[tuple[str, int, int, int], ...] = (
    ('x', 0, FLOAT32, 1),
    ('y', 4, FLOAT32, 1),
    ('z', 8, FLOAT32, 1),
    ('rgb', 12, FLOAT32, 1),
    ('camera', 16, UINT8, 1),
    ('confidence', 20, FLOAT32, 1),
)
LABEL_FIELD = ('label', 17, UINT8, 1)
_WORDS = 6
POINT_STEP = 4 * _WORDS
_FORMATS = {'rgb': '<u4', 'camera': 'u1', 'label': 'u1'}
# Points that are worked on at a time: planes that still fit a core's caches, calls that are still few.
_CHUNK = 60_000


@dataclass(frozen=True)
class CloudConfig:
    """Which points go into the cloud: range along the camera's axis and height above the ground, metres; confidence
    0..1; every `stride`-th pixel of every `stride`-th row; of those, one point per cube of `voxel_size` metres (0:
    all). With `semantics` every point carries its class in `label`, 255 where unknown."""

    min_range: float = 0.5
    max_range: float = 80.0
    min_height: float = -2.0
    max_height: float = 6.0
    min_confidence: float = 0.0
    stride: int = 2
    voxel_size: float = 0.0
    semantics: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_range < self.max_range:
            raise ValueError(f'cloud range is {self.min_range}..{self.max_range} m; expected 0 <= min < max')
        if not self.min_height < self.max_height:
            raise ValueError(f'cloud height is {self.min_height}..{self.max_height} m; expected min < max')
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f'cloud min_confidence is {self.min_confidence}; expected 0..1')
        if self.stride < 1:
            raise ValueError(f'cloud stride is {self.stride}; expected 1 or more')
        if not (math.isfinite(self.voxel_size) and self.voxel_size >= 0):
            raise ValueError(f'cloud voxel_size is {self.voxel_size}; expected metres, 0 for every point')


@dataclass(frozen=True, eq=False)
class PackedCloud:
    """Points ready to send: `data` holds `n_points` records of `point_step` bytes, laid out as `fields` says."""

    data: array.array[int]
    n_points: int
    point_step: int
    fields: tuple[tuple[str, int, int, int], ...] = POINT_FIELDS

    def points(self) -> np.ndarray:
        """The records as a structured array (a view)."""
        layout = {
            'names': [name for name, *_ in self.fields],
            'formats': [_FORMATS.get(name, '<f4') for name, *_ in self.fields],
            'offsets': [offset for _, offset, *_ in self.fields],
            'itemsize': self.point_step,
        }
        return np.frombuffer(self.data, np.dtype(layout))  # type: ignore[call-overload]


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some rows of one camera on the grid of the stride: `z_rw` metres, and which of them go into the cloud."""

    camera: int
    rows: slice
    z_rw: np.ndarray
    index_k: np.ndarray | None  # flat indices into the rows; None for all of them
    count: int


class CloudBytes:
    """The memory of clouds, taken again once they were sent."""

    def __init__(self) -> None:
        self._spare: array.array[int] | None = None

    def give(self, cloud: PackedCloud) -> None:
        """Keep the bytes of a cloud that nobody looks at any more."""
        self._spare = cloud.data

    def take(self, size: int) -> array.array[int]:
        """`size` bytes of any content."""
        spare, self._spare = self._spare, None
        if spare is None:
            # A copy of one byte makes an array of just this size; appending would reserve more.
            return array.array('B', bytes(1)) * size
        if len(spare) < size:
            spare.frombytes(bytes(size - len(spare)))
        del spare[size:]
        return spare


class CloudBuilder:
    """Back-projects the depths of a rig into its base frame; what depends on the rig alone is computed once.

    Works chunk by chunk, plane by plane, in memory that it keeps; only the points that pass the filters are packed,
    straight into the message's bytes.
    """

    def __init__(self) -> None:
        self._key: tuple[str, int] | None = None
        self._bytes = CloudBytes()

    def recycle(self, cloud: PackedCloud) -> None:
        """Take back the bytes of a cloud that was sent and that nobody looks at any more.

        The next cloud is written over them: getting and clearing as many bytes anew takes a fifth of its time.
        """
        self._bytes.give(cloud)

    def __call__(self, depth: SurroundDepth, config: CloudConfig) -> PackedCloud:
        """Pack the points of `depth` that `config` lets through, camera by camera, row by row."""
        self._prepare(depth.rectified, config.stride)
        fields = (*POINT_FIELDS, LABEL_FIELD) if config.semantics else POINT_FIELDS
        labels_nhw = _labels_on_grid(depth, config.stride) if config.semantics else None
        chunks: Iterable[_Chunk] = self._chunks(depth, config)
        most = sum(depth.camera_valid) * self._height * self._width
        if config.voxel_size > 0:
            chunks = self._thinned(list(chunks), config.voxel_size)
            most = sum(chunk.count for chunk in chunks)
        data = self._bytes.take(most * POINT_STEP)
        packed_m6 = np.frombuffer(data, np.float32).reshape(-1, _WORDS)
        count = 0
        for chunk in chunks:
            self._pack(depth, config, labels_nhw, chunk, packed_m6[count : count + chunk.count])
            count += chunk.count
        del packed_m6
        del data[count * POINT_STEP :]
        return PackedCloud(data, count, POINT_STEP, fields)

    def _prepare(self, rig: Rig, stride: int) -> None:
        key = (rig.fingerprint(), stride)
        if key == self._key:
            return
        self._rays_n3hw = ray_planes(rig, stride)
        self._height, self._width = self._rays_n3hw.shape[2:]
        self._rows = max(1, min(self._height, _CHUNK // self._width))
        self._origins = rig.base_T_cam_n44[:, :3, 3].astype(np.float32)[:, :, None, None]
        shape = (self._rows, self._width)
        self._xyz_3rw = np.empty((3, *shape), np.float32)
        self._rgb_rw, self._meta_rw = np.empty(shape, np.uint32), np.empty(shape, np.uint32)
        self._keep_rw, self._other_rw = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
        self._records_m6 = np.empty((self._rows * self._width, _WORDS), np.float32)
        self._meta_of: int | None = None
        self._key = key

    def _chunks(self, depth: SurroundDepth, config: CloudConfig) -> Iterator[_Chunk]:
        """Chunks with points to keep; the points' coordinates are in `_xyz_3rw` until the next one."""
        s = config.stride
        for camera in np.flatnonzero(depth.camera_valid).tolist():
            for first in range(0, self._height, self._rows):
                rows = slice(first, min(first + self._rows, self._height))
                source = slice(rows.start * s, (rows.stop - 1) * s + 1, s)
                z = np.ascontiguousarray(depth.depth_nhw[camera, source, ::s])
                self._locate(camera, rows, z)
                keep = self._filter(z, np.ascontiguousarray(depth.confidence_nhw[camera, source, ::s]), config)
                count = cv2.countNonZero(keep)
                if count:
                    index = None if count == z.size else np.flatnonzero(keep)
                    yield _Chunk(camera, rows, z, index, count)

    def _locate(self, camera: int, rows: slice, z_rw: np.ndarray) -> np.ndarray:
        xyz = self._xyz_3rw[:, : len(z_rw)]
        with np.errstate(invalid='ignore'):  # inf * 0 where a ray is level, in the sky
            np.multiply(z_rw, self._rays_n3hw[camera, :, rows], out=xyz)
        np.add(xyz, self._origins[camera], out=xyz)
        return xyz

    def _filter(self, z_rw: np.ndarray, confidence_rw: np.ndarray, config: CloudConfig) -> np.ndarray:
        """255 for the points to keep. NaN and +inf are in no range, so unknown and sky never become points."""
        keep, other = self._keep_rw[: len(z_rw)], self._other_rw[: len(z_rw)]
        cv2.inRange(z_rw, config.min_range, config.max_range, dst=keep)
        cv2.inRange(self._xyz_3rw[2, : len(z_rw)], config.min_height, config.max_height, dst=other)
        cv2.bitwise_and(keep, other, dst=keep)
        if config.min_confidence > 0:
            cv2.inRange(confidence_rw, config.min_confidence, math.inf, dst=other)
            cv2.bitwise_and(keep, other, dst=keep)
        return keep

    def _thinned(self, chunks: list[_Chunk], voxel_size: float) -> list[_Chunk]:
        """The chunks with the first point of every voxel alone."""
        keys = []
        for chunk in chunks:
            xyz_3m = self._locate(chunk.camera, chunk.rows, chunk.z_rw).reshape(3, -1)
            keys.append(voxel_keys(xyz_3m if chunk.index_k is None else xyz_3m[:, chunk.index_k], voxel_size))
        first = first_of_each(np.concatenate(keys)) if keys else np.empty(0, np.intp)
        edges = np.cumsum([0, *(chunk.count for chunk in chunks)])
        thinned = []
        for chunk, start, own in zip(chunks, edges, np.split(first, np.searchsorted(first, edges[1:-1])), strict=False):
            index = own - start if chunk.index_k is None else chunk.index_k[own - start]
            if index.size:
                thinned.append(_Chunk(chunk.camera, chunk.rows, chunk.z_rw, index, index.size))
        return thinned

    def _pack(
        self,
        depth: SurroundDepth,
        config: CloudConfig,
        labels_nhw: np.ndarray | None,
        chunk: _Chunk,
        packed_k6: np.ndarray,
    ) -> None:
        s, camera, rows = config.stride, chunk.camera, chunk.rows
        shape = chunk.z_rw.shape
        source = slice(rows.start * s, (rows.stop - 1) * s + 1, s)
        xyz = self._xyz_3rw[:, : shape[0]]
        if config.voxel_size > 0:
            self._locate(camera, rows, chunk.z_rw)
        rgb, meta = self._rgb_rw[: shape[0]], self._meta_rw[: shape[0]]
        picture = np.ascontiguousarray(depth.images_nhw3[camera, source, ::s])
        cv2.cvtColor(picture, cv2.COLOR_RGB2BGRA, dst=rgb.view(np.uint8).reshape(*shape, 4))
        np.bitwise_and(rgb, np.uint32(0xFFFFFF), out=rgb)
        if self._meta_of != camera:
            self._meta_rw[...] = self._meta_of = camera
        if labels_nhw is not None:
            self._meta_of = None
            meta.view(np.uint8).reshape(*shape, 4)[..., 1] = labels_nhw[camera, rows]
        confidence = np.ascontiguousarray(depth.confidence_nhw[camera, source, ::s])
        planes = [*xyz, rgb.view(np.float32), meta.view(np.float32), confidence]
        if chunk.index_k is None:
            cv2.merge(planes, dst=packed_k6.reshape(*shape, _WORDS))
            return
        records = self._records_m6[: chunk.z_rw.size]
        cv2.merge(planes, dst=records.reshape(*shape, _WORDS))
        whole = np.dtype((np.void, POINT_STEP))
        # `clip` since the default copies the output to check the indices first.
        np.take(records.view(whole)[:, 0], chunk.index_k, out=packed_k6.view(whole)[:, 0], mode='clip')


def ray_planes(rig: Rig, stride: int) -> np.ndarray:
    """Rays (N,3,rows,columns) float32 in `base` of every `stride`-th pixel of every `stride`-th row: a point is its ray
    times its depth, plus where its camera stands."""
    planes = []
    for camera in rig.cameras:
        grid_hw3 = rays(camera.model.K, camera.model.width, camera.model.height)[::stride, ::stride]
        planes.append((grid_hw3 @ camera.base_T_cam[:3, :3].T).transpose(2, 0, 1))
    return np.ascontiguousarray(planes, np.float32)


def _labels_on_grid(depth: SurroundDepth, stride: int) -> np.ndarray:
    labels, (height, width) = depth.semantics_nhw, depth.images_nhw3.shape[1:3]
    if not labels.shape[1]:
        return np.full((len(labels), -(-height // stride), -(-width // stride)), IGNORE, np.uint8)
    return labels[:, nearest(height, labels.shape[1])[::stride]][:, :, nearest(width, labels.shape[2])[::stride]]
