# SPDX-License-Identifier: Apache-2.0
"""Tileable 3-D value noise with mip levels: the one texture from which every surface is made."""

from __future__ import annotations

from functools import lru_cache

import torch

from .vectors import Vec3

_SIZE = 128
_LEVELS = 6
_STEP = 40.0  # stored units per standard deviation


def _octave(cells: int, generator: torch.Generator) -> torch.Tensor:
    """One tileable octave of `cells` lattice cells a side, shape (128, 128, 128)."""
    lattice = torch.randn(1, 1, cells, cells, cells, generator=generator)
    padded = torch.nn.functional.pad(lattice, (1, 1, 1, 1, 1, 1), mode='circular')
    step = _SIZE // cells
    size = _SIZE + 2 * step
    smooth = torch.nn.functional.interpolate(padded, size=(size, size, size), mode='trilinear', align_corners=False)
    inner = slice(step, step + _SIZE)
    return smooth[0, 0, inner, inner, inner]


@lru_cache(maxsize=2)
def _volume(device: str) -> torch.Tensor:
    """All mip levels after each other, uint8, mean 128 and standard deviation 40 at the finest level."""
    generator = torch.Generator().manual_seed(20261)
    volume = torch.zeros(_SIZE, _SIZE, _SIZE)
    for cells, amplitude in ((4, 1.0), (8, 0.8), (16, 0.7), (32, 0.7), (64, 0.6)):
        volume += amplitude * _octave(cells, generator)
    volume = (volume - volume.mean()) / volume.std()
    levels = []
    for _ in range(_LEVELS):
        levels.append((volume * _STEP + 128.0).round().clamp(0, 255).to(torch.uint8).flatten())
        volume = torch.nn.functional.avg_pool3d(volume[None, None], 2)[0, 0]
    return torch.cat(levels).to(device)


def noise(p: Vec3, period: float | torch.Tensor, footprint: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Noise of mean 0 and standard deviation 1 at points p.

    Args:
        p: three tensors of one shape, metres.
        period: metres after which the noise repeats; its features span period/4 down to period/64.
        footprint: metres a pixel covers there; finer detail is averaged away (no aliasing).
    """
    x, y, z = (c * (_SIZE / period) for c in p)
    volume = _volume(str(x.device))
    if isinstance(footprint, float) and footprint <= 0.0:
        ix, iy, iz = (c.floor().to(torch.int32) & (_SIZE - 1) for c in (x, y, z))
        index = (iz * _SIZE + iy) * _SIZE + ix
    else:
        ratio = torch.as_tensor(footprint, device=x.device) * (_SIZE / period)
        level = (ratio.clamp(min=1.0).log2() + 0.3).clamp(max=_LEVELS - 1.0).floor()
        scale = torch.exp2(-level)
        side_f = scale * _SIZE
        side = side_f.to(torch.int32)
        mask = side - 1
        ix, iy, iz = ((c * scale).floor().to(torch.int32) & mask for c in (x, y, z))
        # The levels before hold 8/7 of the difference of cubes; whole numbers below 2**24 are exact in float32.
        offset = ((float(_SIZE**3) - side_f * side_f * side_f) * (8.0 / 7.0)).round().to(torch.int32)
        index = (iz * side + iy) * side + ix + offset
    flat = volume.index_select(0, index.flatten()).float()
    return ((flat - 128.0) * (1.0 / _STEP)).view(index.shape)


def smooth_noise(x: torch.Tensor, y: torch.Tensor, layer: int | torch.Tensor, period: float) -> torch.Tensor:
    """Interpolated noise on a plane, for what is seen so near that single cells would show (clouds).

    `layer`, 0..127, chooses the plane: for all points, or int32 for each.
    """
    x, y = x * (_SIZE / period), y * (_SIZE / period)
    x0, y0 = x.floor(), y.floor()
    fx, fy = x - x0, y - y0
    volume = _volume(str(x.device))
    base = layer * (_SIZE * _SIZE)
    ix, iy = x0.to(torch.int32) & (_SIZE - 1), y0.to(torch.int32) & (_SIZE - 1)
    jx, jy = (ix + 1) & (_SIZE - 1), (iy + 1) & (_SIZE - 1)
    corner = [volume.index_select(0, base + row * _SIZE + column).float() for row in (iy, jy) for column in (ix, jx)]
    value = torch.lerp(torch.lerp(corner[0], corner[1], fx), torch.lerp(corner[2], corner[3], fx), fy)
    return (value - 128.0) * (1.0 / _STEP)


def hash01(x: torch.Tensor, y: torch.Tensor, salt: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Uniform 0..1 pseudo-random number of integer-valued floats x, y (cell indices) and a salt."""
    value = (x.to(torch.int32) * 374761 + y.to(torch.int32) * 668265) & 0x7FFFFFFF
    value = value + (torch.as_tensor(salt, device=x.device) * 977.0).to(torch.int32)
    value = (value ^ (value >> 7)) & 0x7FFFF
    value = (value * 2654 + 1013) & 0x7FFFFFFF
    value = ((value ^ (value >> 11)) & 0x7FFFF) * 3571
    return (value & 0xFFFF).float() * (1.0 / 65536.0)
