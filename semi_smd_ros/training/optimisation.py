# SPDX-License-Identifier: Apache-2.0
"""What is learned at which rate, and the moving average of the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from semi_smd_ros.network.encoder import EfficientNetEncoder
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.config import TrainConfig

GRADIENT_LIMIT = 1.0  # the longest gradient


def make_optimizer(network: SemiSmdNetwork, config: TrainConfig) -> torch.optim.AdamW:
    """Each of its groups has a `rate`: the factor of the learning rate."""
    return torch.optim.AdamW(parameter_groups(network, config), lr=config.learning_rate, betas=(0.9, 0.98))


def parameter_groups(network: SemiSmdNetwork, config: TrainConfig) -> list[dict[str, Any]]:
    """Groups for the optimiser: `rate` is the factor of the learning rate; vectors (biases, norms) do not decay."""
    slow: set[nn.Parameter] = set()
    if config.encoder_rate < 1 and isinstance(network.encoder, EfficientNetEncoder):
        slow = set(network.encoder.backbone.parameters())
    groups = []
    for rate, members in ((config.encoder_rate, slow), (1.0, set(network.parameters()) - slow)):
        # in the network's order: a resumed run finds every moment at its parameter
        learning = [p for p in network.parameters() if p in members and p.requires_grad]
        for decay, matrices in ((config.weight_decay, True), (0.0, False)):
            chosen = [p for p in learning if (p.dim() > 1) == matrices]
            if chosen:
                groups.append({'params': chosen, 'weight_decay': decay, 'rate': rate})
    return groups


@torch.no_grad()
def update_average(averaged: SemiSmdNetwork, network: SemiSmdNetwork, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's; faster at first, when they are still far off.

    Buffers (statistics of batch norm) are averages already and are copied.
    """
    share = 1 - min(decay, step / (step + 10))
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, share)
    for copied, current in zip(averaged.buffers(), network.buffers(), strict=True):
        copied.copy_(current)


def guilty_terms(terms: dict[str, Tensor], parameters: list[nn.Parameter]) -> list[str]:
    """The terms that are not finite, or whose gradients are not. Frees the graph of none of them."""
    guilty = []
    for name, term in terms.items():
        finite = bool(torch.isfinite(term))
        if finite and term.requires_grad:
            gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            finite = all(bool(torch.isfinite(g).all()) for g in gradients if g is not None)
        if not finite:
            guilty.append(name)
    return guilty
