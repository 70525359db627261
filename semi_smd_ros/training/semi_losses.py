# SPDX-License-Identifier: Apache-2.0
"""The losses of training without ground-truth depth: self-supervision from many views, and two frozen teachers.

**What fixes metric scale.** One camera's frames don't: depth and motion may both grow by any factor. Nor does the
depth teacher, whose scale is unknown, nor smoothness (neither changes with a common factor). What does is that the
extrinsics are metres: a point seen by two cameras, at one instant (`spatial`, `spatial_depth`) or at two
(`spatio_temporal`, `reconstruction`), lies at the depth that fits the known baseline; and the road lies as far below
the cameras as they are mounted above it (`ground`; off with weight 0, where the height is not to be trusted). So an
error of the extrinsics is an error of scale.

**Sky** comes from the semantic teacher: it trains the sky head and takes no part in anything about depth, neither as
target nor as source. Without a teacher it is unknown and takes part.
**Things that may move** (people and vehicles, by the semantic teacher) take part in what compares views of one
instant and in what the depth teacher says, but not in temporal and spatio-temporal terms, parked or not. Unlabelled
things that move along with the vehicle are left to the auto-mask.
**The ego vehicle** is masked in targets and sources.
**Confidence**: the scale of a Laplace likelihood of the largest of the errors that can be seen without truth: how far
a pixel is from the depth teacher's picture aligned to the prediction (which shows a wrong shape) and from other
views' depth of the same point (which shows a wrong place). The errors are detached; only the scale learns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semi_smd_ros.network.config import FEATURE_STRIDE
from semi_smd_ros.network.linear import full_precision
from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch
from semi_smd_ros.training.block_matching import Places, block_matching_loss, earlier_places
from semi_smd_ros.training.confidence import confidence_loss
from semi_smd_ros.training.consistency import reconstruction_loss, spatial_depth_loss, temporal_depth_loss
from semi_smd_ros.training.correspondence import cell_centres
from semi_smd_ros.training.curvature import curvature_loss
from semi_smd_ros.training.label_losses import coarse_semantic_loss, road_loss, semantic_loss, sky_loss
from semi_smd_ros.training.losses import masked_mean
from semi_smd_ros.training.photometric import spatial_loss, spatio_temporal_loss, temporal_loss
from semi_smd_ros.training.reprojection import at_cell_centres, reprojection_loss
from semi_smd_ros.training.scene import Scene, TeacherLabels, everywhere, make_scene, pooled
from semi_smd_ros.training.smoothness import smoothness_loss

__all__ = ['SemiLossWeights', 'TeacherLabels', 'semi_supervised_losses']


@dataclass(frozen=True)
class SemiLossWeights:
    """A factor per term; 0 leaves the term out. Photometric and consistency factors as published (CVCDepth)."""

    temporal: float = 1.0
    spatial: float = 0.03
    spatio_temporal: float = 0.1
    spatial_depth: float = 0.05
    """Published: 0.001 of metres; here of log depth."""
    temporal_depth: float = 0.05
    reconstruction: float = 0.2
    smoothness: float = 0.001
    curvature: float = 0.1
    semantics: float = 0.15
    sky: float = 0.3
    false_sky: float = 4.0
    """How much worse it is to call a thing sky than to miss sky (no term of its own)."""
    confidence: float = 0.1
    matching: float = 0.1
    """Of the network's match with the previous picture against block matching of the two."""
    reprojection: float = 0.5
    """Of depth and motion together against block matching."""
    coarse: float = 0.3
    """Of depth and semantics at stride 16: depth follows the full resolution's, for motion is solved with it."""
    ground: float = 0.1
    lidar: float = 0.0
    """Supervised: `batch.depth_tbnhw` where it is finite, sparse or dense. The only term that reads it."""
    lidar_range: tuple[float, float] = (0.5, 200.0)
    stride: int = 1
    """Photometric, consistency, smoothness and curvature terms work on pictures reduced by 1, 2 or 4."""
    coarsest: int = 4
    """Photometric terms and `reconstruction` are the mean over pictures reduced by `stride`, twice that, ... to this:
    what lies many pixels off finds its place in small pictures first."""

    def strides(self) -> list[int]:
        """Of the pictures that photometric terms compare, finest first."""
        return [self.stride, *(stride for stride in (2, 4) if self.stride < stride <= self.coarsest)]


def semi_supervised_losses(
    outputs: Sequence[NetworkOutput], batch: Batch, teacher: TeacherLabels | None, weights: SemiLossWeights
) -> dict[str, Tensor]:
    """Weighted terms over T >= 2 instants, scalars; their sum is the loss.

    Args:
        outputs: of every instant, in order; `ego_motion_b44` of instant t > 0 is what warps between t-1 and t use.
        batch: only images, intrinsics, extrinsics, valid cameras and the ego mask are read (and depth, for `lidar`).
        teacher: None leaves out curvature, semantics, sky and ground, and the masks that need labels.

    Raises:
        ValueError: outputs, batch and teacher do not fit each other.
    """
    with full_precision(batch.images_tbn3hw.device):
        scenes = [make_scene(outputs, batch, teacher, stride) for stride in weights.strides()]
        scene = scenes[0]
        matched = weights.matching or weights.reprojection
        places = earlier_places(batch, [output.past_usable_bn for output in outputs]) if matched else []

        def at_all_sizes(term: Callable[[Scene], Tensor]) -> Tensor:
            return torch.stack([term(reduced) for reduced in scenes]).mean()

        terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
            'temporal': (weights.temporal, lambda: at_all_sizes(temporal_loss)),
            'spatial': (weights.spatial, lambda: at_all_sizes(spatial_loss)),
            'spatio_temporal': (weights.spatio_temporal, lambda: at_all_sizes(spatio_temporal_loss)),
            'reconstruction': (weights.reconstruction, lambda: at_all_sizes(reconstruction_loss)),
            'spatial_depth': (weights.spatial_depth, lambda: spatial_depth_loss(scene)),
            'temporal_depth': (weights.temporal_depth, lambda: temporal_depth_loss(scene)),
            'smoothness': (weights.smoothness, lambda: smoothness_of(scene)),
            'confidence': (weights.confidence, lambda: confidence_loss(outputs, scene, teacher, weights.stride)),
            'coarse_depth': (weights.coarse, lambda: coarse_depth_loss(outputs, scene, weights.stride)),
            'matching': (weights.matching, lambda: block_matching_loss(outputs, places, batch)),
            'reprojection': (weights.reprojection, lambda: reprojection_of(outputs, places, scene, batch, weights)),
            'lidar': (weights.lidar, lambda: lidar_loss(outputs, batch, weights.lidar_range)),
        }
        if teacher is not None:
            coarse = weights.coarse * weights.semantics
            terms |= {
                'curvature': (weights.curvature, lambda: curvature_of(scene, teacher, weights.stride)),
                'semantics': (weights.semantics, lambda: semantic_loss(outputs, batch, teacher)),
                'coarse_semantics': (coarse, lambda: coarse_semantic_loss(outputs, batch, teacher)),
                'sky': (weights.sky, lambda: sky_loss(outputs, batch, teacher, weights.false_sky)),
                'ground': (weights.ground, lambda: road_loss(outputs, batch, teacher)),
            }
        return {name: factor * term() for name, (factor, term) in terms.items() if factor}


def reprojection_of(
    outputs: Sequence[NetworkOutput], places: Sequence[Places], scene: Scene, batch: Batch, weights: SemiLossWeights
) -> Tensor:
    static_tbnhw = at_cell_centres(scene.static_tbnhw.float(), FEATURE_STRIDE // weights.stride) == 1
    return reprojection_loss(outputs, places, static_tbnhw, batch)


def smoothness_of(scene: Scene) -> Tensor:
    label = None if scene.label_tbnhw is None else scene.label_tbnhw.flatten(0, 1)
    inverse_depth, image = scene.inverse_depth_tbnhw.flatten(0, 1), scene.image_tbn3hw.flatten(0, 1)
    return smoothness_loss(inverse_depth, image, scene.usable_tbnhw.flatten(0, 1), label)


def curvature_of(scene: Scene, teacher: TeacherLabels, stride: int) -> Tensor:
    known = everywhere(teacher.disparity_known_tbnhw, stride) & scene.usable_tbnhw
    # unknown values may be anything, and must not leak into a cell's mean
    disparity = torch.where(teacher.disparity_known_tbnhw, teacher.disparity_tbnhw.float(), 0.0)
    maps = (scene.inverse_depth_tbnhw, pooled(disparity, stride), known)
    return curvature_loss(*(value.flatten(0, 2) for value in maps))


def coarse_depth_loss(outputs: Sequence[NetworkOutput], scene: Scene, stride: int) -> Tensor:
    """Mean |log difference| of depth at stride 16 and the full resolution's, which does not learn from it."""
    cell = FEATURE_STRIDE // stride
    coarse = torch.stack([output.coarse_log_depth_bnhw.float() for output in outputs])
    difference = coarse - cell_centres(scene.log_depth_tbnhw.detach(), cell)
    return masked_mean(difference.abs(), cell_centres(scene.usable_tbnhw, cell))


def lidar_loss(outputs: Sequence[NetworkOutput], batch: Batch, depth_range: tuple[float, float]) -> Tensor:
    """Mean |log depth error| where the batch knows depth."""
    nearest, farthest = depth_range
    depth = batch.depth_tbnhw
    known = (depth > nearest) & (depth < farthest) & (batch.camera_valid_tbn > 0.5)[..., None, None]
    target = torch.where(known, depth, torch.ones_like(depth)).log()
    predicted = torch.stack([output.log_depth_bnhw.float() for output in outputs])
    return masked_mean((predicted - target).abs(), known)
