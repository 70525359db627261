# SPDX-License-Identifier: Apache-2.0
"""Motion stereo: its lines through the picture of t-1, what it finds on them, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_fixtures import rig_input, run, seeded_network
from torch import Tensor

from semi_smd_ros.datasets.synthetic import ddad_like_rig, render_sequence
from semi_smd_ros.network.ego_motion import rigid_inverse, rigid_transform, transform
from semi_smd_ros.network.geometry import RayGrid, ray_grid
from semi_smd_ros.network.model import NetworkInput, SemiSmdNetwork
from semi_smd_ros.network.plane_sweep import FINE, STEPS, PlaneSweep, Sweep, packed, seen_before, sweep_loss, unpacked
from semi_smd_ros.training.samples import make_sample

HEIGHT, WIDTH = 64, 96
MOTION = rigid_transform(torch.tensor([[1.2, 0.05, 0.02]]), torch.tensor([[0.002, -0.004, 0.02]]))


def at_camera(rays: RayGrid, depth_bnhw: Tensor, motion_b44: Tensor, intrinsics_bn33: Tensor) -> Tensor:
    """Pixels (B,N,2,Q) and Z depth at t-1 by 4x4 matrices in double precision: (B,N,3,Q)."""
    pose = rays.base_T_cam_bn44.double()
    point = pose[..., :3, 3:] + depth_bnhw.flatten(2)[:, :, None] * rays.ray_base_bn3hw.flatten(3).double()
    own = transform(rigid_inverse(pose), transform(motion_b44[:, None].double(), point))
    pixel = (intrinsics_bn33.double()[..., None] * own[:, :, None]).sum(3)
    return torch.cat((pixel[:, :, :2] / pixel[:, :, 2:], own[:, :, 2:]), dim=2)


def test_every_depth_is_looked_for_where_it_was_seen(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    rays = network.rays(inputs, FINE)
    depth = 3 + 20 * torch.rand(rays.log_ground_depth().shape, generator=torch.Generator().manual_seed(0))
    grid, shift = seen_before(rays, depth.log(), inputs.intrinsics_bn33, MOTION[:, None])
    for step in (0, 5, len(STEPS) - 1):
        tried = depth.double() * torch.tensor(STEPS[step]).double().exp()
        u, v, z = at_camera(rays, tried, MOTION, inputs.intrinsics_bn33).unbind(2)
        ahead = z > 1
        # pixel centres lie at integers, so the picture reaches from -1/2 to width - 1/2
        found = grid[:, step].reshape(*u.shape, 2)
        inside = ahead & (found.abs().amax(-1) < 1)
        assert inside.float().mean() > 0.3
        assert ((found[..., 0] + 1) * WIDTH / 2 - 0.5 - u)[inside].abs().max() < 1e-2
        assert ((found[..., 1] + 1) * HEIGHT / 2 - 0.5 - v)[inside].abs().max() < 1e-2
        assert (found.abs().amax(-1) > 1)[z < 0].all()  # what was behind the camera was not seen
    assert ((shift >= 0) & (shift <= 1)).all()
    still, _ = seen_before(rays, depth.log(), inputs.intrinsics_bn33, torch.eye(4)[None, None])
    assert torch.allclose(still, still[:, :1].expand_as(still), atol=1e-4)


def test_standing_still_shifts_nothing(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 3)
    rays = network.rays(inputs, FINE)
    _, shift = seen_before(rays, rays.log_ground_depth(), inputs.intrinsics_bn33, torch.eye(4)[None, None])
    assert shift.max() < 1e-3


def test_true_depth_and_motion_find_the_same_colours() -> None:
    """On a rendered pair: the picture of t-1, looked up at the true depths, is the picture of t; at others less so."""
    sample = make_sample(rig := ddad_like_rig(96, 160), render_sequence(11, rig, frames=2))
    intrinsics, pose = (
        torch.tensor(a, dtype=torch.float32)[None] for a in (sample.intrinsics_n33, sample.base_T_cam_n44)
    )
    motion = torch.tensor(sample.prev_T_now_t44[1], dtype=torch.float32)[None, None]
    past, now = (torch.tensor(images).permute(0, 3, 1, 2) / 255 for images in sample.images_tnhw3)
    rays = ray_grid(intrinsics, pose, 96, 160, FINE, 60.0)
    depth = torch.tensor(sample.depth_tnhw[1].astype('float32'))[None, :, FINE // 2 :: FINE, FINE // 2 :: FINE]
    near = (depth > 1) & (depth < 10) & (depth * 0 == 0)
    middle = torch.where(near, depth, torch.ones_like(depth)).log()
    differences = []
    for shift in (-0.4, 0.0, 0.4):
        grid, _ = seen_before(rays, middle + shift - STEPS[5], intrinsics, motion)
        place = grid[:, 5].reshape(*depth.shape[1:], 2)
        found = torch.nn.functional.grid_sample(past, place, align_corners=False)
        centre = torch.nn.functional.avg_pool2d(now[..., 1:, 1:], 2, stride=FINE)  # cells' centres lie between pixels
        difference = (found - centre).abs().mean(1)
        differences.append(float(difference[near[0] & (place.abs().amax(-1) < 1)].mean()))
    assert differences[1] < 0.85 * min(differences[0], differences[2])


def test_packing_is_undone() -> None:
    features = torch.rand(2, 8, 16, 24)
    assert packed(features).shape == (2, 8 * 16, 4, 6)
    assert torch.equal(unpacked(packed(features)), features)


def test_it_adds_nothing_before_training_and_without_memory() -> None:
    torch.manual_seed(0)
    fresh = SemiSmdNetwork(seeded_network().config).eval()
    without = SemiSmdNetwork(replace(fresh.config, sweep_width=0)).eval()
    without.load_state_dict({n: v for n, v in fresh.state_dict().items() if not n.startswith('sweep.')})
    inputs = rig_input(fresh, 4)
    shorter = inputs.memory_bnchw[:, :, : without.config.memory_channels]
    assert torch.equal(
        run(fresh, inputs).log_depth_bnhw, run(without, replace(inputs, memory_bnchw=shorter)).log_depth_bnhw
    )
    seeded = seeded_network()
    swept = seeded.sweep
    taught = run(seeded, inputs).log_depth_bnhw
    with torch.no_grad():
        swept.to_decoder.weight.zero_()
    assert not torch.equal(run(seeded, inputs).log_depth_bnhw, taught)
    for name in ('memory_valid_b', 'camera_valid_bn'):
        absent = replace(inputs, **{name: torch.zeros_like(getattr(inputs, name))})
        assert torch.equal(run(seeded_network(), absent).log_depth_bnhw, run(seeded, absent).log_depth_bnhw)


def test_a_memory_of_nan_does_no_harm_where_it_is_not_valid() -> None:
    network = seeded_network()
    inputs = rig_input(network, 3)
    spoilt = inputs.memory_bnchw.clone()
    spoilt[:, 1] = float('nan')
    spoilt[:, 1, 0] = 0
    output = run(network, replace(inputs, memory_bnchw=spoilt))
    assert output.log_depth_bnhw.isfinite().all()
    assert output.sweep is not None
    assert output.sweep.logit_bndhw.isfinite().all()


def test_an_absurd_coarse_depth_stays_finite(network: SemiSmdNetwork) -> None:
    sweep, inputs = network.sweep, rig_input(network, 2)
    features = torch.rand(2, sweep.width, HEIGHT // FINE, WIDTH // FINE)
    known = torch.zeros(2, sweep.first[0].in_channels - len(STEPS) - 2, HEIGHT // 8, WIDTH // 8)
    for usable in (True, False):
        added, found = sweep(
            features, packed(features), torch.full((1, 2), usable), torch.full((1, 2, HEIGHT // 16, WIDTH // 16), 1e4),
            known, network.rays(inputs, FINE), torch.zeros(1, 2, HEIGHT // 8, WIDTH // 8), inputs.intrinsics_bn33,
            MOTION[:, None],
        )  # fmt: skip
        assert added.isfinite().all()
        assert found.logit_bndhw.isfinite().all()
        assert usable or not added.any()


def test_loss_is_least_at_the_true_depth() -> None:
    """A distribution shared by the two steps around the truth has less loss than one a step beside it."""
    middle = torch.full((1, 1, 1, 3), 2.0)
    target = middle + torch.tensor([0.0, 0.25, 9.0])  # between two steps, beside, and beyond all of them
    weight = torch.ones_like(target)

    def loss(shares: list[dict[int, float]]) -> float:
        logit = torch.full((1, 1, len(STEPS), 1, 3), -20.0)
        for cell, share in enumerate(shares):
            for step, value in share.items():
                logit[0, 0, step, 0, cell] = torch.tensor(value).log()
        return float(sweep_loss(Sweep(middle, logit), target, weight))

    last = {len(STEPS) - 1: 1.0}
    best = loss([{5: 0.5, 6: 0.5}, {7: 0.5, 8: 0.5}, last])
    assert best < loss([{6: 0.5, 7: 0.5}, {7: 0.5, 8: 0.5}, last])
    assert best < loss([{5: 0.5, 6: 0.5}, {8: 0.5, 9: 0.5}, last])
    assert best < loss([{5: 0.5, 6: 0.5}, {7: 0.5, 8: 0.5}, {len(STEPS) - 2: 1.0}])
    nothing = sweep_loss(Sweep(middle, torch.zeros(1, 1, len(STEPS), 1, 3)), target, torch.zeros_like(weight))
    assert float(nothing) == 0


@pytest.mark.parametrize('wanted', [-0.5, 0.0, 0.32])
def test_it_learns_to_find_a_depth_by_its_colour(wanted: float) -> None:
    """A few steps on random textured planes: what no picture alone tells, the two together do."""
    torch.manual_seed(0)
    network = seeded_network()
    sweep: PlaneSweep = network.sweep
    inputs = rig_input(network, 2)
    rays = network.rays(inputs, FINE)
    optimizer = torch.optim.Adam(sweep.parameters(), 3e-3)
    coarse = torch.full((1, 2, HEIGHT // 16, WIDTH // 16), 2.0)
    generator = torch.Generator().manual_seed(1)
    errors = []
    for step in range(120):
        shift = wanted if step >= 110 else float(torch.empty(1).uniform_(-0.75, 0.75, generator=generator))
        texture = torch.randn(2, 8, HEIGHT // FINE, WIDTH // FINE, generator=generator)
        past = texture / texture.square().sum(1, keepdim=True).sqrt()
        now, seen = carried_over(past, inputs, rays, coarse + shift)
        known = torch.zeros(2, sweep.first[0].in_channels - len(STEPS) - 2, HEIGHT // 8, WIDTH // 8)
        _, found = sweep(
            now, packed(past), torch.ones(1, 2, dtype=torch.bool), coarse, known, rays,
            torch.zeros(1, 2, HEIGHT // 8, WIDTH // 8), inputs.intrinsics_bn33, MOTION[:, None],
        )  # fmt: skip
        loss = sweep_loss(found, found.middle_bnhw + shift, seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        share = found.logit_bndhw.softmax(2)
        said = (share * torch.tensor(STEPS)[:, None, None]).sum(2)
        errors.append(float(((said - shift).abs() * seen).sum() / seen.sum()))
    assert sum(errors[-10:]) / 10 < 0.12


def carried_over(past: Tensor, inputs: NetworkInput, rays: RayGrid, log_depth: Tensor) -> tuple[Tensor, Tensor]:
    """What the cells at one depth show now that showed `past` at t-1, and where that is known at stride 8."""
    middle = torch.nn.functional.interpolate(log_depth, scale_factor=4.0, mode='nearest') - STEPS[5]
    place = seen_before(rays, middle, inputs.intrinsics_bn33, MOTION[:, None])[0][:, 5]
    place = place.reshape(2, HEIGHT // FINE, WIDTH // FINE, 2)
    now = torch.nn.functional.grid_sample(past, place, align_corners=False)
    known = (place.abs().amax(-1, keepdim=True) < 0.9).float().permute(0, 3, 1, 2)
    whole = (torch.nn.functional.avg_pool2d(known, 2) == 1).float()
    return now, whole.reshape(1, 2, HEIGHT // 8, WIDTH // 8)
