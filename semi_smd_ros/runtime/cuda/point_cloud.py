# SPDX-License-Identifier: Apache-2.0
"""Depth on the GPU to the packed bytes of a cloud; only the points that pass the filters come back."""

from __future__ import annotations

import numpy as np

from ...rig import Rig
from ..cloud import LABEL_FIELD, POINT_FIELDS, POINT_STEP, CloudBytes, CloudConfig, PackedCloud, ray_planes
from ..labels import nearest
from .driver import CudaContext, DeviceArray, PinnedArray, Stream
from .kernels import Launcher

# What the kernel's argument `with_labels` says.
_NO_LABELS, _LABELS, _UNKNOWN_LABELS = range(3)


class DeviceCloudBuilder:
    """CloudBuilder for a result that lies on the GPU: the same bytes, in the same order.

    `pictures` (N,H,W,3) and `depth`, `confidence` (N,H,W) float32, finished, and `labels` (N,h,w) uint8 are read.
    """

    def __init__(
        self,
        context: CudaContext,
        kernels: Launcher,
        pictures: DeviceArray,
        depth: DeviceArray,
        confidence: DeviceArray,
        labels: DeviceArray,
    ) -> None:
        self._context = context
        self._kernels = kernels
        self._pictures, self._depth, self._confidence, self._labels = pictures, depth, confidence, labels
        self._bytes = CloudBytes()
        self._key: tuple[str, int] | None = None
        self._grid = context.device_array((6,), np.int32)
        self._limits = context.device_array((6,), np.float32)
        self._config: CloudConfig | None = None
        self._total = context.device_array((1,), np.uint32)
        self._pinned_total = context.pinned_array((1,), np.uint32)
        # Of one grid: as many as it has points.
        self._owned: list[DeviceArray | PinnedArray] = []
        self._table: tuple[DeviceArray, DeviceArray] | None = None

    def recycle(self, cloud: PackedCloud) -> None:
        """As CloudBuilder.recycle."""
        self._bytes.give(cloud)

    def __call__(self, rig: Rig, config: CloudConfig, has_labels: bool, stream: Stream) -> PackedCloud:
        """Pack what lies on the GPU once `stream` has come to it, and wait for it. `rig` is the rectified one."""
        self._prepare(rig, config, stream)
        launch, points, words = self._kernels.launch, self._points, -(-self._points // 32)
        placed = (self._grid, self._limits, self._rays, self._origins, self._depth)
        launch('select_points', (words,), stream, *placed, self._confidence, self._words, self._counts, points)
        if config.voxel_size > 0:
            keys, firsts = self._voxel_table()
            table_bits = firsts.shape[0].bit_length() - 1
            keys.fill_zero(stream)
            firsts.fill_zero(stream)
            launch('enter_voxels', (points,), stream, *placed, self._words, keys, firsts, table_bits, points)
            launch(
                'keep_firsts', (words,), stream, *placed, keys, firsts, table_bits, self._words, self._counts, points
            )
        launch('sum_counts', (1,), stream, self._counts, words, self._total)
        self._total.copy_to(self._pinned_total.array, stream)
        with_labels = _NO_LABELS
        if config.semantics:
            with_labels = _LABELS if has_labels else _UNKNOWN_LABELS
        launch(
            'pack_points', (points,), stream,
            self._grid, self._rays, self._origins, self._depth, self._confidence, self._pictures, self._labels,
            with_labels, self._label_rows, self._label_columns, *self._labels.shape[1:], self._words, self._counts,
            self._packed, points,
        )  # fmt: skip
        stream.synchronize()
        count = int(self._pinned_total.array[0])
        size = count * POINT_STEP
        sent = self._pinned.array[:size]
        self._packed.copy_head_to(sent, stream)
        stream.synchronize()
        data = self._bytes.take(size)
        np.copyto(np.frombuffer(data, np.uint8), sent)
        return PackedCloud(data, count, POINT_STEP, (*POINT_FIELDS, LABEL_FIELD) if config.semantics else POINT_FIELDS)

    def _prepare(self, rig: Rig, config: CloudConfig, stream: Stream) -> None:
        key = (rig.fingerprint(), config.stride)
        if key != self._key:
            self._fit_grid(rig, config.stride, stream)
            self._key = key
        if config != self._config:
            # Bounds are compared as floats, as OpenCV does.
            voxels_per_m = 1 / config.voxel_size if config.voxel_size > 0 else 0.0
            limits = [config.min_range, config.max_range, config.min_height, config.max_height, config.min_confidence]
            self._limits.put(np.array([*limits, voxels_per_m]), stream)
            self._config = config

    def _fit_grid(self, rig: Rig, stride: int, stream: Stream) -> None:
        for array in self._owned:
            array.free()
        self._table = None
        rays = ray_planes(rig, stride)
        cameras, _, rows, columns = rays.shape
        height, width = self._depth.shape[1:]
        self._points = cameras * rows * columns
        words = -(-self._points // 32)
        device = self._context.device_array
        self._rays, self._origins = device(rays.shape, np.float32), device((cameras, 3), np.float32)
        self._words, self._counts = device((words,), np.uint32), device((words,), np.uint32)
        self._packed = device((self._points * POINT_STEP,), np.uint8)
        self._pinned = self._context.pinned_array((self._points * POINT_STEP,), np.uint8)
        self._label_rows, self._label_columns = device((rows,), np.int32), device((columns,), np.int32)
        self._owned = [
            self._rays, self._origins, self._words, self._counts, self._packed, self._pinned, self._label_rows,
            self._label_columns,
        ]  # fmt: skip
        label_height, label_width = self._labels.shape[1:]
        for array, values in (
            (self._grid, np.array([cameras, rows, columns, stride, height, width])),
            (self._rays, rays),
            (self._origins, rig.base_T_cam_n44[:, :3, 3]),
            (self._label_rows, nearest(height, label_height)[::stride]),
            (self._label_columns, nearest(width, label_width)[::stride]),
        ):
            array.put(values, stream)

    def _voxel_table(self) -> tuple[DeviceArray, DeviceArray]:
        """Keys and first points of a hash table that is never more than half full."""
        if self._table is None:
            slots = 1 << (2 * self._points - 1).bit_length()
            self._table = (
                self._context.device_array((slots,), np.uint64),
                self._context.device_array((slots,), np.uint32),
            )
            self._owned += self._table
        return self._table
