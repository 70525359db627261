# SPDX-License-Identifier: Apache-2.0
"""Views must agree: depths of one point in two pictures, and two reconstructions of one picture.

- Spatial and temporal depth consistency: a point's depth, carried into another view, against that view's own depth
  there (Bian et al., "Unsupervised scale-consistent depth learning from video", IJCV 2021, between instants; Kim et
  al., "Self-supervised surround-view depth estimation with volumetric feature fusion" (VFDepth), NeurIPS 2022, and
  Ding et al., "Towards cross-view-consistent self-supervised surround depth estimation" (CVCDepth), 2024, between
  cameras). Compared are logarithms, so that far and near count alike and scale has no say.
- Multi-view reconstruction consistency (CVCDepth): a camera's picture rebuilt from a neighbour at the same instant
  must look like the one rebuilt from the same neighbour at another instant. Both come from one camera, so exposure
  drops out.

A point that a view hides behind something nearer takes no part in that direction; a disagreement is still seen from the
other view, whose point lies in front. Things that move by themselves take part in what compares one instant only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from semi_smd_ros.training.losses import masked_mean
from semi_smd_ros.training.photometric import dissimilarity
from semi_smd_ros.training.scene import Scene
from semi_smd_ros.training.view_synthesis import Warp

LARGEST_DIFFERENCE = 1.0  # of log depth; beyond it is taken for an occlusion that the visibility test missed


def depth_difference(warped: Warp) -> Tensor:
    """min(|log ratio|, LARGEST_DIFFERENCE) of a point's depth and the source's own, (M,N,S,H,W)."""
    return (warped.log_depth_mnshw - warped.source_log_depth_mnshw).abs().clamp(max=LARGEST_DIFFERENCE)


def spatial_depth_loss(scene: Scene) -> Tensor:
    """Depths of neighbours at one instant against each other, in their overlaps."""
    return masked_mean(depth_difference(scene.spatial), scene.spatial.visible_mnshw)


def temporal_depth_loss(scene: Scene) -> Tensor:
    """Depths of one camera at two instants against each other, both ways, static points."""
    differences, counts = [], []
    for offset, warped in scene.temporal.items():
        static = scene.static_tbnhw[scene.targets(offset)].flatten(0, 1)
        differences.append(depth_difference(warped))
        counts.append(warped.visible_mnshw & static[:, :, None])
    return masked_mean(torch.cat(differences), torch.cat(counts))


def reconstruction_loss(scene: Scene) -> Tensor:
    """Dissimilarity of the two reconstructions from each neighbour, where both are visible, static points."""
    errors, counts = [], []
    rigs = scene.base_T_cam_bn44.shape[0]
    for offset, there in scene.spatio_temporal.items():
        at = scene.targets(offset)
        count, here = at.stop - at.start, slice(at.start * rigs, at.stop * rigs)
        static = scene.neighbours.repeated(count).cut(scene.static_tbnhw[at].flatten(0, 1))
        errors.append(dissimilarity(scene.spatial.image_mns3hw[here], there.image_mns3hw))
        counts.append(scene.spatial.visible_mnshw[here] & there.visible_mnshw & static)
    return masked_mean(torch.cat(errors), torch.cat(counts))


@torch.no_grad()
def largest_difference(scene: Scene) -> tuple[Tensor, Tensor]:
    """The largest `depth_difference` with any other view of the same point, and where any tells it, (T,B,N,H,W).

    Neighbours at the same instant for all usable points, other instants for static ones.
    """
    largest = torch.full_like(scene.log_depth_tbnhw, -1)
    difference = where_visible(depth_difference(scene.spatial), scene.spatial.visible_mnshw)
    column = scene.neighbours.repeated(largest.shape[0]).column_bnsw
    for place in range(difference.shape[2]):
        told = largest.flatten(0, 1)
        at = column[:, :, place, None].expand(-1, -1, told.shape[2], -1)
        told.scatter_(-1, at, torch.maximum(told.gather(-1, at), difference[:, :, place]))
    for offset, warped in scene.temporal.items():
        targets = scene.targets(offset)
        difference = where_visible(depth_difference(warped), warped.visible_mnshw)[:, :, 0]
        difference = torch.where(scene.static_tbnhw[targets], difference.reshape(largest[targets].shape), -1)
        largest[targets] = torch.maximum(largest[targets], difference)
    return largest.clamp(min=0), largest >= 0


def where_visible(difference: Tensor, visible: Tensor) -> Tensor:
    """-1 where the other view tells nothing, so that the largest leaves it out."""
    return torch.where(visible, difference, torch.full_like(difference, -1))
