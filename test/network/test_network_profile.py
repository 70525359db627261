# SPDX-License-Identifier: Apache-2.0
"""`semi-smd profile`: figures that add up, and the keys that others read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from network_fixtures import TINY
from typer.testing import CliRunner

from semi_smd_ros.cli.main import app
from semi_smd_ros.network import profile as profile_module
from semi_smd_ros.network.config import CONFIGS
from semi_smd_ros.network.model import SemiSmdNetwork

KEYS = {'params_m', 'gflops', 'fusion_gflops', 'fusion_gflops_separate', 'time_ms', 'fusion_time_ms'}


def test_json_holds_figures_that_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, 'tiny', TINY)
    result = CliRunner().invoke(app, ['profile', 'tiny', '--json', '--threads', '1', '--cameras', '2'])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures.keys() >= KEYS
    assert (figures['cameras'], figures['threads'], figures['height'], figures['width']) == (2, 1, 32, 64)
    assert figures['params_m'] == pytest.approx(sum(p.numel() for p in SemiSmdNetwork(TINY).parameters()) / 1e6)
    parts = figures['parts']
    for name in ('params_m', 'gflops', 'time_ms'):
        assert sum(part[name] for part in parts.values()) == pytest.approx(figures[name])
    timed = ('encoder', 'fusion', 'matching', 'decoder', 'edges', 'heads', 'geometry')
    assert all(parts[part]['time_ms'] > 0 for part in timed)
    assert figures['fusion_gflops'] == pytest.approx(parts['fusion']['gflops'] + parts['matching']['gflops'])
    assert 0 < figures['fusion_gflops'] < figures['fusion_gflops_separate']
    assert 0 < figures['fusion_time_ms'] < figures['time_ms']


def test_counts_every_product() -> None:
    """The encoder's convolutions by hand, at stride 2 and below: 2 x channels in x channels out x kernel x places."""
    with torch.device('meta'):
        parts = profile_module.count_flops(SemiSmdNetwork(replace(TINY, blocks=(0, 0, 0))), 3)
    at_2, at_4, at_8, at_16 = (32 * 64 // stride**2 for stride in (2, 4, 8, 16))
    by_hand = 2 * 9 * (3 * 8 * at_2 + (8 + 7) * 8 * at_4 + 8 * 8 * at_8 + 8 * 16 * at_16)
    assert parts['encoder'] == pytest.approx(3 * by_hand / 1e9)
    queries = keys = 2 * 4
    matched = 2 * queries * 4 * keys * (TINY.match_width + 3) + 2 * queries * 4 * keys * 3
    layers = 2 * keys * TINY.match_width * (16 + 8 + 4 * 16 + 4 * 8)
    assert parts['matching'] == pytest.approx(3 * (matched + layers) / 1e9)


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(app, ['profile', 'huge'])
    assert result.exit_code == 2
    assert 'no such network' in result.output
    assert 'small' in result.output
