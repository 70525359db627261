# SPDX-License-Identifier: Apache-2.0
"""A run that is killed goes on as if nothing had happened; two processes learn what one would."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_fixtures import SIZE, flat_ground_sample

from semi_smd_ros.network.checkpoint import CheckpointError, load_checkpoint
from semi_smd_ros.training import pool
from semi_smd_ros.training.samples import FIRST_TRAINING_SEED, VALIDATION_SEEDS
from semi_smd_ros.training.state import load_state, save_state
from semi_smd_ros.training.train import main

ROOT = Path(__file__).parents[2]
STEPS = 6
CONFIG = f"""
network: small_residual
network_changes:
  {{stem_width: 8, widths: [8, 16, 32], blocks: [0, 0, 1], decoder_widths: [16, 16], coarse_width: 16,
  attention_width: 32, attention_heads: 2, match_width: 8}}
supervision: semi
stages: [{{height: {SIZE[0]}, width: {SIZE[1]}, steps: {STEPS}, batch: 1}}]
views: 3
workers: WORKERS
frames: FRAMES
validation_scenes: 1
validate_every_steps: 2
bfloat16: false
semi_losses: {{stride: 4}}
"""
EVERY_STEP = ('--log-every', '1')


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def prepared_config(tmp_path: Path, workers: int = 0, batch: int = 1, steps: int = STEPS) -> Path:
    """A config whose views are rendered already."""
    frames = tmp_path / 'frames'
    for name, first in ((f'{SIZE[0]}x{SIZE[1]}', FIRST_TRAINING_SEED), ('held_out_64x96', VALIDATION_SEEDS.start)):
        (frames / name).mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + 3):
            flat_ground_sample(seed).save(pool.sample_path(frames / name, seed))
    path = tmp_path / f'run_{workers}_{batch}.yaml'
    text = CONFIG.replace('FRAMES', str(frames)).replace('WORKERS', str(workers))
    path.write_text(text.replace('batch: 1', f'batch: {batch}').replace(f'steps: {STEPS}', f'steps: {steps}'))
    return path


def in_process_of_its_own(config: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, '-m', 'semi_smd_ros.cli.main', 'train', str(config), str(folder), *options]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def losses(folder: Path) -> dict[int, dict[str, float]]:
    """The logged terms of every step, each of which must be there once."""
    entries = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    terms = [(e['step'], {k: v for k, v in e.items() if k != 'minutes'}) for e in entries if 'total' in e]
    assert len(dict(terms)) == len(terms)
    return dict(terms)


def kill_after(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    """SIGKILL once the log has the step."""
    deadline = time.monotonic() + 120
    log = folder / 'log.jsonl'
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and any(line.startswith(f'{{"step": {step},') for line in log.read_text().splitlines()):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL, 'the run ended before it could be killed'


def test_a_killed_run_resumes_to_the_last_digit(tmp_path: Path) -> None:
    """Nor does it matter which process prepared the samples."""
    config, in_workers = prepared_config(tmp_path), prepared_config(tmp_path, workers=1)
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    with in_process_of_its_own(in_workers, broken, *EVERY_STEP) as process:
        kill_after(process, broken, 3)  # the last saved state is that of step 2
    assert main([str(config), str(whole), *EVERY_STEP]) == 0
    assert main([str(config), str(broken), *EVERY_STEP, '--resume']) == 0
    assert sorted(losses(whole)) == list(range(1, STEPS + 1))
    assert losses(broken) == losses(whole)
    networks = [load_checkpoint(folder / 'last.safetensors')[0].state_dict() for folder in (whole, broken)]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def test_a_run_of_another_network_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, run = prepared_config(tmp_path, steps=1), tmp_path / 'run'
    assert main([str(config), str(run)]) == 0
    config.write_text(config.read_text().replace('coarse_width: 16', 'coarse_width: 24'))
    with pytest.raises(SystemExit):
        main([str(config), str(run), '--resume'])
    said = capsys.readouterr().err
    assert 'state.safetensors: not the state of a run of this network' in said
    assert 'resume with the config that began the run' in said


def test_moments_of_other_parameters_are_not_taken_for_these(tmp_path: Path) -> None:
    """With another encoder_rate other parameters learn; the optimiser itself would take any moments for them."""
    layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    whole, last = torch.optim.AdamW(layers.parameters()), torch.optim.AdamW(layers[2].parameters())
    layers(torch.ones(1, 3)).sum().backward()
    whole.step()
    save_state(tmp_path / 'state.safetensors', layers, copy.deepcopy(layers), whole, {'step': 1})
    assert load_state(tmp_path / 'state.safetensors', layers, layers, whole) == {'step': 1}
    with pytest.raises(CheckpointError, match='resume with the encoder_rate that it began with'):
        load_state(tmp_path / 'state.safetensors', layers, layers, last)


def test_a_pool_that_nobody_fills_ends_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = prepared_config(tmp_path)
    config.write_text(config.read_text().replace(f'steps: {STEPS}', 'minutes: 1'))
    assert main([str(config), str(tmp_path / 'run')]) == 1
    assert 'holds 3 samples where 16 are needed, and no worker renders more' in caplog.text


def test_two_processes_share_a_run(tmp_path: Path) -> None:
    """They take different samples of the schedule, and only the first writes."""
    config, doubled = prepared_config(tmp_path, steps=2), prepared_config(tmp_path, batch=2, steps=2)
    pair, alone = tmp_path / 'pair', tmp_path / 'alone'
    options = (*EVERY_STEP, '--devices', '2', '--accelerator', 'cpu')
    with in_process_of_its_own(config, pair, *options) as process:
        _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    # one process that takes the same samples two at a time has the same losses, but for batch norm's statistics
    assert main([str(doubled), str(alone), *EVERY_STEP]) == 0
    both, single = losses(pair), losses(alone)
    assert sorted(both) == sorted(single) == [1, 2]
    assert both[1]['semantics'] == pytest.approx(single[1]['semantics'], rel=0.1)
    assert both[1]['rate'] == single[1]['rate']
