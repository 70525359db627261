# SPDX-License-Identifier: Apache-2.0
"""A lens as the rasteriser wants it: per 8x8 tile, the viewing rays as a polynomial of the pixel.

Rays come from `CameraModel.unproject`, the same undistortion that rectification inverts, at nodes four pixels apart.
Within a tile normalised x and y are quadratics through its nine nodes. For a pinhole that is exact; for real lenses
at 160 pixels and more it stays within `TOLERANCE_PX` of the model, which is checked for every lens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...rig import CameraModel

TILE = 8
TERMS = 6
TOLERANCE_PX = 0.05
_NODES = np.array([-0.5, 3.5, 7.5])


def tile_terms(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The polynomial's terms 1, a, b, a^2, ab, b^2 at places (a, b) of a tile, pixels: (6, n)."""
    return np.stack([np.ones_like(a), a, b, a * a, a * b, b * b])


def _node_fit() -> np.ndarray:
    """(6, 9): from the values at a tile's nine nodes to the polynomial's coefficients, by least squares."""
    b, a = (grid.ravel() for grid in np.meshgrid(_NODES, _NODES, indexing='ij'))
    return np.linalg.pinv(tile_terms(a, b).T)


NODE_FIT = _node_fit()


@dataclass(frozen=True, eq=False)
class Lens:
    """One camera's viewing rays for a picture of width x height pixels.

    Attributes:
        nodes_yx2: (2 lines + 1, 2 columns + 1, 2) float64 normalised x, y (Z = 1) at the tiles' nodes.
        poly_t26: (tiles, 2, 6) float64, x and y over the place (a, b) in a tile, see `tile_terms`.
        affine: the quadratic terms vanish (no distortion).
        low_x_w, high_x_w: (W,) least and greatest x of each pixel column, made ascending; low_y_h, high_y_h: of rows.
        pixel_scale: what a pixel at the centre covers at one metre, metres.
    """

    width: int
    height: int
    nodes_yx2: np.ndarray
    poly_t26: np.ndarray
    affine: bool
    low_x_w: np.ndarray
    high_x_w: np.ndarray
    low_y_h: np.ndarray
    high_y_h: np.ndarray
    pixel_scale: float


def grid_size(width: int, height: int) -> tuple[int, int]:
    """Columns and lines of tiles that cover a picture."""
    return -(-width // TILE), -(-height // TILE)


def tile_polynomials(nodes_yxc: np.ndarray) -> np.ndarray:
    """(tiles, C, 6) coefficients from (..., C) values at the nodes (2 lines + 1, 2 columns + 1, C)."""
    lines, columns, channels = (nodes_yxc.shape[0] - 1) // 2, (nodes_yxc.shape[1] - 1) // 2, nodes_yxc.shape[2]
    own = np.stack(
        [nodes_yxc[i : i + 2 * lines : 2, j : j + 2 * columns : 2] for i in range(3) for j in range(3)], axis=-1
    )
    return (own @ NODE_FIT.T).reshape(lines * columns, channels, TERMS)


def pixel_grid(poly_tc6: np.ndarray, width: int, height: int) -> np.ndarray:
    """Polynomials evaluated at every pixel centre, (C, height, width)."""
    columns, lines = grid_size(width, height)
    b, a = (grid.ravel().astype(np.float64) for grid in np.meshgrid(np.arange(TILE), np.arange(TILE), indexing='ij'))
    values = poly_tc6 @ tile_terms(a, b)
    channels = values.shape[1]
    values = values.reshape(lines, columns, channels, TILE, TILE).transpose(2, 0, 3, 1, 4)
    return values.reshape(channels, lines * TILE, columns * TILE)[:, :height, :width]


def node_rows(height: int) -> np.ndarray:
    """Pixel rows at which the nodes lie, (2 lines + 1,)."""
    return np.arange(2 * grid_size(1, height)[1] + 1) * (TILE / 2) - 0.5


def make_lens(model: CameraModel) -> Lens:
    """The lens of a camera model; the last few hundred are kept.

    Raises:
        ValueError: the distortion bends too much within a tile to be followed, or folds the picture back.
    """
    key = (model.width, model.height, model.distortion_model, model.K.tobytes(), model.D.tobytes())
    return _make_lens(*key)


@lru_cache(maxsize=256)
def _make_lens(width: int, height: int, distortion: str, k_bytes: bytes, d_bytes: bytes) -> Lens:
    k = np.frombuffer(k_bytes).reshape(3, 3)
    model = CameraModel(width, height, k, np.frombuffer(d_bytes), distortion)
    columns, _ = grid_size(width, height)
    u, v = np.meshgrid(np.arange(2 * columns + 1) * (TILE / 2) - 0.5, node_rows(height))
    nodes = _unproject(model, u, v)
    poly = tile_polynomials(nodes)
    x, y = pixel_grid(poly, width, height)
    if model.is_distorted:
        _check(model, x, y)
    else:
        poly[:, :, 3:] = 0.0
    return Lens(
        width=width,
        height=height,
        nodes_yx2=nodes,
        poly_t26=poly,
        affine=not model.is_distorted,
        low_x_w=np.minimum.accumulate(x.min(0)[::-1])[::-1].copy(),
        high_x_w=np.maximum.accumulate(x.max(0)),
        low_y_h=np.minimum.accumulate(y.min(1)[::-1])[::-1].copy(),
        high_y_h=np.maximum.accumulate(y.max(1)),
        pixel_scale=1.0 / float(k[1, 1]),
    )


def _unproject(model: CameraModel, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Normalised x, y of pixels, (*u.shape, 2)."""
    if not model.is_distorted:
        inverse = np.linalg.inv(model.K)
        pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
        return (pixels @ inverse.T)[..., :2]
    rays = model.unproject(np.stack([u, v], axis=-1).reshape(-1, 2)).reshape(*u.shape, 3)
    return rays[..., :2] / rays[..., 2:]


def _check(model: CameraModel, x_hw: np.ndarray, y_hw: np.ndarray) -> None:
    """Project the polynomial's rays back: they must return to their own pixels."""
    step = 3
    v, u = np.mgrid[: model.height : step, : model.width : step]
    x, y = x_hw[::step, ::step], y_hw[::step, ::step]
    uv, _ = model.project(np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3))
    error = np.abs(uv - np.stack([u, v], axis=-1).reshape(-1, 2)).max()
    if not error < TOLERANCE_PX:
        raise ValueError(
            f'a {model.distortion_model} lens with D = {model.D.tolist()} is followed only to {error:.3f} pixels of a '
            f'{model.width}x{model.height} picture, expected {TOLERANCE_PX}: the distortion folds the picture back or '
            'bends too much; use smaller coefficients, a narrower field of view or a larger picture'
        )
