# SPDX-License-Identifier: Apache-2.0
"""Numbered views to train on: rendered ones, or moments of a source, each with its teacher's labels where wanted.

A view is a function of its number, so worker processes may fetch any of them in any order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.training.pool import frames_folder, sample_path
from semi_smd_ros.training.samples import FIRST_TRAINING_SEED, Sample, render_sample
from semi_smd_ros.training.source_samples import SourceSamples
from semi_smd_ros.training.teachers.pseudo_labels import PseudoLabels
from semi_smd_ros.training.teachers.synthetic import SyntheticTeacher

KEPT_MOMENTS = 16  # of a source, in memory: a small one need not be decoded again and again
SLACK = 200  # views that are kept beyond those needed, for workers that are ahead or behind


class Views(ABC):
    """View 0, 1, 2, ...; can be sent to another process."""

    @abstractmethod
    def view(self, number: int) -> Sample:
        """The view of that number."""


class RenderedViews(Views):
    """Views of the synthetic world, kept in a folder that runs may share.

    Args:
        folder: `frames` of the run; a subfolder of the pictures' size is made in it.
        height, width: at which they are rendered, pixels.
        halvings: how often they are halved then.
        teacher: labels them and takes the truth away; None leaves the truth.
        kept: how many of the newest are kept on disk; None keeps all.
        photographs: folder of those that half of the scenes show; '' for none.
    """

    def __init__(
        self,
        folder: Path,
        height: int,
        width: int,
        halvings: int,
        teacher: SyntheticTeacher | None,
        kept: int | None,
        photographs: str = '',
    ) -> None:
        self.folder = frames_folder(folder, height, width, photographs)
        self.size, self.halvings = (height, width), halvings
        self.teacher, self.kept, self.photographs = teacher, kept, photographs

    def view(self, number: int) -> Sample:
        path = sample_path(self.folder, FIRST_TRAINING_SEED + number)
        if path.is_file():
            sample = Sample.load(path)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            sample = render_sample(FIRST_TRAINING_SEED + number, *self.size, photographs=self.photographs)
            sample.save(path)
            if self.kept is not None and number > self.kept + SLACK:
                old = FIRST_TRAINING_SEED + number - self.kept - SLACK
                sample_path(self.folder, old).unlink(missing_ok=True)
        return prepared(sample, self.halvings, self.teacher)


def prepared(sample: Sample, halvings: int, teacher: SyntheticTeacher | None) -> Sample:
    """A rendered sample at a stage's size; with a teacher, its labels in place of the truth."""
    for _ in range(halvings):
        sample = sample.halved()
    return sample if teacher is None else taught(sample, teacher)


def taught(sample: Sample, teacher: SyntheticTeacher) -> Sample:
    """What a real drive would give: pictures, rig and a teacher's labels, no truth."""
    labels = teacher.labels_of(sample)
    return sample.without_truth().with_teacher(labels.disparity_tnhw, labels.semantics_tnhw)


class SourceViews(Views):
    """Moments of a source; it is opened in every process that asks for one.

    Args:
        address: of the source.
        height, width: of the rectified pictures, pixels.
        least_motion_m: see `SourceSamples`.
        labels: folder of the teachers' cached labels; '' for none.
        keep_depth: whether its depth stays in the samples; nothing else that is truth does.
    """

    def __init__(
        self, address: str, height: int, width: int, least_motion_m: float, labels: str, keep_depth: bool
    ) -> None:
        self.address, self.size, self.least_motion_m = address, (height, width), least_motion_m
        self.labels, self.keep_depth = labels, keep_depth
        self._opened: SourceSamples | None = None
        self._kept: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), '_opened': None, '_kept': {}}

    @property
    def samples(self) -> SourceSamples:
        if self._opened is None:
            labels = PseudoLabels(Path(self.labels)) if self.labels else None
            self._opened = SourceSamples(open_source(self.address), *self.size, self.least_motion_m, labels)
        return self._opened

    def view(self, number: int) -> Sample:
        if number not in self._kept:
            if len(self._kept) >= KEPT_MOMENTS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = self._read(number)
        return self._kept[number]

    def _read(self, number: int) -> Sample:
        _, sample = self.samples[number]
        blind = sample.without_truth()
        return replace(blind, depth_tnhw=sample.depth_tnhw) if self.keep_depth else blind
