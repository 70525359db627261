# SPDX-License-Identifier: Apache-2.0
"""The cloud of a device: byte for byte that of the processor's path, in the same order, for every filter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from golden_cases import CLOUD_CASES, EVERYTHING, hard_depths, smooth_depths
from rigs import ring

from semi_smd_ros.rig import Rig
from semi_smd_ros.runtime import CloudBuilder, CloudConfig, PackedCloud, SurroundDepth
from semi_smd_ros.runtime.cuda.point_cloud import DeviceCloudBuilder

SIZES = [(3, 48, 80), (2, 37, 53), (1, 5, 7)]


def result(rig: Rig, shape: tuple[int, ...], smooth: bool = False, seed: int = 0) -> SurroundDepth:
    """Finished depths as the postprocessing leaves them, with colours and labels of noise."""
    rng = np.random.default_rng(seed)
    depth, confidence = hard_depths(shape, seed)
    depth = smooth_depths(shape, seed) if smooth else depth
    depth = np.where(depth > 0, depth, np.float32(np.nan))
    n, height, width = shape
    labels = rng.integers(0, 20, (n, -(-height // 4), -(-width // 3)), np.uint8)
    pictures = rng.integers(0, 256, (*shape, 3), np.uint8)
    return SurroundDepth(
        0, (0,) * n, rig, rig, (True,) * n, depth, confidence, labels, pictures, None, None
    )  # fmt: skip


class OnDevice:
    """A DeviceCloudBuilder and the memory that it reads."""

    def __init__(self, device: tuple[Any, Any], depth: SurroundDepth) -> None:
        context, kernels = device
        self._stream = context.stream()
        self._arrays = []
        for array in (depth.images_nhw3, depth.depth_nhw, depth.confidence_nhw, depth.semantics_nhw):
            self._arrays.append(context.device_array(array.shape, array.dtype))
        self.build = DeviceCloudBuilder(context, kernels, *self._arrays)

    def __call__(self, depth: SurroundDepth, config: CloudConfig, has_labels: bool = True) -> PackedCloud:
        arrays = (depth.images_nhw3, depth.depth_nhw, depth.confidence_nhw, depth.semantics_nhw)
        for memory, array in zip(self._arrays, arrays, strict=True):
            memory.copy_from(array, self._stream)
            self._stream.synchronize()
        return self.build(depth.rectified, config, has_labels, self._stream)


def assert_same(got: PackedCloud, wanted: PackedCloud) -> None:
    assert (got.n_points, got.point_step, got.fields) == (wanted.n_points, wanted.point_step, wanted.fields)
    assert bytes(got.data) == bytes(wanted.data)


@pytest.mark.parametrize('config', CLOUD_CASES.values(), ids=CLOUD_CASES)
@pytest.mark.parametrize('smooth', [False, True], ids=['rough', 'smooth'])
def test_bytes_are_those_of_the_processors_path(device: tuple[Any, Any], config: CloudConfig, smooth: bool) -> None:
    for shape in SIZES:
        depth = result(ring(shape[0], shape[2], shape[1]), shape, smooth)
        assert_same(OnDevice(device, depth)(depth, config), CloudBuilder()(depth, config))


def test_the_cases_are_not_empty() -> None:
    depth = result(ring(3, 80, 48), (3, 48, 80), smooth=True)
    counts = {name: CloudBuilder()(depth, config).n_points for name, config in CLOUD_CASES.items()}
    assert counts.pop('nothing') == counts.pop('voxels of nothing') == 0
    assert 8 >= counts.pop('voxels of 1 km') > 0
    assert len(set(counts.values())) == len(counts)
    assert counts['everything'] == max(counts.values())
    assert counts['voxels of 2 m'] < counts['voxels of 5 cm'] / 4


def test_one_builder_serves_changing_sets_settings_and_rigs(device: tuple[Any, Any]) -> None:
    first, second = ring(3, 80, 48), ring(3, 80, 48, 'plumb_bob')
    second = Rig(tuple(replace(cam, base_T_cam=cam.base_T_cam + np.eye(4, k=3) * 0.5) for cam in second.cameras))
    build = OnDevice(device, result(first, (3, 48, 80)))
    for seed, (rig, config) in enumerate(
        [(first, EVERYTHING), (second, EVERYTHING), (second, CLOUD_CASES['voxels of 2 m']),
         (second, CLOUD_CASES['voxels of 2 m']), (first, CLOUD_CASES['range']),
         (first, CLOUD_CASES['voxels of 2 m']), (first, CLOUD_CASES['labels']), (first, CLOUD_CASES['nothing'])]
    ):  # fmt: skip
        depth = result(rig, (3, 48, 80), smooth=seed % 2 == 0, seed=seed)
        cloud = build(depth, config)
        assert_same(cloud, CloudBuilder()(depth, config))
        if seed % 3:
            build.build.recycle(cloud)


def test_labels_that_were_not_made_are_unknown(device: tuple[Any, Any]) -> None:
    depth = result(ring(2, 80, 48), (2, 48, 80))
    config = replace(EVERYTHING, semantics=True)
    without = replace(depth, semantics_nhw=np.empty((2, 0, 0), np.uint8))
    assert_same(OnDevice(device, depth)(depth, config, has_labels=False), CloudBuilder()(without, config))


def test_more_words_than_one_block_has_threads(device: tuple[Any, Any]) -> None:
    """Offsets are summed by 1024 threads: fewer words than those, just as many, more, many more."""
    for height, width in ((32, 1024), (32, 1025), (64, 1040), (150, 1111)):
        depth = result(ring(1, width, height), (1, height, width))
        assert_same(OnDevice(device, depth)(depth, EVERYTHING), CloudBuilder()(depth, EVERYTHING))
