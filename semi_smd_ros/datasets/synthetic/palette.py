# SPDX-License-Identifier: Apache-2.0
"""Random colours and numbers for everything in a scene, from one generator."""

from __future__ import annotations

import numpy as np

from .primitives import Colour


class Palette:
    """Random colours and numbers, from one generator."""

    def __init__(self, rng: np.random.Generator, night: float = 0.0) -> None:
        self.rng = rng
        self.night = night  # 0 day .. 1 night: what shines is built shining
        self.engine = True  # whether the next vehicles' engines run

    def u(self, low: float, high: float) -> float:
        """A number between low and high."""
        return low + (high - low) * float(self.rng.random())

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)

    def grey(self, low: float, high: float, tint: float = 0.06) -> Colour:
        """A grey between low and high with a slight tint."""
        g = self.u(low, high)
        return tuple(min(0.95, max(0.01, g * (1 + tint * self.u(-2, 2)))) for _ in range(3))

    def colour(self, low: float = 0.02, high: float = 0.6) -> Colour:
        """Any colour, usually a saturated one."""
        bright = self.u(low, high)
        return tuple(max(0.01, bright * self.u(0.1, 1.0)) for _ in range(3))

    def paint(self) -> Colour:
        """Car paint: mostly white, silver, grey and black; also red, blue, green, beige."""
        if self.chance(0.62):
            return self.grey(0.005, 0.12, 0.03) if self.chance(0.5) else self.grey(0.2, 0.8, 0.02)
        hues = (
            (1.0, 0.06, 0.05),
            (0.08, 0.2, 1.0),
            (0.1, 0.5, 0.9),
            (0.1, 0.5, 0.25),
            (0.9, 0.75, 0.5),
            (1.0, 0.6, 0.05),
        )
        hue, bright, pale = hues[int(self.u(0, len(hues)))], self.u(0.03, 0.5), self.u(0.0, 0.3)
        return (bright * (hue[0] + pale), bright * (hue[1] + pale), bright * (hue[2] + pale))

    def wall(self) -> Colour:
        """Plaster, concrete, brick red, sandstone."""
        k = self.u(0, 1)
        if k < 0.45:
            return self.grey(0.15, 0.7, 0.05)
        g = self.u(0.15, 0.6)
        if k < 0.75:
            return (g, g * self.u(0.8, 0.95), g * self.u(0.55, 0.85))
        return (g * 0.8, g * self.u(0.35, 0.6), g * self.u(0.25, 0.5))

    def leaf(self) -> Colour:
        """Foliage: greens, some olive, few autumn."""
        g = self.u(0.025, 0.12)
        if self.chance(0.06):
            return (g * 1.8, g * 1.1, g * 0.35)
        return (g * self.u(0.45, 0.95), g, g * self.u(0.18, 0.5))
