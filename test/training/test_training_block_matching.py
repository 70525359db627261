# SPDX-License-Identifier: Apache-2.0
"""Block matching finds where cells were, on pictures whose answer is known, and teaches the network's matching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_fixtures import small_network

from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch, make_batch
from semi_smd_ros.training.block_matching import (
    BLOCK,
    block_matches,
    block_matching_loss,
    block_mean,
    earlier_places,
)
from semi_smd_ros.training.correspondence import cell_centres, previous_pixels
from semi_smd_ros.training.objective import run_sequence
from semi_smd_ros.training.reprojection import reprojection_loss
from semi_smd_ros.training.samples import render_sample
from semi_smd_ros.training.scene import ego_mask


@pytest.fixture(scope='module')
def batch() -> Batch:
    """A vehicle that drives half a metre between two pictures."""
    return make_batch([render_sample(10_001, 96, 160)], None, np.random.default_rng(0))


def test_a_shifted_picture_is_found_to_a_fraction_of_a_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = torch.nn.functional.interpolate(torch.rand(2, 3, 40, 60, generator=generator), scale_factor=4.0)
    now, past = wide[..., 20:116, 30:190], wide[..., 23:119, 23:183]  # what is at u now was at u + 7, v - 3
    u, v, distinct = block_matches(now, past, torch.zeros(2, 96, 160, dtype=torch.bool))
    at_u = torch.arange(10).repeat(6) * 16 + 7.5
    at_v = torch.arange(6).repeat_interleave(10) * 16 + 7.5
    assert distinct.float().mean() > 0.7
    assert float((u - at_u - 7).abs()[distinct].quantile(0.8)) < 0.5
    assert float((v - at_v + 3).abs()[distinct].quantile(0.8)) < 0.5


def test_blocks_lie_around_their_cells_however_far_pictures_are_reduced() -> None:
    """At stride 1, of pictures 1280 pixels wide, a cell is one reduced pixel."""
    for stride in (1, 2, 4, 8):
        row = torch.arange(48.0).expand(1, 1, 48, 48)
        mean = block_mean(row, stride)
        assert mean.shape[-2:] == (48 // stride, 48 // stride)
        centres = torch.arange(48 // stride) * stride + (stride - 1) / 2
        inside = (centres > BLOCK) & (centres < 47 - BLOCK)
        assert torch.allclose(mean[0, 0, 24 // stride, inside], centres[inside])


def test_what_is_hidden_and_what_has_no_texture_says_nothing() -> None:
    picture = torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(1, 96, 160, dtype=torch.bool)
    hidden[:, 48:] = True
    distinct = block_matches(picture, picture, hidden)[2].reshape(6, 10)
    assert distinct[:3].any()
    assert not distinct[4:].any()
    flat = torch.full_like(picture, 0.5)
    assert not block_matches(flat, flat, torch.zeros_like(hidden))[2].any()


def test_it_finds_what_stands_still_where_true_depth_and_motion_put_it(batch: Batch) -> None:
    images, hidden = batch.images_tbn3hw, ego_mask(batch).any(0).flatten(0, 1)
    u, v, distinct = block_matches(images[1].flatten(0, 1), images[0].flatten(0, 1), hidden)
    true_u, true_v, z = previous_pixels(
        batch.depth_tbnhw[1], batch.intrinsics_bn33, batch.base_T_cam_bn44, batch.prev_T_now_tb44[1]
    )
    known = distinct & torch.isfinite(z[0]) & ~cell_centres(batch.moving_tbnhw[1], 4).flatten(2)[0]
    error = torch.hypot(u - true_u[0], v - true_v[0])[known]
    assert known.float().mean() > 0.1
    assert float(error.median()) < 1.0
    still = torch.hypot(true_u[0] - torch.arange(10).repeat(6) * 16 - 7.5, v * 0)[known]
    assert float(still.median()) > 2 * float(error.median())


def test_the_networks_matching_learns_from_it_and_only_where_it_may(batch: Batch) -> None:
    network = small_network().train()
    outputs = run_sequence(network, batch)
    places = earlier_places(batch, [output.past_usable_bn for output in outputs])
    loss = block_matching_loss(outputs, places, batch)
    loss.backward()
    assert float(network.matching.query_8.weight.grad.abs().sum()) > 0
    unusable = torch.zeros(1, 6, dtype=torch.bool)
    nowhere = earlier_places(batch, [outputs[0].past_usable_bn, unusable])
    assert float(block_matching_loss(outputs, nowhere, batch).detach()) == 0


def told(batch: Batch, depth_factor: float = 1.0, motion_factor: float = 1.0) -> list[NetworkOutput]:
    """Outputs that tell the truth, or as many times as much."""
    outputs = run_sequence(small_network(), batch)
    depth = torch.where(torch.isfinite(batch.depth_tbnhw), batch.depth_tbnhw, 50.0)
    found = []
    for output, now, motion in zip(outputs, depth, batch.prev_T_now_tb44):
        motion = motion.clone()
        motion[:, :3, 3] *= motion_factor
        found.append(replace(output, log_depth_bnhw=(now * depth_factor).log(), ego_motion_b44=motion))
    return found


def test_depth_and_motion_that_are_wrong_move_cells_away() -> None:
    fast = make_batch([render_sample(10_007, 96, 160)], None, np.random.default_rng(0))
    static = ~cell_centres(fast.moving_tbnhw, 4) & torch.isfinite(cell_centres(fast.depth_tbnhw, 16))

    def loss(depth_factor: float, motion_factor: float) -> float:
        outputs = told(fast, depth_factor, motion_factor)
        places = earlier_places(fast, [output.past_usable_bn for output in outputs])
        return float(reprojection_loss(outputs, places, static, fast).detach())

    right = loss(1.0, 1.0)
    assert right < 0.12
    for wrong in ((1 / 1.5, 1.0), (1.0, 1.5), (1.0, 0.0)):
        assert loss(*wrong) > 1.5 * right, wrong
    assert loss(2.0, 2.0) == pytest.approx(right, rel=0.02), 'one common factor shows only where the vehicle turns'


def test_depth_and_motion_learn_from_it_but_not_from_what_moves(batch: Batch) -> None:
    network = small_network().train()
    outputs = run_sequence(network, batch)
    places = earlier_places(batch, [output.past_usable_bn for output in outputs])
    static = torch.ones(2, 1, 6, 6, 10, dtype=torch.bool)
    reprojection_loss(outputs, places, static, batch).backward()
    for layer in (network.heads.dense, network.ego_motion.cell, network.matching.query_8):
        assert torch.isfinite(layer.weight.grad).all()
        assert float(layer.weight.grad.abs().sum()) > 0
    assert float(reprojection_loss(outputs, places, ~static, batch).detach()) == 0
