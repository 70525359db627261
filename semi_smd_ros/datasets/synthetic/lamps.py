# SPDX-License-Identifier: Apache-2.0
"""Light of lamps at night: street lamps, headlights, shop fronts, gathered in a map of the ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from .slots import Slots, Table
from .vectors import Vec3

_SPAN, _CELL = 176.0, 1.0  # metres
_CELLS = int(_SPAN / _CELL)
_LEVEL = 0.035  # of all lamps against daylight: cameras reach their limits at night
_DARK_ROWS = 3
_OUT_OF_REACH = (1e6, 1e6)  # a corner far from everything
_EYE = 0.5  # height over the ground at which the map is taken, metres
# The ego vehicle's own headlights: body, position in base, colour, direction, focus, reach.
_OWN = [[-1.0, 3.8, side * 0.6, 0.65, 30.0, 29.0, 27.0, 0.985, side * 0.02, -0.1, 3.0, 45.0] for side in (-1.0, 1.0)]


@dataclass(frozen=True)
class LampMap:
    """What the lamps of an instant give to each cell of the ground."""

    cells_7hw: np.ndarray  # float32: light (3), mean direction towards the lamps (3), their mean height
    corner: tuple[float, float]  # world x, y of the first cell's middle

    @staticmethod
    def build(
        lamps_l12: np.ndarray, body_poses_b44: np.ndarray, world_t_base: np.ndarray, night: float
    ) -> LampMap | None:
        """The map about the ego vehicle, or None where it is light enough without.

        Args:
            lamps_l12: as in `Scene.lamps_l12`.
            body_poses_b44: world_T_body of every body.
            world_t_base: the ego vehicle's pose.
            night: 0 day .. 1 night.
        """
        if night < 0.1:
            return None
        own = np.array(_OWN)
        own[:, 4:7] *= night
        lamps = np.concatenate([lamps_l12, own])
        lamps[:, 4:7] *= _LEVEL
        poses = np.concatenate([body_poses_b44, world_t_base[None]])[lamps[:, 0].astype(int)]
        place = (poses[:, :3, :3] @ lamps[:, 1:4, None])[:, :, 0] + poses[:, :3, 3]
        towards = (poses[:, :3, :3] @ lamps[:, 7:10, None])[:, :, 0]
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        corner = world_t_base[:2, 3] - _SPAN / 2
        cells = np.zeros((7, _CELLS, _CELLS), dtype=np.float64)
        for at, way, lamp in zip(place, towards, lamps, strict=True):
            _add(cells, at, way, lamp, corner, float(world_t_base[2, 3]))
        weight = np.maximum(cells[:3].sum(0), 1e-9)
        cells[3:] /= weight
        return LampMap(cells.astype(np.float32), (float(corner[0]), float(corner[1])))


class LampMaps:
    """The lamp maps of all instants of a batch, above each other in one picture with dark rows between them."""

    def __init__(self, maps: Sequence[LampMap | None], device: torch.device) -> None:
        dark = np.zeros((7, _DARK_ROWS, _CELLS), dtype=np.float32)
        pieces: list[np.ndarray] = []
        rows: list[list[float]] = []
        self._lit = tuple(found is not None for found in maps)
        for found in maps:
            if found is None:
                rows.append([*_OUT_OF_REACH, 0.0])
                continue
            pieces += [dark] if pieces else []
            rows.append([*found.corner, float(sum(piece.shape[1] for piece in pieces))])
            pieces.append(found.cells_7hw)
        self._rows = Table(rows, device)
        self._grid = torch.as_tensor(np.concatenate(pieces, axis=1)[None], device=device) if pieces else None

    def light(self, slots: Slots, world: Vec3, normal: Vec3) -> Vec3 | None:
        """Light that lamps give to points of a surface, linear RGB; None where none of their instants has lamps."""
        if self._grid is None or not any(self._lit[k] for k in slots.instants):
            return None
        x0, y0, first = self._rows.at(slots)
        across, down = (2.0 / (self._grid.shape[k] - 1.0) / _CELL for k in (3, 2))
        # Beside its own map nothing lights a point; the dark rows keep it from the next map.
        y = (world[1] - y0).clamp(-1.5 * _CELL, (_CELLS + 0.5) * _CELL) + first
        at = torch.stack([(world[0] - x0) * across - 1.0, y * down - 1.0], dim=1)
        found = functional.grid_sample(self._grid, at[None, None], align_corners=True, padding_mode='zeros')
        red, green, blue, x, y, z, height = found[0, :, 0].unbind(0)
        facing = (normal[0] * x + normal[1] * y + normal[2] * z).clamp(min=0.0)
        # Lamps shine down and ahead: above them it is dark.
        below = ((height + 1.0 - world[2]) * 0.33 + 0.2).clamp(0.04, 1.0)
        share = (0.12 + 0.88 * facing) * below
        return red * share, green * share, blue * share


def _add(
    cells: np.ndarray, at: np.ndarray, way: np.ndarray, lamp: np.ndarray, corner: np.ndarray, ground: float
) -> None:
    """Add one lamp's light to the cells within its reach."""
    colour, focus, reach = lamp[4:7], float(lamp[10]), float(lamp[11])
    low = np.maximum(np.floor((at[:2] - reach - corner) / _CELL).astype(int), 0)
    high = np.minimum(np.ceil((at[:2] + reach - corner) / _CELL).astype(int), _CELLS - 1)
    if (high <= low).any():
        return
    x = corner[0] + np.arange(low[0], high[0] + 1) * _CELL - at[0]
    y = corner[1] + np.arange(low[1], high[1] + 1)[:, None] * _CELL - at[1]
    # How high a lamp hangs over the ground below it: bodies carry theirs at their own height.
    down = max(0.4, float(lamp[3]) - _EYE) if lamp[0] != 0 else max(1.5, min(8.0, float(at[2]) - ground))
    square = x * x + y * y + down * down
    distance = np.sqrt(square)
    power = np.clip(1.0 - square / (reach * reach), 0.0, 1.0) ** 2 / np.maximum(square, 70.0 if focus >= 1.0 else 1.0)
    if focus > 0.0:
        ahead = (x * way[0] + y * way[1] - down * way[2]) / distance
        power = power * np.clip(ahead, 0.0, 1.0) ** (focus * 8.0 if focus >= 1.0 else focus)
    part = cells[:, low[1] : high[1] + 1, low[0] : high[0] + 1]
    part[:3] += colour[:, None, None] * power
    weight = colour.sum() * power
    part[3] -= weight * x / distance
    part[4] -= weight * y / distance
    part[5] += weight * down / distance
    part[6] += weight * at[2]
