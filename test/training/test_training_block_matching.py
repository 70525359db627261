# SPDX-License-Identifier: Apache-2.0
"""Block matching finds where cells were, on pictures whose answer is known, and teaches the network's matching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_fixtures import small_network

from semi_smd_ros.training.batch import Batch, make_batch
from semi_smd_ros.training.block_matching import block_matches, block_matching_loss
from semi_smd_ros.training.correspondence import cell_centres, previous_pixels
from semi_smd_ros.training.objective import run_sequence
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
    loss = block_matching_loss(outputs, batch)
    loss.backward()
    assert float(network.matching.query_8.weight.grad.abs().sum()) > 0
    unusable = replace(outputs[1], past_usable_bn=torch.zeros(1, 6, dtype=torch.bool))
    assert float(block_matching_loss([outputs[0], unusable], batch).detach()) == 0
