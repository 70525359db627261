# SPDX-License-Identifier: Apache-2.0
"""The solids a scene is made of: unit shapes under an affine map, collected in one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# Shapes. Each lies in the cube [-1, 1]^3 of its own coordinates.
BOX, TAPER, ELLIPSOID, CYLINDER, QUAD, LEAF_ELLIPSOID, LEAF_BOX, BARS_BOX, SUPER = range(9)
SHAPES = 9
FLAT_SHAPES = (QUAD,)  # without extent along z; bounds leave their third axis out

# Materials: how a hit point becomes a colour (materials.py).
PLAIN, FACADE, FOLIAGE, GRASS, ROAD, PAVING, BRICK, PAINT, GLASS, STRIPES, SIGN, LAMP = range(12)
WHEEL, TILES, PLANKS = range(12, 15)

# Cityscapes train ids.
ROAD_ID, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY = range(11)
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(11, 19)
IGNORE = 255

Colour = Sequence[float]


@dataclass
class PrimitiveTable:
    """All primitives of a scene, one row each (P rows), in the frame of the body they belong to."""

    shape: np.ndarray  # (P,) int64
    body: np.ndarray  # (P,) int64, index of the body that carries the primitive
    material: np.ndarray  # (P,) int64
    semantic: np.ndarray  # (P,) uint8
    centre_p3: np.ndarray  # float64, metres in the body's frame
    axes_p33: np.ndarray  # float64, columns are the half axes, metres
    cut_p4: np.ndarray  # float32, shape parameters: taper, or holes
    colour_p3: np.ndarray  # float32, linear albedo
    colour2_p3: np.ndarray  # float32
    param_p6: np.ndarray  # float32, material parameters
    salt_p: np.ndarray  # float32, random per primitive

    def __len__(self) -> int:
        return len(self.shape)


@dataclass
class TableBuilder:
    """Collects primitives; `body` is the body that the next ones belong to."""

    rng: np.random.Generator
    body: int = 0
    rows: list[tuple[float, ...]] = field(default_factory=list)
    lamps: list[tuple[float, ...]] = field(default_factory=list)

    def add(
        self,
        shape: int,
        centre: Sequence[float],
        half: Sequence[float],
        material: int,
        semantic: int,
        colour: Colour,
        colour2: Colour = (0.05, 0.05, 0.05),
        yaw: float = 0.0,
        param: Sequence[float] = (),
        cut: Sequence[float] = (),
        shear: float = 0.0,
    ) -> None:
        """Add a shape with half sizes `half` (m), turned by `yaw` about z.

        `shear` moves the top along the shape's own x by that many metres (and the bottom back).
        """
        c, s = math.cos(yaw), math.sin(yaw)
        hx, hy, hz = half
        axes = (c * hx, -s * hy, c * shear, s * hx, c * hy, s * shear, 0.0, 0.0, hz)
        self.add_axes(shape, centre, axes, material, semantic, colour, colour2, param, cut)

    def add_axes(
        self,
        shape: int,
        centre: Sequence[float],
        axes: Sequence[float],
        material: int,
        semantic: int,
        colour: Colour,
        colour2: Colour = (0.05, 0.05, 0.05),
        param: Sequence[float] = (),
        cut: Sequence[float] = (),
    ) -> None:
        """Add a shape with any affine map: `axes` is the 3x3 matrix in row order."""
        param6 = (*param, *(0.0,) * (6 - len(param)))
        cut4 = (*cut, *(0.0,) * (4 - len(cut)))
        self.rows.append((shape, self.body, material, semantic, *centre, *axes, *cut4, *colour, *colour2, *param6))

    def lamp(
        self,
        centre: Sequence[float],
        colour: Colour,
        reach: float,
        direction: Sequence[float] = (0.0, 0.0, -1.0),
        focus: float = 0.0,
    ) -> None:
        """Add a light that shines at night: its power as a colour at 1 m, reach in metres, focus 0 for all round."""
        self.lamps.append((float(self.body), *centre, *colour, *direction, focus, reach))

    def table(self) -> PrimitiveTable:
        """The table of everything added so far."""
        rows = np.array(self.rows, dtype=np.float64).reshape(len(self.rows), 32)
        f32 = rows.astype(np.float32)
        return PrimitiveTable(
            shape=rows[:, 0].astype(np.int64),
            body=rows[:, 1].astype(np.int64),
            material=rows[:, 2].astype(np.int64),
            semantic=rows[:, 3].astype(np.uint8),
            centre_p3=rows[:, 4:7],
            axes_p33=rows[:, 7:16].reshape(-1, 3, 3),
            cut_p4=f32[:, 16:20],
            colour_p3=f32[:, 20:23],
            colour2_p3=f32[:, 23:26],
            param_p6=f32[:, 26:32],
            salt_p=self.rng.uniform(0.0, 1000.0, len(rows)).astype(np.float32),
        )
