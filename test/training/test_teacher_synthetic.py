# SPDX-License-Identifier: Apache-2.0
"""The teacher made of the truth: what it gets wrong, and what it keeps."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from training_fixtures import EGO_ROWS, flat_ground_sample

from semi_smd_ros.training.samples import Sample
from semi_smd_ros.training.teachers import SyntheticTeacher, TeacherErrors
from semi_smd_ros.training.teachers.synthetic import blobs, inverse_depth, smooth_noise

NO_ERRORS = TeacherErrors(scale=0, shift=0, coarse=0, fine=0, grain=0, blur=0, wrong=0, ignored=0)


def varied_sample(seed: int = 0) -> Sample:
    """Flat ground with every class in patches, so that there is something to confuse."""
    sample = flat_ground_sample(seed)
    classes = np.arange(16 * 24).reshape(16, 24) // 24 % 19
    semantics = np.where(sample.semantics_tnhw == 255, 255, classes).astype(np.uint8)
    return replace(sample, semantics_tnhw=semantics)


def affine_fit(disparity: np.ndarray, inverse: np.ndarray) -> tuple[float, float, float]:
    """Scale and shift that take the truth to the teacher's answer, and the correlation of the two."""
    known = np.isfinite(disparity)
    scale, shift = np.polyfit(inverse[known], disparity[known], 1)
    return float(scale), float(shift), float(np.corrcoef(inverse[known], disparity[known])[0, 1])


def test_without_errors_it_is_the_truth() -> None:
    sample = varied_sample()
    labels = SyntheticTeacher(0, NO_ERRORS).labels_of(sample)
    assert labels.disparity_tnhw.dtype == np.float32
    truth = 1 / sample.depth_tnhw.astype(np.float32)
    assert np.allclose(labels.disparity_tnhw, truth, rtol=1e-5, equal_nan=True)
    assert np.array_equal(labels.semantics_tnhw, sample.semantics_tnhw)


def test_scale_and_shift_differ_from_picture_to_picture_and_nothing_else_changes() -> None:
    # Its six cameras see the same ground, and the same truth would get the same answer.
    sample = flat_ground_sample()
    farther = np.linspace(1, 1.1, 6, dtype=np.float16)[:, None, None]
    sample = replace(sample, depth_tnhw=sample.depth_tnhw * farther)
    labels = SyntheticTeacher(0, replace(NO_ERRORS, scale=1.0, shift=1.0)).labels_of(sample)
    truth = inverse_depth(sample.depth_tnhw)
    fits = [affine_fit(d, t) for d, t in zip(labels.disparity_tnhw[0], truth[0])]
    scales, shifts, correlations = np.transpose(fits)
    assert scales.min() > 0, 'larger must be nearer'
    assert np.ptp(np.log(scales)) > 0.5
    assert np.ptp(shifts) > 0.1
    assert correlations.min() > 0.99999


def test_sky_is_the_farthest_and_the_vehicle_is_unknown() -> None:
    sample = flat_ground_sample()
    labels = SyntheticTeacher(1).labels_of(sample)
    assert np.isnan(labels.disparity_tnhw[:, :, -EGO_ROWS:]).all()
    assert np.isfinite(labels.disparity_tnhw[:, :, :-EGO_ROWS]).all()
    sky = np.isinf(sample.depth_tnhw)
    for disparity, is_sky in zip(labels.disparity_tnhw[0], sky[0]):
        ground = disparity[~is_sky & np.isfinite(disparity)]
        assert np.median(disparity[is_sky]) < np.percentile(ground, 5)


def test_by_default_it_is_wrong_but_useful() -> None:
    sample = varied_sample()
    labels = SyntheticTeacher(2).labels_of(sample)
    truth = inverse_depth(sample.depth_tnhw)
    correlations = [affine_fit(d, t)[2] for d, t in zip(labels.disparity_tnhw[0], truth[0])]
    assert 0.9 < min(correlations) <= max(correlations) < 0.9999
    judged = sample.semantics_tnhw != 255
    ignored = (labels.semantics_tnhw == 255)[judged].mean()
    wrong = (labels.semantics_tnhw != sample.semantics_tnhw)[judged & (labels.semantics_tnhw != 255)].mean()
    assert 0.01 < ignored < 0.08
    assert 0.01 < wrong < 0.08
    assert (labels.semantics_tnhw[~judged] == 255).all()


def test_the_same_picture_gets_the_same_answer_and_another_seed_another() -> None:
    one, other = varied_sample(), varied_sample(1)
    teacher = SyntheticTeacher(5)
    first = teacher.labels_of(one)
    teacher.labels_of(other)
    again = SyntheticTeacher(5).labels_of(one)
    assert np.array_equal(first.disparity_tnhw, again.disparity_tnhw, equal_nan=True)
    assert np.array_equal(first.semantics_tnhw, again.semantics_tnhw)
    different = SyntheticTeacher(6).labels_of(one)
    assert not np.array_equal(first.disparity_tnhw, different.disparity_tnhw, equal_nan=True)
    assert not np.array_equal(first.semantics_tnhw, different.semantics_tnhw)


def test_a_picture_of_nothing_stays_unknown() -> None:
    teacher = SyntheticTeacher(0)
    assert np.isnan(teacher.disparity_of(np.full((1, 8, 8), np.nan, np.float32))).all()
    assert (teacher.classes_of(np.full((1, 8, 8), 255, np.uint8)) == 255).all()
    sky_alone = teacher.disparity_of(np.zeros((1, 32, 32), np.float32))
    assert np.isfinite(sky_alone).all()


def test_what_is_unknown_does_not_darken_what_is_known() -> None:
    inverse = np.full((1, 48, 64), 0.5, np.float32)
    inverse[:, 30:] = np.nan
    blurred = SyntheticTeacher(0, replace(NO_ERRORS, blur=0.1)).disparity_of(inverse)
    assert np.allclose(blurred[:, :30], 0.5, atol=1e-5)
    assert np.isnan(blurred[:, 30:]).all()


@pytest.mark.parametrize('share', [0.0, 0.05, 0.5, 1.0])
def test_blobs_cover_their_share(share: float) -> None:
    assert blobs(np.random.default_rng(0), share, 60, 90).mean() == pytest.approx(share, abs=0.01)


def test_noise_is_as_strong_as_it_says() -> None:
    fields = [smooth_noise(np.random.default_rng(i), 3, 60, 90) for i in range(200)]
    assert np.std([field[10, 9] for field in fields]) == pytest.approx(1, abs=0.15)
    assert np.mean(fields) == pytest.approx(0, abs=0.05)


def test_its_identity_holds_all_that_was_chosen() -> None:
    identity = SyntheticTeacher(9, TeacherErrors(coarse=0.5)).identity
    assert identity.options['seed'] == 9
    assert identity.options['coarse'] == 0.5
    assert json.loads(json.dumps(identity.to_dict())) == identity.to_dict()
