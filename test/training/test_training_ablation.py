# SPDX-License-Identifier: Apache-2.0
"""`semi-smd ablate` from end to end at the least size: two variants, two seeds, two steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_fixtures import flat_ground_sample

from semi_smd_ros.training import pool
from semi_smd_ros.training.ablate import main
from semi_smd_ros.training.ablation import begun, jobs, load_ablation
from semi_smd_ros.training.ablation_report import BEGIN, END, markdown, write_report
from semi_smd_ros.training.samples import FIRST_TRAINING_SEED, VALIDATION_SEEDS
from semi_smd_ros.training.settings import ConfigError

SHIPPED = Path(__file__).parents[2] / 'configs' / 'ablation.yaml'
SMALLEST = """
seeds: [0, 1]
test_scenes: 1
train:
  network: small_residual
  network_changes: {stem_width: 8, widths: [8, 16, 32], blocks: [0, 0, 1], decoder_widths: [16, 16],
                    coarse_width: 16, attention_width: 32, attention_heads: 2, match_width: 8}
  supervision: semi
  stages: [{height: 64, width: 96, steps: 2}]
  views: 2
  workers: 0
  bfloat16: false
  validation_scenes: 1
  semi_losses: {stride: 4}
variants:
  - {name: full, title: full method}
  - name: alone
    title: on its own
    note: a note
    network: {attends_to: [], temporal_depth: false, pose: per_camera, sweep_width: 0}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_shipped_ablation_has_what_the_project_promises() -> None:
    config = load_ablation(SHIPPED)
    assert [variant.name for variant in config.variants] == [
        'full', 'no_spatial_attention', 'no_temporal_memory', 'no_semantics', 'separate_blocks', 'per_camera_pose',
        'no_curvature', 'monocular',
    ]  # fmt: skip
    assert len(config.seeds) >= 2
    todo = jobs(config, Path('out'))
    assert len({job.fingerprint for job in todo}) == len(todo) == 16
    assert {job.config.frames for job in todo} == {'out/frames'}


def test_all_runs_are_made_once_and_told_in_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tmp_path / 'out', tmp_path / 'docs' / 'ablation.md'
    for name, first in (('64x96', FIRST_TRAINING_SEED), ('held_out_64x96', VALIDATION_SEEDS.start)):
        (out / 'frames' / name).mkdir(parents=True)
        for seed in range(first, first + 2):
            flat_ground_sample(seed).save(pool.sample_path(out / 'frames' / name, seed))
    flat_ground_sample(0).save(pool.sample_path(out / 'frames' / 'held_out_64x96', 0))
    path = tmp_path / 'ablation.yaml'
    path.write_text(SMALLEST)
    arguments = [str(out), '--config', str(path), '--report', str(report)]
    assert main(arguments) == 0
    text = report.read_text()
    assert text.startswith('# Ablation')
    assert '| full method | ' in text
    assert '- on its own: a note.' in text
    assert f'`semi-smd ablate {" ".join(arguments)}`' in text
    found = json.loads((out / 'ablation.json').read_text())
    assert [(run['variant'], run['seed']) for run in found['runs']] == [
        ('full', 0), ('alone', 0), ('full', 1), ('alone', 1),
    ]  # fmt: skip
    full, alone = found['summary']
    assert full['gflops'] > alone['gflops'] > 0
    assert full['figures']['seen_abs_rel']['mean'] > 0
    assert 'AbsRel, seen' in text
    values = full['figures']['abs_rel']['values']
    assert full['figures']['abs_rel']['mean'] == pytest.approx(np.mean(values))
    assert full['figures']['abs_rel']['spread'] == pytest.approx(abs(values[0] - values[1]) / 2)
    shown = f'{full["figures"]["abs_rel"]["mean"]:.3f} ± {full["figures"]["abs_rel"]["spread"]:.3f}'
    assert shown in capsys.readouterr().out

    def times() -> dict[str, int]:
        return {f.parent.name: f.stat().st_mtime_ns for f in out.glob('runs/*/result.json')}

    before = times()
    (out / 'runs' / 'alone_seed1' / 'result.json').unlink()
    assert main(arguments) == 0
    changed = {name for name, time in times().items() if time != before[name]}
    assert changed == {'alone_seed1'}
    again = json.loads((out / 'ablation.json').read_text())['runs']
    assert [run['figures'] for run in again] == [run['figures'] for run in found['runs']]

    path.write_text(SMALLEST.replace('steps: 2', 'steps: 1'))
    todo = jobs(load_ablation(path), out)
    assert all(job.result() is None for job in todo), 'results of other runs must not be taken for these'


@pytest.mark.parametrize(
    ('old', 'new', 'problem'),
    [
        ('supervision: semi', 'supervision: supervised', 'expected supervision: semi on synthetic data'),
        ('{stride: 4}', '{lidar: 1.0}', 'semi_losses.lidar is 1.0 but data is synthetic'),
        ('name: alone', 'name: full', 'expected at least one, every name once'),
        ('seeds: [0, 1]', 'seeds: [0, 0]', r'seeds are \[0, 0\]; expected at least one, each once'),
        ('pose: per_camera', 'pose: apart', "network_changes: pose 'apart'"),
        ('views: 2', 'views: 0', 'stages of steps and a number of views'),
        ('note: a note', 'notes: a note', r'variants\[1\] has unknown entries notes'),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = tmp_path / 'ablation.yaml'
    path.write_text(SMALLEST.replace(old, new))
    with pytest.raises(ConfigError, match=problem):
        load_ablation(path)


def test_imagenet_weights_are_refused_before_any_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'ablation.yaml'
    path.write_text(SMALLEST)
    with pytest.raises(SystemExit):
        main([str(tmp_path / 'out'), '--config', str(path), '--imagenet', 'efficientnet-lite0.safetensors'])
    assert 'small_residual has the encoder residual; expected an EfficientNet-Lite' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_job_that_ended_before_it_began_is_begun_and_other_peoples_files_are_left(tmp_path: Path) -> None:
    path = tmp_path / 'ablation.yaml'
    path.write_text(SMALLEST)
    job = jobs(load_ablation(path), tmp_path)[0]
    job.folder.mkdir(parents=True)
    assert begun(job) == job.folder
    (job.folder / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='is no run of an ablation'):
        begun(job)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_it_runs_where_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'ablation.yaml'
    path.write_text(SMALLEST)
    with pytest.raises(SystemExit):
        main([str(tmp_path / 'out'), '--config', str(path), '--accelerator', 'gpu'])
    assert "accelerator 'gpu', devices 1: No supported gpu backend found" in capsys.readouterr().err


def test_the_report_leaves_alone_what_people_have_written(tmp_path: Path) -> None:
    path = tmp_path / 'ablation.md'
    write_report(path, 'one')
    path.write_text('Before.\n' + path.read_text() + 'After.\n')
    write_report(path, 'two')
    assert path.read_text() == f'Before.\n# Ablation\n\n{BEGIN}\n\ntwo\n{END}\nAfter.\n'
    path.write_text('Written by hand.\n')
    with pytest.raises(FileExistsError, match='no marks of an earlier report'):
        write_report(path, 'three')


def test_an_unfinished_ablation_says_so() -> None:
    config = load_ablation(SHIPPED)
    result = {'variant': 'full', 'seed': 0, 'gflops': 1.0, 'minutes': 2.0, 'figures': {'abs_rel': 0.2}}
    text = markdown(replace(config, seeds=(0,)), [result], 'the command')
    assert text.startswith('7 of the runs are not finished')
    assert '| full method | 0.200 ± 0.000 |' in text
