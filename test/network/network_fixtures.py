# SPDX-License-Identifier: Apache-2.0
"""A small network with seeded weights, and plausible inputs."""

from __future__ import annotations

import torch

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.export import example_inputs
from semi_smd_ros.network.model import NetworkInput, SemiSmdNetwork

SIZE = (64, 96)


def seeded_network(seed: int = 0) -> SemiSmdNetwork:
    """Random weights with batch norm statistics that are not the initial ones."""
    torch.manual_seed(seed)
    network = SemiSmdNetwork(NetworkConfig(height=SIZE[0], width=SIZE[1]))
    with torch.no_grad():
        for _ in range(3):
            network.train()(rig_input(network, 6))
    return network.eval()


def rig_input(network: SemiSmdNetwork, cameras: int, seed: int = 0) -> NetworkInput:
    """One rig with slightly different heights, tilts and focal lengths, and a memory from a random past."""
    generator = torch.Generator().manual_seed(seed)
    _, intrinsics, base_T_cam, valid, memory, _ = example_inputs(network, cameras)
    base_T_cam = base_T_cam.clone()
    base_T_cam[:, :3, 3] = torch.rand(cameras, 3, generator=generator) + torch.tensor([0.0, -0.5, 1.0])
    intrinsics = intrinsics.clone()
    intrinsics[:, :2, :2] *= 0.8 + 0.6 * torch.rand(cameras, 1, 1, generator=generator)
    memory = torch.randn(memory.shape, generator=generator)
    memory[:, 0] = 1
    images = torch.rand(cameras, 3, *SIZE, generator=generator)
    return NetworkInput(images[None], intrinsics[None], base_T_cam[None], valid[None], memory[None], torch.ones(1))
