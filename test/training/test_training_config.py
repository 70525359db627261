# SPDX-License-Identifier: Apache-2.0
"""Training configs: the ones that ship load, and what cannot be used is named."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from semi_smd_ros.cli.main import app
from semi_smd_ros.network.config import EFFICIENTNETS, RESNET_BLOCKS
from semi_smd_ros.training.beginning import check_beginning, check_published
from semi_smd_ros.training.config import Stage, TrainConfig, load_train_config, with_stage_minutes
from semi_smd_ros.training.settings import ConfigError, dump_settings
from semi_smd_ros.training.train import main, make_parser

SHIPPED = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(set(SHIPPED.glob('*.yaml')) - {SHIPPED / 'ablation.yaml'})
BLIND = SHIPPED / 'small_blind.yaml'


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load(path: Path) -> None:
    config = load_train_config(path)
    assert config.budget > 0


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_what_is_dumped_is_read_back(path: Path, tmp_path: Path) -> None:
    config = load_train_config(path)
    dump_settings(config, tmp_path / 'config.yaml', 'a comment')
    assert load_train_config(tmp_path / 'config.yaml') == config


def test_what_the_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / 'run.yaml'
    path.write_text(
        'stages:\n  - {height: 64, width: 96, minutes: 3, batch: 4}\n'
        'learning_rate: 0.001\nlosses: {thing: 1, depth_range: [1, 80]}\naugmentation: {mirror: 0.0}\n'
    )
    config = load_train_config(path)
    assert config.stages == (Stage(64, 96, 3.0, 4),)
    assert (config.learning_rate, config.losses.thing, config.augmentation.mirror) == (0.001, 1.0, 0.0)
    assert config.losses.depth_range == (1.0, 80.0)
    assert config.losses.sky == TrainConfig().losses.sky
    assert config.weight_decay == TrainConfig().weight_decay
    assert with_stage_minutes(config, 6.0).stages == (Stage(64, 96, 6.0, 4),)


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('learning_rat: 0.1', 'unknown entries learning_rat; known: network, network_changes, data, '),
        ('losses: {things: 1.0}', 'losses has unknown entries things'),
        ('learning_rate: 2e-3', r"learning_rate is '2e-3', expected a float \(numbers as 0.002 or 2.0e-3\)"),
        ('seed: 1.5', 'seed is 1.5, expected a int'),
        ('bfloat16: 1', 'bfloat16 is 1, expected a bool'),
        ('network: huge', "network 'huge' is not known; expected one of small"),
        ('stages: []', 'stages is empty'),
        ('stages: 3', 'stages is 3, expected a list'),
        ('stages: [{height: 64}]', r'stages\[0\]: .* missing .*width.*; expected height, width, minutes, batch, steps'),
        ('stages: [{height: 64, width: 96}]', 'stage 64x96 has minutes 0.0, steps 0 and batch 1; expected either'),
        (
            'stages: [{height: 64, width: 96, steps: 2}, {height: 64, width: 96, minutes: 2}]',
            'some stages have steps, others minutes',
        ),
        ('supervision: self', "supervision is 'self'; expected one of supervised, semi"),
        ('data: "ddad:x"', 'dense truth comes with data: synthetic alone, so set supervision: semi'),
        ('labels: x', 'data is synthetic, which has its own teacher; leave it out'),
        ('uses: 0', 'uses is 0, .*expected uses of 1 or more'),
        ('network_changes: {widht: 3}', 'network_changes: .*widht'),
        ('network_changes: {pose: alone}', "network_changes: pose 'alone': expected one of joint, per_camera"),
        (
            'stages: [{height: 64, width: 96, minutes: 1, batch: 1}, {height: 160, width: 224, minutes: 1, batch: 1}]',
            'stage 64x96 is no half, quarter, ... of 160x224',
        ),
        ('{network: small_blind, encoder_rate: 0.1}', 'encoder_rate is 0.1 but small_blind has the encoder residual'),
        (
            '{network_changes: {encoder: residual}, encoder_rate: 0.1}',
            'encoder_rate is 0.1 but small has the encoder residual',
        ),
        ('stages: [{height: 180, width: 320, steps: 1}]', 'stage 180x320: .*positive multiples of 32'),
        ('stages: [{height: 0, width: 320, steps: 1}]', 'stage 0x320: .*positive multiples of 32'),
        ('{supervision: semi, semi_losses: {lidar: 1.0}}', 'semi_losses.lidar is 1.0 but data is synthetic'),
        ('validation_scenes: 0', 'validation_scenes is 0; expected 1 or more'),
        ('losses: {relative: 1.5}', 'losses.relative is 1.5; expected a share, 0..1'),
        ('pool_capacity: 15', 'pool_capacity is 15 but 16 frame pairs must be there at a time'),
        (
            '{pool_capacity: 20, stages: [{height: 64, width: 96, minutes: 1, batch: 24}]}',
            'pool_capacity is 20 but 24 frame pairs must be there',
        ),
        ('average: 1.0', r'average is 1.0; expected 0 \(none\) up to, not including, 1'),
        ('- 1', 'the file holds .1., expected a mapping'),
        ('a: [', 'not YAML'),
        ('!!python/object/apply:os.system ["true"]', 'not YAML'),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / 'run.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_train_config(path)
    assert str(caught.value).startswith(str(path))


def commands(path: Path) -> list[list[str]]:
    """Those that a config's comment tells, as a shell would split them."""
    lines = [line.removeprefix('#').strip() for line in path.read_text().splitlines() if line.startswith('#')]
    text = '\n'.join(lines).replace('\\\n', ' ')
    return [shlex.split(line) for line in text.splitlines() if line.startswith('semi-smd ')]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_command_in_a_configs_comment_can_be_run(path: Path) -> None:
    (told,) = [command for command in commands(path) if command[1] == 'train']
    options = make_parser().parse_args(told[2:])
    assert SHIPPED.parent / options.config == path
    config = load_train_config(path)
    begin = options.imagenet or options.weights
    check_beginning(config, str(begin or ''))
    published = config.network_config.encoder in (*EFFICIENTNETS, *RESNET_BLOCKS)
    assert (begin is not None) == published, 'an encoder with published weights begins with some'
    if options.imagenet:
        check_published(config.network_config, options.imagenet)
        assert config.network_config.encoder.removeprefix('efficientnet_') in str(options.imagenet)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_recordings_are_labelled_as_they_are_trained_on(path: Path) -> None:
    config = load_train_config(path)
    told = [command[2:] for command in commands(path) if command[1] == 'label']
    assert len(told) == (not config.synthetic)
    for arguments in told:
        label = typer.main.get_command(app).commands['label']  # type: ignore[attr-defined]
        given = label.make_context('label', list(arguments)).params
        assert given['source'] == config.data
        assert given['depth']
        assert given['semantics'], 'or neither sky nor road nor what moves is known'


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_no_shell_takes_an_address_for_a_pattern(path: Path) -> None:
    told = [line for line in path.read_text().splitlines() if line.startswith('#  ')]
    assert not any('?' in re.sub("'[^']*'", '', line) for line in told)


def test_a_run_begins_in_one_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(BLIND), str(tmp_path), '--weights', 'some.safetensors', '--resume'])
    assert 'got --weights and --resume; expected one of them' in capsys.readouterr().err


def test_imagenet_weights_need_their_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(BLIND), str(tmp_path), '--imagenet', 'resnet34.safetensors'])
    assert 'small_blind has the encoder residual; expected an EfficientNet-Lite' in capsys.readouterr().err


def test_a_random_encoder_is_not_kept_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(CONFIGS[0].with_name('small.yaml')), str(tmp_path)])
    said = capsys.readouterr().err
    assert 'encoder_rate is 0.1, for an encoder with published weights, but its weights are random' in said


def test_the_command_line_names_a_config_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path / 'none.yaml'), str(tmp_path)])
    assert 'none.yaml: no such file' in capsys.readouterr().err
