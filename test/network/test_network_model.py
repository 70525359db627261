# SPDX-License-Identifier: Apache-2.0
"""Properties of the network that hold for any weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from network_fixtures import PER_CAMERA, TINY, rig_input, run, seeded_network

from semi_smd_ros.network.config import MEMORY_HEADER, NetworkConfig
from semi_smd_ros.network.model import NetworkInput, NetworkOutput, SemiSmdNetwork

DENSE = tuple(name for name in PER_CAMERA if name != 'past_usable_bn')
JOINT = ('ego_motion_b44', 'ground_b3')


def assert_close(first: NetworkOutput, second: NetworkOutput, tolerance: float) -> None:
    for name in (*DENSE, *JOINT):
        assert torch.allclose(getattr(first, name), getattr(second, name), atol=tolerance), name


def assert_identical(first: NetworkOutput, second: NetworkOutput) -> None:
    for name in (*DENSE, *JOINT):
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
    inputs.camera_valid_bn[0, 4] = 0
    moved = replace(
        inputs,
        images_bn3hw=inputs.images_bn3hw[:, order],
        intrinsics_bn33=inputs.intrinsics_bn33[:, order],
        base_T_cam_bn44=inputs.base_T_cam_bn44[:, order],
        camera_valid_bn=inputs.camera_valid_bn[:, order],
        memory_bnchw=inputs.memory_bnchw[:, order],
    )
    straight, permuted = run(network, inputs), run(network, moved)
    for name in PER_CAMERA:
        assert torch.allclose(getattr(straight, name)[:, order], getattr(permuted, name), atol=1e-4), name
    for name in JOINT:
        assert torch.allclose(getattr(straight, name), getattr(permuted, name), atol=1e-4), name


def test_turning_the_rig_about_the_vertical_keeps_the_depths(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    turned = run(network, replace(inputs, base_T_cam_bn44=turn @ inputs.base_T_cam_bn44))
    straight = run(network, inputs)
    for name in DENSE:
        assert torch.allclose(getattr(straight, name), getattr(turned, name), atol=1e-3), name
    # what is said of the whole vehicle turns with it
    assert torch.allclose(turned.ground_b3[:, :2], straight.ground_b3[:, :2] @ turn[:2, :2].T, atol=1e-5)
    assert torch.allclose(turned.ground_b3[:, 2], straight.ground_b3[:, 2], atol=1e-4)
    assert straight.ground_b3.abs().max() > 1e-2
    assert torch.allclose(turned.ego_motion_b44, turn @ straight.ego_motion_b44 @ turn.T, atol=2e-3)


@pytest.mark.parametrize('garbage', [7.0, -3e30, torch.nan])
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


def test_cameras_that_do_not_neighbour_it_nearly_ignore_a_missing_camera(network: SemiSmdNetwork) -> None:
    """Their features are the same. The ground and the motion are of the whole vehicle, so through these a camera that
    is missing moves the others' depth, near the horizon most: at most 2 % at the median and 20 % for 99 pixels of 100,
    65 % at most, with random votes of six cameras."""
    inputs = rig_input(network, 6)
    inputs.intrinsics_bn33[:, :, 0, 0] = 60.0  # half a field of view is 39 degrees: neighbours up to 88 degrees
    missing = replace(inputs, camera_valid_bn=torch.tensor([[0.0, 1, 1, 1, 1, 1]]))
    everyone, without = run(network, inputs), run(network, missing)
    features = slice(MEMORY_HEADER, MEMORY_HEADER + network.config.widths[2])
    with_it, without_it = everyone.memory_bnchw[0, :, features], without.memory_bnchw[0, :, features]
    assert torch.allclose(with_it[2:5], without_it[2:5], atol=1e-5)
    assert not torch.allclose(with_it[1], without_it[1], atol=1e-4)
    change = (everyone.log_depth_bnhw[0, 2:5] - without.log_depth_bnhw[0, 2:5]).abs()
    assert change.median() < 0.02
    assert change.flatten().quantile(0.99) < 0.2
    assert change.max() < 0.5


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
        tensors = {name: value for name, value in vars(together).items() if isinstance(value, torch.Tensor)}
        part = replace(together, **{name: value[index : index + 1] for name, value in tensors.items()})
        assert_close(alone, part, 1e-4)


@pytest.mark.parametrize('changes', [{}, {'fusion': 'separate'}])
def test_gradients_reach_every_parameter(changes: dict[str, str]) -> None:
    network = seeded_network(1, TINY, **changes).train()
    output = network(rig_input(network, 6))
    published = ('log_depth_bnhw', 'log_error_bnhw', 'semantic_logit_bnkhw', 'sky_logit_bnhw', 'match_logit_bnqk')
    published += ('memory_bnchw',)  # the keys of the next instant's matching
    loss = sum(getattr(output, name).square().mean() for name in (*published, *JOINT))
    loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []
    assert [name for name, p in network.named_parameters() if not p.grad.isfinite().all()] == []


def test_an_untrained_network_says_the_ground(network: SemiSmdNetwork) -> None:
    torch.manual_seed(0)
    fresh = SemiSmdNetwork(network.config).eval()
    inputs = replace(rig_input(fresh, 4), memory_valid_b=torch.zeros(1))
    error = (run(fresh, inputs).log_depth_bnhw - fresh.rays(inputs, 1).log_ground_depth()).abs()
    assert error.median() < 0.1
    assert error.max() < 0.3


def test_a_network_without_matching_stands_still_and_keeps_the_contract() -> None:
    network = seeded_network(config=TINY, match_width=0, sweep_width=0)
    output = run(network, rig_input(network, 3))
    assert output.match_logit_bnqk is None
    assert torch.equal(output.ego_motion_b44, torch.eye(4)[None])
    assert output.memory_bnchw.shape[2] == network.config.memory_channels == MEMORY_HEADER + 16


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'height': 100}, 'multiples of 32'),
        ({'attention_width': 40}, 'multiple of 4 x attention_heads'),
        ({'prior_far': 900.0}, 'depth_min < prior_far < depth_max'),
        ({'encoder': 'vgg'}, "encoder 'vgg': expected one of residual"),
        ({'fusion': 'late'}, "fusion 'late': expected one of unified, separate"),
        ({'attends_to': ('memory', 'radar')}, 'expected each of neighbours, memory, semantics at most once'),
        ({'match_width': -1}, 'expected 0'),
        ({'sweep_width': -1}, 'sweep_width -1: expected 0'),
        ({'edge_width': -1}, 'edge_width -1: expected 0'),
        ({'match_width': 0}, 'motion stereo needs the ego-motion of matching .match_width 0'),
        ({'encoder': 'resnet18'}, 'resnet18 has widths'),
        ({'encoder': 'resnet18', 'widths': (64, 128, 256), 'blocks': (2, 2, 2), 'sees_images': False}, 'blind'),
    ],
)
def test_a_config_that_cannot_work_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NetworkConfig(**change)
