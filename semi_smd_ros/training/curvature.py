# SPDX-License-Identifier: Apache-2.0
"""The curvature loss: the predicted surface must bend where and as the depth teacher's does.

**Curvature from inverse depth.** A pixel (u, v) with ray r = K^-1 (u, v, 1) and inverse depth rho shows X = r / rho.
Its tangents are X_i = r_i / rho - r rho_i / rho^2 (i, j stand for u and v), and as r is linear in the pixel (r_ij =
0),

    X_ij = -(r_i rho_j + r_j rho_i) / rho^2 + r (2 rho_i rho_j / rho^3 - rho_ij / rho^2).

The normal n is perpendicular to both tangents: n.r_i = n.r rho_i / rho. With this all but one term cancel, and the
second fundamental form of the surface is

    II_ij = n.X_ij = -(n.r) rho_ij / rho^2.

So the Hessian of inverse depth *is* the curvature of the surface, but for the positive factor rho^2 / |n.r| that
belongs to the point of view: zero exactly on planes (II = 0), of one sign on spheres, of rank one on cylinders.

**Scale and shift.** The teacher's inverse depth is d = s rho + b with unknown s > 0 and b in every picture. d_ij = s
rho_ij: the shift is gone. Dividing the Hessians of prediction and teacher each by the spread of its own inverse depth
(mean deviation from the median over the picture; Ranftl et al., "Towards robust monocular depth estimation", PAMI
2020) removes s. This is better founded here than its rivals: dividing by the size of the Hessian itself has no hold
on a prediction that is still flat, and curvature after a fitted alignment of scale and shift depends on the fit,
which a wrong prediction spoils. As the prediction's spread is differentiated with it, the loss doesn't change when
all its depths are multiplied: the teacher has no say in scale, and no scale can be lowered to cheat. Nor does it know
of a plane added to rho: that is for view synthesis and ground to find.

**Occlusion edges.** There the surface has no curvature, and second differences are as large as the step. Both sides
go through sign(x) log(1 + |x| / KNEE), which is linear for curvature and logarithmic for steps, and enter by their
absolute difference: a step of another size, or one pixel off, costs little, and the gradient of every second
difference is bounded. Second differences are taken over several distances: over 1 pixel they see detail, over 32 how
things stand on the road.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = (1, 2, 4, 8, 16, 32)  # pixels
KNEE = 0.02  # second difference over spread, from which on it is compared as a logarithm
SMALLEST_SPREAD = 1e-3  # of the mean of the absolute values; a picture that varies less has no shape
FEWEST_PIXELS = 16


def second_differences(value_mhw: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Over (u, u), (v, v) and (u, v), at the pixels that are `step` or more from every border: (M,H-2s,W-2s) each.

    They approximate step^2 times the second derivatives. The mixed one is the central difference of the four corners.
    """
    height, width = (size - 2 * step for size in value_mhw.shape[-2:])

    def at(right: int, down: int) -> Tensor:
        return value_mhw[..., step + down : step + down + height, step + right : step + right + width]

    middle = 2 * at(0, 0)
    mixed = (at(step, step) + at(-step, -step) - at(step, -step) - at(-step, step)) / 4
    return at(step, 0) + at(-step, 0) - middle, at(0, step) + at(0, -step) - middle, mixed


def normalised(value_mhw: Tensor, known_mhw: Tensor) -> tuple[Tensor, Tensor]:
    """Value over spread, and whether the picture has a spread, (M,) bool. Unknown pixels become 0 there."""
    flat, known = value_mhw.flatten(1), known_mhw.flatten(1)
    count = known.sum(1)
    median = torch.where(known, flat.detach(), torch.full_like(flat, torch.nan)).nanmedian(1, keepdim=True).values
    kept = torch.where(known, flat, torch.zeros_like(flat))
    spread = torch.where(known, (flat - median.nan_to_num()).abs(), torch.zeros_like(flat)).sum(1) / count.clamp(min=1)
    mean = kept.detach().abs().sum(1) / count.clamp(min=1)
    has_shape = (count >= FEWEST_PIXELS) & (spread > SMALLEST_SPREAD * mean)
    spread = torch.where(has_shape, spread, torch.ones_like(spread))
    return kept.reshape(value_mhw.shape) / spread[:, None, None], has_shape


def compressed(value: Tensor) -> Tensor:
    """sign(x) log(1 + |x| / KNEE): linear about zero, a logarithm far from it."""
    return value.sign() * (value.abs() / KNEE).log1p()


def curvature_loss(inverse_depth_mhw: Tensor, teacher_mhw: Tensor, known_mhw: Tensor) -> Tensor:
    """Mean |compressed difference| of the Hessians' components (the mixed one counts twice, as in the Frobenius norm).

    Args:
        inverse_depth_mhw: the prediction, 1 / metres.
        teacher_mhw: the teacher's inverse depth, any scale above zero and any shift in every picture.
        known_mhw: bool, where both mean something (neither sky nor ego vehicle).
    """
    predicted, predicted_shape = normalised(inverse_depth_mhw, known_mhw)
    taught, taught_shape = normalised(teacher_mhw, known_mhw)
    counts = known_mhw & (predicted_shape & taught_shape)[:, None, None]
    total, steps = predicted.new_zeros(()), [s for s in STEPS if 2 * s < min(known_mhw.shape[-2:])]
    for step in steps:
        whole = all_known(counts, step)
        pairs = zip(second_differences(predicted, step), second_differences(taught, step), (1, 1, 2))
        error = sum(
            (weight * (compressed(ours) - compressed(theirs)).abs() for ours, theirs, weight in pairs),
            start=torch.zeros_like(whole, dtype=predicted.dtype),
        )
        total = total + torch.where(whole, error, torch.zeros_like(error)).sum() / whole.sum().clamp(min=1)
    return total / (4 * max(1, len(steps)))


def all_known(known_mhw: Tensor, step: int) -> Tensor:
    """Whether all nine pixels of the second differences are known."""
    height, width = (size - 2 * step for size in known_mhw.shape[-2:])
    across = known_mhw[..., :width] & known_mhw[..., step : step + width] & known_mhw[..., 2 * step :]
    return across[..., :height, :] & across[..., step : step + height, :] & across[..., 2 * step :, :]
