# SPDX-License-Identifier: Apache-2.0
"""Depth and motion together must put every cell where block matching found it in the earlier picture.

Photometric terms see no farther than a picture's texture reaches: as long as the motion is wrong by pixels they teach
nothing, and a depth and a motion that are both too small, or a depth that is infinite, suit them well enough. The
distance between two places in the picture has a slope wherever it is not zero (after Zhao et al., "Towards better
generalization: joint depth-pose learning without PoseNet", CVPR 2020, who take it from optical flow). It is invariant
to a common factor of depth and motion, as every temporal term: scale is for the extrinsics to fix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from semi_smd_ros.network.config import FEATURE_STRIDE
from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch
from semi_smd_ros.training.block_matching import Places
from semi_smd_ros.training.correspondence import carried
from semi_smd_ros.training.losses import masked_mean
from semi_smd_ros.training.scene import motions
from semi_smd_ros.training.view_synthesis import NEAREST


def at_cell_centres(map_hw: Tensor, stride: int = FEATURE_STRIDE) -> Tensor:
    """The mean of the four pixels around every cell's centre, (...,H/stride,W/stride)."""
    before, behind = (slice(start, None, stride) for start in (stride // 2 - 1, stride // 2))
    rows = map_hw[..., before, :] + map_hw[..., behind, :]
    return (rows[..., before] + rows[..., behind]) / 4


def reprojection_loss(
    outputs: Sequence[NetworkOutput], places: Sequence[Places], static_tbnhw: Tensor, batch: Batch
) -> Tensor:
    """Mean of r / (1 + r), r the distance in cells of stride 16 between where a cell is carried and where it was found.

    Bounded, for some of what block matching finds is wrong. `static_tbnhw` (bool, at stride 16) is what stands still.
    """
    total = batch.images_tbn3hw.new_zeros(())
    for output, place, static in zip(outputs[1:], places, static_tbnhw[1:]):
        depth = 1 / at_cell_centres((-output.log_depth_bnhw.float()).exp())
        u, v, z = carried(depth, batch.intrinsics_bn33.float(), batch.base_T_cam_bn44.float(), motions(output))
        known = place.known_bnq & static.flatten(2) & (z > NEAREST)
        du, dv = (torch.where(known, a - b, torch.zeros_like(a)) for a, b in ((u, place.u_bnq), (v, place.v_bnq)))
        # the smallest square keeps the root's slope finite
        distance = (du.square() + dv.square() + 1e-4).sqrt() / FEATURE_STRIDE
        total = total + masked_mean(distance / (1 + distance), known)
    return total / max(1, len(places))
