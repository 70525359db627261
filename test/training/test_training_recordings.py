# SPDX-License-Identifier: Apache-2.0
"""Training on recordings, by the command line: with cached teacher labels, and on a bag that knows no truth at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from rich.console import Console

from semi_smd_ros.cli.label import run_labelling
from semi_smd_ros.cli.record import record_source
from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.training.config import load_train_config
from semi_smd_ros.training.stage_data import StageData
from semi_smd_ros.training.teachers.execution import Execution
from semi_smd_ros.training.train import main

DRIVE = 'synthetic:3?sets=3&width=96&height=64&rig=ddad'
CONFIG = """
network: small_residual
network_changes:
  {stem_width: 8, widths: [8, 16, 32], blocks: [0, 0, 1], decoder_widths: [16, 16], coarse_width: 16,
  attention_width: 32, attention_heads: 2, match_width: 8}
data: rosbag:drive.mcap
supervision: semi
stages: [{height: 64, width: 96, steps: 2}]
workers: 0
validation_scenes: 1
bfloat16: false
semi_losses: {stride: 4}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / 'run.yaml'
    path.write_text(CONFIG)
    return path


def validation(run: Path) -> dict[str, float]:
    entries = [json.loads(line) for line in (run / 'log.jsonl').read_text().splitlines()]
    found: dict[str, float] = entries[-1]['validation']
    return found


def test_a_drive_with_cached_labels(config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels, run = tmp_path / 'labels', tmp_path / 'run'
    run_labelling(DRIVE, labels, 'synthetic:0', 'synthetic:0', 640, False, None, Execution(), Console(quiet=True))
    assert main([str(config), str(run), '--data', DRIVE, '--labels', str(labels), '--log-every', '1']) == 0
    _, card = load_checkpoint(run / 'last.safetensors')
    assert card['trained_on'] == f'pictures of {DRIVE}, self-supervised, with teacher labels'
    assert card['scores']['protocol'].startswith(
        f'moments of the training data {DRIVE} itself at 64x96; the second of two frames'
    )
    assert 'nothing teaches the sky head' not in caplog.text
    first = json.loads((run / 'log.jsonl').read_text().splitlines()[0])
    assert first['curvature'] > 0
    assert 'lidar' not in first
    assert validation(run)['abs_rel'] > 0
    rows = ('image', 'depth', 'true depth', 'teacher', 'classes', 'teacher')
    assert cv2.imread(str(run / 'pictures' / 'sample_0_0000002.png')).shape[0] == 64 * len(rows)


@pytest.mark.parametrize('max_depth', ['', '?max_depth=30'])
def test_a_source_is_validated_up_to_its_own_depth(config: Path, tmp_path: Path, max_depth: str) -> None:
    record_source('synthetic:3', tmp_path / 'drive', False, '', 'none', sets=2, width=96, height=64)
    address = f'rosbag:{tmp_path / "drive"}{max_depth}'
    loaded = replace(load_train_config(config), validation=address)
    held_out = StageData(loaded, 0, tmp_path).held_out()
    assert held_out.farthest_m == (30 if max_depth else 200)
    assert len(held_out.samples) == 1


def test_a_bag_without_truth_is_judged_by_its_loss(
    config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / 'run'
    record_source('synthetic:3', tmp_path / 'drive', False, '', 'none', sets=3, width=96, height=64)
    assert main([str(config), str(run), '--data', f'rosbag:{tmp_path / "drive"}', '--log-every', '1']) == 0
    assert 'trained on without semantic labels: nothing teaches the sky head' in caplog.text
    figures = validation(run)
    assert figures['loss'] > 0
    assert 'abs_rel' not in figures
    assert figures['overlap_within'] > 0
    first = json.loads((run / 'log.jsonl').read_text().splitlines()[0])
    assert first['temporal'] > 0
    assert 'curvature' not in first
    assert load_checkpoint(run / 'best.safetensors')[1]['scores']['loss'] == figures['loss']


def test_what_cannot_be_read_is_told(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(config), str(tmp_path / 'run'), '--data', 'ddad:/nowhere'])
    assert '/nowhere: no such file or folder' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(config), str(tmp_path / 'run'), '--data', DRIVE, '--labels', str(tmp_path / 'none')])
    assert str(tmp_path / 'none') in capsys.readouterr().err
