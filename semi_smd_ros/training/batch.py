# SPDX-License-Identifier: Apache-2.0
"""Samples to tensors, with augmentation: mirroring, colour, missing cameras, calibration noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.training.samples import Sample

MIRROR_LEFT = np.diag([1.0, -1.0, 1.0, 1.0])  # of base
MIRROR_RIGHT = np.diag([-1.0, 1.0, 1.0, 1.0])  # of a camera


@dataclass(frozen=True)
class Augmentation:
    """Strengths; `None` in place of the whole object means plain samples."""

    mirror: float = 0.5
    colour: float = 0.2
    noise: float = 0.02
    missing_camera: float = 0.15
    """Probability that a set has missing cameras (one or two of them)."""
    rotation_noise_deg: float = 0.3
    """Of single cameras, as the network is told it, and `translation_noise_m` too: with supervision by truth only, for
    pictures can be warped into each other only by the calibration they were taken with."""
    common_tilt_deg: float = 0.5
    """Of `base` against all cameras together."""
    translation_noise_m: float = 0.01


@dataclass(frozen=True)
class Batch:
    """B samples of T frames and N cameras."""

    images_tbn3hw: Tensor
    intrinsics_bn33: Tensor
    base_T_cam_bn44: Tensor
    camera_valid_tbn: Tensor
    depth_tbnhw: Tensor
    """Metres; +inf sky, NaN unknown."""
    semantics_tbnhw: Tensor
    """int64 at stride 4, 255 ignored."""
    prev_T_now_tb44: Tensor
    ground_tb3: Tensor
    """(a, b, c): the road under the vehicle is z = a x + b y + c in `base`."""
    moving_tbnhw: Tensor
    """bool at stride 4: things that move by themselves."""
    ego_mask_bnhw: Tensor | None = None
    """bool, True where the ego vehicle covers the view; None where depth is dense, and NaN just there."""
    teacher_disparity_tbnhw: Tensor | None = None
    """Relative inverse depth; NaN where the teacher says nothing."""
    teacher_semantics_tbnhw: Tensor | None = None
    """int64 at stride 4, 255 ignored."""

    def to(self, device: torch.device) -> Batch:
        given = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **given)


def make_batch(samples: Sequence[Sample], augmentation: Augmentation | None, generator: np.random.Generator) -> Batch:
    """Stack samples of equal shapes, each augmented on its own."""
    if augmentation is not None:
        samples = [mirrored(s) if generator.random() < augmentation.mirror else s for s in samples]
        samples = [with_calibration_noise(s, augmentation, generator) for s in samples]
    batch = stacked(samples)
    if augmentation is None:
        return batch
    images = seen_images(batch, augmentation, generator)
    drop_cameras(batch.camera_valid_tbn, augmentation.missing_camera, generator)
    return replace(batch, images_tbn3hw=images)


def seen_images(batch: Batch, strength: Augmentation, generator: np.random.Generator) -> Tensor:
    """The batch's pictures, (T,B,N,3,H,W), in other colours and with noise, as the strengths say."""
    if not strength.colour and not strength.noise:
        return batch.images_tbn3hw
    return colour_jitter(batch.images_tbn3hw, strength, generator)


def stacked(samples: Sequence[Sample]) -> Batch:
    """Samples of equal shapes as they are, all cameras valid.

    Raises DataError when they are of rigs with different numbers of cameras, ValueError when only some of them have
    teacher labels or ego masks.
    """
    cameras = [sample.images_tnhw3.shape[1] for sample in samples]
    if len(set(cameras)) > 1:
        raise DataError(
            f'the samples of a batch have {", ".join(map(str, cameras))} cameras; expected the same number in all: '
            'train with a batch of 1, or on recordings of one rig'
        )

    def stack(arrays: list[np.ndarray], kind: torch.dtype) -> Tensor:
        return torch.from_numpy(np.stack(arrays, axis=1)).to(kind)

    def known(arrays: list[np.ndarray | None], what: str) -> list[np.ndarray]:
        given = [array for array in arrays if array is not None]
        if given and len(given) < len(arrays):
            raise ValueError(f'{len(given)} of {len(arrays)} samples of a batch have {what}; expected all or none')
        return given

    images = stack([s.images_tnhw3 for s in samples], torch.float32).movedim(-1, 3) / 255
    masks = known([s.ego_mask_nhw for s in samples], 'ego masks')
    disparity = known([s.teacher_disparity_tnhw for s in samples], 'a depth teacher')
    semantics = known([s.teacher_semantics_tnhw for s in samples], 'a semantic teacher')
    return Batch(
        images_tbn3hw=images,
        intrinsics_bn33=torch.from_numpy(np.stack([s.intrinsics_n33 for s in samples])).float(),
        base_T_cam_bn44=torch.from_numpy(np.stack([s.base_T_cam_n44 for s in samples])).float(),
        camera_valid_tbn=torch.ones(images.shape[:3]),
        depth_tbnhw=stack([s.depth_tnhw for s in samples], torch.float32),
        semantics_tbnhw=stack([s.semantics_tnhw for s in samples], torch.int64),
        prev_T_now_tb44=stack([s.prev_T_now_t44 for s in samples], torch.float32),
        ground_tb3=stack([ground_height(s.ground_plane_t4) for s in samples], torch.float32),
        moving_tbnhw=stack([s.moving_tnhw for s in samples], torch.bool),
        ego_mask_bnhw=torch.from_numpy(np.stack(masks)) if masks else None,
        teacher_disparity_tbnhw=stack(disparity, torch.float32) if disparity else None,
        teacher_semantics_tbnhw=stack(semantics, torch.int64) if semantics else None,
    )


def mirrored(sample: Sample) -> Sample:
    """The mirror image of the world, left for right: images flipped, rig and motion conjugated."""
    width = sample.images_tnhw3.shape[3]
    intrinsics = sample.intrinsics_n33.copy()
    intrinsics[:, 0, 2] = width - 1 - intrinsics[:, 0, 2]
    return Sample(
        images_tnhw3=sample.images_tnhw3[:, :, :, ::-1],
        depth_tnhw=sample.depth_tnhw[..., ::-1],
        semantics_tnhw=sample.semantics_tnhw[..., ::-1],
        intrinsics_n33=intrinsics,
        base_T_cam_n44=MIRROR_LEFT @ sample.base_T_cam_n44 @ MIRROR_RIGHT,
        prev_T_now_t44=MIRROR_LEFT @ sample.prev_T_now_t44 @ MIRROR_LEFT,
        ground_plane_t4=sample.ground_plane_t4 @ MIRROR_LEFT,
        moving_tnhw=sample.moving_tnhw[..., ::-1],
        ego_mask_nhw=flipped(sample.ego_mask_nhw),
        teacher_disparity_tnhw=flipped(sample.teacher_disparity_tnhw),
        teacher_semantics_tnhw=flipped(sample.teacher_semantics_tnhw),
    )


def flipped(map_nhw: np.ndarray | None) -> np.ndarray | None:
    return None if map_nhw is None else map_nhw[..., ::-1]


def ground_height(plane_t4: np.ndarray) -> np.ndarray:
    """Planes (n, d) with n.x + d = 0 to (a, b, c) with z = a x + b y + c, (T,3)."""
    normal_x, normal_y, normal_z, distance = np.moveaxis(plane_t4, -1, 0)
    return np.stack((-normal_x, -normal_y, -distance), axis=-1) / normal_z[..., None]


def with_calibration_noise(sample: Sample, strength: Augmentation, generator: np.random.Generator) -> Sample:
    """The network is told slightly wrong extrinsics: `base` tilted for all, and errors of every camera.

    What is given in `base` is given in the tilted one.
    """
    tilt = np.eye(4)
    tilt[:3, :3] = small_rotation(np.radians(generator.normal(0, strength.common_tilt_deg, 3)) * (1, 1, 0))
    noisy = tilt @ sample.base_T_cam_n44
    for pose in noisy:
        pose[:3, :3] = pose[:3, :3] @ small_rotation(np.radians(generator.normal(0, strength.rotation_noise_deg, 3)))
        pose[:3, 3] += generator.normal(0, strength.translation_noise_m, 3)
    return replace(
        sample,
        base_T_cam_n44=noisy,
        prev_T_now_t44=tilt @ sample.prev_T_now_t44 @ tilt.T,
        ground_plane_t4=sample.ground_plane_t4 @ tilt.T,
    )


def small_rotation(vector: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def colour_jitter(images_tbn3hw: Tensor, strength: Augmentation, generator: np.random.Generator) -> Tensor:
    """Gain, gamma, saturation and colour cast per set, a smaller gain per camera, pixel noise per image."""
    batch, cameras = images_tbn3hw.shape[1:3]

    def factors(*shape: int) -> Tensor:
        spread = np.exp(generator.normal(0, strength.colour, shape))
        return torch.from_numpy(spread).float().clamp(0.4, 2.5)

    gain, gamma, saturation = (factors(1, batch, 1, 1, 1, 1) for _ in range(3))
    cast = factors(1, batch, 1, 3, 1, 1) ** 0.3
    camera_gain = factors(1, batch, cameras, 1, 1, 1) ** 0.4
    grey = images_tbn3hw.mean(3, keepdim=True)
    coloured = (grey + (images_tbn3hw - grey) * saturation).clamp(1e-4, 1) ** gamma
    noise = torch.from_numpy(generator.standard_normal(images_tbn3hw.shape, dtype=np.float32))
    return (coloured * gain * cast * camera_gain + strength.noise * generator.random() * noise).clamp(0, 1)


def drop_cameras(valid_tbn: Tensor, probability: float, generator: np.random.Generator) -> None:
    """In some sets, set one or two cameras of one instant (in place) to missing."""
    times, batch, cameras = valid_tbn.shape
    for index in range(batch):
        if cameras > 2 and generator.random() < probability:
            missing = generator.choice(cameras, size=int(generator.integers(1, 3)), replace=False)
            valid_tbn[generator.integers(times), index, missing] = 0
