# SPDX-License-Identifier: Apache-2.0
"""The EfficientNet-Lite encoder: published weights by their names, and what fine-tuning leaves alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from network_fixtures import TINY, rig_input, run
from safetensors.torch import save_file
from torch import nn

from semi_smd_ros.network.efficientnet import SCALES, EfficientNetLite
from semi_smd_ros.network.model import SemiSmdNetwork

# Parameters of the published networks; their heads are 1280 channels wide and name 1000 classes.
PUBLISHED = {'efficientnet_lite0': 4_652_008, 'efficientnet_lite1': 5_416_680, 'efficientnet_lite2': 6_092_072}
LAYERS = {'expand_conv': 'expand.0', 'bn0': 'expand.1', 'depthwise_conv': 'depthwise.0', 'bn1': 'depthwise.1',
          'project_conv': 'project.0', 'bn2': 'project.1'}  # fmt: skip


def published(network: EfficientNetLite) -> dict[str, torch.Tensor]:
    """A state dict with the names of `efficientnet_pytorch`, with other values than the network's."""
    state = network.state_dict()
    weights = {name.replace('stem.0', '_conv_stem').replace('stem.1', '_bn0'): value
               for name, value in state.items() if name.startswith('stem')}  # fmt: skip
    number = 0
    for stage, blocks in enumerate(network.stages):
        for index in range(len(blocks)):
            for theirs, ours in LAYERS.items():
                prefix = f'stages.{stage}.{index}.{ours}.'
                for name, value in state.items():
                    if name.startswith(prefix):
                        weights[f'_blocks.{number}._{theirs}.{name.removeprefix(prefix)}'] = value
            number += 1
    weights = {name: value + 1 if value.is_floating_point() else value.clone() for name, value in weights.items()}
    return {**weights, '_conv_head.weight': torch.zeros(1280, 320, 1, 1), '_fc.bias': torch.zeros(1000)}


@pytest.mark.parametrize('name', SCALES)
def test_is_as_large_as_the_published_network(name: str) -> None:
    network = EfficientNetLite(name)
    last = network.widths[-1]
    head = last * 1280 + 2 * 1280 + 1281 * 1000
    assert sum(p.numel() for p in network.parameters()) + head == PUBLISHED[name]
    shapes = [tuple(feature.shape[1:]) for feature in network.eval()(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(width, 64 // s, 96 // s) for width, s in zip(network.widths, (2, 4, 8, 16, 32))]


def test_loads_published_weights(tmp_path: Path) -> None:
    network = EfficientNetLite('efficientnet_lite0')
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = published(network)
    path = tmp_path / 'weights.safetensors'
    save_file(weights, str(path))
    network.load_imagenet(path)
    for name, value in network.state_dict().items():
        assert not value.is_floating_point() or torch.equal(value, before[name] + 1), name


def test_refuses_other_weights(tmp_path: Path) -> None:
    network = EfficientNetLite('efficientnet_lite0')
    weights = published(network)
    path = tmp_path / 'weights.safetensors'
    save_file({name: value for name, value in weights.items() if name != '_conv_stem.weight'}, str(path))
    with pytest.raises(ValueError, match=r'stem\.0\.weight differ'):
        network.load_imagenet(path)
    save_file({**weights, '_blocks.99._bn0.weight': torch.zeros(1)}, str(path))
    with pytest.raises(ValueError, match=r'_blocks\.99\._bn0\.weight differ'):
        network.load_imagenet(path)


def test_a_pth_file_is_converted_first_never_unpickled_by_the_package(tmp_path: Path) -> None:
    network = EfficientNetLite('efficientnet_lite0')
    weights = published(network)
    pickled, converted = tmp_path / 'weights.pth', tmp_path / 'weights.safetensors'
    torch.save(weights, pickled)
    with pytest.raises(ValueError, match=r'not a \.safetensors file .*tools/weights_to_safetensors\.py'):
        network.load_imagenet(pickled)
    tool = Path(__file__).parents[2] / 'tools' / 'weights_to_safetensors.py'
    subprocess.run([sys.executable, str(tool), str(pickled), str(converted)], check=True)
    network.load_imagenet(converted)
    assert torch.equal(network.stem[0].weight, weights['_conv_stem.weight'])


def test_fine_tuning_keeps_statistics_and_the_first_layers() -> None:
    """Statistics stay at any depth; weights up to stride 8 get no gradient, later ones do."""
    torch.manual_seed(0)
    network = SemiSmdNetwork(replace(TINY, encoder='efficientnet_lite0', widths=(16, 16, 32), blocks=(0, 0, 1)))
    network.encoder.keep_pretrained()
    norms = {name: m for name, m in network.encoder.backbone.named_modules() if isinstance(m, nn.BatchNorm2d)}
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    output = network.train()(rig_input(network, 2))
    output.log_depth_bnhw.sum().backward()
    assert all(torch.equal(norm.running_mean, before[name]) for name, norm in norms.items())
    assert not network.encoder.join[0][1].running_mean.eq(0).all()  # what follows the backbone does learn statistics
    backbone = network.encoder.backbone
    assert all(p.grad is None for part in (backbone.stem, *backbone.stages[:3]) for p in part.parameters())
    assert all(p.grad is not None for part in backbone.stages[3:] for p in part.parameters())
    assert all(module.training for module in (network.encoder, network.decoder))


def test_a_missing_camera_is_grey_whatever_its_buffer_holds() -> None:
    torch.manual_seed(0)
    network = SemiSmdNetwork(replace(TINY, encoder='efficientnet_lite0', widths=(16, 16, 32), blocks=(0, 0, 1))).eval()
    inputs = rig_input(network, 3)
    inputs.camera_valid_bn[:, 1] = 0
    first = run(network, inputs).log_depth_bnhw
    inputs.images_bn3hw[:, 1] = float('nan')
    assert torch.equal(run(network, inputs).log_depth_bnhw, first)
