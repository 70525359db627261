# SPDX-License-Identifier: Apache-2.0
"""What a camera sees of its own vehicle: bonnet, boot, wings, roof glass, mirrors, and the pods that carry cameras.

It is opaque and always in the same place of the picture. Shapes are drawn in the picture, not in space, since a rig
says nothing of its vehicle: their place follows from where the camera looks. Towards the vehicle's long axis, ahead
or astern, a body takes more room. Parts this near are out of focus, so their rim is soft.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NONE, DULL, PAINTED, GLAZED = range(4)
_SOFT_RIM = 0.004  # of the picture's width, at least


@dataclass(frozen=True, eq=False)
class EgoBody:
    """The own vehicle in one camera's picture.

    Attributes:
        cover_hw: float32 0..1, the share of a pixel that it covers; soft only along the rim.
        kind_hw: uint8: DULL plastic and rubber, PAINTED metal or GLAZED roof and windows; NONE elsewhere.
        shade_hw: float32 factor of brightness: seams, trim, lines in the glass.
        colour: linear RGB of the paint.
        gloss: share of the light that paint mirrors.
    """

    cover_hw: np.ndarray
    kind_hw: np.ndarray
    shade_hw: np.ndarray
    colour: tuple[float, float, float]
    gloss: float

    @property
    def mask_hw(self) -> np.ndarray:
        """True where any of the picture's light comes from the own vehicle, bool."""
        return self.cover_hw > 0.02


class _Canvas:
    """Collects parts; x runs -1..1 to the right, y 0..1 downwards."""

    def __init__(self, height: int, width: int) -> None:
        self.x = ((np.arange(width) + 0.5) / width * 2.0 - 1.0)[None, :]
        self.y = ((np.arange(height) + 0.5) / height)[:, None]
        self.cover = np.zeros((height, width), dtype=np.float32)
        self.kind = np.zeros((height, width), dtype=np.uint8)
        self.shade = np.ones((height, width), dtype=np.float32)

    def part(self, inside: np.ndarray, kind: int, soft: float) -> None:
        """Add what has inside > 0 (in picture heights); the rim is `soft` wide."""
        share = np.clip(inside / soft + 0.5, 0.0, 1.0).astype(np.float32)
        self.kind[share > 0.0] = kind
        np.maximum(self.cover, share, out=self.cover)

    def line(self, distance: np.ndarray, half: float, factor: float) -> None:
        """A thin line where |distance| < half."""
        self.shade *= np.where(np.abs(distance) < half, np.float32(factor), np.float32(1.0))


def draw_ego_body(vehicle_seed: int, seed: int, base_t_cam: np.ndarray, height: int, width: int) -> EgoBody:
    """What a camera with this pose sees of its vehicle; the vehicle's colour is the same for all its cameras."""
    rng = np.random.default_rng(seed)
    canvas = _Canvas(height, width)
    yaw = math.degrees(math.atan2(base_t_cam[1, 2], base_t_cam[0, 2]))
    if abs(yaw) < 25.0:
        _ahead(canvas, rng)
    elif abs(yaw) > 155.0:
        _astern(canvas, rng)
    else:
        # Where the long axis of the vehicle lies in the picture: right (1) or left (-1).
        towards = 1.0 if (yaw > 0.0) == (abs(yaw) < 90.0) else -1.0
        _aside(canvas, rng, towards, abs(yaw) < 90.0)
    vehicle = np.random.default_rng(vehicle_seed + 77)
    shade = float(vehicle.uniform(0.005, 0.1)) if vehicle.random() < 0.6 else float(vehicle.uniform(0.1, 0.7))
    tint = vehicle.uniform(0.15 if vehicle.random() < 0.35 else 0.85, 1.0, 3)
    colour = (shade * float(tint[0]), shade * float(tint[1]), shade * float(tint[2]))
    kind = np.where(canvas.cover > 0.0, canvas.kind, NONE).astype(np.uint8)
    return EgoBody(canvas.cover, kind, canvas.shade, colour, float(vehicle.uniform(0.03, 0.35)))


def _softness(rng: np.random.Generator) -> float:
    return _SOFT_RIM + float(rng.uniform(0.0, 0.02)) * (rng.random() < 0.6)


def _ahead(canvas: _Canvas, rng: np.random.Generator) -> None:
    if rng.random() < 0.3:
        u = rng.uniform
        edge = u(0.03, 0.17) + u(-0.04, 0.04) * canvas.x + u(0.0, 0.1) * (1.0 - canvas.x**2)
        inside = canvas.y - 1.0 + edge
        canvas.part(inside, PAINTED, _softness(rng))
        for side in (-1.0, 1.0):
            canvas.line(canvas.x - side * (u(0.3, 0.6) + 0.3 * inside), 0.008, 0.6)
    if rng.random() < 0.06:
        _top(canvas, rng, 0.0)


def _astern(canvas: _Canvas, rng: np.random.Generator) -> None:
    u = rng.uniform
    if rng.random() < 0.6:
        edge = u(0.04, 0.2) + u(-0.04, 0.04) * canvas.x + u(-0.02, 0.09) * (1.0 - canvas.x**2)
        inside = canvas.y - 1.0 + edge
        canvas.part(inside, PAINTED, _softness(rng))
        if rng.random() < 0.5:
            glass = inside - u(0.4, 0.7) * edge
            canvas.part(glass, GLAZED, _SOFT_RIM)
            canvas.line(glass, 0.006, 0.2)
            for k in range(int(u(0, 5))):
                canvas.line(canvas.x + u(-0.6, 0.6) + u(-3.0, 3.0) * inside - 0.05 * k, 0.006, 3.0)
    if rng.random() < 0.25:
        _top(canvas, rng, 0.0)


def _aside(canvas: _Canvas, rng: np.random.Generator, towards: float, front: bool) -> None:
    """`towards` is the side of the picture (1 right) on which the vehicle's long axis lies."""
    u = rng.uniform
    x = canvas.x * towards
    if rng.random() < 0.55:
        near, far = u(0.06, 0.38), u(-0.12, 0.1)
        edge = far + (near - far) * (x + 1.0) / 2.0 + u(-0.03, 0.06) * (1.0 - x**2)
        edge = np.minimum(edge + u(0.0, 0.008) * np.sin(5.0 * x + u(0.0, 6.0)), 0.42)
        inside = canvas.y - 1.0 + edge
        kind = int(rng.choice([GLAZED, PAINTED, DULL], p=[0.4, 0.35, 0.25]))
        canvas.part(inside, kind, _softness(rng))
        canvas.line(inside - u(0.02, 0.12), 0.008, 0.25)
    if front and rng.random() < 0.4:
        hump = u(0.05, 0.16) * np.exp(-(((x - u(0.6, 1.1)) / u(0.25, 0.6)) ** 2))
        canvas.part(canvas.y - 1.0 + hump, PAINTED, _softness(rng))
    if rng.random() < 0.35:
        height = u(0.02, 0.1) + u(-0.05, 0.05) * x - u(0.0, 0.08) * (x - u(-0.5, 0.5)) ** 2
        canvas.part(canvas.y - 1.0 + height, DULL, _softness(rng))
    if front and rng.random() < 0.12:
        # The housing of a door mirror, rising from below.
        cx, rx, ry = u(0.4, 1.0), u(0.12, 0.3), u(0.08, 0.22)
        cy = 1.0 + u(-0.6, 0.3) * ry
        round_off = (np.abs((x - cx) / rx) ** 3 + np.abs((canvas.y - cy) / ry) ** 3) ** (1.0 / 3.0)
        canvas.part((1.0 - round_off) * ry, PAINTED if rng.random() < 0.5 else DULL, _softness(rng))
    if rng.random() < 0.15:
        _top(canvas, rng, towards)


def _top(canvas: _Canvas, rng: np.random.Generator, towards: float) -> None:
    """The dark edge of a roof rack or pod above the lens: all along, or in one corner."""
    u = rng.uniform
    slope = u(0.1, 0.45) * towards if towards else u(-0.03, 0.03)
    level = u(-0.25, -0.02) if towards else u(0.01, 0.07)
    edge = np.minimum(level + slope * canvas.x + (0.05 * (1.0 - canvas.x**2) if not towards else 0.0), 0.35)
    canvas.part(edge - canvas.y, DULL, 0.008 + u(0.0, 0.05))
