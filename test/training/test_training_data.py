# SPDX-License-Identifier: Apache-2.0
"""Which sample comes when, and where it comes from: schedules, rendered views, moments of a source."""

from __future__ import annotations

import pickle
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from training_fixtures import SIZE, flat_ground_sample

from semi_smd_ros.cli.label import run_labelling
from semi_smd_ros.datasets.sample import DataError, SurroundSample
from semi_smd_ros.datasets.source import SampleSequence, Source
from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.training import pool, source_samples, views
from semi_smd_ros.training.batch import make_batch
from semi_smd_ros.training.config import Stage, TrainConfig
from semi_smd_ros.training.correspondence import previous_pixels
from semi_smd_ros.training.samples import FIRST_TRAINING_SEED, Sample
from semi_smd_ros.training.schedule import Epochs, FreshViews, slots_of
from semi_smd_ros.training.source_samples import SourceSamples
from semi_smd_ros.training.stage_data import StageData
from semi_smd_ros.training.supply import Turn, supply
from semi_smd_ros.training.teachers.execution import Execution
from semi_smd_ros.training.teachers.synthetic import SyntheticTeacher
from semi_smd_ros.training.views import RenderedViews, SourceViews

DRIVE = 'synthetic:3?sets=4&width=144&height=96&rig=ddad'


def test_every_view_is_used_as_often_as_asked_and_never_long_after() -> None:
    schedule = FreshViews(uses=3, spacing=4)
    used = [schedule.view(slot) for slot in range(300)]
    counts = Counter(used)
    assert all(counts[view] == 3 for view in range(schedule.kept, 90))
    assert [slot for slot in range(300) if used[slot] not in used[:slot]] == list(range(0, 300, 3))
    assert all(max(used[: slot + 1]) - used[slot] < schedule.kept for slot in range(300))


def test_an_epoch_has_every_view_once_in_an_order_of_its_seed() -> None:
    schedule = Epochs(5, seed=1)
    epochs = [[schedule.view(slot) for slot in range(first, first + 5)] for first in (0, 5, 10)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert [Epochs(5, seed=2).view(slot) for slot in range(15)] != [view for epoch in epochs for view in epoch]


def test_processes_share_out_the_slots_of_a_step() -> None:
    taken = [slot for step in range(3) for rank in range(2) for slot in slots_of(step, 2, rank, 2)]
    assert taken == list(range(12))


class NumberedViews(views.Views):
    """A sample whose first pixel is its number."""

    def view(self, number: int) -> Sample:
        sample = flat_ground_sample()
        sample.images_tnhw3[0, 0, 0, 0, 0] = number
        return sample


@pytest.mark.parametrize('workers', [0, 2])
def test_batches_come_in_order_whoever_makes_them(workers: int) -> None:
    schedule = Epochs(7, seed=0)
    with closing(supply(NumberedViews(), schedule, Turn(10, 2, 2, rank=1, processes=2), workers)) as batches:
        got = [[int(s.images_tnhw3[0, 0, 0, 0, 0]) for s in next(batches)] for _ in range(3)]
    assert got == [[schedule.view(10 + slot) for slot in slots_of(step, 2, 1, 2)] for step in (2, 3, 4)]


def test_a_rendered_view_is_what_its_number_says_and_old_ones_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []

    def render(seed: int, height: int, width: int, photographs: str) -> Sample:
        assert photographs == 'a folder'
        rendered.append(seed)
        return flat_ground_sample(seed)

    monkeypatch.setattr(views, 'render_sample', render)
    monkeypatch.setattr(views, 'SLACK', 1)
    fresh = RenderedViews(tmp_path, *SIZE, halvings=0, teacher=None, kept=2, photographs='a folder')
    first = fresh.view(0)
    assert np.array_equal(first.images_tnhw3, flat_ground_sample(FIRST_TRAINING_SEED).images_tnhw3)
    for number in (1, 0, 2, 3, 4, 5):
        fresh.view(number)
    assert rendered == [FIRST_TRAINING_SEED + number for number in range(6)]
    kept = [
        int(path.stem) - FIRST_TRAINING_SEED
        for path in pool.stored_samples(pool.frames_folder(tmp_path, *SIZE, 'a folder'))
    ]
    assert kept == [0, 3, 4, 5]
    assert not (tmp_path / '64x96').exists()  # where runs without photographs keep theirs


def test_a_taught_view_has_labels_and_no_truth(tmp_path: Path) -> None:
    folder = tmp_path / '64x96'
    folder.mkdir()
    flat_ground_sample(0).save(pool.sample_path(folder, FIRST_TRAINING_SEED))
    taught = RenderedViews(tmp_path, *SIZE, halvings=0, teacher=SyntheticTeacher(), kept=None).view(0)
    assert np.isnan(taught.depth_tnhw).all()
    assert taught.teacher_disparity_tnhw is not None
    assert np.isfinite(taught.teacher_disparity_tnhw).any()
    assert taught.ego_mask_nhw is not None
    assert np.array_equal(taught.ego_mask_nhw, np.isnan(flat_ground_sample().depth_tnhw[0]))


def test_later_stages_go_on_with_views_that_were_not_seen(tmp_path: Path) -> None:
    config = TrainConfig(stages=(Stage(64, 96, steps=6, batch=2), Stage(128, 192, steps=3)), workers=0)
    second = StageData(config, 1, tmp_path, rank=1, processes=2)
    assert second.first_slot == 6 * 2 * 2
    again = replace(config, stages=(config.stages[0], config.stages[0]))
    assert StageData(again, 1, tmp_path).first_slot == 6 * 2, 'though both stages are alike'


def test_moments_of_a_drive_become_samples_as_the_renderer_would_have_made_them() -> None:
    """Rectified to another size, dense depth and motion still fit the pictures: cells are found again at t-1."""
    with open_source(DRIVE) as source:
        moments = SourceSamples(source, 64, 96)
        assert len(moments) == 4
        name, sample = moments[2]
        instead_of_the_first, _ = moments[0]
    assert (name, instead_of_the_first) == ('synthetic_3/000002', 'synthetic_3/000003')
    assert sample.images_tnhw3.shape == (2, 6, 64, 96, 3)
    assert sample.semantics_tnhw.shape == (2, 6, 16, 24)
    assert sample.ego_mask_nhw is not None
    assert np.isnan(sample.depth_tnhw[:, sample.ego_mask_nhw]).all()
    batch = make_batch([sample], None, np.random.default_rng(0))
    rig = (batch.intrinsics_bn33, batch.base_T_cam_bn44)
    road = (batch.semantics_tbnhw[1] == 0).repeat_interleave(4, -1).repeat_interleave(4, -2)
    road &= torch.isfinite(batch.depth_tbnhw[1]) & (batch.depth_tbnhw[1] < 15)
    ground = ray_grid(*rig, 64, 96, 1, far=50.0).ground_depth(batch.ground_tb3[1])
    assert float((ground / batch.depth_tbnhw[1])[road].log().abs().median()) < 0.03
    u, v, z = previous_pixels(batch.depth_tbnhw[1], *rig, batch.prev_T_now_tb44[1])
    inside = torch.isfinite(z) & (u >= 0) & (u <= 95) & (v >= 0) & (v <= 63)
    index = torch.where(inside, v.round() * 96 + u.round(), torch.zeros_like(u)).long()
    surface = batch.depth_tbnhw[0].flatten(2).gather(2, index)
    assert float((surface / z)[inside].log().abs().nanmedian()) < 0.03


def test_sparse_points_fall_on_the_pixels_that_see_them() -> None:
    with open_source(DRIVE + '&points=3000') as source:
        dense = SourceSamples(source, 64, 96)[1][1]
    with open_source(DRIVE + '&points=3000') as source:
        sequence = source.sequences()[0]
        read = sequence.read
        sequence.read = lambda index: replace(read(index), depth_maps=None)  # type: ignore[method-assign]
        sparse = SourceSamples(source, 64, 96)[1][1]
    known = np.isfinite(sparse.depth_tnhw)
    assert 0.2 < known.mean() < 0.6
    known &= np.isfinite(dense.depth_tnhw)
    ratio = sparse.depth_tnhw[known].astype(float) / dense.depth_tnhw[known].astype(float)
    assert np.median(np.abs(np.log(ratio))) < 0.02


def test_standing_still_is_passed_over_and_nothing_left_is_told() -> None:
    with open_source(DRIVE) as source:
        moved = float(np.linalg.norm(SourceSamples(source, 64, 96)[1][1].prev_T_now_t44[1, :3, 3]))
        assert SourceSamples(source, 64, 96, least_motion_m=moved * 0.9)[1][0] == 'synthetic_3/000001'
        with pytest.raises(DataError, match='none of its 4 moments can be trained on'):
            SourceSamples(source, 64, 96, least_motion_m=100.0)[0]
    with open_source(DRIVE.replace('sets=4', 'sets=1')) as source, pytest.raises(DataError, match='no two consecutive'):
        SourceSamples(source, 64, 96)


class StoppingDrive(SampleSequence):
    """Many moments of a drive that stops for a while; every read is noted."""

    def __init__(self, sets: int, stop: range) -> None:
        super().__init__('drive')
        with open_source(DRIVE) as source:
            self.moment = source.sequences()[0].read(1)
        self.sets, self.stop = sets, stop
        self.asked: Counter[int] = Counter()

    def __len__(self) -> int:
        return self.sets

    def read(self, index: int) -> SurroundSample:
        stood = len([i for i in self.stop if i <= index])
        pose = np.eye(4)
        pose[0, 3] = index - stood
        stamp_ns = index * 100_000_000
        stamps = (stamp_ns,) * len(self.moment.stamps_ns)
        return replace(self.moment, stamps_ns=stamps, ego_poses=((stamp_ns, pose),))

    def __getitem__(self, index: int) -> SurroundSample:
        self.asked[index] += 1
        return super().__getitem__(index)


class OneDrive(Source):
    def __init__(self, sequence: SampleSequence) -> None:
        super().__init__('drive')
        self.sequence = sequence

    def sequences(self) -> list[SampleSequence]:
        return [self.sequence]


def test_what_stands_in_for_a_stop_is_spread_over_the_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = flat_ground_sample()
    monkeypatch.setattr(source_samples, 'pair_sample', lambda *_: sample)
    drive = StoppingDrive(300, range(60, 240))
    moments = SourceSamples(OneDrive(drive), 32, 64, least_motion_m=0.1)
    drawn = Counter(moments[index][0] for index in range(300))
    assert len(drawn) == 119, 'the first moment has none before it, 180 stand'
    assert max(drawn.values()) <= 6
    assert all(count <= 1 for index, count in drive.asked.items() if index in drive.stop), 'a stop is read once'
    backwards = SourceSamples(OneDrive(drive), 32, 64, least_motion_m=0.1)
    again = Counter(backwards[index][0] for index in reversed(range(300)))
    assert again == drawn
    assert [moments[i][0] for i in (70, 239)] == [backwards[i][0] for i in (70, 239)]


@pytest.mark.parametrize('count', [1, 2, 3, 4, 6, 30, 1000, 28130])
def test_steps_to_substitutes_meet_every_moment(count: int) -> None:
    step = source_samples.substitute_step(count)
    assert len({step * k % count for k in range(count)}) == count


def test_a_sources_views_hide_all_truth_but_the_depth_that_is_asked_for() -> None:
    hidden = SourceViews(DRIVE, 64, 96, 0.0, '', keep_depth=False)
    hidden = pickle.loads(pickle.dumps(hidden))  # noqa: S301  (as it is sent to a worker)
    sample = hidden.view(1)
    assert np.isnan(sample.depth_tnhw).all()
    shown = SourceViews(DRIVE, 64, 96, 0.0, '', keep_depth=True).view(1)
    assert np.isfinite(shown.depth_tnhw).any()
    assert np.isnan(shown.prev_T_now_t44).all()
    assert (shown.semantics_tnhw == 255).all()


def test_cached_labels_of_a_source_come_with_its_samples(tmp_path: Path) -> None:
    run_labelling(DRIVE, tmp_path, 'synthetic:0', 'synthetic:0', 640, False, None, Execution(), Console(quiet=True))
    sample = SourceViews(DRIVE, 64, 96, 0.0, str(tmp_path), keep_depth=False).view(2)
    assert sample.teacher_disparity_tnhw is not None
    assert sample.teacher_semantics_tnhw is not None
    assert sample.teacher_disparity_tnhw.shape == (2, 6, 64, 96)
    with open_source(DRIVE) as source:
        truth = SourceSamples(source, 64, 96)[2][1]
    both = (truth.semantics_tnhw != 255) & (sample.teacher_semantics_tnhw != 255)
    assert (truth.semantics_tnhw == sample.teacher_semantics_tnhw)[both].mean() > 0.7
    disparity = sample.teacher_disparity_tnhw[1, 0]
    inverse = 1 / truth.depth_tnhw[1, 0].astype(np.float32)
    known = np.isfinite(disparity) & np.isfinite(inverse)
    assert np.corrcoef(disparity[known], inverse[known])[0, 1] > 0.9
