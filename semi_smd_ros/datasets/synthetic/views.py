# SPDX-License-Identifier: Apache-2.0
"""Many views of one size at once: cameras with any lens and shutter, or the parallel light of a shadow map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .lens import TERMS, TILE, Lens, grid_size, node_rows, tile_polynomials


@dataclass(frozen=True)
class Viewpoint:
    """Where one camera is while it takes a picture.

    With a rolling shutter row v sees the world at `(v - (height - 1) / 2) * row_s` seconds after the frame's stamp:
    the stamp is that of the middle row. Meanwhile the camera moves with `velocity_3` and turns with `spin_3`.
    """

    lens: Lens
    world_t_cam: np.ndarray  # (4, 4) at the stamp
    velocity_3: np.ndarray  # of the optical centre, world coordinates, m/s
    spin_3: np.ndarray  # angular velocity, camera coordinates, rad/s
    row_s: float = 0.0  # seconds from one row to the next, 0 for a global shutter


@dataclass(frozen=True)
class Views:
    """V views of width x height pixels; T tiles each. Tensors are on the renderer's device.

    Pixel (u, v) of a perspective view sees origin + v' * drift + depth * ray, v' rows from the middle, with
    ray = poly(u, v) in camera coordinates at the stamp; depth is along the optical axis that its row had. For
    parallel light poly(u, v) is a shift of the origin instead, and all rays run along the optical axis.
    """

    width: int
    height: int
    parallel: bool
    origin_v3: torch.Tensor  # float64, world
    rotation_v33: torch.Tensor  # float64, columns are the camera's axes in the world
    poly_vtck: torch.Tensor  # (V, T, 3, 3 or 6) float32; three terms where no lens bends
    limits_x_vw: tuple[torch.Tensor, torch.Tensor]  # float64 ascending: least and greatest x of a pixel column
    limits_y_vh: tuple[torch.Tensor, torch.Tensor]
    pixel_scale_v: torch.Tensor  # float32, metres a pixel covers at one metre; 0 for parallel light
    drift_v3: torch.Tensor | None  # float64, world metres a row, None where every shutter is global
    row_s_v: torch.Tensor  # float64 seconds a row
    velocity_v3: torch.Tensor  # float64, of the camera, world coordinates, m/s
    spin_v3: torch.Tensor  # float64, of the camera, camera coordinates, rad/s
    turn_v: torch.Tensor  # float64, radians the camera turns from the stamp to its first or last row

    def __len__(self) -> int:
        return len(self.origin_v3)

    @property
    def tiles(self) -> tuple[int, int]:
        """Columns and lines of tiles."""
        return grid_size(self.width, self.height)

    @staticmethod
    def cameras(points: Sequence[Viewpoint], device: torch.device) -> Views:
        """Perspective views; all lenses must have pictures of one size."""
        sizes = {(p.lens.width, p.lens.height) for p in points}
        if len(sizes) != 1:
            raise ValueError(f'got views of {len(sizes)} sizes {sorted(sizes)}, expected one; render them apart')
        width, height = sizes.pop()
        rolling = any(p.row_s > 0.0 for p in points)
        terms = 3 if all(p.lens.affine and p.row_s == 0.0 for p in points) else TERMS
        polys = np.stack([_polynomial(p)[:, :, :terms] for p in points])

        def tensor(rows: list[np.ndarray]) -> torch.Tensor:
            return torch.as_tensor(np.stack(rows).astype(np.float64), device=device)

        row_s = np.array([p.row_s for p in points])
        spin = np.array([np.linalg.norm(p.spin_3) for p in points])
        return Views(
            width=width,
            height=height,
            parallel=False,
            origin_v3=tensor([p.world_t_cam[:3, 3] for p in points]),
            rotation_v33=tensor([p.world_t_cam[:3, :3] for p in points]),
            poly_vtck=torch.as_tensor(polys.astype(np.float32), device=device),
            limits_x_vw=(tensor([p.lens.low_x_w for p in points]), tensor([p.lens.high_x_w for p in points])),
            limits_y_vh=(tensor([p.lens.low_y_h for p in points]), tensor([p.lens.high_y_h for p in points])),
            pixel_scale_v=tensor([np.array(p.lens.pixel_scale) for p in points]).float(),
            drift_v3=tensor([p.velocity_3 * p.row_s for p in points]) if rolling else None,
            row_s_v=torch.as_tensor(row_s, device=device),
            velocity_v3=tensor([p.velocity_3 for p in points]),
            spin_v3=tensor([p.spin_3 for p in points]),
            turn_v=torch.as_tensor(spin * row_s * height / 2, device=device),
        )

    @staticmethod
    def lights(
        towards_v3: np.ndarray, centre_v3: np.ndarray, span: float, size: int, back: float, device: torch.device
    ) -> Views:
        """Parallel light from `towards` on squares of `span` metres about `centre`, size x size pixels."""
        rotations, origins = [], []
        pixel = span / size
        for towards, centre in zip(towards_v3, centre_v3, strict=True):
            up = np.array([0.0, 1.0, 0.0]) if abs(towards[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
            right = np.cross(up, towards)
            right /= np.linalg.norm(right)
            down = np.cross(towards, right)
            rotations.append(np.stack([right, down, -towards], axis=1))
            origins.append(centre + towards * back - (right + down) * (span - pixel) / 2)
        columns, lines = grid_size(size, size)
        poly = np.zeros((lines, columns, 3, 3), dtype=np.float32)
        poly[:, :, 0, 0] = np.arange(columns)[None, :] * TILE * pixel
        poly[:, :, 1, 0] = np.arange(lines)[:, None] * TILE * pixel
        poly[:, :, 0, 1] = poly[:, :, 1, 2] = pixel
        count = len(origins)
        along = (torch.arange(size, dtype=torch.float64, device=device) * pixel).expand(count, size)
        zero = torch.zeros(count, device=device)
        return Views(
            width=size,
            height=size,
            parallel=True,
            origin_v3=torch.as_tensor(np.stack(origins), device=device),
            rotation_v33=torch.as_tensor(np.stack(rotations), device=device),
            poly_vtck=torch.as_tensor(poly.reshape(1, -1, 3, 3), device=device).expand(count, -1, 3, 3),
            limits_x_vw=(along, along),
            limits_y_vh=(along, along),
            pixel_scale_v=zero,
            drift_v3=None,
            row_s_v=zero.double(),
            velocity_v3=torch.zeros(count, 3, dtype=torch.float64, device=device),
            spin_v3=torch.zeros(count, 3, dtype=torch.float64, device=device),
            turn_v=zero.double(),
        )

    def rays(self, shift: float = 0.0) -> torch.Tensor:
        """Camera-coordinate rays of all pixels moved by `shift` right and down, (V, 3, H, W) float32."""
        columns, lines = self.tiles
        terms = terms_at(shift, self.poly_vtck.shape[3], self.poly_vtck.device)
        values = (self.poly_vtck.reshape(-1, terms.shape[0]) @ terms).view(len(self), lines, columns, 3, TILE, TILE)
        whole = values.permute(0, 3, 1, 4, 2, 5).reshape(len(self), 3, lines * TILE, columns * TILE)
        return whole[:, :, : self.height, : self.width].contiguous()

    def rows_from_middle(self) -> torch.Tensor:
        """(H,) float32."""
        return torch.arange(self.height, device=self.poly_vtck.device).float() - (self.height - 1) / 2


def terms_at(shift: float, terms: int, device: torch.device) -> torch.Tensor:
    """The polynomial's terms at a tile's 64 pixels, moved by `shift` pixels right and down: (terms, 64) float32."""
    steps = torch.arange(TILE * TILE, device=device)
    a, b = (steps % TILE).float() + shift, torch.div(steps, TILE, rounding_mode='floor').float() + shift
    return torch.stack([torch.ones_like(a), a, b, a * a, a * b, b * b][:terms])


def _polynomial(point: Viewpoint) -> np.ndarray:
    """(T, 3, 6): rays in camera coordinates at the stamp; with a rolling shutter every row turns with the camera."""
    lens = point.lens
    if point.row_s == 0.0:
        poly = np.zeros((len(lens.poly_t26), 3, TERMS))
        poly[:, :2] = lens.poly_t26
        poly[:, 2, 0] = 1.0
        return poly
    rays = np.concatenate([lens.nodes_yx2, np.ones((*lens.nodes_yx2.shape[:2], 1))], axis=2)
    seconds = (node_rows(lens.height) - (lens.height - 1) / 2) * point.row_s
    turned = np.einsum('yij,yxj->yxi', rotations_of(point.spin_3[None] * seconds[:, None]), rays)
    return tile_polynomials(turned)


def rotations_of(vectors_n3: np.ndarray) -> np.ndarray:
    """Rotation matrices (n, 3, 3) of rotation vectors (Rodrigues)."""
    angle = np.linalg.norm(vectors_n3, axis=1)[:, None, None]
    x, y, z = vectors_n3.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    safe = np.maximum(angle, 1e-12)
    return np.eye(3) + np.sin(angle) / safe * cross + (1.0 - np.cos(angle)) / safe**2 * (cross @ cross)


def rotation_vector(rotation_33: np.ndarray) -> np.ndarray:
    """Rotation vector (3,) of a rotation matrix by less than half a turn."""
    skew = 0.5 * np.array(
        [
            rotation_33[2, 1] - rotation_33[1, 2],
            rotation_33[0, 2] - rotation_33[2, 0],
            rotation_33[1, 0] - rotation_33[0, 1],
        ]
    )
    sine = float(np.linalg.norm(skew))
    angle = float(np.arctan2(sine, (np.trace(rotation_33) - 1.0) / 2.0))
    return skew * (angle / sine if sine > 1e-12 else 1.0)
