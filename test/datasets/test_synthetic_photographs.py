# SPDX-License-Identifier: Apache-2.0
"""Photographs on the synthetic world's surfaces: how they are read, looked up, and what they leave as it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from semi_smd_ros.cli.main import app
from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.synthetic import (
    Photographs,
    SyntheticFrame,
    ddad_like_rig,
    render_batch,
    render_sequence,
)
from semi_smd_ros.datasets.synthetic import photographs as module
from semi_smd_ros.datasets.synthetic import primitives as prim
from semi_smd_ros.datasets.synthetic.photographed import _draws
from semi_smd_ros.training.config import TrainConfig
from semi_smd_ros.training.pool import SamplePool, frames_folder, sample_path
from semi_smd_ros.training.samples import FIRST_TRAINING_SEED, Sample, render_sample, shows_photographs
from semi_smd_ros.training.settings import ConfigError
from semi_smd_ros.training.train import main as train

SEED = 9  # a scene by day


def picture(path: Path, image_hw3: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image_hw3)


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stripes on grass, grain on roads, tinted blocks on walls."""
    root = tmp_path_factory.mktemp('photographs')
    rng = np.random.default_rng(0)
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, (np.arange(128) // 16) % 2 == 1] = (60, 200, 90)
    picture(root / 'grass' / 'stripes.png', stripes)
    picture(root / 'road' / 'grain.png', rng.integers(40, 200, (256, 256, 3), dtype=np.uint8))
    blocks = rng.integers(30, 220, (8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    picture(root / 'wall' / 'blocks.png', blocks)
    picture(root / 'holiday' / 'beach.png', blocks)  # no kind of surface
    return root


def test_kinds_are_subfolders(folder: Path) -> None:
    read = Photographs.read(folder)
    assert {kind for kind, numbers in read.numbers.items() if numbers} == {'grass', 'road', 'wall'}
    assert read.kinds(('facade', 'wall', 'road')) == ('wall', 'road')
    assert read.texels_t3.shape == (3 * sum((module.SIDE >> level) ** 2 for level in range(module.LEVELS)), 3)
    assert torch.allclose(read.tints_k3 @ torch.tensor(module.LUMINANCE), torch.ones(3), atol=1e-5)
    assert Photographs.read(folder) is read


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'has no photographs; expected .*subfolders named road, pavement'):
        Photographs.read(tmp_path)


@pytest.mark.parametrize(('content', 'said'), [(b'no picture', 'no picture'), (None, '40x200 pixels')])
def test_a_picture_that_is_none_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    picture(tmp_path / 'road' / 'good.png', np.full((128, 128, 3), 90, np.uint8))
    bad = tmp_path / 'road' / 'bad.png'
    if content is None:
        picture(bad, np.full((200, 40, 3), 90, np.uint8))
    else:
        bad.write_bytes(content)
    with pytest.raises(DataError, match=f'bad.png: {said}; expected a photograph of at least 64x64'):
        Photographs.read(tmp_path)


def test_light_is_looked_up_in_metres(folder: Path) -> None:
    """Stripes of an eighth of the picture: half a metre each where it covers four; far away they are grey."""
    read = Photographs.read(folder)
    number = torch.full((400,), read.numbers['grass'][0])
    u, v, metres = torch.linspace(0, 8, 401)[:-1] + 0.01, torch.full((400,), 0.3), torch.full((400,), 4.0)
    near = read.ratios(number, u, v, metres, torch.full((400,), 0.005))[:, 1]
    bright = ((u / 0.5).floor() % 2) == 1
    inner = ((u / 0.5) - (u / 0.5).round()).abs() > 0.1  # away from edges, over which light is interpolated
    assert near[bright & inner].min() > 1.8
    assert near[~bright & inner].max() < 0.2
    assert torch.allclose(near[:200], near[200:], atol=1e-3)  # the picture repeats
    far = read.ratios(number, u, v, metres, torch.full((400,), 4.0))
    assert torch.allclose(far, torch.ones_like(far), atol=0.1)


def test_what_does_not_tile_is_blended_over_its_edges(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(20, 230, 256).astype(np.uint8)[:, None], (256, 1))
    picture(tmp_path / 'dirt' / 'ramp.png', np.dstack([ramp.reshape(256, 256).T] * 3))
    picture(tmp_path / 'snow' / 'even.png', np.random.default_rng(0).integers(90, 110, (256, 256, 3), dtype=np.uint8))
    read = Photographs.read(tmp_path)
    finest = read.texels_t3.reshape(2, -1, 3)[:, : module.SIDE**2].reshape(2, module.SIDE, module.SIDE, 3).int()
    tiled = finest.repeat(1, 2, 2, 1)
    steps = [
        (tiled[:, 1:] - tiled[:, :-1]).abs().amax((1, 2, 3)),
        (tiled[:, :, 1:] - tiled[:, :, :-1]).abs().amax((1, 2, 3)),
    ]
    assert torch.stack(steps).amax(0)[0] < 8  # the ramp, which ends at more than ten times what it begins with
    assert torch.equal(finest[1], finest[1].clamp(80, 120))  # and what tiles stays as it is


def test_draws_have_nothing_in_common() -> None:
    """Of primitives that wear nearly the same picture, all sizes, strengths and hues are seen."""
    generator = torch.Generator().manual_seed(0)
    colour = tuple(torch.rand(200_000, generator=generator) for _ in range(3))
    hits = SimpleNamespace(colour=colour, salt=1000 * torch.rand(200_000, generator=generator))
    draws = torch.stack(_draws(hits, prim.FOLIAGE))  # type: ignore[arg-type]
    correlation = torch.corrcoef(draws) - torch.eye(len(draws))
    assert correlation.abs().max() < 0.02
    alike = draws[:, (draws[2] > 0.5) & (draws[2] < 0.52)]
    assert alike.shape[1] > 3000
    for other in (0, 1, 3, 4):
        counts = torch.histc(alike[other], 20, 0.0, 1.0)
        assert counts.min() > 0.7 * counts.mean()


@pytest.fixture(scope='module')
def frames(folder: Path) -> tuple[SyntheticFrame, SyntheticFrame]:
    rig = ddad_like_rig(96, 160)
    return render_sequence(SEED, rig, 1)[0], render_sequence(SEED, rig, 1, photographs=Photographs.read(folder))[0]


def test_they_change_pictures_and_nothing_else(frames: tuple[SyntheticFrame, SyntheticFrame], folder: Path) -> None:
    plain, shown = frames
    for name in ('depth_nhw', 'semantics_nhw', 'ego_mask_nhw', 'moving_nhw', 'world_T_base', 'ground_plane_base'):
        assert np.array_equal(getattr(plain, name), getattr(shown, name), equal_nan=name == 'depth_nhw'), name
    change = np.abs(plain.images_nhw3.astype(int) - shown.images_nhw3).mean(-1)
    assert change.mean() > 3
    sky = np.isposinf(plain.depth_nhw)
    assert change[sky].mean() < change[~sky].mean() / 3  # exposure alone
    again = render_sequence(SEED, ddad_like_rig(96, 160), 1, photographs=Photographs.read(folder))[0]
    assert np.array_equal(again.images_nhw3, shown.images_nhw3)


def test_materials_without_photographs_keep_their_noise(
    frames: tuple[SyntheticFrame, SyntheticFrame], tmp_path: Path
) -> None:
    """With bark alone, which roads never wear, these stay as they were but for exposure."""
    picture(tmp_path / 'bark' / 'even.png', np.random.default_rng(0).integers(90, 110, (64, 64, 3), dtype=np.uint8))
    only = render_sequence(SEED, ddad_like_rig(96, 160), 1, photographs=Photographs.read(tmp_path))[0]
    plain, everything = frames
    road = plain.semantics_nhw == 0
    changed = np.abs(plain.images_nhw3.astype(int) - only.images_nhw3).mean(-1)[road].mean()
    assert changed < 0.3 * np.abs(plain.images_nhw3.astype(int) - everything.images_nhw3).mean(-1)[road].mean()


def test_half_of_the_training_scenes_show_them(folder: Path) -> None:
    shown = [shows_photographs(seed) for seed in range(64)]
    assert sum(shown) == 32
    for kind in range(4):  # rigs go by seed % 4
        assert sum(shown[kind::4]) == 8
    for seed in (0, 4):
        plain, other = (render_sample(seed, 64, 96, 1, photographs=given) for given in ('', str(folder)))
        assert np.array_equal(plain.images_tnhw3, other.images_tnhw3) != shows_photographs(seed)


def test_batches_show_them_too(frames: tuple[SyntheticFrame, SyntheticFrame], folder: Path) -> None:
    batched = render_batch([SEED], [ddad_like_rig(96, 160)], 1, photographs=Photographs.read(folder))[0][0]
    change = np.abs(batched.images_nhw3.astype(int) - frames[1].images_nhw3)
    assert (change > 1).mean() < 1e-3


def test_they_are_shown_on_command(folder: Path, tmp_path: Path) -> None:
    sheets = {}
    for name, given in (('plain', []), ('shown', ['--photographs', str(folder)])):
        out = tmp_path / f'{name}.png'
        arguments = [str(SEED), '--preview', '--sets', '1', '--width', '64', '--height', '48', '--out', str(out)]
        result = CliRunner().invoke(app, ['synth', *arguments, *given])
        assert result.exit_code == 0, result.output
        sheets[name] = cv2.imread(str(out))
    assert sheets['plain'].shape == sheets['shown'].shape
    assert not np.array_equal(sheets['plain'], sheets['shown'])


def test_training_takes_them_for_rendered_scenes_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"photographs is 'pictures' but data is 'ddad:x'; .* leave them out"):
        TrainConfig(data='ddad:x', supervision='semi', photographs='pictures')
    config = tmp_path / 'config.yaml'
    config.write_text(f'photographs: {tmp_path}\n')
    with pytest.raises(SystemExit):
        train([str(config), str(tmp_path / 'run')])
    assert 'has no photographs' in capsys.readouterr().err


def test_renderers_of_a_run_show_them(folder: Path, tmp_path: Path) -> None:
    seeds = [seed for seed in range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + 8) if shows_photographs(seed)]
    with SamplePool(tmp_path, 64, 96, workers=1, capacity=100, minimum=8, photographs=str(folder)) as pool:
        pool.draw(np.random.default_rng(0), 1)
    assert pool.folder == frames_folder(tmp_path, 64, 96, str(folder)) != frames_folder(tmp_path, 64, 96, '')
    kept = Sample.load(sample_path(pool.folder, seeds[0])).images_tnhw3
    assert np.array_equal(kept, render_sample(seeds[0], 64, 96, photographs=str(folder)).images_tnhw3)
    assert not np.array_equal(kept, render_sample(seeds[0], 64, 96).images_tnhw3)
