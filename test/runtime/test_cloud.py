# SPDX-License-Identifier: Apache-2.0
"""The packed cloud: every field where it belongs, every filter before the packing, against a plain computation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rigs import ring

from semi_smd_ros.rig import Rig, rays
from semi_smd_ros.runtime import CloudBuilder, CloudConfig, PackedCloud, SurroundDepth, label_images
from semi_smd_ros.runtime.cloud import POINT_FIELDS
from semi_smd_ros.runtime.voxels import first_of_each, voxel_keys

HEIGHT, WIDTH = 96, 160
EVERYTHING = CloudConfig(min_range=0, max_range=1e6, min_height=-1e6, max_height=1e6, stride=1)


def result(rig: Rig | None = None, seed: int = 0) -> SurroundDepth:
    """Random depths with holes and sky, random colours, confidences and labels at a quarter of the size."""
    rig = rig or ring(3)
    rng = np.random.default_rng(seed)
    shape = (len(rig), HEIGHT, WIDTH)
    depth = rng.uniform(0.2, 90, shape).astype(np.float32)
    depth[rng.random(shape) < 0.1] = np.nan
    depth[:, :10] = np.inf
    return SurroundDepth(
        0, (0,) * len(rig), rig, rig, (True,) * len(rig), depth,
        rng.random(shape).astype(np.float32),
        rng.integers(0, 19, (len(rig), HEIGHT // 4, WIDTH // 4)).astype(np.uint8),
        rng.integers(0, 255, (*shape, 3)).astype(np.uint8), None, None,
    )  # fmt: skip


def expected(depth: SurroundDepth, config: CloudConfig) -> dict[str, np.ndarray]:
    """The same cloud, slowly: in float64, point by point."""
    points: dict[str, list[np.ndarray]] = {name: [] for name in ('xyz', 'rgb', 'camera', 'confidence', 'label')}
    labels = label_images(depth)
    for i, camera in enumerate(depth.rectified.cameras):
        directions = rays(camera.model.K, WIDTH, HEIGHT).astype(np.float64)
        xyz = directions * depth.depth_nhw[i][..., None].astype(np.float64)
        xyz = xyz @ camera.base_T_cam[:3, :3].T + camera.base_T_cam[:3, 3]
        z = depth.depth_nhw[i]
        keep = np.isfinite(z) & (z >= config.min_range) & (z <= config.max_range)
        keep &= (xyz[..., 2] >= config.min_height) & (xyz[..., 2] <= config.max_height)
        keep &= depth.confidence_nhw[i] >= config.min_confidence
        on_grid = np.zeros_like(keep)
        on_grid[:: config.stride, :: config.stride] = True
        keep &= on_grid & depth.camera_valid[i]
        rgb = depth.images_nhw3[i].astype(np.uint32)
        points['xyz'].append(xyz[keep])
        points['rgb'].append((rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])[keep])
        points['camera'].append(np.full(keep.sum(), i))
        points['confidence'].append(depth.confidence_nhw[i][keep])
        points['label'].append(labels[i][keep])
    return {name: np.concatenate(parts) for name, parts in points.items()}


def assert_equal(cloud: PackedCloud, wanted: dict[str, np.ndarray]) -> None:
    points = cloud.points()
    assert cloud.n_points == len(points) == len(wanted['xyz'])
    assert len(cloud.data) == cloud.n_points * cloud.point_step
    xyz = np.column_stack([points['x'], points['y'], points['z']])
    np.testing.assert_allclose(xyz, wanted['xyz'], atol=2e-4)
    for name in ('rgb', 'camera', 'confidence'):
        np.testing.assert_array_equal(points[name], wanted[name], err_msg=name)


@pytest.mark.parametrize(
    'config',
    [
        EVERYTHING,
        CloudConfig(),
        dataclasses.replace(EVERYTHING, stride=3),
        dataclasses.replace(EVERYTHING, min_range=5, max_range=30),
        dataclasses.replace(EVERYTHING, min_height=0.1, max_height=2.0, stride=2),
        dataclasses.replace(EVERYTHING, min_confidence=0.7),
    ],
)
def test_every_point_is_where_a_plain_computation_puts_it(config: CloudConfig) -> None:
    build = CloudBuilder()
    for depth in (result(), result(seed=1), result(ring(2))):
        assert_equal(build(depth, config), expected(depth, config))


def test_a_dense_depth_is_packed_whole() -> None:
    depth = result()
    depth = dataclasses.replace(depth, depth_nhw=np.full_like(depth.depth_nhw, 7.5))
    cloud = CloudBuilder()(depth, EVERYTHING)
    assert cloud.n_points == depth.depth_nhw.size
    assert_equal(cloud, expected(depth, EVERYTHING))


def test_the_range_ends_belong_to_it() -> None:
    depth = result(ring(1))
    depth.depth_nhw[...] = np.nan
    depth.depth_nhw[0, 50, :4] = [4.9, 5.0, 30.0, 30.1]
    cloud = CloudBuilder()(depth, dataclasses.replace(EVERYTHING, min_range=5, max_range=30))
    assert cloud.n_points == 2


def test_a_camera_without_an_image_and_an_empty_cloud() -> None:
    depth = dataclasses.replace(result(), camera_valid=(True, False, True))
    assert set(CloudBuilder()(depth, EVERYTHING).points()['camera']) == {0, 2}
    nothing = CloudBuilder()(dataclasses.replace(depth, camera_valid=(False,) * 3), EVERYTHING)
    assert nothing.n_points == 0
    assert len(nothing.data) == 0
    thinned = CloudBuilder()(depth, dataclasses.replace(EVERYTHING, min_range=1e5, voxel_size=0.1))
    assert thinned.n_points == 0


def test_points_carry_their_class_where_asked_for() -> None:
    depth = result()
    build = CloudBuilder()
    for stride in (1, 2):
        config = dataclasses.replace(EVERYTHING, semantics=True, stride=stride)
        cloud = build(depth, config)
        wanted = expected(depth, config)
        assert_equal(cloud, wanted)
        np.testing.assert_array_equal(cloud.points()['label'], wanted['label'])
    # The builder's memory keeps no label for a cloud that has none.
    plain = build(depth, EVERYTHING)
    assert plain.fields == POINT_FIELDS
    assert not np.frombuffer(plain.data, np.uint8).reshape(-1, 24)[:, 17:20].any()
    without = dataclasses.replace(depth, semantics_nhw=np.empty((3, 0, 0), np.uint8))
    assert (build(without, dataclasses.replace(EVERYTHING, semantics=True)).points()['label'] == 255).all()


@pytest.mark.parametrize('size', [0.05, 0.5, 10.0])
def test_one_point_stays_of_every_voxel(size: float) -> None:
    depth = result()
    build = CloudBuilder()
    config = dataclasses.replace(EVERYTHING, max_range=80)
    whole, thin = build(depth, config).points().copy(), build(depth, dataclasses.replace(config, voxel_size=size))
    xyz = np.stack([whole['x'], whole['y'], whole['z']])
    cells = np.floor(xyz * np.float32(1 / size)).astype(int).T
    _, first = np.unique(cells, axis=0, return_index=True)
    np.testing.assert_array_equal(thin.points(), whole[np.sort(first)])


def test_clouds_keep_their_bytes_when_the_next_one_is_made() -> None:
    build = CloudBuilder()
    first = build(result(seed=1), EVERYTHING)
    before = bytes(first.data)
    build(result(seed=2), EVERYTHING)
    assert bytes(first.data) == before


def test_a_recycled_cloud_leaves_no_trace_in_the_next() -> None:
    """More points than before, fewer, as many, none: the bytes are those of a builder that recycles nothing."""
    build = CloudBuilder()
    configs = [EVERYTHING, dataclasses.replace(EVERYTHING, stride=2), EVERYTHING]
    configs += [dataclasses.replace(EVERYTHING, min_range=1e5), dataclasses.replace(EVERYTHING, max_range=20)]
    for seed, config in enumerate([*configs, EVERYTHING]):
        cloud = build(result(seed=seed), config)
        expected = CloudBuilder()(result(seed=seed), config)
        assert (cloud.n_points, bytes(cloud.data)) == (expected.n_points, bytes(expected.data))
        build.recycle(cloud)


def test_a_cloud_that_is_looked_at_is_not_recycled_in_silence() -> None:
    build = CloudBuilder()
    cloud = build(result(), EVERYTHING)
    build.recycle(cloud)
    points = cloud.points()
    with pytest.raises(BufferError):
        build(result(), dataclasses.replace(EVERYTHING, stride=3))
    assert len(points) == cloud.n_points


def test_keys_that_share_a_slot_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 1000, 50_000):
        keys = rng.integers(0, max(1, count // 3), count) * 2**20
        _, first = np.unique(keys, return_index=True)
        np.testing.assert_array_equal(first_of_each(keys), np.sort(first))


def test_voxels_meet_at_zero_without_a_larger_one() -> None:
    xyz = np.array([[-0.1, 0.1, 0.9, 1.1], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    assert len(set(voxel_keys(xyz, 1.0))) == 3


@pytest.mark.parametrize('settings', [{'voxel_size': -1}, {'voxel_size': float('nan')}])
def test_voxel_sizes_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match='voxel_size'):
        CloudConfig(**settings)  # type: ignore[arg-type]
