# SPDX-License-Identifier: Apache-2.0
"""What the losses without ground truth look at: pictures, predictions, motions and masks of T instants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from semi_smd_ros.network.config import CITYSCAPES_CLASSES
from semi_smd_ros.network.linear import identity
from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch
from semi_smd_ros.training.samples import SEMANTIC_STRIDE
from semi_smd_ros.training.view_synthesis import (
    Pairs,
    Views,
    Warp,
    columns_that_meet,
    cut_to_columns,
    neighbour_pairs,
    own_pairs,
    rigid_inverse,
    warp,
)

SKY = CITYSCAPES_CLASSES.index('sky')
ROAD = CITYSCAPES_CLASSES.index('road')
MOBILE = tuple(range(CITYSCAPES_CLASSES.index('person'), len(CITYSCAPES_CLASSES)))  # people and vehicles
OFFSETS = (-1, 0, 1)  # instants from a target to its sources
Result = TypeVar('Result')
LOG_DEPTH_RANGE = (-2.3, 6.9)  # 0.1 m .. 1 km: keeps an untrained network's inverse depth in range


@dataclass(frozen=True)
class TeacherLabels:
    """What frozen teachers say of T instants of B rigs with N cameras."""

    disparity_tbnhw: Tensor
    """Inverse depth, up to a scale above zero and a shift of every picture; any value where not known."""
    disparity_known_tbnhw: Tensor
    """Bool."""
    semantics_tbnhw: Tensor
    """int64 at stride 4, 255 ignored."""


@dataclass(frozen=True)
class Scene:
    """T instants at one resolution. Masks are bool; `Views` at instants t are its slices with T and B in one axis."""

    image_tbn3hw: Tensor
    log_depth_tbnhw: Tensor
    usable_tbnhw: Tensor
    """The camera is valid, and the pixel shows neither the ego vehicle nor what the teacher calls sky."""
    static_tbnhw: Tensor
    """Usable, and not of a class that may move."""
    label_tbnhw: Tensor | None
    intrinsics_bn33: Tensor
    base_T_cam_bn44: Tensor
    prev_T_now_tbn44: Tensor
    """Motion of the base; N is 1, or every camera has its own opinion of it (per-camera pose)."""

    @cached_property
    def inverse_depth_tbnhw(self) -> Tensor:
        return (-self.log_depth_tbnhw).exp()

    def targets(self, offset: int) -> slice:
        """The instants t that have an instant t + offset."""
        times = self.image_tbn3hw.shape[0]
        return slice(max(0, -offset), times - max(0, offset))

    def sources(self, offset: int) -> slice:
        at = self.targets(offset)
        return slice(at.start + offset, at.stop + offset)

    def views(self, instants: slice) -> Views:
        count = instants.stop - instants.start
        return Views(
            image_mn3hw=self.image_tbn3hw[instants].flatten(0, 1),
            inverse_depth_mnhw=self.inverse_depth_tbnhw[instants].flatten(0, 1),
            usable_mnhw=self.usable_tbnhw[instants].flatten(0, 1),
            intrinsics_mn33=self.intrinsics_bn33.repeat(count, 1, 1, 1),
            base_T_cam_mn44=self.base_T_cam_bn44.repeat(count, 1, 1, 1),
        )

    def motion(self, offset: int) -> Tensor:
        """Of the base from the targets' instants to the sources', (M,1,4,4) or (M,N,4,4)."""
        if offset == 0:
            return identity(4, self.prev_T_now_tbn44.device).expand(self.prev_T_now_tbn44.shape).flatten(0, 1)
        if offset < 0:
            return self.prev_T_now_tbn44[self.targets(offset)].flatten(0, 1)
        return rigid_inverse(self.prev_T_now_tbn44[self.sources(offset)]).flatten(0, 1)

    @cached_property
    def neighbours(self) -> Pairs:
        """Every camera's neighbours, in the columns where any of OFFSETS lets them see what it sees."""
        pairs = neighbour_pairs(self.intrinsics_bn33, self.base_T_cam_bn44, self.image_tbn3hw.shape[-1])
        meets = [self._over_pairs(columns_that_meet, offset, pairs) for offset in OFFSETS]
        rigs = self.base_T_cam_bn44.shape[0]
        return cut_to_columns(pairs, torch.cat([m.reshape(-1, rigs, *m.shape[1:]) for m in meets]).any(0))

    @cached_property
    def spatial(self) -> Warp:
        """Every camera rebuilt from its neighbours at the same instant, all instants."""
        return self._over_pairs(warp, 0, self.neighbours)

    @cached_property
    def temporal(self) -> dict[int, Warp]:
        """Every camera rebuilt from itself one instant earlier (-1) and later (+1)."""
        rigs, cameras = self.base_T_cam_bn44.shape[:2]
        pairs = own_pairs(cameras, rigs, self.image_tbn3hw.shape[-1], self.image_tbn3hw.device)
        return {offset: self._over_pairs(warp, offset, pairs) for offset in (-1, 1)}

    @cached_property
    def spatio_temporal(self) -> dict[int, Warp]:
        """Every camera rebuilt from its neighbours one instant earlier (-1) and later (+1)."""
        return {offset: self._over_pairs(warp, offset, self.neighbours) for offset in (-1, 1)}

    def _over_pairs(
        self, function: Callable[[Views, Views, Pairs, Tensor], Result], offset: int, pairs: Pairs
    ) -> Result:
        targets, sources = self.targets(offset), self.sources(offset)
        pairs = pairs.repeated(targets.stop - targets.start)
        return function(self.views(targets), self.views(sources), pairs, self.motion(offset))


def ego_mask(batch: Batch) -> Tensor:
    """(T,B,N,H,W) bool: where the ego vehicle covers the view. Where the batch has no mask, depth is NaN there."""
    if batch.ego_mask_bnhw is None:
        return torch.isnan(batch.depth_tbnhw)
    return batch.ego_mask_bnhw.expand(batch.depth_tbnhw.shape)


def full_labels(label_tbnhw: Tensor, stride: int = 1) -> Tensor:
    """Labels of stride 4 at stride 1, 2 or 4: every pixel of a cell gets its label."""
    times = SEMANTIC_STRIDE // stride
    return label_tbnhw.repeat_interleave(times, -1).repeat_interleave(times, -2)


def pooled(value: Tensor, stride: int) -> Tensor:
    """Mean over stride x stride pixels of (...,H,W)."""
    if stride == 1:
        return value
    flat = functional.avg_pool2d(value.reshape(-1, 1, *value.shape[-2:]), stride)
    return flat.reshape(*value.shape[:-2], *flat.shape[-2:])


def everywhere(mask: Tensor, stride: int) -> Tensor:
    """True where a cell of stride x stride pixels is True throughout."""
    return mask if stride == 1 else pooled(mask.float(), stride) > 0.999


def at_stride(intrinsics_bn33: Tensor, stride: int) -> Tensor:
    """Intrinsics of the picture reduced by `stride`, pixel centres at integers."""
    if stride == 1:
        return intrinsics_bn33
    reduced = intrinsics_bn33.clone()
    reduced[..., :2, :] /= stride
    reduced[..., :2, 2] -= (stride - 1) / (2 * stride)
    return reduced


def make_scene(outputs: Sequence[NetworkOutput], batch: Batch, teacher: TeacherLabels | None, stride: int) -> Scene:
    """What the network says of a batch, reduced by `stride` (1, 2 or 4).

    Raises ValueError when outputs, batch and teacher do not fit each other, or for another stride.
    """
    times, _, _, _, height, width = batch.images_tbn3hw.shape
    if len(outputs) != times or times < 2:
        raise ValueError(f'got {len(outputs)} outputs for {times} instants; expected one for each of at least 2')
    if stride not in (1, 2, 4):
        raise ValueError(f'got stride {stride}; expected 1, 2 or 4')
    if outputs[0].log_depth_bnhw.shape[-2:] != (height, width):
        size = 'x'.join(str(length) for length in outputs[0].log_depth_bnhw.shape[-2:])
        raise ValueError(f'got depth of {size} for pictures of {height}x{width}; expected the same size')
    if teacher is not None:
        check_labels(teacher, batch)

    depth = torch.stack([output.log_depth_bnhw.float() for output in outputs]).clamp(*LOG_DEPTH_RANGE)
    usable = (batch.camera_valid_tbn > 0.5)[..., None, None] & ~ego_mask(batch)
    static, label = usable, None
    if teacher is not None:
        label = full_labels(teacher.semantics_tbnhw)
        usable = usable & (label != SKY)
        static = usable & ~torch.isin(label, torch.tensor(MOBILE, device=label.device))
        label = full_labels(teacher.semantics_tbnhw, stride)
    return Scene(
        image_tbn3hw=pooled(batch.images_tbn3hw.float(), stride),
        log_depth_tbnhw=depth if stride == 1 else -pooled((-depth).exp(), stride).log(),
        usable_tbnhw=everywhere(usable, stride),
        static_tbnhw=everywhere(static, stride),
        label_tbnhw=label,
        intrinsics_bn33=at_stride(batch.intrinsics_bn33.float(), stride),
        base_T_cam_bn44=batch.base_T_cam_bn44.float(),
        prev_T_now_tbn44=torch.stack([output.ego_motion_b44[:, None].float() for output in outputs]),
    )


def check_labels(teacher: TeacherLabels, batch: Batch) -> None:
    """Raises ValueError when the labels are of other pictures than the batch's."""
    images = batch.images_tbn3hw.shape
    full = (*images[:3], *images[-2:])
    quarter = (*images[:3], *(length // SEMANTIC_STRIDE for length in images[-2:]))
    for name, shape in (('disparity_tbnhw', full), ('disparity_known_tbnhw', full), ('semantics_tbnhw', quarter)):
        got = tuple(getattr(teacher, name).shape)
        if got != tuple(shape):
            raise ValueError(f'teacher.{name}: got shape {got}, expected {tuple(shape)} for these pictures')
