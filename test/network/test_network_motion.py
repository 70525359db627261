# SPDX-License-Identifier: Apache-2.0
"""Matching, joint ego-motion and triangulation on worlds whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from network_fixtures import rig_input, seeded_network
from torch import Tensor

from semi_smd_ros.network.config import FEATURE_STRIDE
from semi_smd_ros.network.ego_motion import compose, rigid_transform, solve_motion, transform, unit
from semi_smd_ros.network.geometry import RayGrid
from semi_smd_ros.network.matching import TemporalMatching, cell_positions, unit_length
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.network.triangulation import triangulate

LIMITS = (0.3, 250.0)


def world(network: SemiSmdNetwork, seed: int) -> tuple[RayGrid, Tensor, Tensor, Tensor, Tensor]:
    """A rig that drove through random points: (rays, depth, points, true motion, true unit rays at t-1)."""
    generator = torch.Generator().manual_seed(seed)
    rays = network.rays(rig_input(network, 6), 4)
    ray, origin = rays.ray_base_bn3hw.flatten(3), rays.base_T_cam_bn44[..., :3, 3]
    depth = 3 + 40 * torch.rand(ray.shape[:2] + ray.shape[3:], generator=generator) ** 2
    point = origin[..., None] + depth[:, :, None] * ray
    translation = torch.tensor([[1.5, 0.05, 0.02]]) + 0.2 * torch.randn(1, 3, generator=generator)
    motion = rigid_transform(translation, 0.03 * torch.randn(1, 3, generator=generator))
    return rays, depth, point, motion, unit(transform(motion[:, None], point) - origin[..., None])[0]


@pytest.mark.parametrize('seed', range(4))
def test_motion_within_a_millimetre_despite_outliers(network: SemiSmdNetwork, seed: int) -> None:
    rays, _, point, motion, seen = world(network, seed)
    generator = torch.Generator().manual_seed(99 + seed)
    is_wrong = torch.rand(seen.shape[:2] + seen.shape[3:], generator=generator) < 0.2
    wrong = unit(seen + 0.3 * torch.randn(seen.shape, generator=generator))[0]
    seen = torch.where(is_wrong[:, :, None], wrong, seen)
    weight = torch.ones(seen.shape[:2] + seen.shape[3:])
    found = solve_motion(point, seen, rays.base_T_cam_bn44[..., :3, 3], weight)
    assert (found - motion)[0, :3, 3].norm() < 1e-3
    assert (found - motion)[0, :3, :3].abs().max() < 1e-4


def test_motion_scales_with_every_length(network: SemiSmdNetwork) -> None:
    rays, _, point, motion, seen = world(network, 0)
    origin, weight = rays.base_T_cam_bn44[..., :3, 3], torch.ones(seen.shape[:2] + seen.shape[3:])
    small, large = solve_motion(point, seen, origin, weight), solve_motion(2 * point, seen, 2 * origin, weight)
    assert torch.allclose(large[:, :3, 3], 2 * small[:, :3, 3], rtol=1e-2, atol=1e-3)
    assert torch.allclose(large[:, :3, :3], small[:, :3, :3], atol=1e-4)
    assert torch.allclose(small, motion, atol=1e-3)


def test_a_camera_without_weight_does_not_spoil_the_motion(network: SemiSmdNetwork) -> None:
    rays, _, point, motion, seen = world(network, 1)
    spoiled = seen.clone()
    spoiled[:, 2] = seen[:, 2].flip(-1)
    weight = torch.ones(seen.shape[:2] + seen.shape[3:])
    weight[:, 2] = 0
    found = solve_motion(point, spoiled, rays.base_T_cam_bn44[..., :3, 3], weight)
    assert torch.allclose(found, motion, atol=1e-3)


def test_no_weight_is_exactly_no_motion(network: SemiSmdNetwork) -> None:
    rays, _, point, _, seen = world(network, 2)
    weight = torch.zeros(seen.shape[:2] + seen.shape[3:])
    assert torch.equal(solve_motion(point, seen, rays.base_T_cam_bn44[..., :3, 3], weight), torch.eye(4)[None])


def test_composing_is_the_matrix_product() -> None:
    a = rigid_transform(torch.tensor([[1.0, 2, 3]]), torch.tensor([[0.1, -0.2, 0.3]]))
    b = rigid_transform(torch.tensor([[-1.0, 0, 1]]), torch.tensor([[0.3, 0.1, 0.2]]))
    assert torch.allclose(compose(a, b), a @ b, atol=1e-6)
    assert torch.allclose(a[:, :3, :3] @ a[:, :3, :3].transpose(1, 2), torch.eye(3), atol=1e-6)


def test_triangulation_gives_the_depth_where_there_is_parallax(network: SemiSmdNetwork) -> None:
    rays, depth, _, motion, seen = world(network, 3)
    log_depth, confidence = triangulate(rays, seen, motion[:, None], LIMITS)
    sure = confidence > 0.5
    assert sure.float().mean() > 0.3
    assert torch.allclose(log_depth.exp()[sure], depth[sure], rtol=2e-2)
    assert depth[sure].median() < depth[confidence < 0.05].median()  # far points show less parallax

    enlarged = rigid_transform(2 * motion[:, :3, 3], torch.zeros(1, 3))
    enlarged = torch.cat((torch.cat((motion[:, :3, :3], enlarged[:, :3, 3:]), dim=2), enlarged[:, 3:]), dim=1)
    pose = rays.base_T_cam_bn44.clone()
    pose[..., :3, 3] *= 2  # every length twice as large: so is every depth
    twice, also_sure = triangulate(replace(rays, base_T_cam_bn44=pose), seen, enlarged[:, None], (0.6, 500.0))
    assert torch.allclose(twice[sure] - math.log(2), log_depth[sure], atol=1e-2)
    assert torch.allclose(confidence, also_sure, atol=1e-3)


def test_triangulation_is_not_sure_without_motion(network: SemiSmdNetwork) -> None:
    rays = network.rays(rig_input(network, 2), 16)
    seen = unit(rays.ray_base_bn3hw.flatten(3))[0]
    log_depth, confidence = triangulate(rays, seen, torch.eye(4)[None, None], LIMITS)
    assert log_depth.isfinite().all()
    assert confidence.max() < 1e-3


def test_matching_finds_a_shift() -> None:
    """What a cell shows now was one cell of stride 16 further left."""
    network = seeded_network()
    matching: TemporalMatching = network.matching
    with torch.no_grad():
        matching.log_scale.fill_(math.log(50.0))
    height, width = 4, 6
    generator = torch.Generator().manual_seed(0)
    coarse = unit_length(torch.randn(1, matching.width, height, width, generator=generator))
    past = coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    query = coarse.roll(1, dims=-1).flatten(2).transpose(1, 2)[None]
    packed = torch.nn.functional.pixel_unshuffle(past, 2)[None]
    intrinsics = torch.tensor([[50.0, 0, 40], [0, 50.0, 30], [0, 0, 1]])[None, None]
    with torch.no_grad():
        match = matching(query, packed, intrinsics)
    u = match.x_bnq * 50 + 40
    expected = (torch.arange(width) * FEATURE_STRIDE + 7.5 - FEATURE_STRIDE).repeat(height)
    inside = (torch.arange(width) > 0).repeat(height)
    assert torch.allclose(u[0, 0][inside], expected[inside], atol=1)
    assert match.logit_bnqk.shape == (1, 1, height * width, 4 * height * width)
    best = match.logit_bnqk[0, 0].argmax(-1)[inside]
    at = cell_positions(2 * height, 2 * width, 2, past.device)[:, best]
    assert torch.allclose(at[0], (expected[inside] - 7.5) / 16 - (width - 1) / 2, atol=0.3)
    # and it is surer than where everything looks alike
    with torch.no_grad():
        flat = matching(torch.zeros_like(query), torch.zeros_like(packed), intrinsics)
    assert flat.confidence_bnq.max() < 0.5
    assert match.confidence_bnq[0, 0][inside].min() > 2 * flat.confidence_bnq.max()
