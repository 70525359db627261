# SPDX-License-Identifier: Apache-2.0
"""Light and air of a scene: sunny or overcast, morning or noon, dusk or night, dry or wet, clear or hazy."""

from __future__ import annotations

import math

import numpy as np

from .air import Light
from .palette import Palette

_SHARES = {'sunny': 0.46, 'overcast': 0.25, 'dusk': 0.11, 'rain': 0.09, 'night': 0.09}

Triple = tuple[float, float, float]


def _scaled(c: Triple, k: float) -> Triple:
    return (c[0] * k, c[1] * k, c[2] * k)


def make_light(rng: np.random.Generator) -> Light:
    """The light of a random hour and weather."""
    p = Palette(rng)
    weather = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    azimuth, elevation = p.u(0, 2 * math.pi), math.radians(p.u(14, 70))
    night, wetness, none = 0.0, 0.0, (0.0, 0.0, 0.0)
    haze = math.exp(p.u(math.log(350.0), math.log(8000.0)))
    if weather in ('overcast', 'rain'):
        grey = p.u(0.8, 1.3)
        zenith: Triple = (grey, grey * p.u(0.98, 1.04), grey * p.u(1.0, 1.1))
        horizon = _scaled(zenith, p.u(0.75, 1.1))
        sky_colour, sun_colour, clouds = zenith, none, p.u(0.4, 1.0)
        if weather == 'rain':
            wetness, haze = p.u(0.6, 1.0), math.exp(p.u(math.log(150.0), math.log(900.0)))
        elif p.chance(0.08):
            haze = p.u(45.0, 120.0)
    elif weather == 'sunny':
        warm = max(0.0, 1.0 - elevation / 0.7)
        blue, pale = p.u(0.6, 1.8), p.u(0.9, 2.2)
        zenith = (0.25 * blue, 0.45 * blue, 0.85 * blue)
        horizon = (pale * (0.85 + 0.2 * warm), pale * 0.93, pale * (1.02 - 0.25 * warm))
        sky_colour = _scaled((0.78, 0.92, 1.15), p.u(0.3, 0.75))
        strength = p.u(1.6, 3.8)
        sun_colour = (strength, strength * (0.95 - 0.2 * warm), strength * (0.86 - 0.4 * warm))
        clouds = p.u(0.1, 0.6) if p.chance(0.7) else 0.0
        wetness = p.u(0.3, 0.7) if p.chance(0.06) else 0.0
    elif weather == 'dusk':
        # The sun stands just over the horizon or has gone; the sky is still bright on its side.
        elevation, night = math.radians(p.u(3, 9)), p.u(0.15, 0.5)
        level = p.u(0.25, 0.7)
        zenith = _scaled((0.22, 0.36, 0.62), level)
        glow = p.u(0.62, 0.95)
        horizon = _scaled((1.0, glow, p.u(0.4, 1.0) * glow), level * p.u(1.0, 1.8))
        sky_colour = _scaled((0.62, 0.68, 0.82), level)
        strength = p.u(0.5, 2.2) * level * 2.0 if p.chance(0.55) else 0.0
        sun_colour = (strength, strength * p.u(0.45, 0.7), strength * p.u(0.2, 0.4))
        clouds = p.u(0.1, 0.7) if p.chance(0.6) else 0.0
        wetness = p.u(0.5, 1.0) if p.chance(0.15) else 0.0
    else:
        # City sky: a faint orange or grey glow near the ground; the moon gives next to nothing.
        night, level = 1.0, p.u(0.0002, 0.001)
        warm = p.u(0.7, 1.6)
        zenith = _scaled((0.5, 0.6, 1.0), level * 0.5)
        horizon = _scaled((warm, 0.95, 0.9), level * p.u(1.0, 2.5))
        sky_colour, sun_colour = _scaled((0.75, 0.8, 1.0), level), none
        clouds = p.u(0.0, 0.8) if p.chance(0.5) else 0.0
        wetness = p.u(0.5, 1.0) if p.chance(0.25) else 0.0
    sun = (math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation))
    bounce = p.u(0.15, 0.4)
    ground = tuple(bounce * (0.5 * s + 0.25 * c) for s, c in zip(sky_colour, sun_colour, strict=True))
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
        night=night,
        wetness=wetness,
    )
