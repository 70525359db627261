# SPDX-License-Identifier: Apache-2.0
"""ResNet encoders take published ImageNet weights by torchvision's names, and refuse others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from network_fixtures import TINY, rig_input, run
from safetensors.torch import save_file

from semi_smd_ros.network.config import RESNET_BLOCKS, RESNET_WIDTHS
from semi_smd_ros.network.model import SemiSmdNetwork

# Parameters of the published networks, the 1000-class layer included.
PUBLISHED_M = {'resnet18': 11.689512, 'resnet34': 21.797672}
BEHIND_STRIDE_16_M = {'resnet18': 8.393728 + 0.513, 'resnet34': 13.114368 + 0.513}
SOME_NAMES = {
    'conv1.weight': (64, 3, 7, 7),
    'bn1.running_mean': (64,),
    'layer1.1.conv2.weight': (64, 64, 3, 3),
    'layer2.0.downsample.0.weight': (128, 64, 1, 1),
    'layer2.0.downsample.1.bias': (128,),
    'layer3.1.bn2.running_var': (256,),
}


def resnet(name: str) -> SemiSmdNetwork:
    torch.manual_seed(0)
    return SemiSmdNetwork(replace(TINY, encoder=name, widths=RESNET_WIDTHS, blocks=RESNET_BLOCKS[name])).eval()


def published(network: SemiSmdNetwork) -> dict[str, torch.Tensor]:
    """A state dict such as torchvision publishes, with other values than the network's."""
    weights = {name: value.clone() for name, value in network.encoder.state_dict().items() if 'cues' not in name}
    weights = {name: value + 1 if value.dtype == torch.float32 else value for name, value in weights.items()}
    return {**weights, 'layer4.0.conv1.weight': torch.zeros(512, 256, 3, 3), 'fc.bias': torch.zeros(1000)}


@pytest.mark.parametrize('name', RESNET_BLOCKS)
def test_has_the_names_shapes_and_size_of_the_published_network(name: str) -> None:
    network = resnet(name)
    state = network.encoder.state_dict()
    for key, shape in SOME_NAMES.items():
        assert tuple(state[key].shape) == shape
    size = sum(p.numel() for key, p in network.encoder.named_parameters() if 'cues' not in key)
    assert size == pytest.approx(1e6 * (PUBLISHED_M[name] - BEHIND_STRIDE_16_M[name]), abs=1)
    assert run(network, rig_input(network, 2)).log_depth_bnhw.isfinite().all()


def test_loads_published_weights(tmp_path: Path) -> None:
    network = resnet('resnet18')
    weights = published(network)
    path = tmp_path / 'weights.safetensors'
    save_file(weights, str(path))
    cues = network.encoder.cues.weight.clone()
    network.encoder.load_imagenet(path)
    state = network.encoder.state_dict()
    assert all(torch.equal(state[key], weights[key]) for key in SOME_NAMES)
    assert torch.equal(network.encoder.cues.weight, cues)


def test_refuses_other_weights(tmp_path: Path) -> None:
    network = resnet('resnet18')
    weights = published(network)
    path = tmp_path / 'weights.safetensors'
    save_file({key: value for key, value in weights.items() if key != 'conv1.weight'}, str(path))
    with pytest.raises(ValueError, match=r'conv1\.weight differ'):
        network.encoder.load_imagenet(path)
    save_file({**weights, 'conv1.weight': torch.zeros(64, 3, 3, 3)}, str(path))
    with pytest.raises(ValueError, match=r'conv1\.weight differ'):
        network.encoder.load_imagenet(path)
