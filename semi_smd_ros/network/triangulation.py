# SPDX-License-Identifier: Apache-2.0
"""Depth from the vehicle's own motion: the cells' rays at t meet the rays of their correspondences at t-1."""

from __future__ import annotations

import torch
from torch import Tensor

from semi_smd_ros.network.ego_motion import cross, transform, unit
from semi_smd_ros.network.geometry import RayGrid

PARALLAX = 0.02  # radians between the rays at which the confidence is one half
TINY = 1e-8


def triangulate(
    rays: RayGrid, seen_bn3q: Tensor, motion_bn44: Tensor, depth_range: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Log Z depth and confidence 0..1 of every cell, (B,N,Q) each. The motion is (B,1,4,4), or one for each camera.

    At t the cell's point is o + z d; at t-1 it is e + z g from the camera's origin, with e = R o + t - o, g = R d.
    It lies on the measured ray m where m x (e + z g) = 0, so z = -(m x g).(m x e) / |m x g|^2 (midpoint along d;
    Hartley and Zisserman, "Multiple View Geometry", ch. 12). Confidence is 0 behind the camera and beyond
    `depth_range` metres.
    """
    origin = rays.base_T_cam_bn44[..., :3, 3:]
    ray = rays.ray_base_bn3hw.flatten(3)
    travelled = transform(motion_bn44, origin) - origin
    turned = transform(motion_bn44, ray) - motion_bn44[..., :3, 3:]
    across_ray, across_travel = cross(seen_bn3q, turned), cross(seen_bn3q, travelled.expand_as(ray))
    square = across_ray.square().sum(2)
    depth = -(across_ray * across_travel).sum(2) / (square + TINY)
    # |m x g| / |g| is the sine of the angle between the rays
    sine_square = square / unit(turned)[1][:, :, 0].square()
    nearest, farthest = depth_range
    depth = depth.clamp(nearest, farthest)
    inside = (depth / nearest - 1).clamp(max=1) * (farthest / depth - 1).clamp(max=1)
    return depth.log(), inside * sine_square / (sine_square + PARALLAX**2)


def depth_cue(coarse_log_depth_bnq: Tensor, log_depth_bnq: Tensor, confidence_bnq: Tensor, usable_bn: Tensor) -> Tensor:
    """The decoder's three channels (B,N,3,Q): coarse log depth, what triangulation adds to it, its confidence."""
    confidence = confidence_bnq * usable_bn.to(confidence_bnq.dtype)[..., None]
    added = confidence * (log_depth_bnq - coarse_log_depth_bnq)
    return torch.stack((0.5 * coarse_log_depth_bnq - 1, added, confidence), dim=2)
