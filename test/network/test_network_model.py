# SPDX-License-Identifier: Apache-2.0
"""Properties of the network that hold for any weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from network_fixtures import rig_input, seeded_network

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.model import NetworkInput, NetworkOutput, SemiSmdNetwork

DENSE = ('log_depth_bnhw', 'sky_logit_bnhw', 'log_error_bnhw', 'semantic_logit_bnkhw', 'memory_bnchw')


@torch.no_grad()
def run(network: SemiSmdNetwork, inputs: NetworkInput) -> NetworkOutput:
    return network(inputs)


def assert_close(first: NetworkOutput, second: NetworkOutput, tolerance: float) -> None:
    for name in (*DENSE, 'ego_motion_b44'):
        assert torch.allclose(getattr(first, name), getattr(second, name), atol=tolerance), name


def assert_identical(first: NetworkOutput, second: NetworkOutput) -> None:
    for name in (*DENSE, 'ego_motion_b44'):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


@pytest.mark.parametrize('cameras', range(1, 9))
def test_works_for_any_number_of_cameras(network: SemiSmdNetwork, cameras: int) -> None:
    inputs = rig_input(network, cameras)
    output = run(network, inputs)
    depth, confidence, semantics = network.publish(output, inputs.camera_valid_bn)
    assert depth.shape == confidence.shape == (1, cameras, 1, 64, 96)
    assert semantics.shape == (1, cameras, 16, 24)
    assert semantics.dtype == torch.int32
    assert output.memory_bnchw.shape == inputs.memory_bnchw.shape
    assert not depth.isnan().any()
    assert (depth >= network.config.depth_min * 0.999).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_permuting_cameras_permutes_outputs(network: SemiSmdNetwork) -> None:
    inputs, order = rig_input(network, 6), torch.tensor([3, 0, 5, 1, 4, 2])
    moved = replace(
        inputs,
        images_bn3hw=inputs.images_bn3hw[:, order],
        intrinsics_bn33=inputs.intrinsics_bn33[:, order],
        base_T_cam_bn44=inputs.base_T_cam_bn44[:, order],
        memory_bnchw=inputs.memory_bnchw[:, order],
    )
    straight, permuted = run(network, inputs), run(network, moved)
    for name in DENSE:
        assert torch.allclose(getattr(straight, name)[:, order], getattr(permuted, name), atol=1e-4), name
    assert torch.allclose(straight.ego_motion_b44, permuted.ego_motion_b44, atol=1e-5)


def test_turning_the_rig_about_the_vertical_keeps_the_depths(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    turned = run(network, replace(inputs, base_T_cam_bn44=turn @ inputs.base_T_cam_bn44))
    straight = run(network, inputs)
    for name in DENSE:
        assert torch.allclose(getattr(straight, name), getattr(turned, name), atol=1e-3), name


@pytest.mark.parametrize('garbage', [0.0, 7.0, -3e30])
def test_invalid_memory_gives_exactly_the_single_frame_answer(network: SemiSmdNetwork, garbage: float) -> None:
    inputs = replace(rig_input(network, 6), memory_valid_b=torch.zeros(1))
    clean = run(network, replace(inputs, memory_bnchw=torch.zeros_like(inputs.memory_bnchw)))
    dirty = run(network, replace(inputs, memory_bnchw=torch.full_like(inputs.memory_bnchw, garbage)))
    assert_identical(clean, dirty)
    assert torch.equal(clean.ego_motion_b44, torch.eye(4)[None])


def test_valid_memory_matters(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    with_memory, without = run(network, inputs), run(network, replace(inputs, memory_valid_b=torch.zeros(1)))
    assert (with_memory.log_depth_bnhw - without.log_depth_bnhw).abs().max() > 1e-4
    assert (with_memory.ego_motion_b44 - torch.eye(4)).abs().max() > 1e-4


def test_a_missing_camera_cannot_be_seen_by_the_others(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    inputs.camera_valid_bn[0, 2] = 0
    changed = inputs.images_bn3hw.clone()
    changed[0, 2] = 55.0
    memory = inputs.memory_bnchw.clone()
    memory[0, 2, 1:] = -9.0
    first = run(network, inputs)
    assert_identical(first, run(network, replace(inputs, images_bn3hw=changed, memory_bnchw=memory)))
    assert first.memory_bnchw[0, :, 0, 0, 0].tolist() == [1, 1, 0, 1, 1, 1]
    _depth, confidence, _ = network.publish(first, inputs.camera_valid_bn)
    assert (confidence[0, 2] == 0).all()
    assert (confidence[0, 1] > 0).all()


def test_cameras_that_do_not_neighbour_it_ignore_a_missing_camera(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    inputs.intrinsics_bn33[:, :, 0, 0] = 60.0  # half a field of view is 39 degrees: neighbours up to 88 degrees
    missing = replace(inputs, camera_valid_bn=torch.tensor([[0.0, 1, 1, 1, 1, 1]]))
    everyone, without = run(network, inputs).log_depth_bnhw[0], run(network, missing).log_depth_bnhw[0]
    assert torch.allclose(everyone[2:5], without[2:5], atol=1e-5)
    assert not torch.allclose(everyone[1], without[1], atol=1e-5)


def test_a_camera_that_was_missing_has_no_memory(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    inputs.memory_bnchw[0, 4, 0] = 0
    other = inputs.memory_bnchw.clone()
    other[0, 4, 1:] += 5
    assert_identical(run(network, inputs), run(network, replace(inputs, memory_bnchw=other)))


def test_rigs_of_a_batch_do_not_mix(network: SemiSmdNetwork) -> None:
    first, second = rig_input(network, 4, seed=1), rig_input(network, 4, seed=2)
    both = NetworkInput(*(torch.cat(pair) for pair in zip(vars(first).values(), vars(second).values())))
    together = run(network, both)
    for index, inputs in enumerate((first, second)):
        alone = run(network, inputs)
        part = NetworkOutput(*(value[index : index + 1] for value in vars(together).values()))
        assert_close(alone, part, 1e-4)


def test_gradients_reach_every_parameter() -> None:
    network = seeded_network(1).train()
    output = network(rig_input(network, 6))
    loss = sum(getattr(output, name).square().mean() for name in (*DENSE, 'ego_motion_b44'))
    loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'height': 100}, 'multiples of 32'),
        ({'attention_width': 40}, 'multiple of 4 x attention_heads'),
        ({'prior_far': 900.0}, 'depth_min < prior_far < depth_max'),
    ],
)
def test_a_config_that_cannot_work_is_refused(change: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NetworkConfig(**change)  # type: ignore[arg-type]


def test_small_is_within_its_budget() -> None:
    network = SemiSmdNetwork(NetworkConfig())
    assert 1.0e6 < sum(p.numel() for p in network.parameters()) < 3.0e6
