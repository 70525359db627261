# SPDX-License-Identifier: Apache-2.0
"""What enters the losses and what stays out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_fixtures import EGO_ROWS, flat_ground_sample, small_network

from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch, make_batch
from semi_smd_ros.training.losses import LossWeights, frame_losses, motion_errors, thing_weight
from semi_smd_ros.training.trainer import sequence_loss


@pytest.fixture
def batch() -> Batch:
    return make_batch([flat_ground_sample()], None, np.random.default_rng(0))


def perfect_output(batch: Batch) -> NetworkOutput:
    """The ground truth of the second frame as a prediction."""
    depth = batch.depth_tbnhw[1]
    is_sky = torch.isposinf(depth)
    classes = torch.nn.functional.one_hot(batch.semantics_tbnhw[1].clamp(max=18), 19).movedim(-1, 2)
    return NetworkOutput(
        log_depth_bnhw=torch.where(torch.isfinite(depth), depth, torch.ones_like(depth)).log(),
        sky_logit_bnhw=torch.where(is_sky, 50.0, -50.0),
        log_error_bnhw=torch.zeros_like(depth),
        semantic_logit_bnkhw=50.0 * classes.float(),
        memory_bnchw=torch.zeros(()),
        ego_motion_b44=batch.prev_T_now_tb44[1],
    )


def losses_of(output: NetworkOutput, batch: Batch) -> dict[str, float]:
    terms = frame_losses(
        output,
        batch.depth_tbnhw[1],
        batch.semantics_tbnhw[1],
        batch.prev_T_now_tb44[1],
        batch.camera_valid_tbn[1],
        LossWeights(),
    )
    return {name: float(value) for name, value in terms.items()}


def test_the_truth_costs_nothing(batch: Batch) -> None:
    assert all(value == pytest.approx(0, abs=1e-5) for value in losses_of(perfect_output(batch), batch).values())


def test_a_wrong_depth_costs_its_log_error_and_the_sky_is_left_out(batch: Batch) -> None:
    output = perfect_output(batch)
    shifted = replace(output, log_depth_bnhw=output.log_depth_bnhw + 0.3)
    losses = losses_of(shifted, batch)
    assert losses['depth'] == pytest.approx(0.3, abs=1e-4)
    assert losses['gradient'] == pytest.approx(0, abs=1e-4)
    sky = torch.where(torch.isposinf(batch.depth_tbnhw[1]), 9.0, output.log_depth_bnhw)
    assert losses_of(replace(output, log_depth_bnhw=sky), batch)['depth'] == pytest.approx(0, abs=1e-5)


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
    assert losses_of(spoilt, batch)['depth'] == pytest.approx(0.15, abs=1e-3)
    batch.semantics_tbnhw[1][..., 12:] = 13
    assert losses_of(spoilt, batch)['depth'] == pytest.approx(0.075, abs=1e-3)


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
    )
    assert all(value == pytest.approx(0, abs=1e-5) for value in losses_of(spoilt, batch).values())


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
    terms = sequence_loss(network, batch, LossWeights())
    assert terms.keys() == {'depth', 'gradient', 'confidence', 'sky', 'semantics', 'translation', 'rotation'}
    torch.stack(list(terms.values())).sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []
    assert network.fusion.past_type.grad is not None
    assert network.fusion.past_type.grad.abs().sum() > 0


def test_motion_errors() -> None:
    turned, angle = torch.eye(4)[None].clone(), torch.tensor(0.1)
    turned[0, :2, :2] = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
    turned[0, :3, 3] = torch.tensor([3.0, 4.0, 0.0])
    translation, rotation = motion_errors(turned, torch.eye(4)[None])
    assert float(translation) == pytest.approx(5)
    assert float(rotation) == pytest.approx(5.7296, rel=1e-3)
