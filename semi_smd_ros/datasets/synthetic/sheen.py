# SPDX-License-Identifier: Apache-2.0
"""Rain sheen: wet ground mirrors what stands behind it."""

from __future__ import annotations

import torch
from torch.nn import functional

from .noise import noise


def add_sheen(
    linear_v3hw: torch.Tensor,
    ground_vhw: torch.Tensor,
    depth_vhw: torch.Tensor,
    world_ray_v3hw: torch.Tensor,
    origin_v3: torch.Tensor,
    wetness_v: torch.Tensor,
) -> torch.Tensor:
    """Pictures whose level ground mirrors, more so at grazing angles and in puddles: (V, 3, H, W).

    In a level view a thing's mirror image hangs upside down from its foot. So each column is folded about the lowest
    thing above a ground pixel; that needs no second rendering, and a little roll of the camera does not show.

    Args:
        linear_v3hw: linear RGB.
        ground_vhw: bool, True on ground that gets wet.
        depth_vhw: depth, metres; anything where nothing is hit.
        world_ray_v3hw: rays per metre of depth in world coordinates.
        origin_v3: the cameras' places in the world.
        wetness_v: of each view, 0 dry .. 1 wet.
    """
    height = linear_v3hw.shape[2]
    rows = torch.arange(height, device=linear_v3hw.device)[None, :, None]
    foot = torch.cummax(torch.where(ground_vhw, torch.full_like(rows, -1), rows), dim=1).values
    mirrored = (2 * foot + 1 - rows).clamp(min=0, max=height - 1)
    # Water on a rough road smears mirror images, mostly upwards.
    smeared = functional.avg_pool2d(linear_v3hw, (7, 3), 1, (3, 1), count_include_pad=False)
    image = smeared.gather(2, mirrored[:, None].expand(-1, 3, -1, -1))
    depth = torch.where(ground_vhw, depth_vhw, torch.ones_like(depth_vhw))
    across, along = (origin_v3[:, k, None, None].float() + depth * world_ray_v3hw[:, k] for k in (0, 1))
    foot_print = depth * (1.5 / linear_v3hw.shape[3])
    puddle = noise((across, along, torch.zeros_like(across)), 31.0, foot_print)
    length = world_ray_v3hw.square().sum(1).sqrt()
    steep = (-world_ray_v3hw[:, 2] / length).clamp(0.0, 1.0)
    fresnel = 0.04 + 0.96 * (1.0 - steep) ** 5
    share = (fresnel * wetness_v[:, None, None] * (0.55 + 0.35 * puddle).clamp(0.15, 1.0)).clamp(max=0.85)
    share = share * (ground_vhw & (foot >= 0)).float()
    return torch.lerp(linear_v3hw, image, share[:, None])
