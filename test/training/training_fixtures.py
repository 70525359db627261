# SPDX-License-Identifier: Apache-2.0
"""A sample that needs no renderer: six level cameras over flat ground, a wall of sky above the horizon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.export import example_inputs
from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.samples import Sample

SIZE = (64, 96)
EGO_ROWS = 6


def flat_ground_sample(seed: int = 0) -> Sample:
    """Ground truth is the flat ground to 50 m, sky above, the ego vehicle in the lowest rows; 1.5 m forward."""
    generator = np.random.default_rng(seed)
    network = SemiSmdNetwork(NetworkConfig(height=SIZE[0], width=SIZE[1]))
    _, intrinsics, base_T_cam, *_ = example_inputs(network, 6)
    depth = ray_grid(intrinsics[None], base_T_cam[None], *SIZE, 1, far=50.0).ground_depth_bnhw[0].numpy()
    depth = np.where(depth < 50, depth, np.inf)
    labels = np.where(np.isinf(depth), 10, 0).astype(np.uint8)
    depth[:, -EGO_ROWS:], labels[:, -EGO_ROWS:] = np.nan, 255
    grey = np.where(np.isinf(depth), 220, 90)[..., None]
    image = np.clip(grey + generator.normal(0, 8, (*depth.shape, 3)), 0, 255).astype(np.uint8)
    motion = np.eye(4)
    motion[0, 3] = 1.5
    return Sample(
        images_tnhw3=np.stack([image, image]),
        depth_tnhw=np.stack([depth, depth]).astype(np.float16),
        semantics_tnhw=np.stack([labels, labels])[:, :, 2::4, 2::4],
        intrinsics_n33=intrinsics.double().numpy(),
        base_T_cam_n44=base_T_cam.double().numpy(),
        prev_T_now_t44=np.stack([np.eye(4), motion]),
        ground_plane_t4=np.tile([0.0, 0.0, 1.0, 0.0], (2, 1)),
        moving_tnhw=np.zeros((2, 6, SIZE[0] // 4, SIZE[1] // 4), bool),
    )


def labelled_sample(seed: int = 0) -> Sample:
    """The same with an ego mask, and labels of a teacher in random steps, no two of its pictures alike."""
    sample = flat_ground_sample(seed)
    generator = np.random.default_rng(seed)
    with np.errstate(divide='ignore'):
        disparity = 1 / sample.depth_tnhw.astype(np.float32) * generator.uniform(0.5, 2, (2, 6, 1, 1))
    classes = generator.integers(0, 19, sample.semantics_tnhw.shape).astype(np.uint8)
    hidden = np.isnan(sample.depth_tnhw[0])
    return replace(sample, ego_mask_nhw=hidden).with_teacher(disparity.astype(np.float32), classes)


def small_network(seed: int = 0) -> SemiSmdNetwork:
    torch.manual_seed(seed)
    return SemiSmdNetwork(NetworkConfig(height=SIZE[0], width=SIZE[1]))
