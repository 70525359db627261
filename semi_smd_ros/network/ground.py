# SPDX-License-Identifier: Apache-2.0
"""The ground of one instant: its tilt and height against `base`, from all cameras together and the last instant.

The ground is z = a x + b y + c. It is not the vehicle's own plane: suspension pitches, roads have grade and crown.
Every cell of stride 16 of every camera votes, with a learned weight each, for the ground's slope along and across its
camera's heading and for its height where the cell's ray meets the flat ground. Weighted least squares over all votes,
a prior at zero and the last instant's ground gives (a, b, c): three normal equations (Bjorck, "Numerical Methods for
Least Squares Problems", 1996, ch. 1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semi_smd_ros.network import geometry
from semi_smd_ros.network.geometry import RayGrid
from semi_smd_ros.network.linear import identity, solve_positive_definite

VOTES = 3
SLOPE_UNIT = 0.02  # slopes and heights are solved for in these units, in which roads are of order one
HEIGHT_UNIT = 0.1  # metres
INITIAL_GAIN = 3.0  # logarithm of how much a camera that is sure counts against the prior


def plane_rows(points_x_bnq: Tensor, points_y_bnq: Tensor, heading_bn2: Tensor) -> Tensor:
    """Unit rows of the three votes of every cell, acting on (a / SLOPE_UNIT, b / SLOPE_UNIT, c / HEIGHT_UNIT).

    (B,N,VOTES,3,Q): slope forward, slope left, and height at the cell's point of the flat ground.
    """
    zero, one = torch.zeros_like(points_x_bnq), torch.ones_like(points_x_bnq)
    cos, sin = heading_bn2[..., 0:1] * one, heading_bn2[..., 1:2] * one
    lever = SLOPE_UNIT / HEIGHT_UNIT
    x, y = lever * points_x_bnq, lever * points_y_bnq
    length = (x.square() + y.square() + 1).sqrt()
    rows = ((cos, sin, zero), (-sin, cos, zero), (x / length, y / length, one / length))
    return torch.stack([torch.stack(row, dim=2) for row in rows], dim=2)


class GroundPlane(nn.Module):
    """Votes to (a, b, c) of the ground, (B,3)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.full((VOTES,), INITIAL_GAIN))
        self.log_prior = nn.Parameter(torch.zeros(2))  # of slopes and height
        self.log_memory = nn.Parameter(torch.zeros(2))

    def forward(
        self,
        vote_bnvq: Tensor,
        vote_logit_bnvq: Tensor,
        rays: RayGrid,
        valid_bn: Tensor,
        past_ground_b3: Tensor,
        past_known_b: Tensor,
    ) -> Tensor:
        """`past_ground_b3` is the last instant's ground where `past_known_b` (1 or 0)."""
        rows = self.rows(rays)
        # a vote for height needs a ray that meets the ground
        sees = rays.sees_ground().flatten(2)
        meets = torch.stack((torch.ones_like(sees), torch.ones_like(sees), sees), dim=2)
        share = torch.sigmoid(vote_logit_bnvq) * meets * valid_bn.to(sees.dtype)[..., None, None] / sees.shape[-1]
        weight = share * self.log_gain.exp()[:, None]
        weighted = weight[:, :, :, None] * rows
        matrix = (weighted[:, :, :, :, None] * rows[:, :, :, None]).sum(-1).sum((1, 2))
        right = (weighted * vote_bnvq[:, :, :, None]).sum(-1).sum((1, 2))

        # inputs of one scalar for both slopes keep the answer independent of how the rig is turned
        prior, memory = (log.exp()[[0, 0, 1]] for log in (self.log_prior, self.log_memory))
        memory_b3 = memory * past_known_b[:, None]
        matrix = matrix + identity(3, matrix.device) * (prior + memory_b3)[:, None]
        unit = torch.tensor((SLOPE_UNIT, SLOPE_UNIT, HEIGHT_UNIT), device=matrix.device)
        return unit * solve_positive_definite(matrix, right + memory_b3 * past_ground_b3 / unit)

    def rows(self, rays: RayGrid) -> Tensor:
        """`plane_rows` of the cells of `rays`."""
        pose = rays.base_T_cam_bn44
        point = pose[..., :2, 3, None, None] + rays.ground_depth()[:, :, None] * rays.ray_base_bn3hw[:, :, :2]
        x, y = point.flatten(3).unbind(2)
        return plane_rows(x, y, geometry.heading_bn2(pose))
