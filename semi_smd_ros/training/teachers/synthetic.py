# SPDX-License-Identifier: Apache-2.0
"""A teacher for experiments: the truth of the synthetic world, made as wrong as a real teacher's answer is.

It needs no weights, and how wrong it is can be set. It answers from depth and classes instead of pictures; the same
truth gets the same answer, as the same picture does from a real teacher, so nothing has to be kept between epochs.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from semi_smd_ros.network.config import CITYSCAPES_CLASSES, IGNORE_CLASS
from semi_smd_ros.training.samples import Sample

from .interface import TeacherIdentity

# Cells that a picture's shorter edge is divided into, for errors of that size.
COARSE_CELLS, FINE_CELLS, BLOB_CELLS = 3, 16, 6


@dataclass(frozen=True)
class TeacherErrors:
    """How wrong it is; all zeros leaves the truth, but for the unknown scale and shift."""

    scale: float = 1.0
    """Spread (standard deviation) of the logarithm of the unknown scale."""
    shift: float = 1.0
    """Spread of the unknown shift, in mean inverse depths of the picture."""
    coarse: float = 0.08
    """Relative error of the inverse depth that varies over a third of the picture: whole parts too near or too far."""
    fine: float = 0.02
    """Relative error of the inverse depth that varies over a sixteenth of the picture."""
    grain: float = 0.003
    """Error of every pixel by itself, in mean inverse depths of the picture."""
    blur: float = 0.004
    """Standard deviation of the blur, in heights of the picture."""
    wrong: float = 0.04
    """Share of a picture, on average, with the class of something else in it, in blobs."""
    ignored: float = 0.04
    """Share of a picture, on average, without a class, in blobs."""


@dataclass(frozen=True, eq=False)
class SampleLabels:
    """What a teacher says of a training sample, in the layout of `training.samples.Sample`."""

    disparity_tnhw: np.ndarray
    """float32 relative inverse depth, scale and shift unknown in every picture (see `interface`); NaN unknown."""
    semantics_tnhw: np.ndarray
    """uint8 class index at stride 4, 255 ignored."""


class SyntheticTeacher:
    """Depth and semantic teacher from the truth. Errors are a function of `seed` and the truth alone.

    `errors`: how wrong. The defaults are chosen by hand: once scale and shift are fitted to the truth, three scenes of
    the synthetic world have AbsRel .06 to .08, about what is published for networks of relative depth.
    """

    def __init__(self, seed: int = 0, errors: TeacherErrors | None = None) -> None:
        self._seed = seed
        self._errors = errors or TeacherErrors()
        options: dict[str, Any] = {'seed': seed, **asdict(self._errors)}
        self.identity = TeacherIdentity('synthetic', 'ground truth with errors', '', options)

    def labels_of(self, sample: Sample) -> SampleLabels:
        """What it says of every picture of a training sample."""
        times, cameras = sample.depth_tnhw.shape[:2]
        depth, classes = (a.reshape(times * cameras, *a.shape[2:]) for a in (sample.depth_tnhw, sample.semantics_tnhw))
        return SampleLabels(
            self.disparity_of(inverse_depth(depth)).reshape(sample.depth_tnhw.shape),
            self.classes_of(classes).reshape(sample.semantics_tnhw.shape),
        )

    def disparity_of(self, inverse_mhw: np.ndarray) -> np.ndarray:
        """Its answer (M,H,W) float32 for the true inverse depth (M,H,W), 1/m, 0 for sky, NaN unknown (and so here)."""
        return np.stack([self._disparity(inverse_hw) for inverse_hw in inverse_mhw])

    def classes_of(self, classes_mhw: np.ndarray) -> np.ndarray:
        """Its answer (M,H,W) uint8 for the true classes (M,H,W) uint8; 255 stays."""
        return np.stack([self._classes(classes_hw) for classes_hw in classes_mhw])

    def _disparity(self, truth_hw: np.ndarray) -> np.ndarray:
        errors, rng = self._errors, self._generator(truth_hw)
        known = np.isfinite(truth_hw)
        if not known.any():
            return np.full(truth_hw.shape, np.nan, np.float32)
        height, width = truth_hw.shape
        inverse: np.ndarray = np.where(known, truth_hw, 0).astype(np.float32)
        relative: np.ndarray = errors.coarse * smooth_noise(rng, COARSE_CELLS, height, width)
        relative += errors.fine * smooth_noise(rng, FINE_CELLS, height, width)
        inverse *= np.exp(relative)
        if errors.blur:
            # What is unknown must not darken the edges of what is known.
            sigma = errors.blur * height
            inverse = cv2.GaussianBlur(inverse, (0, 0), sigma)
            if not known.all():
                inverse = inverse / cv2.GaussianBlur(known.astype(np.float32), (0, 0), sigma).clip(1e-6)
        mean = float(inverse[known].mean()) or 1.0
        inverse += errors.grain * mean * rng.standard_normal(inverse.shape, np.float32)
        scale = float(np.exp(errors.scale * rng.standard_normal()))
        shift = errors.shift * mean * float(rng.standard_normal())
        inverse = scale * (inverse + np.float32(shift))
        inverse[~known] = np.nan
        return inverse

    def _classes(self, truth_hw: np.ndarray) -> np.ndarray:
        errors, rng = self._errors, self._generator(truth_hw)
        height, width = truth_hw.shape
        present = np.unique(truth_hw[truth_hw != IGNORE_CLASS])
        # Where there is but one class, something unseen takes its place.
        others = present if len(present) > 1 else np.arange(len(CITYSCAPES_CLASSES))
        if not len(present):
            return truth_hw.copy()
        wrong = blobs(rng, 2 * errors.wrong * rng.random(), height, width)
        ignored = blobs(rng, 2 * errors.ignored * rng.random(), height, width)
        chosen: np.ndarray = rng.integers(len(others), size=noise_shape(BLOB_CELLS, height, width)).astype(np.uint8)
        chosen = cv2.resize(chosen, (width, height), interpolation=cv2.INTER_NEAREST)
        # The one after, where a wrong class would be the right one.
        chosen = np.where(others[chosen] == truth_hw, (chosen + 1) % len(others), chosen)
        labels = np.where(wrong & (truth_hw != IGNORE_CLASS), others[chosen], truth_hw)
        return np.where(ignored, IGNORE_CLASS, labels).astype(np.uint8)

    def _generator(self, truth_hw: np.ndarray) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(truth_hw.tobytes())])


def inverse_depth(depth: np.ndarray) -> np.ndarray:
    """1/m as float32 of depth in metres; 0 where it is infinite, NaN where it is unknown or not above 0."""
    depth = depth.astype(np.float32)
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.where(depth > 0, 1 / depth, np.float32(np.nan))


def noise_shape(cells: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of about square cells, `cells` along the shorter edge."""
    edge = min(height, width) / cells
    return max(1, round(height / edge)), max(1, round(width / edge))


def smooth_noise(rng: np.random.Generator, cells: int, height: int, width: int) -> np.ndarray:
    """(H,W) float32 of mean 0 and standard deviation 1 at the cells' centres, smooth between them."""
    field = rng.standard_normal(noise_shape(cells, height, width), np.float32)
    return cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)


def blobs(rng: np.random.Generator, share: float, height: int, width: int) -> np.ndarray:
    """(H,W) bool: about this `share` of the pixels, in blobs."""
    field = smooth_noise(rng, BLOB_CELLS, height, width)
    if share <= 0:
        return np.zeros(field.shape, bool)
    return field > np.quantile(field, 1 - min(share, 1.0))
