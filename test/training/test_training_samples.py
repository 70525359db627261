# SPDX-License-Identifier: Apache-2.0
"""A halved sample is what cameras of half the resolution would have seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from training_fixtures import flat_ground_sample

from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.training.pool import SamplePool, sample_path


def test_halving_keeps_the_geometry() -> None:
    """The flat ground's depth at half resolution is that of the halved intrinsics."""
    sample = flat_ground_sample()
    half = sample.halved()
    height, width = (size // 2 for size in sample.images_tnhw3.shape[2:4])
    assert half.images_tnhw3.shape == (2, 6, height, width, 3)
    assert half.semantics_tnhw.shape == half.moving_tnhw.shape == (2, 6, height // 4, width // 4)
    rig = (torch.from_numpy(array).float()[None] for array in (half.intrinsics_n33, half.base_T_cam_n44))
    expected = ray_grid(*rig, height, width, 1, far=50.0).ground_depth_bnhw[0].numpy()
    depth = half.depth_tnhw[0].astype(np.float64)
    near = np.isfinite(depth) & (depth < 8)
    assert near.sum() > 1000
    # the depth is that of a pixel half a full-resolution pixel below the cell's centre
    np.testing.assert_allclose(depth[near], expected[near], rtol=0.05)
    assert (depth[near] < expected[near]).mean() > 0.99


def test_halving_averages_pictures() -> None:
    sample = flat_ground_sample()
    first = sample.images_tnhw3[0, 0, :2, :2].astype(float).mean(axis=(0, 1))
    np.testing.assert_allclose(sample.halved().images_tnhw3[0, 0, 0, 0], first, atol=0.5)


def test_halving_hides_what_is_partly_the_ego_vehicle() -> None:
    """A picture's pixel that the vehicle has a quarter of shows the vehicle."""
    sample = flat_ground_sample()
    hidden = np.zeros(sample.depth_tnhw.shape[1:], bool)
    hidden[:, 60, 10] = True
    half = replace(sample, ego_mask_nhw=hidden).halved()
    assert half.ego_mask_nhw is not None
    assert np.argwhere(half.ego_mask_nhw).tolist() == [[camera, 30, 5] for camera in range(6)]
    depth = sample.depth_tnhw.copy()
    depth[:, :, 40, 10] = np.nan
    dense = replace(sample, depth_tnhw=depth).halved()
    assert np.isnan(dense.depth_tnhw[:, :, 20, 5]).all()
    assert np.isnan(dense.depth_tnhw).sum() == np.isnan(sample.halved().depth_tnhw).sum() + 12
    assert dense.depth_tnhw.dtype == np.float16


def test_halved_labels_are_those_nearest_their_cells() -> None:
    """Half resolution's cell j is centred at full resolution's pixel 8 j + 3.5, a label's place is 4 i + 2."""
    sample = flat_ground_sample()
    rows, columns = np.indices(sample.semantics_tnhw.shape[2:])
    numbered = np.broadcast_to(columns, sample.semantics_tnhw.shape).astype(np.uint8)
    half = replace(sample, semantics_tnhw=numbered).with_teacher(sample.depth_tnhw, numbered).halved()
    assert half.teacher_semantics_tnhw is not None
    for labels in (half.semantics_tnhw, half.teacher_semantics_tnhw):
        j = np.arange(labels.shape[-1])
        off = np.abs(4 * labels[0, 0, 0].astype(int) + 2 - (8 * j + 3.5))
        assert off.max() <= 1.5
    moving = np.broadcast_to(rows % 2 == 0, sample.moving_tnhw.shape)
    assert replace(sample, moving_tnhw=moving).halved().moving_tnhw.all()


def test_the_pool_halves_what_it_draws(tmp_path: Path) -> None:
    folder = tmp_path / '64x96'
    folder.mkdir()
    flat_ground_sample().save(sample_path(folder, 10_000))
    with SamplePool(tmp_path, 64, 96, workers=0, capacity=1, minimum=1, halvings=1) as pool:
        (drawn,) = pool.draw(np.random.default_rng(0), 1)
    np.testing.assert_array_equal(drawn.images_tnhw3, flat_ground_sample().halved().images_tnhw3)
