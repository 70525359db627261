# SPDX-License-Identifier: Apache-2.0
"""The joint ground: votes of a plane give that plane back, from whatever cameras there are."""

from __future__ import annotations

import pytest
import torch
from network_fixtures import rig_input
from torch import Tensor

from semi_smd_ros.network import geometry
from semi_smd_ros.network.geometry import RayGrid
from semi_smd_ros.network.ground import HEIGHT_UNIT, SLOPE_UNIT, VOTES, GroundPlane
from semi_smd_ros.network.linear import solve_positive_definite
from semi_smd_ros.network.model import SemiSmdNetwork

UNIT = torch.tensor((SLOPE_UNIT, SLOPE_UNIT, HEIGHT_UNIT))
PLANE = torch.tensor([[0.03, -0.012, 0.08]])
NO_PAST = (torch.zeros(1, 3), torch.zeros(1))


@pytest.fixture
def rays(network: SemiSmdNetwork) -> RayGrid:
    return network.rays(rig_input(network, 6), 16)


@pytest.fixture
def solver() -> GroundPlane:
    return GroundPlane().requires_grad_(False)


def votes_of(solver: GroundPlane, rays: RayGrid, plane_b3: Tensor) -> Tensor:
    """What cells that know the plane would vote, (B,N,VOTES,Q)."""
    return (solver.rows(rays) * (plane_b3 / UNIT)[:, None, None, :, None]).sum(3)


def test_solves_a_system_as_lapack_does() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(8, 6, 9, generator=generator) * torch.logspace(-3, 2, 6)[:, None]
    matrix, right = root @ root.transpose(1, 2), torch.randn(8, 6, generator=generator)
    expected = torch.linalg.solve(matrix.double(), right.double()).float()
    assert torch.allclose(solve_positive_definite(matrix, right), expected, rtol=2e-3)
    assert (solve_positive_definite(matrix, torch.zeros(8, 6)) == 0).all()


@pytest.mark.parametrize('kinds', [(0, 1, 2), (2,), (0, 1)])
def test_votes_of_one_plane_give_it_back(solver: GroundPlane, rays: RayGrid, kinds: tuple[int, ...]) -> None:
    votes = votes_of(solver, rays, PLANE)
    logits = torch.full_like(votes, -30.0)
    logits[:, :, list(kinds)] = 8.0
    solver.log_gain.fill_(12.0)  # against the prior
    found = solver(votes, logits, rays, torch.ones(1, 6), *NO_PAST)
    expected = PLANE if 2 in kinds else PLANE * torch.tensor((1.0, 1.0, 0.0))  # slopes tell no height
    assert torch.allclose(found, expected, atol=2e-4)


def test_votes_without_weight_leave_the_flat_ground_or_the_last_one(solver: GroundPlane, rays: RayGrid) -> None:
    votes, mute = votes_of(solver, rays, PLANE), torch.full((1, 6, VOTES, rays.ground_depth()[0, 0].numel()), -60.0)
    everyone = torch.ones(1, 6)
    assert torch.allclose(solver(votes, mute, rays, everyone, *NO_PAST), torch.zeros(1, 3), atol=1e-6)
    remembered = solver(votes, mute, rays, everyone, PLANE, torch.ones(1))
    assert torch.allclose(remembered, PLANE / 2, atol=1e-6)  # the two priors weigh the same before training


def test_a_missing_camera_has_no_vote(solver: GroundPlane, rays: RayGrid) -> None:
    votes = votes_of(solver, rays, PLANE)
    logits, valid = torch.zeros_like(votes), torch.tensor([[1.0, 0, 1, 1, 1, 1]])
    wrong = votes.clone()
    wrong[:, 1] += 50
    right = solver(votes, logits, rays, valid, *NO_PAST)
    assert torch.equal(right, solver(wrong, logits, rays, valid, *NO_PAST))
    assert not torch.allclose(right, solver(wrong, logits, rays, torch.ones(1, 6), *NO_PAST), atol=1e-3)


def test_height_is_voted_only_where_the_ray_meets_the_ground(solver: GroundPlane, rays: RayGrid) -> None:
    votes = torch.zeros_like(votes_of(solver, rays, PLANE))
    above = rays.sees_ground().flatten(2) == 0
    assert 0.2 < above.float().mean() < 0.8
    votes[:, :, 2] = torch.where(above, 99.0, votes[:, :, 2])
    found = solver(votes, torch.zeros_like(votes), rays, torch.ones(1, 6), *NO_PAST)
    assert torch.allclose(found, torch.zeros(1, 3), atol=1e-6)


def test_a_lower_ground_is_further_away(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    rays = network.rays(inputs, 1)
    lower = rays.ground_depth(torch.tensor([[0.0, 0.0, -0.3]]))
    sees = rays.sees_ground(torch.tensor([[0.0, 0.0, -0.3]])) > 0
    heights = inputs.base_T_cam_bn44[..., 2, 3]
    ratio = ((heights + 0.3) / heights)[..., None, None].expand_as(lower)
    assert torch.allclose(lower[sees], (ratio * rays.ground_depth())[sees], rtol=1e-4)
    assert heights.min() > geometry.MIN_CAMERA_HEIGHT
