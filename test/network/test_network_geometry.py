# SPDX-License-Identifier: Apache-2.0
"""Geometry channels against direct computation."""

from __future__ import annotations

import math

import pytest
import torch
from network_fixtures import TINY, rig_input

from semi_smd_ros.network import geometry
from semi_smd_ros.network.export import example_inputs
from semi_smd_ros.network.model import SemiSmdNetwork


def level_camera(yaw: float = 0.0, height: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    """(intrinsics, base_T_cam) of one level camera, batch axes in front; 100 pixels of focal length."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    base_T_cam = torch.tensor(
        [[sin, 0, cos, 0.0], [-cos, 0, sin, 0.0], [0, -1, 0, height], [0, 0, 0, 1]], dtype=torch.float32
    )
    intrinsics = torch.tensor([[100.0, 0, 47.5], [0, 100.0, 31.5], [0, 0, 1]])
    return intrinsics[None, None], base_T_cam[None, None]


def test_ground_depth_of_a_level_camera_is_height_times_focal_over_rows_below_horizon() -> None:
    rays = geometry.ray_grid(*level_camera(), 64, 96, 1, far=20.0)
    rows = torch.arange(64) - 31.5
    expected = torch.where(rows > 0, (150 / rows.clamp(min=1e-3)).clamp(max=20), torch.tensor(20.0))
    assert torch.allclose(rays.ground_depth_bnhw[0, 0], expected[:, None].expand(64, 96), rtol=1e-5)
    nearness = (geometry.SEEN_SLOPE * (20 / expected - 1)).clamp(0, 1)
    assert rays.sees_ground_bnhw[0, 0, :, 0].tolist() == pytest.approx(nearness.tolist(), abs=1e-5)


def test_ground_depth_lands_on_the_ground_for_a_tilted_turned_camera() -> None:
    intrinsics, base_T_cam = level_camera(yaw=2.0)
    tilt = 0.3
    down = torch.tensor([[1, 0, 0], [0, math.cos(tilt), math.sin(tilt)], [0, -math.sin(tilt), math.cos(tilt)]])
    base_T_cam[0, 0, :3, :3] = base_T_cam[0, 0, :3, :3] @ down
    depth = geometry.ray_grid(intrinsics, base_T_cam, 64, 96, 1, far=60.0).ground_depth_bnhw[0, 0, 50, 80]
    point_cam = torch.tensor([(80 - 47.5) / 100, (50 - 31.5) / 100, 1]) * depth
    point_base = base_T_cam[0, 0, :3, :3] @ point_cam + base_T_cam[0, 0, :3, 3]
    assert depth < 60
    assert point_base[2].item() == pytest.approx(0, abs=1e-5)


def test_cues_do_not_change_when_the_rig_turns_about_the_vertical() -> None:
    (intrinsics, one), (_, other) = level_camera(yaw=0.2), level_camera(yaw=2.9)
    turn = other @ torch.linalg.inv(one)
    one[..., 0, 3] = 1.2
    other = turn @ one
    channels = []
    for pose in (one, other):
        rays = geometry.ray_grid(intrinsics, pose, 64, 96, 1, far=60.0)
        channels.append((geometry.pixel_channels(rays, intrinsics, pose), geometry.token_channels(rays, pose)))
    assert channels[0][0].shape[2] == geometry.PIXEL_CHANNELS
    assert channels[0][1].shape[2] == geometry.TOKEN_CHANNELS
    for first, second in zip(*channels):
        assert torch.allclose(first, second, atol=1e-5)


def test_coarse_rays_are_those_of_the_cell_centres() -> None:
    fine = geometry.ray_grid(*level_camera(), 64, 96, 1, far=60.0).direction_bn3hw
    coarse = geometry.ray_grid(*level_camera(), 64, 96, 32, far=60.0).direction_bn3hw
    middle = fine[0, 0, :, 15:17, 15:17].mean((1, 2))
    assert torch.allclose(coarse[0, 0, :, 0, 0], middle, atol=1e-4)


def test_depth_of_a_sloping_ground_lands_on_it_and_scales_with_the_rig() -> None:
    intrinsics, base_T_cam = level_camera(yaw=0.7)
    base_T_cam[..., 0, 3] = 2.0
    a, b, c = 0.03, -0.02, 0.15
    rays = geometry.ray_grid(intrinsics, base_T_cam, 64, 96, 1, far=60.0)
    depth = rays.ground_depth(torch.tensor([[a, b, c]]))
    x, y, z = (base_T_cam[..., :3, 3, None, None] + depth[:, :, None] * rays.ray_base_bn3hw).unbind(2)
    near = rays.sees_ground(torch.tensor([[a, b, c]])) > 0
    assert 0.3 < near.float().mean() < 0.7
    assert torch.allclose(z[near], (a * x + b * y + c)[near], atol=1e-4)
    assert (depth[~near] == 60).all()
    assert torch.allclose(rays.log_ground_depth(torch.tensor([[a, b, c]])).exp(), depth, rtol=1e-5)

    base_T_cam[..., :3, 3] *= 3  # every length three times as large: so is every depth
    large = geometry.ray_grid(intrinsics, base_T_cam, 64, 96, 1, far=180.0)
    assert torch.allclose(large.ground_depth(torch.tensor([[a, b, 3 * c]])), 3 * depth, rtol=1e-4)


def test_a_camera_that_looks_straight_down_has_a_heading_and_sees_itself() -> None:
    intrinsics, base_T_cam = level_camera()
    down = base_T_cam.clone()
    down[..., :3, :3] = torch.tensor([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])  # the picture's upper edge is ahead
    assert torch.allclose(geometry.heading_bn2(down), torch.tensor([1.0, 0.0]), atol=1e-6)
    assert geometry.neighbour_mask(intrinsics, down, 96, 0.1).all()
    rays = geometry.ray_grid(intrinsics, down, 64, 96, 1, far=60.0)
    assert torch.allclose(rays.direction_bn3hw.square().sum(2), torch.tensor(1.0), atol=1e-5)
    assert torch.allclose(rays.ground_depth(), down[0, 0, 2, 3], atol=1e-4)


def test_heading_frame_and_back() -> None:
    heading = geometry.heading_bn2(level_camera(yaw=1.1)[1])
    x, y = torch.rand(1, 1, 5), torch.rand(1, 1, 5)
    back = geometry.from_heading_frame(geometry.to_heading_frame((x, y), heading), heading)
    assert torch.allclose(back[0], x, atol=1e-6)
    assert torch.allclose(back[1], y, atol=1e-6)


def test_ring_of_six_has_its_two_adjoining_cameras_as_neighbours(network) -> None:
    _, intrinsics, base_T_cam, *_ = example_inputs(network, 6)
    mask = geometry.neighbour_mask(intrinsics[None], base_T_cam[None], 96, math.radians(10))[0]
    ring = torch.arange(6)
    distance = (ring[:, None] - ring[None]).abs()
    assert torch.equal(mask, torch.minimum(distance, 6 - distance) <= 1)


def test_a_direction_without_length_has_angles_and_gradients() -> None:
    direction = torch.tensor([[[[0.0, 0.0, 0.0], [0.6, 0.0, 0.8], [0.0, 0.0, 1.0]]]], requires_grad=True)
    azimuth, elevation = geometry.ray_angles(direction, level_camera()[1])
    assert torch.allclose(azimuth[0, 0, 1].norm(), torch.tensor(1.0))
    assert torch.allclose(elevation[0, 0, 1], torch.tensor([0.6, 0.8]))
    assert elevation[0, 0, 0].tolist() == pytest.approx([1e-6, 0.0])
    (azimuth.sum() + elevation.sum()).backward()
    assert torch.isfinite(direction.grad).all()


def test_a_class_that_is_nowhere_does_not_spoil_the_gradients() -> None:
    """Its share of every cell is exactly 0, and so is the mean of its rays."""
    torch.manual_seed(0)
    network = SemiSmdNetwork(TINY).train()
    classes = network.coarse.semantics
    with torch.no_grad():
        classes.bias[3] = -200.0
    output = network(rig_input(network, 3))
    (output.log_depth_bnhw.square().mean() + output.semantic_logit_bnkhw.square().mean()).backward()
    spoilt = [name for name, p in network.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    assert spoilt == []
