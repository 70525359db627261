# SPDX-License-Identifier: Apache-2.0
"""tools/average_weights.py: the mean of checkpoints, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from semi_smd_ros.network.checkpoint import load_checkpoint, save_checkpoint
from semi_smd_ros.network.config import CONFIGS
from semi_smd_ros.network.model import SemiSmdNetwork

TOOL = Path(__file__).parents[2] / 'tools' / 'average_weights.py'


def checkpoint(path: Path, name: str, seed: int) -> Path:
    torch.manual_seed(seed)
    card = {'version': '1', 'trained_on': f'run {seed}', 'scores': {'abs_rel': 0.1}, 'command': 'none'}
    save_checkpoint(SemiSmdNetwork(CONFIGS[name]), path, card)
    return path


def run_tool(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *paths], capture_output=True, text=True, check=False)


def test_the_mean_of_two_checkpoints_tells_where_it_comes_from(tmp_path: Path) -> None:
    first, second = (checkpoint(tmp_path / f'{seed}.safetensors', 'small_blind', seed) for seed in (1, 2))
    assert run_tool(tmp_path / 'mean.safetensors', first, second).returncode == 0
    mean, card = load_checkpoint(tmp_path / 'mean.safetensors')
    ones, twos = (load_checkpoint(path)[0].state_dict() for path in (first, second))
    for name, value in mean.state_dict().items():
        torch.testing.assert_close(value.float(), (ones[name].float() + twos[name].float()) / 2)
    assert card['trained_on'] == 'run 1; averaged with: run 2'
    assert 'mean.safetensors' in card['command']
    assert card['scores'] == {}  # those of the others are not its own
    assert [origin['trained_on'] for origin in card['averaged']] == ['run 1', 'run 2']


def test_two_networks_are_not_averaged(tmp_path: Path) -> None:
    first = checkpoint(tmp_path / 'blind.safetensors', 'small_blind', 1)
    second = checkpoint(tmp_path / 'small.safetensors', 'small', 1)
    answer = run_tool(tmp_path / 'mean.safetensors', first, second)
    assert answer.returncode == 2
    assert 'small.safetensors: got another network' in answer.stderr
    assert not (tmp_path / 'mean.safetensors').exists()
