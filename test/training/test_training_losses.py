# SPDX-License-Identifier: Apache-2.0
"""What enters the losses and what stays out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from training_fixtures import EGO_ROWS, SIZE, flat_ground_sample, small_network

from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch, make_batch
from semi_smd_ros.training.correspondence import cell_centres, previous_pixels
from semi_smd_ros.training.losses import (
    LossWeights,
    depth_error,
    frame_losses,
    ground_error,
    motion_errors,
    thing_weight,
)
from semi_smd_ros.training.objective import run_sequence, supervised_losses

DEFAULT = LossWeights()


@pytest.fixture
def batch() -> Batch:
    return make_batch([flat_ground_sample()], None, np.random.default_rng(0))


def perfect_output(batch: Batch) -> NetworkOutput:
    """The ground truth of the second frame as a prediction."""
    depth = batch.depth_tbnhw[1]
    is_sky = torch.isposinf(depth)
    classes = 50.0 * torch.nn.functional.one_hot(batch.semantics_tbnhw[1].clamp(max=18), 19).movedim(-1, 2).float()
    log_depth = torch.where(torch.isfinite(depth), depth, torch.ones_like(depth)).log()
    return NetworkOutput(
        log_depth_bnhw=log_depth,
        sky_logit_bnhw=torch.where(is_sky, 50.0, -50.0),
        log_error_bnhw=torch.zeros_like(depth),
        semantic_logit_bnkhw=classes,
        coarse_log_depth_bnhw=cell_centres(log_depth, 16),
        coarse_semantic_logit_bnkhw=cell_centres(classes, 4),
        ground_b3=batch.ground_tb3[1],
        match_logit_bnqk=true_match(batch),
        past_usable_bn=torch.ones(depth.shape[:2], dtype=torch.bool),
        memory_bnchw=torch.zeros(()),
        ego_motion_b44=batch.prev_T_now_tb44[1],
    )


def losses_of(output: NetworkOutput, batch: Batch, weights: LossWeights = DEFAULT) -> dict[str, float]:
    terms = frame_losses(output, batch, 1, weights, has_memory=True)
    return {name: float(value) for name, value in terms.items()}


def true_match(batch: Batch) -> Tensor:
    """Logits of bilinear shares at the true places, which cost the entropy of these shares and no more."""
    rig = (batch.intrinsics_bn33, batch.base_T_cam_bn44)
    u, v, _ = previous_pixels(batch.depth_tbnhw[1], *rig, batch.prev_T_now_tb44[1])
    rows, columns = SIZE[0] // 8, SIZE[1] // 8
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    share_x = (1 - ((u - 3.5) / 8)[..., None].sub(x.flatten()).abs()).clamp(min=1e-12)
    share_y = (1 - ((v - 3.5) / 8)[..., None].sub(y.flatten()).abs()).clamp(min=1e-12)
    return (share_x * share_y).log().nan_to_num()


def test_the_truth_costs_nothing_but_the_entropy_of_shared_matches(batch: Batch) -> None:
    losses = losses_of(perfect_output(batch), batch)
    matching = losses.pop('matching')
    assert 0 < matching < LossWeights().matching * np.log(4)
    assert all(value == pytest.approx(0, abs=1e-5) for value in losses.values()), losses


def test_a_match_elsewhere_costs_more_and_a_moving_thing_nothing(batch: Batch) -> None:
    output = perfect_output(batch)
    least = losses_of(output, batch)['matching']
    turned = replace(output, match_logit_bnqk=true_match(batch).roll(1, dims=-1))
    assert losses_of(turned, batch)['matching'] > least + 0.1
    batch.moving_tbnhw[1] = True
    assert losses_of(turned, batch)['matching'] == 0


def test_ground_error_is_the_mean_height_error_ten_metres_around() -> None:
    truth = torch.tensor([[0.01, -0.02, 0.1]])
    assert float(ground_error(truth, truth)) == 0
    assert float(ground_error(truth + torch.tensor([0, 0, 0.2]), truth)) == pytest.approx(0.2)
    angle = np.arange(8) * np.pi / 4
    expected = np.abs(0.03 * 10 * np.cos(angle)).mean()
    assert float(ground_error(truth + torch.tensor([0.03, 0, 0]), truth)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(('relative', 'expected'), [(0.0, 0.3), (1.0, np.expm1(0.3)), (0.5, 0.15 + np.expm1(0.3) / 2)])
def test_a_wrong_depth_costs_its_error_and_the_sky_is_left_out(batch: Batch, relative: float, expected: float) -> None:
    output = perfect_output(batch)
    shifted = replace(output, log_depth_bnhw=output.log_depth_bnhw + 0.3)
    losses = losses_of(shifted, batch, LossWeights(relative=relative))
    assert losses['depth'] == pytest.approx(expected, abs=1e-4)
    assert losses['gradient'] == pytest.approx(0, abs=1e-4)
    sky = torch.where(torch.isposinf(batch.depth_tbnhw[1]), 9.0, output.log_depth_bnhw)
    assert losses_of(replace(output, log_depth_bnhw=sky), batch)['depth'] == pytest.approx(0, abs=1e-5)


def test_relative_error_is_that_of_the_depth_and_bounded_in_slope() -> None:
    ratio = torch.tensor([0.1, 0.5, 1.0, 1.25, 2.0], dtype=torch.float64)
    assert torch.allclose(depth_error(ratio.log(), 1.0), (ratio - 1).abs())
    log_error = torch.tensor([5.0, 50.0], dtype=torch.float64, requires_grad=True)
    depth_error(log_error, 1.0).sum().backward()
    assert log_error.grad is not None
    assert torch.allclose(log_error.grad, torch.full((2,), np.e, dtype=torch.float64))


def test_what_is_not_known_comes_out_nearer_the_more_so_the_less_is_known() -> None:
    guesses = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    best = []
    for spread in (0.01, 0.2, 0.5):
        truth = torch.distributions.Laplace(0.0, spread).icdf(torch.linspace(0.0005, 0.9995, 1000)).double()
        cost = depth_error(guesses[:, None] - truth, 0.75).mean(1)
        best.append(float(guesses[cost.argmin()]))
        assert abs(float(guesses[depth_error(guesses[:, None] - truth, 0.0).mean(1).argmin()])) < 0.01
    assert -0.01 < best[0] <= 0
    assert -0.06 < best[1] < -0.02
    assert -0.4 < best[2] < -0.1


def test_pixels_of_things_weigh_more(batch: Batch) -> None:
    labels = torch.tensor([[[[0, 13], [10, 255]]]])
    weight = thing_weight(labels, 3.0)
    assert weight.shape == (1, 1, 8, 8)
    assert weight[0, 0, 0].tolist() == [1, 1, 1, 1, 3, 3, 3, 3]
    assert weight[0, 0, 4:].max() == 1
    output = perfect_output(batch)
    wrong_at_left = output.log_depth_bnhw.clone()
    wrong_at_left[..., :48] += 0.3
    spoilt = replace(output, log_depth_bnhw=wrong_at_left)
    logarithm = LossWeights(relative=0.0)
    assert losses_of(spoilt, batch, logarithm)['depth'] == pytest.approx(0.15, abs=1e-3)
    batch.semantics_tbnhw[1][..., 12:] = 13
    assert losses_of(spoilt, batch, logarithm)['depth'] == pytest.approx(0.075, abs=1e-3)


def test_ego_vehicle_and_missing_cameras_stay_out_of_every_dense_loss(batch: Batch) -> None:
    output = perfect_output(batch)
    batch.camera_valid_tbn[1, 0, 2] = 0
    noise = torch.zeros_like(output.log_depth_bnhw)
    noise[..., -EGO_ROWS:, :] = 9
    noise[:, 2] = 9
    classes = output.semantic_logit_bnkhw.clone()
    classes[:, 2] = -classes[:, 2]
    spoilt = replace(
        output,
        log_depth_bnhw=output.log_depth_bnhw + noise,
        sky_logit_bnhw=torch.where(noise > 0, -output.sky_logit_bnhw, output.sky_logit_bnhw),
        log_error_bnhw=noise.clamp(max=1),
        semantic_logit_bnkhw=classes,
        coarse_log_depth_bnhw=output.coarse_log_depth_bnhw + cell_centres(noise, 16),
        coarse_semantic_logit_bnkhw=cell_centres(classes, 4),
        past_usable_bn=batch.camera_valid_tbn[1] > 0.5,
    )
    least = losses_of(replace(output, past_usable_bn=spoilt.past_usable_bn), batch)['matching']
    for name, value in losses_of(spoilt, batch).items():
        assert value == pytest.approx(least if name == 'matching' else 0, abs=1e-5), name


def test_predicted_error_is_best_at_the_mean_error(batch: Batch) -> None:
    output = perfect_output(batch)
    shifted = replace(output, log_depth_bnhw=output.log_depth_bnhw + 0.3)
    costs = {
        scale: losses_of(replace(shifted, log_error_bnhw=torch.full_like(output.log_error_bnhw, scale).log()), batch)
        for scale in (0.15, 0.3, 0.6)
    }
    assert min(costs, key=lambda scale: costs[scale]['confidence']) == 0.3


def test_losses_are_finite_and_reach_the_network_through_time(batch: Batch) -> None:
    network = small_network().train()
    terms = supervised_losses(run_sequence(network, batch), batch, LossWeights())
    dense = {'depth', 'gradient', 'confidence', 'sky', 'semantics', 'coarse_depth', 'coarse_semantics'}
    assert terms.keys() == dense | {'ground', 'matching', 'sweep', 'translation', 'rotation'}
    torch.stack(list(terms.values())).sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []


def test_motion_errors() -> None:
    turned, angle = torch.eye(4)[None].clone(), torch.tensor(0.1)
    turned[0, :2, :2] = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
    turned[0, :3, 3] = torch.tensor([3.0, 4.0, 0.0])
    translation, rotation = motion_errors(turned, torch.eye(4)[None])
    assert float(translation) == pytest.approx(5)
    assert float(rotation) == pytest.approx(5.7296, rel=1e-3)
