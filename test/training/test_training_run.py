# SPDX-License-Identifier: Apache-2.0
"""A short run from stored samples: it learns, writes its files, and resumes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from training_fixtures import SIZE, flat_ground_sample

from semi_smd_ros.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from semi_smd_ros.network.config import CONFIGS
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training import fabric, pool
from semi_smd_ros.training.config import Stage, TrainConfig, load_train_config, with_stage_minutes
from semi_smd_ros.training.evaluate import depth_figures, evaluate, protocol
from semi_smd_ros.training.objective import Objective
from semi_smd_ros.training.optimisation import guilty_terms
from semi_smd_ros.training.samples import (
    FIRST_TRAINING_SEED,
    TEST_SEEDS,
    VALIDATION_SEEDS,
    Sample,
    render_sample,
)
from semi_smd_ros.training.trainer import Trainer

CONFIG = TrainConfig(
    stages=(Stage(*SIZE, 1.0, batch=1),),
    workers=0,
    pool_minimum=1,
    validation_scenes=1,
    validate_every_minutes=100,
    bfloat16=False,
)
NETWORK = replace(CONFIGS['small_residual'], height=SIZE[0], width=SIZE[1])


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    return replace(config, views=2, stages=(Stage(*SIZE, steps=steps),))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder whose pool and held-out scenes are already rendered."""
    frames = tmp_path / 'frames'
    training, held_out = frames / '64x96', frames / 'held_out_64x96'
    for place, first in ((training, FIRST_TRAINING_SEED), (held_out, VALIDATION_SEEDS.start)):
        place.mkdir(parents=True)
        for seed in range(first, first + 3):
            flat_ground_sample(seed).save(pool.sample_path(place, seed))
    return tmp_path


def test_a_run_learns_and_writes_down_what_it_does(folder: Path) -> None:
    first = Trainer(with_steps(CONFIG, 15), NETWORK, folder, 'the command')
    lines: list[str] = []
    first.run(lambda done, text: lines.append(text))
    assert first.step == len(lines) == 15
    losses = [float(line.split()[-1]) for line in lines]
    assert min(losses) < 0.8 * losses[0]
    network, card = load_checkpoint(folder / 'best.safetensors')
    assert card['steps'] == first.step
    assert 'synthetic pictures only' in card['trained_on']
    assert not network.training
    assert all(
        torch.equal(one, other)
        for one, other in zip(network.state_dict().values(), first.averaged.state_dict().values())
    )
    entries = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines()]
    assert 0 < entries[-1]['validation']['abs_rel'] < 10
    assert load_train_config(folder / 'config.yaml') == first.config
    picture = cv2.imread(str(folder / 'pictures' / 'sample_0_0000015.png'))
    rows = ('image', 'depth', 'true depth', 'classes')
    assert picture.shape == (len(rows) * SIZE[0], 74 + 6 * SIZE[1], 3)
    assert len(list((folder / 'tensorboard').glob('events.*'))) == 1


def test_a_run_of_minutes_draws_from_the_pool_and_can_be_continued(folder: Path) -> None:
    first = Trainer(with_stage_minutes(CONFIG, 1 / 60), NETWORK, folder, 'the command')
    first.run(lambda minutes, text: None)
    assert first.step >= 1
    second = Trainer(with_stage_minutes(CONFIG, first.elapsed_s / 60 + 0.01), NETWORK, folder, 'the command')
    second.resume()
    assert second.step == first.step
    for one, other in ((first.network, second.network), (first.averaged, second.averaged)):
        assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    ours, theirs = first.optimizer.state_dict()['state'], second.optimizer.state_dict()['state']
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[i][name], theirs[i][name]) for i in ours for name in ours[i])
    second.run(lambda minutes, text: None)
    assert second.step > first.step


def test_a_run_begins_with_given_weights_of_its_own_network_only(folder: Path, tmp_path: Path) -> None:
    given = SemiSmdNetwork(NETWORK)
    card = {'version': '0', 'trained_on': 'nothing', 'scores': {}, 'command': ''}
    save_checkpoint(given, tmp_path / 'given.safetensors', card)
    run = Trainer(CONFIG, NETWORK, folder, '')
    run.start_from(tmp_path / 'given.safetensors')
    for one, other in zip(run.network.state_dict().values(), given.state_dict().values()):
        assert torch.equal(one, other)
    for width in ('sweep_width', 'edge_width'):
        without = SemiSmdNetwork(replace(NETWORK, **{width: 0}))
        save_checkpoint(without, tmp_path / 'without.safetensors', card)
        added = Trainer(CONFIG, NETWORK, folder, '')
        added.start_from(tmp_path / 'without.safetensors')
        for name, value in without.state_dict().items():
            assert torch.equal(added.network.state_dict()[name], value), name
    with pytest.raises(CheckpointError, match=r'sweep_width 8 \(here 0\); choose its config'):
        Trainer(CONFIG, replace(NETWORK, sweep_width=0), folder, '').start_from(tmp_path / 'given.safetensors')
    wider = Trainer(CONFIG, replace(NETWORK, stem_width=24), folder, '')
    with pytest.raises(CheckpointError, match='choose its config'):
        wider.start_from(tmp_path / 'given.safetensors')


@pytest.mark.parametrize(('poisoned', 'term'), [('sky', 'sky'), ('semantics', 'coarse_semantics, semantics')])
def test_a_term_that_is_not_finite_is_named_and_stops_the_run(folder: Path, poisoned: str, term: str) -> None:
    """And what was saved before stays as it was."""
    run = Trainer(with_steps(CONFIG, 2), NETWORK, folder, '')
    run.run(lambda done, text: None)
    before = (folder / 'last.safetensors').read_bytes()
    weights = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.objective.config = replace(run.config, losses=replace(run.config.losses, **{poisoned: float('inf')}))
    with pytest.raises(FloatingPointError, match=f'step 2: {term} or its gradient is not finite.*--resume'):
        run.train_step([flat_ground_sample()])
    assert (folder / 'last.safetensors').read_bytes() == before
    assert all(torch.equal(value, weights[name]) for name, value in run.network.named_parameters())


def test_a_gradient_that_is_not_finite_is_laid_to_its_term() -> None:
    weight = torch.nn.Parameter(torch.zeros(()))
    terms = {'smooth': weight.square(), 'rough': weight.sqrt()}  # finite at 0, but its slope is not
    assert guilty_terms(terms, [weight]) == ['rough']
    assert guilty_terms({'smooth': weight.square()}, [weight]) == []


def test_evaluation_of_the_prior_on_flat_ground(folder: Path) -> None:
    """On flat ground the prior is right up to its far value, and the figures know it."""
    network = Trainer(CONFIG, NETWORK, folder, '').network.eval()
    figures = evaluate(network, [flat_ground_sample()])
    assert figures['abs_rel_ground'] < 0.1
    assert figures['ego_still_translation_m'] == pytest.approx(1.5)
    assert figures['ego_still_rotation_deg'] == pytest.approx(0, abs=1e-6)
    assert 0 <= figures['semantics_accuracy'] <= 1


def test_depth_figures() -> None:
    true = np.array([[10.0, 20.0, np.inf, np.nan, 300.0]])
    predicted = np.array([[11.0, np.inf, 5.0, 5.0, 5.0]])
    abs_rel, d1, relative, scored = depth_figures(predicted, true)
    assert scored.tolist() == [[True, True, False, False, False]]
    assert abs_rel == pytest.approx((0.1 + 9.0) / 2)
    assert d1 == 0.5
    assert relative.shape == (2,)


def test_truth_beyond_a_sources_limit_is_not_scored() -> None:
    true, predicted = np.array([[10.0, 79.0, 81.0]]), np.array([[10.0, np.inf, 40.0]])
    abs_rel, d1, _, scored = depth_figures(predicted, true, farthest_m=80.0)
    assert scored.tolist() == [[True, True, False]]
    assert (abs_rel, d1) == (pytest.approx(0.5 / 79), 1.0), 'sky is taken for the farthest'
    assert '0.1..80 m, sky left out, prediction (sky: 80 m)' in protocol(80.0)
    assert 'synthetic' not in protocol(80.0)


def test_sky_is_scored_where_truth_has_some(folder: Path) -> None:
    """LiDAR never falls on the sky: against it alone, every network would have an intersection of 0."""
    network = Trainer(CONFIG, NETWORK, folder, '').network.eval()
    whole = flat_ground_sample()
    with torch.no_grad():
        network.heads.dense.bias += 3.0  # says sky somewhere
    sparse = replace(whole, depth_tnhw=np.where(np.isinf(whole.depth_tnhw), np.float16(np.nan), whole.depth_tnhw))
    alone, both = evaluate(network, [sparse]), evaluate(network, [whole, sparse])
    assert 'sky_iou' not in alone
    assert alone['abs_rel'] > 0
    assert both['sky_iou'] == evaluate(network, [whole])['sky_iou'] > 0


def test_seeds_of_training_validation_and_test_are_apart() -> None:
    assert TEST_SEEDS.stop <= VALIDATION_SEEDS.start
    assert VALIDATION_SEEDS.stop <= FIRST_TRAINING_SEED


def test_learning_rate_rises_then_falls() -> None:
    config = replace(CONFIG, learning_rate=1.0, final_learning_rate=0.01)
    rates = [config.learning_rate_at(p) for p in (0.0, 0.02, 0.5, 1.0)]
    assert rates[0] < rates[1] == pytest.approx(1.0)
    assert rates[1] > rates[2] > rates[3] == pytest.approx(0.01)


def newest_seed(filled: pool.SamplePool) -> int:
    return int(pool.stored_samples(filled.folder)[-1].stem)


def test_workers_fill_the_pool_keep_it_bounded_and_stop(tmp_path: Path) -> None:
    with pool.SamplePool(tmp_path, *SIZE, workers=1, capacity=2, minimum=2) as filled:
        samples = filled.draw(np.random.default_rng(0), 2)
        worker = filled.workers[0]
        deadline = time.monotonic() + 20
        while newest_seed(filled) < FIRST_TRAINING_SEED + 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert newest_seed(filled) >= FIRST_TRAINING_SEED + 3
    assert not worker.is_alive()
    assert {sample.images_tnhw3.shape for sample in samples} == {(2, 6, *SIZE, 3)}
    assert len(pool.stored_samples(filled.folder)) <= 3  # the worker drops the oldest right after it stored the newest
    again = render_sample(newest_seed(filled), *SIZE)
    stored = Sample.load(pool.stored_samples(filled.folder)[-1])
    assert np.array_equal(stored.images_tnhw3, again.images_tnhw3)


def test_a_pool_without_living_workers_says_so(tmp_path: Path) -> None:
    with pool.SamplePool(tmp_path, *SIZE, workers=0, capacity=4, minimum=1) as empty:
        empty.workers = [FinishedWorker()]  # type: ignore[list-item]
        with pytest.raises(pool.PoolError, match='exit codes'):
            empty.draw(np.random.default_rng(0), 1)
        empty.workers = []
        with pytest.raises(pool.PoolError, match='holds 0 samples where 2 are needed, and no worker renders more'):
            empty.draw(np.random.default_rng(0), 2)


class FinishedWorker:
    """Stands for a process that has crashed."""

    exitcode = 1

    def is_alive(self) -> bool:
        return False


def test_what_is_not_finite_is_looked_for_as_it_was_computed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fabric, 'has_bfloat16', lambda device: True)
    run = Trainer(replace(with_steps(CONFIG, 2), bfloat16=True), NETWORK, folder, '')
    run.objective.config = replace(run.config, losses=replace(run.config.losses, sky=float('inf')))
    rounding: list[bool] = []
    run.objective.register_forward_pre_hook(lambda *_: rounding.append(torch.is_autocast_enabled('cpu')))
    with pytest.raises(FloatingPointError, match='sky or its gradient is not finite'):
        run.train_step([flat_ground_sample()])
    assert rounding == [True, True]


def test_in_bfloat16_geometry_and_truth_stay_exact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the network's layers may round: an intrinsic or a depth in bfloat16 would be off by up to 0.4 %."""
    monkeypatch.setattr(fabric, 'has_bfloat16', lambda device: True)  # a CPU without it emulates it
    seen: list[tuple[bool, dict[str, torch.Tensor]]] = []  # is autocast on, and what the losses are given
    forward = Objective.forward

    def noted(self: Objective, lesson: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append((torch.is_autocast_enabled('cpu'), {name: v for name, v in lesson.items() if v is not None}))
        return forward(self, lesson)

    monkeypatch.setattr(Objective, 'forward', noted)
    losses: list[dict[str, float]] = []
    for bfloat16 in (False, True):
        config = replace(with_steps(CONFIG, 2), bfloat16=bfloat16)
        trainer = Trainer(config, NETWORK, folder / f'bfloat16_{bfloat16}', 'the command')
        losses.append(trainer.train_step([flat_ground_sample()]))
    (plain, exact), (rounding, same) = seen
    assert (plain, rounding) == (False, True)
    torch.testing.assert_close(same, exact, rtol=0, atol=0, equal_nan=True)
    for name, value in losses[0].items():
        assert losses[1][name] == pytest.approx(value, rel=0.2, abs=0.02), name
