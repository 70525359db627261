# SPDX-License-Identifier: Apache-2.0
"""The synthetic world: geometry exact, poses consistent, bytes repeatable."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from semi_smd_ros.datasets.synthetic import (
    SyntheticFrame,
    SyntheticRig,
    ddad_like_rig,
    nuscenes_like_rig,
    random_rig,
    render_sequence,
)

SEEDS = (13, 11)


@pytest.fixture(scope='module')
def rig() -> SyntheticRig:
    return ddad_like_rig(96, 160)


@pytest.fixture(scope='module')
def sequences(rig: SyntheticRig) -> dict[int, list[SyntheticFrame]]:
    return {seed: render_sequence(seed, rig, frames=2) for seed in SEEDS}


def lift(rig: SyntheticRig, frame: SyntheticFrame, camera: int) -> np.ndarray:
    """World points of every pixel of a camera, (H, W, 3); far away where the depth is not finite."""
    v, u = np.mgrid[: rig.height, : rig.width].astype(np.float64)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    rays = pixels @ np.linalg.inv(rig.intrinsics_n33[camera]).T
    depth = frame.depth_nhw[camera]
    points = rays * np.where(np.isfinite(depth), depth, 1e6)[..., None]
    pose = frame.world_T_base @ rig.base_T_cam_n44[camera]
    return points @ pose[:3, :3].T + pose[:3, 3]


def agreement(
    points: np.ndarray, use: np.ndarray, rig: SyntheticRig, frame: SyntheticFrame, camera: int, tolerance: float = 0.005
) -> tuple[int, float, float]:
    """Project world points into a camera: how many land, the share on its surface, the share floating before it.

    The rest lies behind the surface: hidden from this camera.
    """
    cam_t_world = np.linalg.inv(frame.world_T_base @ rig.base_T_cam_n44[camera])
    p = points[use] @ cam_t_world[:3, :3].T + cam_t_world[:3, 3]
    p = p[p[:, 2] > 0.5]
    uv = p @ rig.intrinsics_n33[camera].T
    u, v = (np.rint(uv[:, k] / uv[:, 2]).astype(int) for k in (0, 1))
    inside = (u >= 1) & (v >= 1) & (u < rig.width - 1) & (v < rig.height - 1)
    u, v, z = u[inside], v[inside], p[inside, 2]
    depth = frame.depth_nhw[camera]
    # Half a pixel aside the surface may lie nearer or farther: take the range of the 3x3 around.
    around = np.stack([depth[v + j, u + i] for j in (-1, 0, 1) for i in (-1, 0, 1)])
    known = ~np.isnan(around).any(0) & ~frame.moving_nhw[camera][v, u]
    low, high = around.min(0) * (1 - tolerance), around.max(0) * (1 + tolerance)
    if not known.any():
        return 0, 1.0, 0.0
    return int(known.sum()), float(((z >= low) & (z <= high))[known].mean()), float((z < low)[known].mean())


@pytest.mark.parametrize('seed', SEEDS)
def test_true_depth_and_pose_reproduce_the_next_frame(
    seed: int, rig: SyntheticRig, sequences: dict[int, list[SyntheticFrame]]
) -> None:
    first, second = sequences[seed]
    moved = np.linalg.norm(second.world_T_base[:3, 3] - first.world_T_base[:3, 3])
    assert moved > 0.2, 'the seed must be one that drives, or the test proves nothing'
    standing = first.world_T_base
    backwards = first.world_T_base @ np.linalg.inv(second.world_T_base) @ first.world_T_base
    shares = np.zeros((3, len(rig.names)))
    for row, pose in enumerate((second.world_T_base, standing, backwards)):
        frame = dataclasses.replace(second, world_T_base=pose)
        for camera in range(len(rig.names)):
            use = np.isfinite(first.depth_nhw[camera]) & ~first.moving_nhw[camera]
            count, shares[row, camera], _ = agreement(lift(rig, first, camera), use, rig, frame, camera)
            assert count > 2000
    assert shares[0].min() > 0.94
    assert shares[0].mean() > 0.98
    # The same check must notice a pose that stands still, and one that goes the wrong way.
    assert shares[1].mean() < 0.95
    assert shares[2].mean() < 0.9


@pytest.mark.parametrize('seed', SEEDS)
def test_road_near_the_vehicle_is_the_given_plane(
    seed: int, rig: SyntheticRig, sequences: dict[int, list[SyntheticFrame]]
) -> None:
    frame = sequences[seed][0]
    normal, offset = frame.ground_plane_base[:3], frame.ground_plane_base[3]
    assert np.linalg.norm(normal) == pytest.approx(1.0)
    assert normal[2] > 0.99
    assert abs(offset) < 0.15
    world_normal = frame.world_T_base[:3, :3] @ normal
    hits = 0
    for camera in range(len(rig.names)):
        points = lift(rig, frame, camera)
        base = (points - frame.world_T_base[:3, 3]) @ frame.world_T_base[:3, :3]
        near = (frame.semantics_nhw[camera] == 0) & (np.abs(base[..., 1]) < 1.0) & (np.abs(base[..., 0]) < 12.0)
        hits += int(near.sum())
        assert np.all(np.abs(base[near] @ normal + offset) < 0.01)
    assert hits > 200
    assert world_normal[2] > 0.99


@pytest.mark.parametrize('seed', SEEDS)
def test_cameras_agree_where_they_overlap(
    seed: int, rig: SyntheticRig, sequences: dict[int, list[SyntheticFrame]]
) -> None:
    frame = sequences[seed][0]
    seen = 0
    for a in range(len(rig.names)):
        points, use = lift(rig, frame, a), np.isfinite(frame.depth_nhw[a])
        for b in range(len(rig.names)):
            if a == b:
                continue
            # Two cameras stand apart, so one may see what is hidden from the other, but nothing may float.
            count, share, floating = agreement(points, use, rig, frame, b)
            if count > 200:
                seen += 1
                assert share > 0.7, (rig.names[a], rig.names[b])
                assert floating < 0.05, (rig.names[a], rig.names[b])
    assert seen >= 6


def test_same_seed_same_bytes_and_other_seed_other_world(
    rig: SyntheticRig, sequences: dict[int, list[SyntheticFrame]]
) -> None:
    again = render_sequence(13, rig, frames=2)
    for one, two in zip(sequences[13], again, strict=True):
        for key, value in one.__dict__.items():
            np.testing.assert_array_equal(value, getattr(two, key), err_msg=key)
    other = sequences[11][0]
    assert np.mean(other.images_nhw3 != sequences[13][0].images_nhw3) > 0.5


def test_permuting_cameras_permutes_outputs(rig: SyntheticRig, sequences: dict[int, list[SyntheticFrame]]) -> None:
    order = [4, 0, 5, 2, 1, 3]
    shuffled = SyntheticRig(
        tuple(rig.names[i] for i in order),
        rig.width,
        rig.height,
        rig.intrinsics_n33[order],
        rig.base_T_cam_n44[order],
    )
    frame, moved = sequences[13][0], render_sequence(13, shuffled, frames=1)[0]
    for key in ('images_nhw3', 'depth_nhw', 'semantics_nhw', 'ego_mask_nhw'):
        np.testing.assert_array_equal(getattr(moved, key), getattr(frame, key)[order], err_msg=key)


def test_labels_fit_together(sequences: dict[int, list[SyntheticFrame]]) -> None:
    for frame in (f for frames in sequences.values() for f in frames):
        depth, semantics, mask = frame.depth_nhw, frame.semantics_nhw, frame.ego_mask_nhw
        assert depth.dtype == np.float32
        assert frame.images_nhw3.dtype == np.uint8
        assert semantics.dtype == np.uint8
        np.testing.assert_array_equal(np.isnan(depth), mask)
        np.testing.assert_array_equal(semantics == 255, mask)
        np.testing.assert_array_equal(np.isposinf(depth), semantics == 10)
        finite = depth[np.isfinite(depth)]
        assert finite.min() >= 0.05
        assert set(np.unique(semantics)) <= {*range(19), 255}
    stamps = [f.stamp_ns for f in sequences[13]]
    assert stamps[1] - stamps[0] == 100_000_000


def test_moving_things_move_and_the_rest_stays(sequences: dict[int, list[SyntheticFrame]]) -> None:
    # Movers carry only classes that can move.
    for frame in (f for frames in sequences.values() for f in frames):
        assert set(np.unique(frame.semantics_nhw[frame.moving_nhw])) <= {*range(11, 19)}


def test_any_size_and_any_number_of_cameras() -> None:
    rig = random_rig(np.random.default_rng(5), 45, 77, cameras=2)
    frame = render_sequence(9, rig, frames=1)[0]
    assert frame.images_nhw3.shape == (2, 45, 77, 3)
    assert frame.depth_nhw.shape == (2, 45, 77)


def test_depth_does_not_depend_on_the_resolution() -> None:
    small, large = nuscenes_like_rig(30, 50), nuscenes_like_rig(90, 150)
    one, two = (render_sequence(4, rig, frames=1)[0] for rig in (small, large))
    # Scaling by three puts every coarse pixel centre on the centre of its 3x3 fine pixels.
    fine = two.depth_nhw[:, 1::3, 1::3]
    both = np.isfinite(one.depth_nhw) & np.isfinite(fine)
    ratio = one.depth_nhw[both] / fine[both]
    assert np.mean(np.abs(ratio - 1.0) < 1e-3) > 0.9


@pytest.mark.parametrize('seed', range(20, 28))
def test_the_ground_has_no_holes_and_nothing_sits_on_the_cameras(seed: int) -> None:
    rig = random_rig(np.random.default_rng(seed), 32, 48, cameras=4)
    frame = render_sequence(seed, rig, frames=1)[0]
    v, u = np.mgrid[: rig.height, : rig.width].astype(np.float64)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    for camera in range(4):
        rotation = (frame.world_T_base @ rig.base_T_cam_n44[camera])[:3, :3]
        rays = pixels @ np.linalg.inv(rig.intrinsics_n33[camera]).T @ rotation.T
        downwards = rays[..., 2] / np.linalg.norm(rays, axis=-1) < -0.06
        assert not np.isposinf(frame.depth_nhw[camera][downwards]).any()
        assert np.mean(frame.depth_nhw[camera] < 0.5) < 0.2
