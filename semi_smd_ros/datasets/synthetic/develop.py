# SPDX-License-Identifier: Apache-2.0
"""From linear light to 8 bit pictures, many views at once: own vehicle, lens, exposure, tone, noise, compression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

from .camera import CameraLook, Exposure
from .ego_body import GLAZED, PAINTED

_FIELD = 1024
_TONES = 1 << 14
_BRIGHTEST = 8.0  # signal beyond which all is white
_LUMA = (0.299, 0.587, 0.114)


def metered(linear_v3hw: torch.Tensor, covered_vhw: torch.Tensor) -> torch.Tensor:
    """What an exposure meter reads, (V,), without the own vehicle's part of the picture.

    Halfway between the geometric mean, which ignores a bright sky or a lamp, and the arithmetic one, which they rule.
    """
    # Every fourth pixel tells enough.
    light = torch.stack([w * linear_v3hw[:, k, ::4, ::4] for k, w in enumerate(_LUMA)]).sum(0)
    free = (~covered_vhw[:, ::4, ::4]).float()
    count = free.sum((1, 2)).clamp(min=1.0)
    geometric = (((light + 1e-6).log() * free).sum((1, 2)) / count).exp()
    arithmetic = (torch.minimum(light, geometric[:, None, None] * 20.0) * free).sum((1, 2)) / count
    return (geometric * arithmetic).sqrt()


def develop(
    linear_v3hw: torch.Tensor,
    looks: Sequence[CameraLook],
    exposures: Sequence[Exposure],
    horizons: Sequence[tuple[float, float, float]],
    seeds: Sequence[int],
) -> torch.Tensor:
    """From linear light to 8 bit pictures, (V, H, W, 3) uint8.

    Args:
        linear_v3hw: scene radiance, motion blur included.
        looks: the cameras' properties.
        exposures: their exposures for these pictures.
        horizons: colour of the sky low down, which lights the own vehicle.
        seeds: of the noise of each picture.
    """
    count, _, height, width = linear_v3hw.shape
    device = linear_v3hw.device

    def each(values: Sequence[float] | Sequence[tuple[float, float, float]]) -> torch.Tensor:
        return torch.tensor(values, device=device, dtype=torch.float32).view(count, -1, 1, 1)

    glare = each([look.glare for look in looks])
    picture = torch.lerp(linear_v3hw, linear_v3hw.mean((2, 3), keepdim=True), glare)
    picture = _with_own_body(picture, looks, horizons)
    picture = _lens_blur(picture, [look.blur * width / 320.0 for look in looks])
    y = torch.linspace(-1.0, 1.0, height, device=device)[:, None]
    x = torch.linspace(-1.0, 1.0, width, device=device)[None, :]
    falloff = 1.0 - each([look.vignette * 0.5 for look in looks]) * (x * x + y * y)
    gain = each(
        [
            (b[0] * e.factor, b[1] * e.factor, b[2] * e.factor)
            for b, e in ((look.balance, e) for look, e in zip(looks, exposures, strict=True))
        ]
    )
    picture = _toned(picture * (gain * falloff), [look.contrast for look in looks])
    grey = picture.mean(1, keepdim=True)
    detail = grey - functional.avg_pool2d(grey, 3, 1, 1, count_include_pad=False)
    sharp = grey + detail * each([look.sharpening for look in looks])
    picture = torch.addcmul(sharp, picture - grey, each([look.saturation for look in looks]))
    # Gain lifts the dark's noise most.
    strength = each(
        [look.noise * math.sqrt(1.0 + 0.3 * (e.gain - 1.0)) for look, e in zip(looks, exposures, strict=True)]
    )
    picture = picture + strength * (1.3 - 0.6 * grey) * _noise(seeds, height, width, device)
    packed = [k for k, look in enumerate(looks) if look.compression > 0.05]
    if packed:
        index = torch.tensor(packed, device=device)
        strengths = torch.tensor([looks[k].compression for k in packed], device=device)
        picture = picture.index_copy(0, index, _compressed(picture.index_select(0, index), strengths))
    return (picture.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _toned(signal: torch.Tensor, contrasts: Sequence[float]) -> torch.Tensor:
    """Tone curve of each view: contrast, a soft shoulder, then gamma; from sensor signal to 0..1.

    By table over the square root of the signal, which is fine enough in the dark: to a tenth of a grey level.
    """
    device = signal.device
    steps = torch.linspace(0.0, _BRIGHTEST**0.5, _TONES, device=device) ** 2
    light = steps ** torch.tensor(contrasts, device=device)[:, None]
    table = (1.0 - torch.exp(light * (-1.5 - 1.2 * light)) + 1e-5) ** (1.0 / 2.2)
    index = (signal.clamp(min=0.0, max=_BRIGHTEST).sqrt() * ((_TONES - 1) / _BRIGHTEST**0.5) + 0.5).to(torch.int32)
    index += torch.arange(len(contrasts), device=device, dtype=torch.int32).view(-1, 1, 1, 1) * _TONES
    return table.flatten().index_select(0, index.flatten()).view(signal.shape)


def _with_own_body(
    picture: torch.Tensor, looks: Sequence[CameraLook], horizons: Sequence[tuple[float, float, float]]
) -> torch.Tensor:
    """Lay the own vehicle over the pictures in which it shows; what is glossy mirrors what lies above it."""
    chosen = [k for k, look in enumerate(looks) if look.body.cover_hw.any()]
    if not chosen:
        return picture
    device, height = picture.device, picture.shape[2]

    def stack(arrays: list[np.ndarray]) -> torch.Tensor:
        return torch.as_tensor(np.stack(arrays), device=device)[:, None]

    bodies = [looks[k].body for k in chosen]
    cover = stack([b.cover_hw for b in bodies])
    kind = stack([b.kind_hw for b in bodies])
    shade = stack([b.shade_hw for b in bodies])
    colour = torch.tensor([b.colour for b in bodies], device=device).view(-1, 3, 1, 1)
    gloss = torch.tensor([b.gloss for b in bodies], device=device).view(-1, 1, 1, 1)
    light = torch.tensor([horizons[k] for k in chosen], device=device).view(-1, 3, 1, 1)
    index = torch.tensor(chosen, device=device)
    behind = picture.index_select(0, index)
    rows = torch.arange(height, device=device).view(1, 1, -1, 1)
    lower = (cover > 0.5) & (rows >= height // 3)
    edge = height - lower.sum(2, keepdim=True)
    inside = (rows - edge).clamp(min=0)
    # Mirrored in a flat bonnet or roof, the world stands upside down and compressed.
    source = (edge - 1 - inside * 2).clamp(0, height - 1)
    mirrored = behind.gather(2, source.expand(-1, 3, -1, -1))
    inside = inside.float() / height
    painted, glazed = (kind == PAINTED).float(), (kind == GLAZED).float()
    share = painted * gloss * (1.0 - 0.6 * (inside / 0.3).clamp(max=1.0)) + glazed * 0.22
    sheen = 0.3 + 0.7 * torch.exp(-inside / 0.05)
    matte = painted * colour * (0.35 + 0.35 * sheen) + glazed * 0.02 + (1.0 - painted - glazed) * 0.012
    body = (matte * light + share * mirrored) * shade
    return picture.index_copy(0, index, torch.lerp(behind, body, cover))


def _lens_blur(picture: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """A Gaussian of its own for each view, as sums of shifted pictures."""
    reach = max(1, math.ceil(max(sigmas) * 2.2))
    steps = torch.arange(-reach, reach + 1).float()
    kernels = torch.exp(-0.5 * (steps / torch.tensor(sigmas).clamp(min=0.15)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(picture.device)
    for axis in (2, 3):
        size = picture.shape[axis]
        total = picture * kernels[:, reach].view(-1, 1, 1, 1)
        pad = [reach, reach, 0, 0] if axis == 3 else [0, 0, reach, reach]
        padded = functional.pad(picture, pad, mode='replicate')
        for k in range(1, reach + 1):
            both = padded.narrow(axis, reach - k, size) + padded.narrow(axis, reach + k, size)
            total = torch.addcmul(total, both, kernels[:, reach + k].view(-1, 1, 1, 1))
        picture = total
    return picture


@lru_cache(maxsize=2)
def _noise_field(device: str) -> torch.Tensor:
    """(3, size, size), mean 0, deviation 1: colour noise rides softly on brightness noise, as after demosaicing."""
    generator = torch.Generator().manual_seed(20262)
    brightness = torch.randn(1, _FIELD, _FIELD, generator=generator)
    colour = torch.randn(1, 3, _FIELD, _FIELD, generator=generator)
    colour = functional.avg_pool2d(functional.pad(colour, (1, 1, 1, 1), mode='circular'), 3, stride=1)[0] * 3.0
    return (0.85 * brightness + 0.53 * colour).to(device)


def _noise(seeds: Sequence[int], height: int, width: int, device: torch.device) -> torch.Tensor:
    """A random window of the noise field for each view, (V, 3, H, W); larger pictures repeat the field."""
    field = _noise_field(str(device))
    if height > _FIELD or width > _FIELD:
        field = field.repeat(1, -(-height // _FIELD) + 1, -(-width // _FIELD) + 1)
    corners = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        corners.append(
            [int(rng.integers(0, min(_FIELD, field.shape[k] - n + 1))) for k, n in ((1, height), (2, width))]
        )
    top, left = torch.tensor(corners, device=device).unbind(1)
    return field.unfold(1, height, 1).unfold(2, width, 1)[:, top, left].transpose(0, 1)


def _dct(device: torch.device) -> torch.Tensor:
    k = torch.arange(8, device=device).float()
    basis = torch.cos(math.pi / 8.0 * (k[None, :] + 0.5) * k[:, None]) * 0.5
    basis[0] *= math.sqrt(0.5)
    return basis


def _compressed(picture: torch.Tensor, strength_v: torch.Tensor) -> torch.Tensor:
    """Quantise 8x8 blocks as JPEG does, luma fine and chroma coarse. (V, 3, H, W) in 0..1."""
    red, green, blue = picture.unbind(1)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    planes = torch.stack([luma, (blue - luma) * 0.564, (red - luma) * 0.713], dim=1)
    _, _, height, width = planes.shape
    padded = functional.pad(planes, (0, -width % 8, 0, -height % 8), mode='replicate')
    basis = _dct(picture.device)
    blocks = padded.unfold(2, 8, 8).unfold(3, 8, 8)
    spectrum = basis @ blocks @ basis.T
    k = torch.arange(8, device=picture.device).float()
    step = (1.0 + 0.7 * (k[:, None] + k[None, :])) * (5.0 / 255.0)
    steps = torch.stack([step, step * 2.5, step * 2.5])[None, :, None, None] * strength_v.view(-1, 1, 1, 1, 1, 1) + 1e-4
    blocks = basis.T @ ((spectrum / steps).round() * steps) @ basis
    planes = blocks.permute(0, 1, 2, 4, 3, 5).reshape(padded.shape)[:, :, :height, :width]
    y, u, v = planes.unbind(1)
    red, blue = y + v / 0.713, y + u / 0.564
    return torch.stack([red, (y - _LUMA[0] * red - _LUMA[2] * blue) / _LUMA[1], blue], dim=1)
