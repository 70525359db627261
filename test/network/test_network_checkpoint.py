# SPDX-License-Identifier: Apache-2.0
"""Checkpoints come back as they went, and say what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from semi_smd_ros.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from semi_smd_ros.network.model import SemiSmdNetwork

CARD = {'version': '1', 'trained_on': 'nothing', 'scores': {}, 'command': 'none'}


@pytest.fixture
def path(network: SemiSmdNetwork, tmp_path: Path) -> Path:
    save_checkpoint(network, tmp_path / 'weights.safetensors', CARD)
    return tmp_path / 'weights.safetensors'


def test_round_trip(network: SemiSmdNetwork, path: Path) -> None:
    loaded, card = load_checkpoint(path)
    assert card == CARD
    assert loaded.config == network.config
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_differences_in_names_and_shapes_are_named(path: Path) -> None:
    weights = load_file(str(path))
    weights['heads.extra'] = torch.zeros(1)
    del weights['heads.dense.bias']
    weights['heads.semantics.bias'] = torch.zeros(7)
    save_file(weights, str(path))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert 'missing heads.dense.bias' in message
    assert 'unexpected heads.extra' in message
    assert 'heads.semantics.bias has shape (7,), expected (19,)' in message


def test_another_format_is_refused(path: Path) -> None:
    description = json.loads(path.with_suffix('.json').read_text())
    path.with_suffix('.json').write_text(json.dumps({**description, 'format': 99}))
    with pytest.raises(CheckpointError, match='format 99, this version reads 2'):
        load_checkpoint(path)


def test_weights_of_the_first_network_are_refused(path: Path) -> None:
    description = json.loads(path.with_suffix('.json').read_text())
    path.with_suffix('.json').write_text(json.dumps({**description, 'format': 1}))
    with pytest.raises(CheckpointError, match=r'format 1, this version reads 2; train anew'):
        load_checkpoint(path)


def test_an_unknown_config_key_is_named(path: Path) -> None:
    description = json.loads(path.with_suffix('.json').read_text())
    description['config']['wheels'] = 4
    path.with_suffix('.json').write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=r"unknown keys \['wheels'\]"):
        load_checkpoint(path)


def test_broken_files_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match='not a complete safetensors file'):
        load_checkpoint(path)
    path.with_suffix('.json').write_text('{')
    with pytest.raises(CheckpointError, match='not JSON'):
        load_checkpoint(path)
    path.unlink()
    with pytest.raises(CheckpointError, match='no such file'):
        load_checkpoint(path)


def test_an_incomplete_card_is_refused(network: SemiSmdNetwork, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match='lacks'):
        save_checkpoint(network, tmp_path / 'x.safetensors', {'version': '1'})
