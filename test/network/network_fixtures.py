# SPDX-License-Identifier: Apache-2.0
"""A small network with seeded weights, and plausible inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnxruntime
import torch

from semi_smd_ros.network.coarse import INITIAL_SCALE
from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.export import example_inputs
from semi_smd_ros.network.model import NetworkInput, NetworkOutput, SemiSmdNetwork

SIZE = (64, 96)
CARD = {'version': '9.9.9', 'trained_on': 'nothing', 'scores': {'protocol': 'none'}, 'command': 'the command'}
PER_CAMERA = (
    'log_depth_bnhw', 'sky_logit_bnhw', 'log_error_bnhw', 'semantic_logit_bnkhw', 'coarse_log_depth_bnhw',
    'coarse_semantic_logit_bnkhw', 'match_logit_bnqk', 'past_usable_bn', 'memory_bnchw',
)  # fmt: skip
SMALL = NetworkConfig(height=SIZE[0], width=SIZE[1])
TINY = NetworkConfig(
    name='tiny', height=32, width=64, encoder='residual', stem_width=8, widths=(8, 8, 16), blocks=(1, 1, 1),
    decoder_widths=(8, 8), coarse_width=16, attention_width=16, attention_heads=2, match_width=8,
)  # fmt: skip


def seeded_network(seed: int = 0, config: NetworkConfig = SMALL, **changes: object) -> SemiSmdNetwork:
    """Random weights, batch norm statistics that are not the initial ones, and heads that say more than the ground."""
    torch.manual_seed(seed)
    network = SemiSmdNetwork(replace(config, **changes))  # type: ignore[arg-type]
    with torch.no_grad():
        for layer in (network.coarse.depth, network.coarse.ground, network.heads.dense):
            layer.weight.div_(INITIAL_SCALE)
        network.coarse.ground.bias.normal_()
        if network.config.sweep_width:
            network.sweep.to_decoder.weight.normal_(std=0.1)
        if network.config.edge_width:
            for layer in (network.edges.mixture, network.edges.dense):
                layer.weight.normal_(std=0.1)
        for _ in range(3):
            network.train()(rig_input(network, 4))
    return network.eval()


@torch.no_grad()
def run(network: SemiSmdNetwork, inputs: NetworkInput) -> NetworkOutput:
    return network(inputs)


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
    memory[:, 1:4] *= 0.02  # slopes, and metres
    images = torch.rand(cameras, 3, network.config.height, network.config.width, generator=generator)
    return NetworkInput(images[None], intrinsics[None], base_T_cam[None], valid[None], memory[None], torch.ones(1))


def onnx_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """One thread: for graphs this small, more of them wait for each other on a busy machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=['CPUExecutionProvider'])


@contextmanager
def one_thread() -> Iterator[None]:
    """The same for torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
