# SPDX-License-Identifier: Apache-2.0
"""Correspondences from true depth and motion, on rendered frames."""

from __future__ import annotations

import numpy as np
import torch
from training_fixtures import flat_ground_sample

from semi_smd_ros.training.batch import make_batch
from semi_smd_ros.training.correspondence import cell_centres, previous_pixels
from semi_smd_ros.training.samples import render_sample


def test_what_a_cell_shows_lies_where_the_motion_puts_it() -> None:
    """Depth and class at the previous pixel are those of the same surface, seen from where the vehicle was."""
    batch = make_batch([render_sample(10_004, 96, 160)], None, np.random.default_rng(0))
    motion = batch.prev_T_now_tb44[1]
    assert float(motion[0, :3, 3].norm()) > 0.3, 'a vehicle that stands still proves nothing'
    u, v, z = previous_pixels(batch.depth_tbnhw[1], batch.intrinsics_bn33, batch.base_T_cam_bn44, motion)
    inside = torch.isfinite(z) & (u >= 0) & (u <= 159) & (v >= 0) & (v <= 95)
    inside &= ~cell_centres(batch.moving_tbnhw[1], 4).flatten(2)
    index = torch.where(inside, v.round() * 160 + u.round(), torch.zeros_like(u)).long()
    surface = batch.depth_tbnhw[0].flatten(2).gather(2, index)
    ratio = (surface / z)[inside].log().abs()
    assert inside.float().mean() > 0.2
    assert float(ratio.median()) < 0.02
    still = cell_centres(batch.depth_tbnhw[0], 16).flatten(2)
    assert float((still / z)[inside].log().abs().median()) > 2 * float(ratio.median())


def test_is_exact_under_bfloat16() -> None:
    """Training in bfloat16 must not round pixels: 257 would become 256 or 258."""
    batch = make_batch([flat_ground_sample()], None, np.random.default_rng(0))
    rig = (batch.intrinsics_bn33, batch.base_T_cam_bn44)
    exact = previous_pixels(batch.depth_tbnhw[1], *rig, batch.prev_T_now_tb44[1])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rounded = previous_pixels(batch.depth_tbnhw[1], *rig, batch.prev_T_now_tb44[1])
    for here, there in zip(exact, rounded):
        assert torch.equal(torch.nan_to_num(here), torch.nan_to_num(there))
