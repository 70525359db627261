# SPDX-License-Identifier: Apache-2.0
"""Fusion: its switches, semantic tokens, and its cost against separate blocks and the budgets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from network_fixtures import TINY, rig_input, run, seeded_network

from semi_smd_ros.network.config import CONFIGS, MEMORY_HEADER
from semi_smd_ros.network.fusion import class_shares
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.network.profile import FUSION_PARTS, count_flops

BUDGETS = {'small': 12.0, 'base': 140.0, 'base_384': 140.0}  # GFLOPs of six images
LARGEST_M = 30.0


def fusion_gflops(parts: dict[str, float]) -> float:
    return sum(parts[part] for part in FUSION_PARTS)


@pytest.mark.parametrize('name', BUDGETS)
def test_within_the_budget_and_cheaper_than_separate_blocks(name: str) -> None:
    with torch.device('meta'):
        network = SemiSmdNetwork(CONFIGS[name])
        separate = SemiSmdNetwork(replace(CONFIGS[name], fusion='separate'))
    parts, apart = count_flops(network, 6), count_flops(separate, 6)
    assert sum(parts.values()) <= BUDGETS[name]
    assert sum(p.numel() for p in network.parameters()) <= 1e6 * LARGEST_M
    assert 0 < fusion_gflops(parts) <= 0.12 * sum(parts.values())
    assert fusion_gflops(parts) <= 0.6 * fusion_gflops(apart)
    assert parts['fusion'] <= 0.6 * apart['fusion']


@pytest.mark.parametrize('fusion', ['unified', 'separate'])
@pytest.mark.parametrize('attends_to', [(), ('memory',), ('neighbours',), ('semantics',)])
def test_a_source_that_is_switched_off_is_not_seen(fusion: str, attends_to: tuple[str, ...]) -> None:
    """Camera 0 sees its neighbour's picture only with 'neighbours', its past features only with 'memory'."""
    network = seeded_network(config=TINY, fusion=fusion, attends_to=attends_to)
    inputs = replace(rig_input(network, 6))
    plain = fused(network, inputs)
    other = inputs.images_bn3hw.clone()
    other[:, 1] = 1 - other[:, 1]
    neighbour = (fused(network, replace(inputs, images_bn3hw=other)) - plain).abs().max()
    assert (neighbour > 1e-5) == ('neighbours' in attends_to)
    memory = inputs.memory_bnchw.clone()
    memory[:, 0, features(network)] += torch.randn(memory[:, 0, features(network)].shape)
    past = (fused(network, replace(inputs, memory_bnchw=memory)) - plain).abs().max()
    assert (past > 1e-5) == ('memory' in attends_to)
    names = [name for name, _ in network.fusion.named_parameters()]
    assert ('class_type' in names) == ('semantics' in attends_to)


def fused(network: SemiSmdNetwork, inputs: Any) -> torch.Tensor:
    """Fused features of camera 0."""
    return run(network, inputs).memory_bnchw[0, 0, features(network)]


def features(network: SemiSmdNetwork) -> slice:
    """The memory's channels that hold fused features."""
    return slice(MEMORY_HEADER, MEMORY_HEADER + network.config.widths[2])


def test_semantic_tokens_change_with_the_classes(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 3)
    plain = fused(network, inputs)
    bias = network.coarse.semantics.bias
    kept = bias.detach().clone()
    with torch.no_grad():
        bias[3] += 20
        changed = fused(network, inputs)
        bias.copy_(kept)
    assert (changed - plain).abs().max() > 1e-5


def test_shares_average_the_cells_of_a_class_and_fade_for_absent_ones() -> None:
    logit = torch.full((1, 1, 3, 4, 5), -30.0)
    logit[:, :, 0] = 30
    logit[:, :, :, 0, 0] = torch.tensor([-30.0, 30, -30])
    shares = class_shares(logit)[0, 0]
    assert shares.shape == (3, 20)
    assert torch.allclose(shares[0], torch.tensor([0.0] + [1 / 20] * 19), atol=1e-6)
    assert torch.allclose(shares[1, 0], torch.tensor(0.5))
    assert shares[2].abs().max() < 1e-6
