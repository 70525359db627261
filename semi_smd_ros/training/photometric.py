# SPDX-License-Identifier: Apache-2.0
"""How unlike two pictures are, and what of it counts.

0.85 (1 - SSIM) / 2 + 0.15 L1 with windows of 3x3 pixels, the least over a pixel's sources, and the auto-mask: a pixel
that looks more like the unwarped source than like the rebuilt one tells nothing (the vehicle stands, or the thing moves
along with it). All from Godard et al., "Digging into self-supervised monocular depth estimation", ICCV 2019; SSIM from
Wang et al., 2004. Pictures of different cameras are brought to the same mean and contrast first, colour by colour.
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
    return functional.avg_pool2d(functional.pad(flat, (1, 1, 1, 1), mode='reflect'), 3, 1).reshape(image.shape)


def dissimilarity(target_mn3hw: Tensor, rebuilt_mns3hw: Tensor) -> Tensor:
    """(M,N,S,H,W), 0 for equal pictures, about 1 for unlike ones."""
    target = target_mn3hw[:, :, None]
    mean_t, mean_r = box(target), box(rebuilt_mns3hw)
    variance_t = box(target.square()) - mean_t.square()
    variance_r = box(rebuilt_mns3hw.square()) - mean_r.square()
    covariance = box(target * rebuilt_mns3hw) - mean_t * mean_r
    likeness = ((2 * mean_t * mean_r + C1) * (2 * covariance + C2)) / (
        (mean_t.square() + mean_r.square() + C1) * (variance_t + variance_r + C2)
    )
    structure = (0.5 * (1 - likeness)).clamp(0, 1).mean(3)
    return SSIM_SHARE * structure + (1 - SSIM_SHARE) * (target - rebuilt_mns3hw).abs().mean(3)


def align_intensity(rebuilt_mns3hw: Tensor, target_mn3hw: Tensor, visible_mnshw: Tensor) -> Tensor:
    """Gain and offset a pair and colour, from mean and contrast where both see: exposures of two cameras differ.

    They are detached, so that no depth is learned from making pictures pale. Pairs that share less than
    SMALLEST_OVERLAP pixels stay as they are.
    """
    weight = visible_mnshw[:, :, :, None].to(target_mn3hw.dtype)
    count = weight.sum((-1, -2), keepdim=True)

    def moments(image: Tensor) -> tuple[Tensor, Tensor]:
        mean = (image * weight).sum((-1, -2), keepdim=True) / count.clamp(min=1)
        variance = ((image - mean).square() * weight).sum((-1, -2), keepdim=True) / count.clamp(min=1)
        return mean, (variance + 1e-6).sqrt()

    with torch.no_grad():
        mean_r, contrast_r = moments(rebuilt_mns3hw)
        mean_t, contrast_t = moments(target_mn3hw[:, :, None])
        enough = count >= SMALLEST_OVERLAP
        gain = torch.where(enough, (contrast_t / contrast_r).clamp(*GAIN_LIMITS), torch.ones_like(mean_r))
        offset = torch.where(enough, mean_t - gain * mean_r, torch.zeros_like(mean_r))
    return gain * rebuilt_mns3hw + offset


def where_visible(error: Tensor, visible: Tensor) -> Tensor:
    """+inf where a source does not see the point, so that the least over the sources leaves it out."""
    return torch.where(visible, error, torch.full_like(error, torch.inf))


def auto_masked(least_error: Tensor, still_error: Tensor) -> Tensor:
    """The smaller of the least error and that of not warping, which carries no gradient; +inf stays +inf."""
    ties = still_error + TIE_NOISE * torch.randn_like(still_error)
    return torch.where(torch.isinf(least_error), least_error, torch.minimum(least_error, ties))


def mean_finite(error: Tensor, counts: Tensor | None = None) -> Tensor:
    """Mean of `error` where it is finite (and `counts`); 0 where that is nowhere."""
    known = torch.isfinite(error) if counts is None else torch.isfinite(error) & counts
    # zeros first: an infinite value would turn its own zero gradient into NaN
    return torch.where(known, error, torch.zeros_like(error)).sum() / known.sum().clamp(min=1)


def over_time(scene: Scene, errors: dict[int, Tensor]) -> Tensor:
    """The least of the errors of the offsets (each of its own targets, instants and rigs in one axis), (T,B,N,H,W).

    +inf where an instant has no source.
    """
    shape = scene.log_depth_tbnhw.shape
    whole = []
    for offset, error_mnhw in errors.items():
        error = error_mnhw.reshape(-1, *shape[1:])
        missing = error.new_full((abs(offset), *shape[1:]), torch.inf)
        whole.append(torch.cat((missing, error) if offset < 0 else (error, missing)))
    return torch.stack(whole).amin(0)


def temporal_loss(scene: Scene) -> Tensor:
    """Every camera against itself one instant earlier and later: the better of the two, auto-masked, static points."""
    errors, still = {}, {}
    for offset, warped in scene.temporal.items():
        target, source = scene.views(scene.targets(offset)), scene.views(scene.sources(offset))
        error = dissimilarity(target.image_mn3hw, warped.image_mns3hw)
        errors[offset] = where_visible(error, warped.visible_mnshw)[:, :, 0]
        with torch.no_grad():
            error = dissimilarity(target.image_mn3hw, source.image_mn3hw[:, :, None])[:, :, 0]
            still[offset] = where_visible(error, source.usable_mnhw)
    return mean_finite(auto_masked(over_time(scene, errors), over_time(scene, still)), scene.static_tbnhw)


def neighbour_error(target_mn3hw: Tensor, warped: Warp) -> Tensor:
    """The least error over the neighbours, brought to the target's exposure; +inf where none sees the point."""
    aligned = align_intensity(warped.image_mns3hw, target_mn3hw, warped.visible_mnshw)
    return where_visible(dissimilarity(target_mn3hw, aligned), warped.visible_mnshw).amin(2)


def spatial_loss(scene: Scene) -> Tensor:
    """Every camera against its neighbours at the same instant, where they overlap; moving things as well."""
    target = scene.image_tbn3hw.flatten(0, 1)
    return mean_finite(neighbour_error(target, scene.spatial))


def spatio_temporal_loss(scene: Scene) -> Tensor:
    """Every camera against its neighbours one instant earlier and later: the least error, static points."""
    errors = {
        offset: neighbour_error(scene.image_tbn3hw[scene.targets(offset)].flatten(0, 1), warped)
        for offset, warped in scene.spatio_temporal.items()
    }
    return mean_finite(over_time(scene, errors), scene.static_tbnhw)
