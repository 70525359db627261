# SPDX-License-Identifier: Apache-2.0
"""Samples, augmentation and their geometry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_fixtures import flat_ground_sample, labelled_sample, small_network

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import (
    MIRROR_LEFT,
    Augmentation,
    ground_height,
    make_batch,
    mirrored,
    small_rotation,
    with_calibration_noise,
)
from semi_smd_ros.training.losses import LossWeights
from semi_smd_ros.training.objective import run_sequence, supervised_losses, teacher_labels
from semi_smd_ros.training.samples import Sample
from semi_smd_ros.training.semi_losses import SemiLossWeights, semi_supervised_losses

NOTHING = Augmentation(
    mirror=0, colour=0, noise=0, missing_camera=0, rotation_noise_deg=0, common_tilt_deg=0, translation_noise_m=0
)


def test_a_sample_survives_the_disk(tmp_path: Path) -> None:
    sample = labelled_sample()
    sample.save(tmp_path / 'sample.npz')
    loaded = Sample.load(tmp_path / 'sample.npz')
    for name, value in vars(sample).items():
        assert np.array_equal(value, getattr(loaded, name), equal_nan=value.dtype.kind == 'f'), name
    assert [path.name for path in tmp_path.iterdir()] == ['sample.npz']


def test_batch_shapes_and_values() -> None:
    batch = make_batch([flat_ground_sample(0), flat_ground_sample(1)], None, np.random.default_rng(0))
    assert batch.images_tbn3hw.shape == (2, 2, 6, 3, 64, 96)
    assert batch.depth_tbnhw.shape == (2, 2, 6, 64, 96)
    assert batch.semantics_tbnhw.shape == (2, 2, 6, 16, 24)
    assert batch.prev_T_now_tb44[1, 0, 0, 3] == 1.5
    assert float(batch.images_tbn3hw.max()) <= 1
    plain = make_batch([flat_ground_sample(0), flat_ground_sample(1)], NOTHING, np.random.default_rng(0))
    assert torch.allclose(plain.images_tbn3hw, batch.images_tbn3hw, atol=1e-3)
    assert torch.allclose(plain.base_T_cam_bn44, batch.base_T_cam_bn44)


def test_rigs_of_other_sizes_are_not_stacked() -> None:
    five = flat_ground_sample()
    five = replace(five, images_tnhw3=five.images_tnhw3[:, :5])
    with pytest.raises(DataError, match='have 6, 5 cameras; expected the same number in all: train with a batch of 1'):
        make_batch([flat_ground_sample(), five], None, np.random.default_rng(0))


def test_the_mirrored_sample_is_as_consistent_as_the_sample() -> None:
    """The flat ground of the mirrored rig is the mirrored flat ground, and the rotations stay proper."""
    sample = labelled_sample()
    sample.base_T_cam_n44[:, :3, :3] = small_rotation(np.array([0.05, -0.02, 0.3])) @ sample.base_T_cam_n44[:, :3, :3]
    sample.intrinsics_n33[:, 0, 2] += 3
    other = mirrored(sample)
    assert np.allclose(np.linalg.det(other.base_T_cam_n44[:, :3, :3]), 1)
    grounds = []
    for one in (sample, other):
        rig = (torch.from_numpy(one.intrinsics_n33)[None].float(), torch.from_numpy(one.base_T_cam_n44)[None].float())
        grounds.append(ray_grid(*rig, 64, 96, 1, far=50.0).ground_depth_bnhw[0])
    assert torch.allclose(grounds[0].flip(-1), grounds[1], rtol=1e-3)
    again = mirrored(other)
    for name, value in vars(sample).items():
        assert np.allclose(value.astype(float), getattr(again, name).astype(float), equal_nan=True), name


def test_calibration_noise_tilts_all_that_is_given_in_base() -> None:
    """Points of the ground stay on it, and the cameras' own motion stays what it was."""
    sample = flat_ground_sample()
    sample.ground_plane_t4[:] = (0.02, -0.01, 1.0, 0.1)
    strength = replace(NOTHING, common_tilt_deg=3.0)
    noisy = with_calibration_noise(sample, strength, np.random.default_rng(0))
    tilt = noisy.base_T_cam_n44[0] @ np.linalg.inv(sample.base_T_cam_n44[0])
    assert not np.allclose(tilt, np.eye(4), atol=0.004)
    a, b, c = ground_height(sample.ground_plane_t4)[0]
    points = np.array([[5, 2, a * 5 + b * 2 + c, 1], [-7, 9, -7 * a + 9 * b + c, 1]])
    assert np.allclose(points @ sample.ground_plane_t4[0], 0)
    assert np.allclose(points @ tilt.T @ noisy.ground_plane_t4[0], 0)
    motions = [np.linalg.inv(s.base_T_cam_n44[2]) @ s.prev_T_now_t44[1] @ s.base_T_cam_n44[2] for s in (sample, noisy)]
    assert np.allclose(*motions)


def test_mirroring_turns_a_left_bend_into_a_right_bend() -> None:
    sample = flat_ground_sample()
    sample.prev_T_now_t44[1, :3, :3] = small_rotation(np.array([0, 0, 0.1]))
    sample.prev_T_now_t44[1, 1, 3] = 0.2
    motion = mirrored(sample).prev_T_now_t44[1]
    assert np.allclose(motion[:3, :3], small_rotation(np.array([0, 0, -0.1])))
    assert np.allclose(motion[:3, 3], [1.5, -0.2, 0])


def test_missing_cameras_are_one_or_two_of_one_instant() -> None:
    strength = Augmentation(missing_camera=1.0)
    batch = make_batch([flat_ground_sample()] * 8, strength, np.random.default_rng(0))
    missing = (batch.camera_valid_tbn == 0).sum((0, 2))
    assert set(missing.tolist()) == {1, 2}
    assert float(batch.images_tbn3hw.min()) >= 0


def test_the_same_generator_gives_the_same_batch() -> None:
    first, second = (make_batch([labelled_sample()], Augmentation(), np.random.default_rng(5)) for _ in range(2))
    for name, value in vars(first).items():
        assert torch.equal(value.nan_to_num(-1.0), getattr(second, name).nan_to_num(-1.0)), name


def test_what_is_left_without_truth_is_what_a_vehicle_knows() -> None:
    sample = labelled_sample()
    blind = sample.without_truth()
    assert np.isnan(blind.depth_tnhw).all()
    assert np.isnan(blind.prev_T_now_t44).all()
    assert np.isnan(blind.ground_plane_t4).all()
    assert (blind.semantics_tnhw == 255).all()
    assert not blind.moving_tnhw.any()
    for name in ('images_tnhw3', 'intrinsics_n33', 'base_T_cam_n44', 'ego_mask_nhw', 'teacher_disparity_tnhw'):
        assert getattr(blind, name) is getattr(sample, name)
    dense = flat_ground_sample()
    assert np.array_equal(dense.without_truth().ego_mask_nhw, np.isnan(dense.depth_tnhw[0]))


def test_a_batch_has_labels_for_all_its_samples_or_for_none() -> None:
    with pytest.raises(ValueError, match='1 of 2 samples of a batch have ego masks; expected all or none'):
        make_batch([flat_ground_sample(), labelled_sample()], None, np.random.default_rng(0))


@pytest.mark.parametrize('supervision', ['supervised', 'semi'])
def test_mirrored_samples_cost_what_their_mirrored_outputs_cost(supervision: str) -> None:
    """End to end: outputs of a sample, mirrored by hand, have with the mirrored sample the losses they had before."""
    sample = labelled_sample()
    network = small_network().eval()
    losses = []
    plain, turned = (make_batch([one], None, np.random.default_rng(0)) for one in (sample, mirrored(sample)))
    with torch.no_grad():
        outputs = run_sequence(network, plain)
    for given, batch in ((outputs, plain), ([mirrored_output(output) for output in outputs], turned)):
        if supervision == 'semi':
            terms = semi_supervised_losses(given, batch, teacher_labels(batch), SemiLossWeights(lidar=1.0))
        else:
            # cells are not placed symmetrically, so what is taken from the pixel nearest a cell's centre differs
            terms = supervised_losses(given, batch, LossWeights(coarse=0.0, matching=0.0))
        losses.append({name: float(value) for name, value in terms.items()})
    for name, value in losses[0].items():
        if not name.startswith('coarse'):
            assert losses[1][name] == pytest.approx(value, rel=2e-3, abs=1e-6), name


def mirrored_output(output: NetworkOutput) -> NetworkOutput:
    """The same answer for the mirrored world."""
    maps = ('log_depth_bnhw', 'sky_logit_bnhw', 'log_error_bnhw', 'semantic_logit_bnkhw', 'coarse_log_depth_bnhw')
    left = torch.from_numpy(MIRROR_LEFT).float()
    return replace(
        output,
        **{name: getattr(output, name).flip(-1) for name in (*maps, 'coarse_semantic_logit_bnkhw')},
        ground_b3=output.ground_b3 * torch.tensor([1.0, -1.0, 1.0]),
        ego_motion_b44=left @ output.ego_motion_b44 @ left,
    )
