# SPDX-License-Identifier: Apache-2.0
"""The switches of the ablation do what their names say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_fixtures import TINY, rig_input, run, seeded_network

from semi_smd_ros.network.config import ADDED, NetworkConfig
from semi_smd_ros.network.ego_motion import rigid_inverse, rigid_transform, solve_each, transform, unit
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.ablate import DEFAULT_CONFIG
from semi_smd_ros.training.ablation import load_ablation


def test_without_temporal_depth_only_the_motion_knows_the_past() -> None:
    network = seeded_network(0, TINY, temporal_depth=False, attends_to=('neighbours', 'semantics'), sweep_width=0)
    inputs = rig_input(network, 4)
    alone = run(network, replace(inputs, memory_valid_b=torch.zeros(1)))
    both = run(network, inputs)
    for name in ('log_depth_bnhw', 'log_error_bnhw', 'semantic_logit_bnkhw', 'sky_logit_bnhw', 'ground_b3'):
        assert torch.equal(getattr(alone, name), getattr(both, name)), name
    assert torch.equal(alone.ego_motion_b44, torch.eye(4)[None])
    assert not torch.equal(both.ego_motion_b44, torch.eye(4)[None])
    remembering = seeded_network(0, TINY)
    inputs = rig_input(remembering, 4)
    assert not torch.equal(
        run(remembering, inputs).log_depth_bnhw,
        run(remembering, replace(inputs, memory_valid_b=torch.zeros(1))).log_depth_bnhw,
    )


def test_a_camera_on_its_own_gives_the_motion_at_the_scale_of_its_own_depth() -> None:
    """Halving one camera's depths halves its translation, in its own frame, and no other camera's."""
    network = seeded_network(0, TINY)
    generator = torch.Generator().manual_seed(0)
    rays = network.rays(rig_input(network, 6), 4)
    pose = rays.base_T_cam_bn44
    ray, origin = rays.ray_base_bn3hw.flatten(3), pose[..., :3, 3:]
    depth = 3 + 40 * torch.rand(ray.shape[:2] + ray.shape[3:], generator=generator) ** 2
    point = origin + depth[:, :, None] * ray
    motion = rigid_transform(torch.tensor([[1.5, 0.05, 0.02]]), torch.tensor([[0.002, -0.003, 0.03]]))
    seen = unit(transform(motion[:, None], point) - origin)[0]
    weight, usable = torch.ones_like(depth), torch.ones(1, 6, dtype=torch.bool)
    solved = solve_each(point, seen, pose, weight, usable)
    assert solved.camera_bn44 is not None
    assert torch.allclose(solved.camera_bn44, motion[:, None].expand(-1, 6, -1, -1), atol=2e-3)
    assert torch.allclose(solved.ego_b44, motion, atol=2e-3)

    depth[:, 2] /= 2
    other = solve_each(origin + depth[:, :, None] * ray, seen, pose, weight, usable).camera_bn44
    assert other is not None
    in_camera = [rigid_inverse(pose)[:, 2] @ m[:, 2] @ pose[:, 2] for m in (solved.camera_bn44, other)]
    assert torch.allclose(in_camera[1][:, :3, 3], in_camera[0][:, :3, 3] / 2, atol=5e-3)
    assert torch.allclose(in_camera[1][:, :3, :3], in_camera[0][:, :3, :3], atol=1e-3)
    assert torch.equal(other[:, :2], solved.camera_bn44[:, :2])

    usable[0, 3] = False
    still = solve_each(point, seen, pose, weight * usable[..., None], usable)
    assert still.camera_bn44 is not None
    assert torch.allclose(still.camera_bn44[:, 3], torch.eye(4), atol=1e-6)
    assert torch.allclose(still.ego_b44, motion, atol=2e-3)


def test_a_network_with_per_camera_pose_runs_and_says_each_cameras_motion() -> None:
    network = seeded_network(0, TINY, pose='per_camera')
    output = run(network, rig_input(network, 4))
    assert output.camera_motion_bn44 is not None
    assert output.camera_motion_bn44.shape == (1, 4, 4, 4)
    assert run(seeded_network(0, TINY), rig_input(network, 4)).camera_motion_bn44 is None


def test_the_monocular_baseline_of_the_ablation_has_no_part_in_which_a_camera_knows_of_another() -> None:
    monocular = load_ablation(DEFAULT_CONFIG).variants[-1]
    assert monocular.name == 'monocular'
    network = seeded_network(
        0,
        replace(TINY, sweep_width=0),
        **{key: tuple(v) if isinstance(v, list) else v for key, v in monocular.network.items()},
    )
    inputs = rig_input(network, 4)
    images = inputs.images_bn3hw.clone()
    images[:, 1:] = 1 - images[:, 1:]
    one, other = run(network, inputs), run(network, replace(inputs, images_bn3hw=images))
    assert one.camera_motion_bn44 is not None
    assert other.camera_motion_bn44 is not None
    assert torch.equal(one.ground_b3, torch.zeros(1, 3))
    assert torch.equal(one.log_depth_bnhw[:, 0], other.log_depth_bnhw[:, 0])
    assert torch.equal(one.camera_motion_bn44[:, 0], other.camera_motion_bn44[:, 0])
    assert not torch.equal(one.log_depth_bnhw[:, 1], other.log_depth_bnhw[:, 1])


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        ({'pose': 'joined'}, "pose 'joined': expected one of joint, per_camera"),
        ({'temporal_depth': False}, 'temporal_depth is off but attends_to is .*leave memory out'),
    ],
)
def test_what_cannot_be_combined_is_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        replace(NetworkConfig(), **change)  # type: ignore[arg-type]


def test_a_checkpoint_from_before_the_switches_still_loads() -> None:
    values = {name: value for name, value in TINY.to_dict().items() if name not in ADDED}
    assert SemiSmdNetwork(NetworkConfig.from_dict(values)).config == replace(TINY, sweep_width=0, edge_width=0)
