# SPDX-License-Identifier: Apache-2.0
"""A halved sample is what cameras of half the resolution would have seen."""

from __future__ import annotations

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


def test_the_pool_halves_what_it_draws(tmp_path: Path) -> None:
    folder = tmp_path / '64x96'
    folder.mkdir()
    flat_ground_sample().save(sample_path(folder, 10_000))
    with SamplePool(tmp_path, 64, 96, workers=0, capacity=1, minimum=1, halvings=1) as pool:
        (drawn,) = pool.draw(np.random.default_rng(0), 1)
    np.testing.assert_array_equal(drawn.images_tnhw3, flat_ground_sample().halved().images_tnhw3)
