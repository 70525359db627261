# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels for a source, cached in a folder: resumable, each file whole or not there.

Labels lie on the rectified picture of a camera (see `rectified_view`) at a size of their own, by sequence, the stamp of
the camera's picture, and camera; `pseudo_labels` reads them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from semi_smd_ros.datasets.sample import DataError, SurroundSample
from semi_smd_ros.datasets.source import SampleSequence, Source
from semi_smd_ros.datasets.sources import absolute_address
from semi_smd_ros.network.config import CITYSCAPES_CLASSES, IGNORE_CLASS
from semi_smd_ros.rig import RigError
from semi_smd_ros.runtime import InputError
from semi_smd_ros.runtime.labels import nearest

from .interface import DepthTeacher, SemanticTeacher
from .label_files import CLASSES, DISPARITY, label_path, write_classes, write_disparity
from .label_folder import LabelFolder
from .read_ahead import read_ahead
from .rectified_view import RectifiedView, rectified_view
from .synthetic import SyntheticTeacher, inverse_depth

SAMPLES_AHEAD = 2


@dataclass(frozen=True)
class LabelRun:
    """What to do. At least one teacher.

    `longest`: the longer edge of stored labels, pixels; smaller pictures keep their size. `context`: also label what
    `previous` of a sample holds, where that is no sample itself (sweeps of nuScenes). `limit`: samples of the source.
    """

    depth: DepthTeacher | SyntheticTeacher | None
    semantics: SemanticTeacher | SyntheticTeacher | None
    longest: int = 640
    context: bool = False
    limit: int | None = None

    def manifest(self, address: str) -> dict[str, Any]:
        """What must not change while a folder is filled."""
        return {
            'source': address,
            'depth': None if self.depth is None else self.depth.identity.to_dict(),
            'semantics': None if self.semantics is None else self.semantics.identity.to_dict(),
            'longest': self.longest,
            'context': self.context,
            'classes': list(CITYSCAPES_CLASSES),
        }


@dataclass
class LabelCount:
    """`made`: samples labelled now; `found`: labelled before; `skipped`: a message for each that cannot be read."""

    made: int = 0
    found: int = 0
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _View:
    """One picture to be labelled, and what is known about it: truth on the camera's own picture, or None."""

    camera: str
    stamp_ns: int
    rectified: RectifiedView
    image_hw3: np.ndarray
    depth_hw: np.ndarray | None
    classes_hw: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Moment:
    """The pictures of a sample that lack labels, and the (camera, stamp) of all."""

    key: str
    sequence: str
    views: list[_View]
    pictures: list[tuple[str, int]]


def label(source: Source, folder: Path, run: LabelRun, on_sample: Callable[[], None] = lambda: None) -> LabelCount:
    """Write the labels of `source` into `folder`, but for those that are there; `on_sample` hears of every sample.

    Raises:
        DataError: the folder's labels were made in another way, or the synthetic teacher misses dense truth.
        ModelError: a teacher that fails.
        FileExistsError: the folder holds something else.
    """
    count = LabelCount()
    with (
        LabelFolder(folder, run.manifest(absolute_address(source.address))) as store,
        closing(read_ahead(_missing(source, store, run, count), SAMPLES_AHEAD)) as moments,
    ):
        for moment in moments:
            if moment is not None:
                _label_moment(moment, folder, run)
                store.mark_done(moment.key, moment.sequence, moment.pictures)
                count.made += 1
            on_sample()
    count.skipped = tuple(source.skipped)
    return count


def _missing(source: Source, store: LabelFolder, run: LabelRun, count: LabelCount) -> Iterator[_Moment | None]:
    """What is to be labelled; None for a sample that needs nothing or cannot be read."""
    for sequence, index, key in islice(_keys(source), run.limit):
        if store.is_done(key):
            count.found += 1
            yield None
            continue
        try:
            yield _read(sequence, index, key, store, run.context)
        except (DataError, InputError, RigError) as error:
            sequence.skipped.add(sequence.sample_name(index), error)
            yield None


def _keys(source: Source) -> Iterator[tuple[SampleSequence, int, str]]:
    """Every sample, unread, and a name that no other has; two recordings may be called the same."""
    seen: Counter[str] = Counter()
    for sequence in source.sequences():
        seen[sequence.name] += 1
        for index in range(len(sequence)):
            yield sequence, index, f'{sequence.sample_name(index)}#{seen[sequence.name]}'
        sequence.let_go()


def _read(sequence: SampleSequence, index: int, key: str, store: LabelFolder, context: bool) -> _Moment:
    sample = sequence[index] if context else sequence.read(index)
    views, pictures = [], []
    for one in (sample, sample.previous):
        if one is not None:
            pictures += list(zip(one.rig.names, one.stamps_ns, strict=True))
            views += [view for view in _views(one) if not store.has(sequence.name, view.stamp_ns, view.camera)]
    return _Moment(key, sequence.name, views, pictures)


def _views(sample: SurroundSample) -> list[_View]:
    """Raises DataError or InputError for a picture that cannot be used."""
    views = []
    for i, (camera, image) in enumerate(zip(sample.rig.cameras, sample.images, strict=True)):
        rectified = rectified_view(camera.model)
        try:
            picture = rectified.picture(image.rgb())
        except ValueError as error:
            raise DataError(f'camera {camera.name}: {error}') from error
        depth = None if sample.depth_maps is None else sample.depth_maps[i]
        classes = None if sample.semantics is None else sample.semantics[i]
        views.append(_View(camera.name, sample.stamps_ns[i], rectified, picture, depth, classes))
    return views


def _label_moment(moment: _Moment, folder: Path, run: LabelRun) -> None:
    by_size: dict[tuple[int, ...], list[_View]] = defaultdict(list)
    for view in moment.views:
        by_size[view.image_hw3.shape].append(view)
    for (height, width, _), views in by_size.items():
        size = stored_size(height, width, run.longest)
        if run.depth is not None:
            for view, disparity in zip(views, _disparity(views, size, run.depth), strict=True):
                disparity[~_seen(view, size)] = np.nan
                path = label_path(folder, moment.sequence, view.stamp_ns, view.camera, DISPARITY)
                write_disparity(path, disparity)
        if run.semantics is not None:
            for view, classes in zip(views, _classes(views, size, run.semantics), strict=True):
                classes[~_seen(view, size)] = IGNORE_CLASS
                path = label_path(folder, moment.sequence, view.stamp_ns, view.camera, CLASSES)
                write_classes(path, classes)


def stored_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Height and width of the labels of a picture of `height` x `width`."""
    scale = min(1.0, longest / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def _disparity(views: list[_View], size_hw: tuple[int, int], teacher: DepthTeacher | SyntheticTeacher) -> np.ndarray:
    if not isinstance(teacher, SyntheticTeacher):
        return teacher.disparity(np.stack([view.image_hw3 for view in views]), size_hw)
    truth = []
    for view in views:
        if view.depth_hw is None:
            raise DataError(_no_truth(view, 'dense depth'))
        inverse = view.rectified.disparity(inverse_depth(view.depth_hw))
        truth.append(cv2.resize(inverse, size_hw[::-1], interpolation=cv2.INTER_AREA))
    return teacher.disparity_of(np.stack(truth))


def _classes(views: list[_View], size_hw: tuple[int, int], teacher: SemanticTeacher | SyntheticTeacher) -> np.ndarray:
    if not isinstance(teacher, SyntheticTeacher):
        return teacher.classes(np.stack([view.image_hw3 for view in views]), size_hw)
    truth = []
    for view in views:
        if view.classes_hw is None:
            raise DataError(_no_truth(view, 'classes'))
        truth.append(_nearest(view.rectified.classes(view.classes_hw), size_hw))
    return teacher.classes_of(np.stack(truth))


def _no_truth(view: _View, what: str) -> str:
    return (
        f'camera {view.camera}: its source has no {what} for every pixel, from which the synthetic teacher answers; '
        'expected synthetic:SEED or a recording of it, or name another teacher'
    )


def _seen(view: _View, size_hw: tuple[int, int]) -> np.ndarray:
    valid = view.rectified.valid_hw
    return np.ones(size_hw, bool) if valid is None else _nearest(valid, size_hw)


def _nearest(map_hw: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    rows, columns = (nearest(size, of) for size, of in zip(size_hw, map_hw.shape, strict=True))
    return map_hw[rows][:, columns]
