# SPDX-License-Identifier: Apache-2.0
"""What a stage trains on and what it is validated on, as the config says."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.training.config import Stage, TrainConfig
from semi_smd_ros.training.evaluate import FARTHEST_M
from semi_smd_ros.training.pool import SamplePool, held_out_samples
from semi_smd_ros.training.samples import VALIDATION_SEEDS, Sample
from semi_smd_ros.training.schedule import Epochs, FreshViews, Schedule
from semi_smd_ros.training.source_samples import SourceSamples
from semi_smd_ros.training.supply import Turn, supply
from semi_smd_ros.training.teachers.pseudo_labels import PseudoLabels
from semi_smd_ros.training.teachers.synthetic import SyntheticTeacher
from semi_smd_ros.training.views import RenderedViews, SourceViews, prepared


@dataclass(frozen=True)
class HeldOut:
    """What a stage is validated on: samples, and the depth up to which they are scored."""

    samples: list[Sample]
    farthest_m: float = FARTHEST_M


@dataclass(frozen=True)
class StageData:
    """The samples of stage number `index` for process `rank` of `processes`; `folder` is the run's."""

    config: TrainConfig
    index: int
    folder: Path
    rank: int = 0
    processes: int = 1

    @property
    def stage(self) -> Stage:
        return self.config.stages[self.index]

    @property
    def frames(self) -> Path:
        return Path(self.config.frames) if self.config.frames else self.folder / 'frames'

    @property
    def teacher(self) -> SyntheticTeacher | None:
        """What labels synthetic views in place of their truth."""
        return SyntheticTeacher() if self.config.supervision == 'semi' else None

    @property
    def first_slot(self) -> int:
        """How many slots the stages before this one have taken, where they are counted in steps."""
        return sum(stage.steps * stage.batch * self.processes for stage in self.config.stages[: self.index])

    def batches(self, step: int) -> Generator[list[Sample], None, None]:
        """Batches without end, from step number `step` of this stage on."""
        if self.config.synthetic and not self.stage.steps:
            return self.pool_batches(step)
        views, schedule = self.scheduled()
        turn = Turn(self.first_slot, step, self.stage.batch, self.rank, self.processes)
        return supply(views, schedule, turn, self.config.workers)

    def scheduled(self) -> tuple[RenderedViews | SourceViews, Schedule]:
        """Numbered views and which of them comes when."""
        config = self.config
        if not config.synthetic:
            keep_depth = config.semi_losses.lidar > 0
            size = (self.stage.height, self.stage.width)
            moments = SourceViews(config.data, *size, config.least_motion_m, config.labels, keep_depth)
            return moments, Epochs(len(moments), config.seed)
        fresh = FreshViews(config.uses, config.pool_capacity // config.uses)
        kept = None if config.views else fresh.kept
        full = config.full_size
        views = RenderedViews(self.frames, *full, self.stage.halvings(full), self.teacher, kept, config.photographs)
        return views, Epochs(config.views, config.seed) if config.views else fresh

    def pool_batches(self, step: int) -> Generator[list[Sample], None, None]:
        """Batches of what the renderers have got so far: as many steps as the clock allows, in no fixed order."""
        full, config = self.config.full_size, self.config
        limits = (config.workers, config.pool_capacity, config.pool_minimum)
        halvings = self.stage.halvings(full)
        generator = np.random.default_rng([config.seed, step, self.rank])
        place = (self.rank, self.processes)
        with SamplePool(self.frames, *full, *limits, halvings, *place, config.photographs) as pool:
            while True:
                drawn = pool.draw(generator, self.stage.batch)
                yield [prepared(sample, 0, self.teacher) for sample in drawn]

    def held_out(self) -> HeldOut:
        """Samples with truth as far as known, and with the teacher's labels where there is one."""
        config, size = self.config, (self.stage.height, self.stage.width)
        if config.synthetic and not config.validation:
            samples = held_out_samples(self.frames, VALIDATION_SEEDS[: config.validation_scenes], *size)
            teacher = self.teacher
            return HeldOut(samples if teacher is None else [with_labels(sample, teacher) for sample in samples])
        labels = PseudoLabels(Path(config.labels)) if config.labels and not config.validation else None
        with open_source(config.validation or config.data) as source:
            moments = SourceSamples(source, *size, config.least_motion_m, labels)
            count = min(config.validation_scenes, len(moments))
            chosen = np.unique(np.linspace(0, len(moments) - 1, count).round().astype(int))
            samples = list({name: sample for name, sample in (moments[int(i)] for i in chosen)}.values())
            return HeldOut(samples, source.max_depth_m)

    @property
    def validated_on(self) -> str:
        """For the checkpoint's card."""
        size = f'{self.stage.height}x{self.stage.width}'
        if self.config.validation:
            return f'{self.config.validation} at {size}'
        if self.config.synthetic:
            return f'synthetic validation scenes at {size}'
        return f'moments of the training data {self.config.data} itself at {size}'


def with_labels(sample: Sample, teacher: SyntheticTeacher) -> Sample:
    labels = teacher.labels_of(sample)
    return sample.with_teacher(labels.disparity_tnhw, labels.semantics_tnhw)
