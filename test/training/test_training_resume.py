# SPDX-License-Identifier: Apache-2.0
"""A run that is killed goes on as if nothing had happened; two processes learn what one would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from training_fixtures import SIZE, flat_ground_sample

from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.training import pool
from semi_smd_ros.training.samples import FIRST_TRAINING_SEED, VALIDATION_SEEDS

ROOT = Path(__file__).parents[2]
STEPS = 8
CONFIG = f"""
network: small_residual
network_changes:
  {{stem_width: 8, widths: [8, 16, 32], blocks: [0, 0, 1], decoder_widths: [16, 16], coarse_width: 16,
  attention_width: 32, attention_heads: 2, match_width: 8}}
supervision: semi
stages: [{{height: {SIZE[0]}, width: {SIZE[1]}, steps: {STEPS}, batch: 1}}]
views: 3
workers: 1
frames: FRAMES
validation_scenes: 1
validate_every_steps: 3
bfloat16: false
semi_losses: {{stride: 4}}
"""


def prepared_config(tmp_path: Path) -> Path:
    """A config whose views are rendered already."""
    frames = tmp_path / 'frames'
    for name, first in ((f'{SIZE[0]}x{SIZE[1]}', FIRST_TRAINING_SEED), ('held_out_64x96', VALIDATION_SEEDS.start)):
        (frames / name).mkdir(parents=True)
        for seed in range(first, first + 3):
            flat_ground_sample(seed).save(pool.sample_path(frames / name, seed))
    path = tmp_path / 'run.yaml'
    path.write_text(CONFIG.replace('FRAMES', str(frames)))
    return path


def command(config: Path, folder: Path, *options: str) -> list[str]:
    return [sys.executable, '-m', 'semi_smd_ros.cli.main', 'train', str(config), str(folder), *options]


def environment() -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


def losses(folder: Path) -> dict[int, dict[str, float]]:
    """The logged terms of every step."""
    entries = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    assert len({entry['step'] for entry in entries if 'total' in entry}) == sum('total' in entry for entry in entries)
    return {e['step']: {k: v for k, v in e.items() if k != 'minutes'} for e in entries if 'total' in e}


def kill_after(process: subprocess.Popen[bytes], folder: Path, step: int) -> None:
    """SIGKILL once the log has the step."""
    deadline = time.monotonic() + 120
    log = folder / 'log.jsonl'
    while time.monotonic() < deadline and process.poll() is None:
        if log.is_file() and any(line.startswith(f'{{"step": {step},') for line in log.read_text().splitlines()):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    assert process.wait() == -signal.SIGKILL, 'the run ended before it could be killed'


def test_a_killed_run_resumes_to_the_last_digit(tmp_path: Path) -> None:
    config = prepared_config(tmp_path)
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    with subprocess.Popen(command(config, broken, '--log-every', '1'), env=environment()) as process:
        kill_after(process, broken, 5)  # the last saved state is that of step 3
    subprocess.run(command(config, whole, '--log-every', '1'), env=environment(), check=True)
    subprocess.run(command(config, broken, '--log-every', '1', '--resume'), env=environment(), check=True)
    assert sorted(losses(whole)) == list(range(1, STEPS + 1))
    assert losses(broken) == losses(whole)
    networks = [load_checkpoint(folder / 'last.safetensors')[0].state_dict() for folder in (whole, broken)]
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def test_two_processes_share_a_run(tmp_path: Path) -> None:
    """They take different samples of the schedule, agree on the weights, and only the first writes."""
    config = prepared_config(tmp_path)
    folder = tmp_path / 'pair'
    options = ('--devices', '2', '--accelerator', 'cpu', '--log-every', '1')
    done = subprocess.run(command(config, folder, *options), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(losses(folder)) == list(range(1, STEPS + 1))
    alone = tmp_path / 'alone'
    # one process with the same samples a step, two at a time, has the same mean of gradients but for batch norm
    config.write_text(config.read_text().replace('batch: 1', 'batch: 2'))
    subprocess.run(command(config, alone, '--log-every', '1'), env=environment(), check=True)
    first, other = losses(folder)[1], losses(alone)[1]
    assert first['rate'] == other['rate']
    assert abs(first['semantics'] - other['semantics']) < 0.2 * other['semantics']
