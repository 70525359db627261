# SPDX-License-Identifier: Apache-2.0
"""One rigid, metric motion of the vehicle from all cameras' correspondences and depths.

A cell at t with coarse depth is a point X in `base`; its correspondence is a ray m at t-1 through the same camera. The
motion (R, t) = prev_T_now turns R X + t - origin towards m. Three Gauss-Newton steps on the difference of the two unit
directions, weighted by a learned weight per cell and per camera, and robustly (Geman and McClure, 1987; annealed as in
Zhou, Park and Koltun, "Fast Global Registration", 2016). A damping keeps the identity where nothing can be told.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semi_smd_ros.network.coarse import CoarseOutput
from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.geometry import RayGrid
from semi_smd_ros.network.linear import identity, solve_positive_definite
from semi_smd_ros.network.matching import Match

ROBUST_STEPS = (0.3, 0.06, 0.02)  # radians: residual at which a cell's weight falls to a quarter, for each step
DAMPING = 1e-7  # added to the normal matrix of the mean over all cells
NEAREST = 0.1  # metres from a camera; no point is taken nearer


def rigid_transform(translation_b3: Tensor, rotation_b3: Tensor) -> Tensor:
    """(B,4,4) from metres and a rotation given as twice the vector part of a quaternion (1, rotation / 2).

    For the small turns between two frames this is the rotation vector; zeros give the exact identity.
    """
    half = 0.5 * rotation_b3
    norm = (1 + half.square().sum(-1, keepdim=True)).sqrt()
    w = (1 / norm)[:, 0]
    x, y, z = (half / norm).unbind(-1)
    one, zero = torch.ones_like(w), torch.zeros_like(w)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), translation_b3[:, 0]),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), translation_b3[:, 1]),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), translation_b3[:, 2]),
        (zero, zero, zero, one),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)


def rigid_inverse(transform_bn44: Tensor) -> Tensor:
    """The inverse of rigid transforms (...,4,4)."""
    rotation = transform_bn44[..., :3, :3].transpose(-1, -2)
    translation = -(rotation * transform_bn44[..., None, :3, 3]).sum(-1, keepdim=True)
    return torch.cat((torch.cat((rotation, translation), dim=-1), transform_bn44[..., 3:, :]), dim=-2)


def compose(a_b44: Tensor, b_b44: Tensor) -> Tensor:
    """The matrix product, without one (see `geometry`)."""
    return (a_b44[:, :, :, None] * b_b44[:, None]).sum(2)


def transform(motion_bn44: Tensor, point_bn3q: Tensor) -> Tensor:
    """Apply (B,N,4,4), or (B,1,4,4) for all cameras, to points (B,N,3,Q)."""
    rotation, translation = motion_bn44[..., :3, :3], motion_bn44[..., :3, 3:]
    return (rotation[..., None] * point_bn3q[:, :, None]).sum(3) + translation


def cross(a_bn3q: Tensor, b_bn3q: Tensor) -> Tensor:
    """The cross product over axis 2."""
    (ax, ay, az), (bx, by, bz) = a_bn3q.unbind(2), b_bn3q.unbind(2)
    return torch.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), dim=2)


def unit(vector_bn3q: Tensor) -> tuple[Tensor, Tensor]:
    """The unit vector over axis 2, and the length (B,N,1,Q), taken as NEAREST at least."""
    length = vector_bn3q.square().sum(2, keepdim=True).clamp(min=NEAREST**2).sqrt()
    return vector_bn3q / length, length


def solve_motion(point_bn3q: Tensor, seen_bn3q: Tensor, origin_bn3: Tensor, weight_bnq: Tensor) -> Tensor:
    """`prev_T_now`, (B,4,4): points of `base` at t, unit rays of `base` at t-1 from the cameras' origins, weights.

    Weights lie in 0..1. All zero gives the exact identity.
    """
    batch = point_bn3q.shape[0]
    motion = identity(4, point_bn3q.device).expand(batch, 4, 4)
    damping = DAMPING * identity(6, point_bn3q.device)
    axes = identity(3, point_bn3q.device).unbind(0)
    for scale in ROBUST_STEPS:
        moved = transform(motion[:, None], point_bn3q)
        direction, distance = unit(moved - origin_bn3[..., None])
        residual = direction - seen_bn3q
        robust = 1 / (1 + residual.square().sum(2) / scale**2).square()
        # direction' = (I - p p^T) v' / distance with v' = dt + dr x moved; the six columns of its Jacobian:
        columns = [(axis[:, None] - along * direction) / distance for axis, along in zip(axes, direction.chunk(3, 2))]
        lever = moved.chunk(3, 2)
        for first, second in ((1, 2), (2, 0), (0, 1)):  # dr x moved = dr_x (0, -z, y) + dr_y (z, 0, -x) + ...
            columns.append(lever[first] * columns[second] - lever[second] * columns[first])
        jacobian = torch.stack(columns, dim=2)  # (B,N,6,3,Q)
        weighted = jacobian * (weight_bnq * robust)[:, :, None, None]
        count = weight_bnq.shape[1] * weight_bnq.shape[2]
        matrix = (weighted[:, :, :, None] * jacobian[:, :, None]).sum(-1).sum((1, 4)) / count
        right = -(weighted * residual[:, :, None]).sum(-1).sum((1, 3)) / count
        step = solve_positive_definite(matrix + damping, right)
        motion = compose(rigid_transform(step[:, :3], step[:, 3:]), motion)
    return motion


@dataclass(frozen=True)
class Motion:
    """`prev_T_now` of the base, metres; `camera_bn44` as each camera by itself has it, where each is on its own."""

    ego_b44: Tensor
    camera_bn44: Tensor | None = None

    @property
    def of_cameras(self) -> Tensor:
        """What holds for the cameras: (B,1,4,4), or (B,N,4,4) where each is on its own."""
        return self.ego_b44[:, None] if self.camera_bn44 is None else self.camera_bn44


def solve_each(
    point_bn3q: Tensor, seen_bn3q: Tensor, base_T_cam_bn44: Tensor, weight_bnq: Tensor, usable_bn: Tensor
) -> Motion:
    """Every camera's motion from its own points and rays in its own frame; that of the base is the cameras' mean.

    A camera's translation has the scale of its own depth. Extrinsics enter only to tell each motion in `base`.
    """
    batch, cameras = usable_bn.shape
    cam_T_base = rigid_inverse(base_T_cam_bn44)
    turned = (cam_T_base[..., :3, :3, None] * seen_bn3q[:, :, None]).sum(3)
    own = (transform(cam_T_base, point_bn3q).flatten(0, 1), turned.flatten(0, 1))
    origin = torch.zeros_like(point_bn3q[..., 0]).flatten(0, 1)
    solved = solve_motion(own[0][:, None], own[1][:, None], origin[:, None], weight_bnq.flatten(0, 1)[:, None])
    in_camera = solved.reshape(batch, cameras, 4, 4)
    in_base = (base_T_cam_bn44[..., None] * in_camera[:, :, None]).sum(3)
    in_base = (in_base[..., None] * cam_T_base[:, :, None]).sum(3)
    share = usable_bn.to(torch.float32) / usable_bn.to(torch.float32).sum(1, keepdim=True).clamp(min=1)
    translation = (in_base[..., :3, 3] * share[..., None]).sum(1)
    # of a small turn the rotation vector is the antisymmetric part of its matrix
    skew = 0.5 * (in_base - in_base.transpose(-1, -2))
    vector = torch.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), dim=-1)
    return Motion(rigid_transform(translation, (vector * share[..., None]).sum(1)), in_base)


class EgoMotionHead(nn.Module):
    """`prev_T_now` of the base. The identity where no camera was valid at both times."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.joint = config.pose == 'joint'
        self.cell = nn.Linear(config.coarse_width, 1)
        self.camera = nn.Linear(config.coarse_width + 1, 1)

    def forward(self, coarse: CoarseOutput, match: Match, rays: RayGrid, usable_bn: Tensor) -> Motion:
        """`rays` are those of stride 16; `usable_bn` is True for cameras that are valid now and were at t-1."""
        pose = rays.base_T_cam_bn44
        depth = coarse.log_depth_bnhw.flatten(2).exp()
        point = pose[..., :3, 3:] + depth[:, :, None] * rays.ray_base_bn3hw.flatten(3)
        seen, weight = seen_rays(match, pose), self.weights(coarse, match, usable_bn)
        if self.joint:
            return Motion(solve_motion(point, seen, pose[..., :3, 3], weight))
        return solve_each(point, seen, pose, weight, usable_bn)

    def weights(self, coarse: CoarseOutput, match: Match, usable_bn: Tensor) -> Tensor:
        """Of every cell: learned, times the match's confidence, times its camera's learned weight: (B,N,Q)."""
        cell = torch.sigmoid(self.cell(coarse.hidden_bnqc)[..., 0].float()) * match.confidence_bnq
        sure = torch.cat((coarse.hidden_bnqc.mean(2), match.confidence_bnq.mean(2, keepdim=True)), dim=-1)
        camera = torch.sigmoid(self.camera(sure)[..., 0].float()) * usable_bn.to(torch.float32)
        return cell * camera[..., None]


def seen_rays(match: Match, base_T_cam_bn44: Tensor) -> Tensor:
    """Unit rays in `base` towards where the cells were at t-1, (B,N,3,Q)."""
    rotation = base_T_cam_bn44[..., :3, :3, None]
    x, y = match.x_bnq[:, :, None], match.y_bnq[:, :, None]
    return unit(rotation[:, :, :, 0] * x + rotation[:, :, :, 1] * y + rotation[:, :, :, 2])[0]
