# SPDX-License-Identifier: Apache-2.0
"""Warping with true depth and pose reproduces the other view, and knows what the other view cannot see."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from semi_fixtures import SIZE, outputs_of, rendered, teacher_of
from torch import Tensor

from semi_smd_ros.training.photometric import align_intensity
from semi_smd_ros.training.scene import Scene, make_scene
from semi_smd_ros.training.view_synthesis import (
    Pairs,
    Views,
    Warp,
    neighbour_pairs,
    own_pairs,
    project,
    rigid_inverse,
    warp,
)

SEEDS = (4, 5, 9)  # like DDAD, like nuScenes: ones that move


@cache
def true_scene(seed: int, stride: int = 1) -> Scene:
    batch = rendered(seed)
    return make_scene(outputs_of(batch), batch, teacher_of(batch), stride)


def colour_error(one: Tensor, other: Tensor, where: Tensor) -> float:
    return float((one - other).abs().mean(-3)[where].mean())


def disagreement(warped: Warp, where: Tensor) -> Tensor:
    return (warped.log_depth_mnshw - warped.source_log_depth_mnshw).abs()[where]


@pytest.mark.parametrize('seed', SEEDS)
def test_the_previous_and_the_next_picture_are_reproduced(seed: int) -> None:
    scene = true_scene(seed)
    for offset, warped in scene.temporal.items():
        static = scene.static_tbnhw[scene.targets(offset)].flatten(0, 1)[:, :, None]
        counts = warped.visible_mnshw & static
        still = scene.image_tbn3hw[scene.sources(offset)].flatten(0, 1)[:, :, None]
        error = colour_error(warped.image_mns3hw, warped.target_mns3hw, counts)
        assert counts.float().mean() > 0.25
        assert error < 0.036  # grain of the pictures and their resampling; 9 of 255 grey levels
        assert error < 0.6 * colour_error(still, warped.target_mns3hw, counts)
        assert disagreement(warped, counts).median() < 0.001


@pytest.mark.parametrize('seed', SEEDS)
def test_neighbours_are_reproduced_at_the_same_and_at_another_instant(seed: int) -> None:
    scene = true_scene(seed)
    pairs = [(0, scene.spatial), *scene.spatio_temporal.items()]
    for offset, warped in pairs:
        count = scene.targets(offset).stop - scene.targets(offset).start
        static = scene.neighbours.repeated(count).cut(scene.static_tbnhw[scene.targets(offset)].flatten(0, 1))
        counts = warped.visible_mnshw & static
        aligned = align_intensity(warped)
        error = colour_error(aligned, warped.target_mns3hw, counts)
        elsewhere = colour_error(aligned.roll(12, dims=-2), warped.target_mns3hw, counts)
        assert int(counts.sum()) > 5000
        assert error < 0.055
        assert error < 0.7 * elsewhere
        assert disagreement(warped, counts).median() < 0.001


def test_at_a_lower_resolution_it_stays_exact() -> None:
    for stride in (2, 4):
        scene = true_scene(4, stride)
        assert scene.image_tbn3hw.shape[-2:] == (SIZE[0] // stride, SIZE[1] // stride)
        for offset, warped in scene.temporal.items():
            static = scene.static_tbnhw[scene.targets(offset)].flatten(0, 1)[:, :, None]
            counts = warped.visible_mnshw & static
            still = scene.image_tbn3hw[scene.sources(offset)].flatten(0, 1)[:, :, None]
            error = colour_error(warped.image_mns3hw, warped.target_mns3hw, counts)
            assert error < 0.6 * colour_error(still, warped.target_mns3hw, counts)
            assert disagreement(warped, counts).median() < 0.004


def test_pixels_go_where_the_points_go() -> None:
    """Against points carried one by one in float64 from the target's camera to base to the source's camera."""
    generator = np.random.default_rng(0)
    batch = rendered(5)
    scene = true_scene(5)
    views = scene.views(slice(1, 2))
    pairs = neighbour_pairs(batch.intrinsics_bn33, batch.base_T_cam_bn44, SIZE[1])
    motion = batch.prev_T_now_tb44[1][:, None]
    u, v, ratio, _ = project(views, views, pairs, motion, pairs.cut(views.inverse_depth_mnhw))
    intrinsics, poses = batch.intrinsics_bn33[0].double().numpy(), batch.base_T_cam_bn44[0].double().numpy()
    for _ in range(200):
        camera, place = int(generator.integers(6)), int(generator.integers(pairs.source_bns.shape[2]))
        row, column = int(generator.integers(SIZE[0])), int(generator.integers(SIZE[1]))
        depth = 1 / float(views.inverse_depth_mnhw[0, camera, row, column])
        point = np.append(depth * (np.linalg.inv(intrinsics[camera]) @ [column, row, 1]), 1)
        source = int(pairs.source_bns[0, camera, place])
        seen = (np.linalg.inv(poses[source]) @ motion[0, 0].double().numpy() @ poses[camera] @ point)[:3]
        assert float(ratio[0, camera, place, row, column]) * depth == pytest.approx(seen[2], rel=1e-3, abs=1e-3)
        if seen[2] > 0.5:
            expected = (intrinsics[source] @ seen)[:2] / seen[2]
            got = float(u[0, camera, place, row, column]), float(v[0, camera, place, row, column])
            assert got == pytest.approx(tuple(expected), rel=1e-3, abs=0.02)


def test_the_inverse_of_a_motion() -> None:
    motion = rendered(4).prev_T_now_tb44[1]
    assert torch.allclose(rigid_inverse(motion) @ motion, torch.eye(4), atol=1e-6)


def two_views(shift: float = 1.0) -> tuple[Views, Views, Tensor]:
    """A wall at 20 m and, before it, a square at 5 m, seen from two places `shift` metres apart to the right.

    The third is where the first view's points are hidden from the second, by the rays of both.
    """
    height, width, focal, near, far = 64, 96, 60.0, 5.0, 20.0
    u, v = torch.meshgrid(torch.arange(width) - 47.5, torch.arange(height) - 31.5, indexing='xy')

    def depth_from(x: float) -> Tensor:
        on_square = ((near * u / focal + x).abs() < 1.5) & ((near * v / focal).abs() < 1.5)
        return torch.where(on_square, near, far)

    intrinsics = torch.tensor([[focal, 0, 47.5], [0, focal, 31.5], [0, 0, 1.0]]).expand(1, 1, 3, 3)
    views = [
        Views(
            image_mn3hw=torch.zeros(1, 1, 3, height, width),
            inverse_depth_mnhw=1 / depth_from(x)[None, None],
            usable_mnhw=torch.ones(1, 1, height, width, dtype=torch.bool),
            intrinsics_mn33=intrinsics,
            base_T_cam_mn44=torch.eye(4).expand(1, 1, 4, 4),
        )
        for x in (0.0, shift)
    ]
    depth = depth_from(0.0)
    x, y = depth * u / focal - shift, depth * v / focal
    at_square = ((x / depth * near + shift).abs() < 1.5) & ((y / depth * near).abs() < 1.5)
    return views[0], views[1], (depth == far) & at_square


def moved(shift: float) -> Tensor:
    motion = torch.eye(4).repeat(1, 1, 1, 1)
    motion[..., 0, 3] = -shift
    return motion


def test_what_the_other_view_hides_is_known() -> None:
    target, source, hidden = two_views()
    warped = warp(target, source, own_pairs(1, 1, 96, torch.device('cpu')), moved(1.0))
    visible = warped.visible_mnshw[0, 0, 0]
    u = torch.arange(96) - 60.0 / (1 / target.inverse_depth_mnhw[0, 0])
    inside = (u >= 0) & (u <= 95)
    says_hidden = inside & ~visible
    assert int(hidden.sum()) > 100
    overlap = (says_hidden & hidden).sum() / (says_hidden | (hidden & inside)).sum()
    assert overlap > 0.85  # a column at the square's edge may go either way


def test_ego_vehicle_sky_and_missing_cameras_are_seen_by_nobody() -> None:
    target, source, _ = two_views(0.0)
    pairs = own_pairs(1, 1, 96, torch.device('cpu'))
    whole = warp(target, source, pairs, moved(0.0)).visible_mnshw
    assert bool(whole.all())
    usable = torch.ones_like(source.usable_mnhw)
    usable[..., 40:, :] = False
    for one, other in ((replace(target, usable_mnhw=usable), source), (target, replace(source, usable_mnhw=usable))):
        visible = warp(one, other, pairs, moved(0.0)).visible_mnshw[0, 0, 0]
        assert bool(visible[:40].all())
        assert not visible[40:].any()
    nobody = Pairs(pairs.source_bns, torch.zeros_like(pairs.exists_bns), pairs.start_bns, pairs.width)
    assert not warp(target, source, nobody, moved(0.0)).visible_mnshw.any()


def test_nothing_behind_the_camera_is_visible() -> None:
    target, source, _ = two_views(0.0)
    forward = torch.eye(4).repeat(1, 1, 1, 1)
    forward[..., 2, 3] = -10.0  # past the square, not past the wall
    visible = warp(target, source, own_pairs(1, 1, 96, torch.device('cpu')), forward).visible_mnshw[0, 0, 0]
    near = target.inverse_depth_mnhw[0, 0] > 0.1
    assert not visible[near].any()


@pytest.mark.parametrize('seed', SEEDS)
def test_columns_cut_away_hold_nothing_that_neighbours_see(seed: int) -> None:
    scene = true_scene(seed)
    every = neighbour_pairs(scene.intrinsics_bn33, scene.base_T_cam_bn44, SIZE[1])
    assert scene.neighbours.width < SIZE[1]
    views = scene.views(slice(0, 3))
    whole = warp(views, views, every.repeated(3), scene.motion(0)).visible_mnshw
    assert int(whole.sum()) == int(scene.spatial.visible_mnshw.sum())


def test_rigs_without_overlap_and_single_cameras_work() -> None:
    batch = rendered(4)
    alone = replace(
        batch,
        **{name: getattr(batch, name)[:, :1] for name in ('intrinsics_bn33', 'base_T_cam_bn44')},
        **{
            name: getattr(batch, name)[:, :, :1]
            for name in ('images_tbn3hw', 'camera_valid_tbn', 'depth_tbnhw', 'semantics_tbnhw')
        },
    )
    scene = make_scene(outputs_of(alone), alone, teacher_of(alone), 1)
    assert not scene.spatial.visible_mnshw.any()
    assert scene.temporal[-1].visible_mnshw.any()


def test_gradients_reach_both_depths_and_the_motion() -> None:
    target, source, _ = two_views()
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(source.image_mn3hw.shape, generator=generator)
    inputs = [target.inverse_depth_mnhw.clone(), source.inverse_depth_mnhw.clone(), moved(1.0)]
    for value in inputs:
        value.requires_grad_()
    target = replace(target, inverse_depth_mnhw=inputs[0])
    source = replace(source, inverse_depth_mnhw=inputs[1], image_mn3hw=image)
    warped = warp(target, source, own_pairs(1, 1, 96, torch.device('cpu')), inputs[2])
    total = warped.image_mns3hw.sum() + (warped.log_depth_mnshw - warped.source_log_depth_mnshw).abs().sum()
    for gradient in torch.autograd.grad(total, inputs):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
