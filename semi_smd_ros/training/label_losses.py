# SPDX-License-Identifier: Apache-2.0
"""What the semantic teacher's labels tell: classes, sky, and where the road is. Label 255 says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from semi_smd_ros.network.config import FEATURE_STRIDE, IGNORE_CLASS
from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch
from semi_smd_ros.training.correspondence import cell_centres
from semi_smd_ros.training.losses import masked_mean
from semi_smd_ros.training.samples import SEMANTIC_STRIDE
from semi_smd_ros.training.scene import ROAD, SKY, TeacherLabels, ego_mask, full_labels

GROUND_FAR = 20.0  # metres; the plane under the vehicle says little about the road farther off
GROUND_PRIOR = 0.5  # of the plane's height over the origin of `base` in metres, against the road's log error


def seen_labels(batch: Batch, teacher: TeacherLabels) -> Tensor:
    """The teacher's labels at stride 4, 255 where a camera is missing or the ego vehicle is."""
    hidden = cell_centres(ego_mask(batch), SEMANTIC_STRIDE) | (batch.camera_valid_tbn < 0.5)[..., None, None]
    return torch.where(hidden, torch.full_like(teacher.semantics_tbnhw, IGNORE_CLASS), teacher.semantics_tbnhw)


def cross_entropy(logits: list[Tensor], label_tbnhw: Tensor) -> Tensor:
    """Mean over labelled pixels of all instants; 0 where there are none. Logits (B,N,K,h,w) of each instant."""
    known = label_tbnhw != IGNORE_CLASS
    logit = torch.stack(logits).float().flatten(0, 2)
    entropy = functional.cross_entropy(logit, label_tbnhw.flatten(0, 2), ignore_index=IGNORE_CLASS, reduction='none')
    return masked_mean(entropy, known.flatten(0, 2))


def semantic_loss(outputs: Sequence[NetworkOutput], batch: Batch, teacher: TeacherLabels) -> Tensor:
    """Cross-entropy of the classes at stride 4."""
    return cross_entropy([output.semantic_logit_bnkhw for output in outputs], seen_labels(batch, teacher))


def coarse_semantic_loss(outputs: Sequence[NetworkOutput], batch: Batch, teacher: TeacherLabels) -> Tensor:
    """Cross-entropy of the classes at stride 16, which make the semantic tokens."""
    label = cell_centres(seen_labels(batch, teacher), FEATURE_STRIDE // SEMANTIC_STRIDE)
    return cross_entropy([output.coarse_semantic_logit_bnkhw for output in outputs], label)


def sky_loss(outputs: Sequence[NetworkOutput], batch: Batch, teacher: TeacherLabels, false_sky: float) -> Tensor:
    """Binary cross-entropy of the sky, a thing called sky `false_sky` times as bad as sky not called so."""
    label = full_labels(seen_labels(batch, teacher))
    is_sky = label == SKY
    logit = torch.stack([output.sky_logit_bnhw.float() for output in outputs])
    entropy = functional.binary_cross_entropy_with_logits(logit, is_sky.to(logit.dtype), reduction='none')
    return masked_mean(torch.where(is_sky, entropy, false_sky * entropy), label != IGNORE_CLASS)


def road_loss(outputs: Sequence[NetworkOutput], batch: Batch, teacher: TeacherLabels) -> Tensor:
    """The road lies on the network's ground plane, and that goes through the origin of `base`, where the wheels stand.

    Mean |log(depth / depth of the plane)| over pixels called road whose plane is nearer than GROUND_FAR, and |c| of the
    plane z = a x + b y + c; its slopes are free, as roads have grade and crown. Both sides learn: pixels agree on a
    plane, which is held at the height below the cameras that the extrinsics tell. That makes it metric.
    """
    height, width = batch.images_tbn3hw.shape[-2:]
    rays = ray_grid(batch.intrinsics_bn33.float(), batch.base_T_cam_bn44.float(), height, width, 1, GROUND_FAR)
    is_road = full_labels(seen_labels(batch, teacher)) == ROAD
    total = rays.x_bn1w.new_zeros(())
    for output, road_bnhw in zip(outputs, is_road):
        ground = output.ground_b3.float()
        counts = road_bnhw & (rays.sees_ground(ground) > 0.5)
        off_plane = masked_mean((output.log_depth_bnhw.float() - rays.log_ground_depth(ground)).abs(), counts)
        total = total + off_plane + GROUND_PRIOR * ground[:, 2].abs().mean()
    return total / len(outputs)
