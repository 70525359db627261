# SPDX-License-Identifier: Apache-2.0
"""How unlike two pictures are, and what of it counts.

0.85 (1 - SSIM) / 2 of the brightness, for which SSIM is defined (Wang et al., 2004), with windows of 3x3 pixels, and
0.15 L1 of the colours; over time the least over a pixel's sources, and the auto-mask: a pixel that looks more like the
unwarped source than like the rebuilt one tells nothing (the vehicle stands, or the thing moves along with it). All from
Godard et al., "Digging into self-supervised monocular depth estimation", ICCV 2019. With the two instants that samples
have, every target has one source in time, the other instant, so the least is over one. Over neighbouring cameras the
mean is taken, not the least. Pictures of different cameras are brought to the same mean and contrast first, colour by
colour.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from semi_smd_ros.training.scene import Scene
from semi_smd_ros.training.view_synthesis import Warp

SSIM_SHARE = 0.85
C1, C2 = 0.01**2, 0.03**2
TIE_NOISE = 1e-5
GAIN_LIMITS = (0.5, 2.0)
SMALLEST_OVERLAP = 64  # pixels from which a gain is estimated


def box(image: Tensor) -> Tensor:
    """Mean over 3x3 pixels of (...,H,W), reflected at the border."""
    flat = image.reshape(-1, 1, *image.shape[-2:])
    padded = functional.pad(flat, (1, 1, 1, 1), mode='reflect')
    rows = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    return ((rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]) / 9).reshape(image.shape)


def dissimilarity(one: Tensor, other: Tensor) -> Tensor:
    """Of pictures (...,3,H,W): (...,H,W), 0 for equal ones, about 1 for unlike ones."""
    grey, other_grey = one.mean(-3), other.mean(-3)
    mean, other_mean = box(grey), box(other_grey)
    product, square, other_square = mean * other_mean, mean.square(), other_mean.square()
    covariance = box(grey * other_grey) - product
    variances = box(grey.square()) - square + (box(other_grey.square()) - other_square)
    likeness = ((2 * product + C1) * (2 * covariance + C2)) / ((square + other_square + C1) * (variances + C2))
    structure = (0.5 * (1 - likeness)).clamp(0, 1)
    return SSIM_SHARE * structure + (1 - SSIM_SHARE) * (one - other).abs().mean(-3)


def align_intensity(warped: Warp) -> Tensor:
    """The rebuilt pictures (M,N,S,3,H,w) brought to their targets' mean and contrast where both see.

    A gain and an offset for each pair and colour: exposures of two cameras differ. They are detached, so that no
    depth is learned from making pictures pale. Pairs that share less than SMALLEST_OVERLAP pixels stay as they are.
    """
    weight = warped.visible_mnshw[:, :, :, None].to(warped.image_mns3hw.dtype)
    count = weight.sum((-1, -2), keepdim=True)

    def moments(image: Tensor) -> tuple[Tensor, Tensor]:
        mean = (image * weight).sum((-1, -2), keepdim=True) / count.clamp(min=1)
        variance = ((image - mean).square() * weight).sum((-1, -2), keepdim=True) / count.clamp(min=1)
        return mean, (variance + 1e-6).sqrt()

    with torch.no_grad():
        mean, contrast = moments(warped.image_mns3hw)
        target_mean, target_contrast = moments(warped.target_mns3hw)
        enough = count >= SMALLEST_OVERLAP
        gain = torch.where(enough, (target_contrast / contrast).clamp(*GAIN_LIMITS), torch.ones_like(mean))
        offset = torch.where(enough, target_mean - gain * mean, torch.zeros_like(mean))
    return gain * warped.image_mns3hw + offset


def where_visible(error: Tensor, visible: Tensor) -> Tensor:
    """+inf where a source does not see the point, so that the least over the sources leaves it out."""
    return torch.where(visible, error, torch.full_like(error, torch.inf))


def auto_masked(least_error: Tensor, still_error: Tensor) -> Tensor:
    """The smaller of the least error and that of not warping, which carries no gradient; +inf stays +inf."""
    ties = still_error + TIE_NOISE * torch.randn_like(still_error)
    return torch.where(torch.isinf(least_error), least_error, torch.minimum(least_error, ties))


def mean_finite(error: Tensor, counts: Tensor) -> Tensor:
    """Mean of `error` where it is finite and counts; 0 where that is nowhere."""
    known = torch.isfinite(error) & counts
    # zeros first: an infinite value would turn its own zero gradient into NaN
    return torch.where(known, error, torch.zeros_like(error)).sum() / known.sum().clamp(min=1)


def over_time(errors: dict[int, Tensor], rigs: int) -> Tensor:
    """The least of the errors of the offsets, each (M,N,S,H,w) of its own targets: (T,B,N,S,H,w).

    +inf where an instant has no source.
    """
    whole = []
    for offset, error_mnshw in errors.items():
        error = error_mnshw.reshape(-1, rigs, *error_mnshw.shape[1:])
        missing = error.new_full((abs(offset), *error.shape[1:]), torch.inf)
        whole.append(torch.cat((missing, error) if offset < 0 else (error, missing)))
    return torch.stack(whole).amin(0)


def temporal_loss(scene: Scene) -> Tensor:
    """Every camera against itself one instant earlier and later: the better of those there are, auto-masked, static
    points."""
    errors, still = {}, {}
    for offset, warped in scene.temporal.items():
        errors[offset] = where_visible(dissimilarity(warped.target_mns3hw, warped.image_mns3hw), warped.visible_mnshw)
        source = scene.views(scene.sources(offset))
        with torch.no_grad():
            error = dissimilarity(warped.target_mns3hw, source.image_mn3hw[:, :, None])
            still[offset] = where_visible(error, source.usable_mnhw[:, :, None])
    rigs = scene.base_T_cam_bn44.shape[0]
    least = auto_masked(over_time(errors, rigs), over_time(still, rigs))
    return mean_finite(least, scene.static_tbnhw[:, :, :, None])


def neighbour_error(warped: Warp) -> Tensor:
    """Of every pair, at the target's exposure; +inf where the neighbour does not see the point."""
    return where_visible(dissimilarity(warped.target_mns3hw, align_intensity(warped)), warped.visible_mnshw)


def spatial_loss(scene: Scene) -> Tensor:
    """Every camera against its neighbours at the same instant, where they overlap, the mean over them; moving things as
    well."""
    error = neighbour_error(scene.spatial)
    return mean_finite(error, torch.ones_like(error, dtype=torch.bool))


def spatio_temporal_loss(scene: Scene) -> Tensor:
    """Every camera against its neighbours one instant earlier and later: the better of those there are, the mean over
    neighbours, static points."""
    errors = {offset: neighbour_error(warped) for offset, warped in scene.spatio_temporal.items()}
    times, rigs = scene.static_tbnhw.shape[:2]
    static = scene.neighbours.repeated(times).cut(scene.static_tbnhw.flatten(0, 1))
    return mean_finite(over_time(errors, rigs), static.reshape(times, rigs, *static.shape[1:]))
