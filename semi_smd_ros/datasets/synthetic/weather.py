# SPDX-License-Identifier: Apache-2.0
"""Light and air of a scene: sunny or overcast, morning or noon, clear or hazy."""

from __future__ import annotations

import math

import numpy as np

from .palette import Palette
from .shading import Light


def make_light(rng: np.random.Generator) -> Light:
    """Sunny or overcast, morning or noon, clear or hazy."""
    p = Palette(rng)
    overcast = p.chance(0.35)
    azimuth, elevation = p.u(0, 2 * math.pi), math.radians(p.u(14, 70))
    sun = (math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation))
    warm = max(0.0, 1.0 - elevation / 0.7)
    if overcast:
        grey = p.u(0.8, 1.3)
        zenith = (grey, grey * p.u(0.98, 1.04), grey * p.u(1.0, 1.1))
        fade = p.u(0.75, 1.1)
        horizon = (zenith[0] * fade, zenith[1] * fade, zenith[2] * fade)
        sky_colour, sun_colour = zenith, (0.0, 0.0, 0.0)
        clouds = p.u(0.4, 1.0)
    else:
        blue = p.u(0.6, 1.8)
        zenith = (0.25 * blue, 0.45 * blue, 0.85 * blue)
        pale = p.u(0.9, 2.2)
        horizon = (pale * (0.85 + 0.2 * warm), pale * 0.93, pale * (1.02 - 0.25 * warm))
        fill = p.u(0.3, 0.75)
        sky_colour = (0.78 * fill, 0.92 * fill, 1.15 * fill)
        strength = p.u(1.6, 3.8)
        sun_colour = (strength, strength * (0.95 - 0.2 * warm), strength * (0.86 - 0.4 * warm))
        clouds = p.u(0.1, 0.6) if p.chance(0.7) else 0.0
    bounce = p.u(0.15, 0.4)
    ground = tuple(bounce * (0.5 * s + 0.25 * c) for s, c in zip(sky_colour, sun_colour, strict=True))
    haze = math.exp(p.u(math.log(350.0), math.log(8000.0)))
    return Light(
        sun=sun,
        sun_colour=sun_colour,
        sky_colour=sky_colour,
        ground_colour=(ground[0], ground[1], ground[2]),
        zenith=zenith,
        horizon=horizon,
        clouds=clouds,
        cloud_salt=p.u(0, 100),
        haze=haze,
    )
