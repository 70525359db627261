# SPDX-License-Identifier: Apache-2.0
"""What a real camera adds: the ego vehicle at the picture's edge, lens, exposure, white balance, noise, compression."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional


@dataclass(frozen=True)
class CameraLook:
    """Lasting properties of one camera, drawn from the scene's seed and the camera's name."""

    exposure: float
    balance: tuple[float, float, float]
    vignette: float
    blur: float  # pixels at 320 wide
    noise: float  # of full scale at mid grey
    contrast: float
    saturation: float
    compression: float  # strength of block quantisation, 0 none
    ego: tuple[float, float, float, float, float] | None  # outline of the own bonnet or roof in view
    roof: tuple[float, float] | None  # the own roof's edge at the top: height and tilt
    ego_colour: tuple[float, float, float]
    ego_gloss: float  # share of light the own body mirrors


def camera_seed(seed: int, name: str, what: str = '') -> int:
    """A seed of its own for a camera: it does not depend on the camera's place in the rig."""
    return (seed * 1000003 + zlib.crc32(f'{name}/{what}'.encode())) % (2**63)


def make_look(seed: int, name: str, overall: float) -> CameraLook:
    """The look of camera `name` in scene `seed`; `overall` is the exposure the scene wants."""
    rng = np.random.default_rng(camera_seed(seed, name))
    u = rng.uniform
    ego = None
    if rng.random() < 0.4:
        # Height at the middle (share of the picture), tilt, arch; or a corner only.
        corner = rng.random() < 0.4
        if corner:
            ego = (
                float(u(-0.15, 0.02)),
                float(u(0.25, 0.6)) * (1 if rng.random() < 0.5 else -1),
                0.0,
                0.0,
                float(u(0, 9)),
            )
        else:
            ego = (
                float(u(0.04, 0.22)),
                float(u(-0.08, 0.08)),
                float(u(-0.02, 0.12)),
                float(u(0.0, 0.01)),
                float(u(0, 9)),
            )
    roof = None
    if rng.random() < 0.08:
        roof = (float(u(-0.3, 0.04)), float(u(0.1, 0.5)) * (1 if rng.random() < 0.5 else -1))
    body = np.random.default_rng(camera_seed(seed, 'the vehicle itself'))
    u = body.uniform
    shade = float(u(0.005, 0.1)) if body.random() < 0.7 else float(u(0.1, 0.7))
    tint = [float(v) for v in u(0.4 if body.random() < 0.3 else 0.85, 1.0, 3)]
    gloss = float(u(0.0, 0.35))
    u = rng.uniform
    return CameraLook(
        exposure=overall * math.exp(float(rng.normal(0, 0.2))),
        balance=(math.exp(float(rng.normal(0, 0.06))), 1.0, math.exp(float(rng.normal(0, 0.07)))),
        vignette=float(u(0.0, 0.35)),
        blur=float(u(0.3, 0.75)),
        noise=float(u(0.003, 0.02)),
        contrast=float(u(1.0, 1.55)),
        saturation=float(u(0.6, 1.25)),
        compression=float(u(0.0, 1.0)) if rng.random() < 0.7 else 0.0,
        ego=ego,
        roof=roof,
        ego_colour=(shade * tint[0], shade * tint[1], shade * tint[2]),
        ego_gloss=gloss,
    )


def ego_mask(look: CameraLook, height: int, width: int) -> np.ndarray:
    """True where the ego vehicle covers the picture, (H, W) bool."""
    x = (np.arange(width) + 0.5) / width * 2.0 - 1.0
    y = ((np.arange(height) + 0.5) / height)[:, None]
    mask = np.zeros((height, width), dtype=bool)
    if look.ego is not None:
        level, tilt, arch, wave, phase = look.ego
        edge = level + tilt * x + arch * (1.0 - x * x) + wave * np.sin(x * 5.0 + phase)
        mask |= y > 1.0 - np.minimum(edge, 0.45)[None, :]
    if look.roof is not None:
        level, tilt = look.roof
        mask |= y < np.minimum(level + tilt * x, 0.4)[None, :]
    return mask


def _gaussian(picture: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur (3, H, W) by a small separable kernel."""
    if sigma < 0.15:
        return picture
    reach = max(1, math.ceil(sigma * 2.2))
    x = torch.arange(-reach, reach + 1, device=picture.device).float()
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = functional.pad(picture[:, None], (reach, reach, reach, reach), mode='replicate')
    padded = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(padded, kernel.view(1, 1, -1, 1))[:, 0]


def _dct(device: torch.device) -> torch.Tensor:
    k = torch.arange(8, device=device).float()
    basis = torch.cos(math.pi / 8.0 * (k[None, :] + 0.5) * k[:, None]) * 0.5
    basis[0] *= math.sqrt(0.5)
    return basis


def _compress(picture: torch.Tensor, strength: float) -> torch.Tensor:
    """Quantise 8x8 blocks as JPEG does, luma fine and chroma coarse. (3, H, W) in 0..1."""
    red, green, blue = picture
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = torch.stack([luma, (blue - luma) * 0.564, (red - luma) * 0.713])
    _, height, width = planes.shape
    padded = functional.pad(planes[None], (0, -width % 8, 0, -height % 8), mode='replicate')[0]
    basis = _dct(picture.device)
    blocks = padded.unfold(1, 8, 8).unfold(2, 8, 8)
    spectrum = basis @ blocks @ basis.T
    k = torch.arange(8, device=picture.device).float()
    step = (1.0 + 0.7 * (k[:, None] + k[None, :])) * strength * (5.0 / 255.0)
    steps = torch.stack([step, step * 2.5, step * 2.5])[:, None, None] + 1e-4
    blocks = basis.T @ ((spectrum / steps).round() * steps) @ basis
    planes = blocks.permute(0, 1, 3, 2, 4).reshape(padded.shape)[:, :height, :width]
    red = planes[0] + planes[2] / 0.713
    blue = planes[0] + planes[1] / 0.564
    return torch.stack([red, (planes[0] - 0.299 * red - 0.114 * blue) / 0.587, blue])


def _own_body(
    picture: torch.Tensor, mask: torch.Tensor, look: CameraLook, horizon: tuple[float, float, float]
) -> torch.Tensor:
    """Paint the ego vehicle where `mask` is: dull or glossy, then it mirrors what lies above it."""
    _, height, width = picture.shape
    rows = torch.arange(height, device=picture.device)[:, None]
    below = mask & (rows >= height // 2)
    covered = below.float()
    edge = (height - covered.sum(0)).long()[None, :]
    depth_in = (rows - edge).clamp(min=0)
    mirrored = (edge - 1 - depth_in * 2).clamp(0, height - 1)
    columns = torch.arange(width, device=picture.device)[None, :].expand(height, width)
    gloss = look.ego_gloss * (1.0 - 0.6 * (depth_in / (0.3 * height)).clamp(max=1.0))
    sheen = (0.4 + 0.6 * torch.exp(-depth_in / (0.05 * height))) * 0.25
    body = torch.stack(
        [
            (c * 0.7 + c * h * sheen) + gloss * plane[mirrored, columns]
            for c, h, plane in zip(look.ego_colour, horizon, picture, strict=True)
        ]
    )
    shadowed = torch.tensor(look.ego_colour, device=picture.device).view(3, 1, 1) * 0.1
    return torch.where(below[None], body, torch.where(mask[None], shadowed, picture))


def develop(
    linear_3hw: torch.Tensor, look: CameraLook, mask: np.ndarray, horizon: tuple[float, float, float], seed: int
) -> torch.Tensor:
    """From linear light to an 8 bit picture, (H, W, 3) uint8.

    Args:
        linear_3hw: scene radiance.
        look: the camera's properties.
        mask: where the ego vehicle is in view.
        horizon: colour of the sky low down, which the ego vehicle's body mirrors.
        seed: of the noise of this one picture.
    """
    _, height, width = linear_3hw.shape
    device = linear_3hw.device
    picture = linear_3hw
    y = torch.linspace(-1.0, 1.0, height, device=device)[:, None]
    x = torch.linspace(-1.0, 1.0, width, device=device)[None, :]
    if mask.any():
        picture = _own_body(picture, torch.as_tensor(mask, device=device), look, horizon)
    picture = _gaussian(picture, look.blur * width / 320.0)
    falloff = 1.0 - look.vignette * (x * x + y * y) * 0.5
    gain = torch.tensor(look.balance, device=device).view(3, 1, 1) * look.exposure
    picture = picture * gain * falloff
    # A soft shoulder, then gamma.
    picture = picture.clamp(min=0.0) ** look.contrast
    picture = (1.0 - torch.exp(picture * (-1.5 - 1.2 * picture))).clamp(0.0, 1.0)
    picture = (picture + 1e-5) ** (1.0 / 2.2)
    grey = picture.mean(0, keepdim=True)
    picture = grey + (picture - grey) * look.saturation
    generator = torch.Generator(device=device).manual_seed(seed)
    picture = picture + look.noise * torch.randn(picture.shape, generator=generator, device=device)
    if look.compression > 0.05:
        picture = _compress(picture, look.compression)
    return (picture.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(1, 2, 0)
