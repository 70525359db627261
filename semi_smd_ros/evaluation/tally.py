# SPDX-License-Identifier: Apache-2.0
"""Scores of many images: per image or pooled batch, then the mean per camera, then over cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .metrics import BANDS, FIGURES, Scores, score_points
from .protocols import Protocol


@dataclass
class _Means:
    """Sums and counts of arrays of one shape; NaN entries count for nothing."""

    total: Any = 0.0
    count: Any = 0

    def add(self, values: Any) -> None:
        values = np.asarray(values, np.float64)
        self.total = self.total + np.nan_to_num(values, nan=0.0, posinf=np.inf)
        self.count = self.count + ~np.isnan(values)

    def mean(self) -> np.ndarray:
        with np.errstate(invalid='ignore', divide='ignore'):
            return np.asarray(self.total) / np.asarray(self.count)


@dataclass
class _Camera:
    metric: _Means = field(default_factory=_Means)
    scaled: _Means = field(default_factory=_Means)
    shares: _Means = field(default_factory=_Means)
    sky: _Means = field(default_factory=_Means)
    points: Any = 0

    def add(self, scores: Scores) -> None:
        self.metric.add(scores.metric)
        self.scaled.add(scores.scaled)
        self.shares.add([scores.coverage, scores.false_sky])
        self.points = self.points + scores.points


@dataclass(frozen=True, eq=False)
class Summary:
    """Figures of a data set. `metric`, `scaled`: per camera and under 'all', (1 + bands, 7) as in `Scores`.

    `coverage`, `false_sky`, `points` likewise; `points` counts all truth points of a band. `sky_found`: the share of
    true sky that is called sky, NaN where the source does not know the sky.
    """

    metric: dict[str, np.ndarray]
    scaled: dict[str, np.ndarray]
    coverage: dict[str, float]
    false_sky: dict[str, float]
    sky_found: dict[str, float]
    points: dict[str, np.ndarray]

    def figure(self, name: str, camera: str = 'all', scaled: bool = False, band: int = 0) -> float:
        """One figure of FIGURES; `band` 0 is over all depths, 1 the first of BANDS."""
        return float((self.scaled if scaled else self.metric)[camera][band, FIGURES.index(name)])

    def as_json(self) -> dict[str, Any]:
        """The same as nested mappings, NaN as None."""

        def rows(table: np.ndarray, row: int) -> dict[str, float | None]:
            return {name: plain(value) for name, value in zip(FIGURES, table[row], strict=True)}

        def one(camera: str) -> dict[str, Any]:
            metric, scaled, points = self.metric[camera], self.scaled[camera], self.points[camera]
            return {
                'metric': rows(metric, 0),
                'median_scaled': rows(scaled, 0),
                'points': int(points[0]),
                'coverage': plain(self.coverage[camera]),
                'false_sky': plain(self.false_sky[camera]),
                'sky_found': plain(self.sky_found[camera]),
                'bands': {
                    band: {'points': int(points[i]), 'metric': rows(metric, i), 'median_scaled': rows(scaled, i)}
                    for i, band in enumerate(BANDS, start=1)
                },
            }

        return {'overall': one('all'), 'cameras': {name: one(name) for name in self.metric if name != 'all'}}


class Tally:
    """Collects one method's answers under one protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self._cameras: dict[str, _Camera] = {}
        self._pending: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}

    def add(self, camera: str, predicted_n: np.ndarray, truth_n: np.ndarray) -> Scores | None:
        """One image's predictions (NaN unknown, +inf sky) and true depths, metres; returns the image's own scores."""
        alone = score_points(predicted_n, truth_n, self.protocol)
        if self.protocol.batch == 1:
            self._count(camera, alone)
            return alone
        batch = self._pending.setdefault(camera, [])
        batch.append((predicted_n, truth_n))
        if len(batch) == self.protocol.batch:
            self._count(camera, self._pooled(batch))
            batch.clear()
        return alone

    def add_sky(self, camera: str, predicted_n: np.ndarray) -> None:
        """One image's predictions (NaN unknown, +inf sky) where the truth is sky."""
        known = ~np.isnan(predicted_n)
        if known.any():
            self._cameras.setdefault(camera, _Camera()).sky.add(np.isposinf(predicted_n[known]).mean())

    def summary(self) -> Summary | None:
        """The means so far; None when no image had truth and answers."""
        for camera, batch in self._pending.items():
            # Fewer images than one batch: scored as they are, or a short recording had no figures at all.
            if batch and not np.any(self._cameras.get(camera, _Camera()).points):
                self._count(camera, self._pooled(batch))
        scored = {name: camera for name, camera in self._cameras.items() if np.any(camera.points)}
        if not scored or all(np.isnan(camera.metric.mean()[0]).all() for camera in scored.values()):
            return None
        metric = {name: camera.metric.mean() for name, camera in scored.items()}
        scaled = {name: camera.scaled.mean() for name, camera in scored.items()}
        shares = {name: np.append(camera.shares.mean(), camera.sky.mean()) for name, camera in scored.items()}
        points = {name: np.asarray(camera.points) for name, camera in scored.items()}
        for table in (metric, scaled, shares):
            table['all'] = _mean_over_cameras(list(table.values()))
        points['all'] = np.sum(list(points.values()), axis=0)
        return Summary(
            metric,
            scaled,
            {name: float(value[0]) for name, value in shares.items()},
            {name: float(value[1]) for name, value in shares.items()},
            {name: float(value[2]) for name, value in shares.items()},
            points,
        )

    def _pooled(self, batch: list[tuple[np.ndarray, np.ndarray]]) -> Scores | None:
        predicted, truth = (np.concatenate(arrays) for arrays in zip(*batch, strict=True))
        return score_points(predicted, truth, self.protocol)

    def _count(self, camera: str, scores: Scores | None) -> None:
        if scores is not None:
            self._cameras.setdefault(camera, _Camera()).add(scores)


def _mean_over_cameras(arrays: list[np.ndarray]) -> np.ndarray:
    means = _Means()
    for array in arrays:
        means.add(array)
    return means.mean()


def plain(value: float) -> float | None:
    """A number for JSON: None for NaN and infinities, which JSON does not have."""
    return float(value) if np.isfinite(value) else None
