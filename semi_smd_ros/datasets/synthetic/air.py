# SPDX-License-Identifier: Apache-2.0
"""Light and air of scenes: as a scene has them, and as shading works with them; the sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .noise import smooth_noise
from .slots import Slots, Table, Value
from .vectors import Vec3, smoothstep

# A cover this far below zero is no cloud at all.
_CLOUDLESS = -1e3
_DARK_ENOUGH = 0.05  # night beyond which windows are lit


@dataclass(frozen=True)
class Light:
    """Sun, sky and air of a scene; colours are linear RGB."""

    sun: tuple[float, float, float]  # unit vector towards the sun
    sun_colour: tuple[float, float, float]  # zero when overcast
    sky_colour: tuple[float, float, float]  # light from above
    ground_colour: tuple[float, float, float]  # light from below
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    clouds: float  # 0 none .. 1 closed
    cloud_salt: float
    haze: float  # metres after which 63 % of the colour is lost
    night: float = 0.0  # 0 day .. 1 night
    wetness: float = 0.0  # 0 dry .. 1 wet

    @property
    def sunny(self) -> bool:
        """Whether the sun shines."""
        return max(self.sun_colour) > 0.0


@dataclass(frozen=True)
class Air:
    """The light of some points' instants, each field a number or one for each point, see `slots`."""

    sunny: bool  # in at least one of the instants
    cloudy: bool
    sun: Sequence[Value]
    sun_colour: Sequence[Value]
    ground: Sequence[Value]
    sky_over_ground: Sequence[Value]  # the sky's light less the ground's
    horizon: Sequence[Value]
    zenith_over_horizon: Sequence[Value]
    cloud_light: Value
    cloud_cover: Value
    cloud_layers: Sequence[int | torch.Tensor]  # three layers of the noise
    thinning: Value  # of light with the distance, per metre, negative
    lit_windows: Value  # 0 by day
    soaked: Value  # what water in the pores leaves of ground's albedo


class Airs:
    """The light of all instants of a batch."""

    def __init__(self, lights: Sequence[Light], device: torch.device) -> None:
        self._lights = lights
        self._table = Table([_row(light) for light in lights], device)

    def wetness(self, instant: int) -> float:
        """0 dry .. 1 wet."""
        return self._lights[instant].wetness

    def at(self, slots: Slots) -> Air:
        """The light of these points."""
        lights = [self._lights[k] for k in slots.instants]
        v = self._table.at(slots)
        return Air(
            sunny=any(light.sunny for light in lights),
            cloudy=any(light.clouds > 0.0 for light in lights),
            sun=v[0:3],
            sun_colour=v[3:6],
            ground=v[6:9],
            sky_over_ground=v[9:12],
            horizon=v[12:15],
            zenith_over_horizon=v[15:18],
            cloud_light=v[18],
            cloud_cover=v[19],
            cloud_layers=[k.int() if isinstance(k, torch.Tensor) else int(k) for k in v[20:23]],
            thinning=v[23],
            lit_windows=v[24],
            soaked=v[25],
        )


def _row(light: Light) -> list[float]:
    """The fields of `Air` from `sun` on, one after the other."""
    return [
        *light.sun,
        *light.sun_colour,
        *light.ground_colour,
        *(s - g for s, g in zip(light.sky_colour, light.ground_colour, strict=True)),
        *light.horizon,
        *(z - h for z, h in zip(light.zenith, light.horizon, strict=True)),
        max(light.horizon) * 1.05,
        2.2 * light.clouds if light.clouds > 0.0 else _CLOUDLESS,
        *(float(int((light.cloud_salt + shift) * 37.0) & 127) for shift in (0.0, 3.0, 7.0)),
        -1.0 / light.haze,
        light.night if light.night > _DARK_ENOUGH else 0.0,
        1.0 - 0.42 * light.wetness,
    ]


def sky(air: Air, direction: Vec3) -> Vec3:
    """Colour of the sky along unit directions."""
    up = direction[2].clamp(min=0.0)
    share = up.sqrt()
    colour = [h + d * share for h, d in zip(air.horizon, air.zenith_over_horizon, strict=True)]
    if air.cloudy:
        inverse = (up + 0.15).reciprocal()
        x, y = direction[0] * inverse, direction[1] * inverse
        low, high, inner = air.cloud_layers
        form = smooth_noise(x, y, low, 24.0) * 0.75 + smooth_noise(x, y, high, 7.0) * 0.35
        cover = smoothstep(form * 0.5 + air.cloud_cover - 0.8)
        body = 1.0 + 0.10 * smooth_noise(x, y, inner, 10.0)
        colour = [
            torch.lerp(c, body * air.cloud_light * k, cover) for c, k in zip(colour, (1.0, 1.0, 1.02), strict=True)
        ]
    return colour[0], colour[1], colour[2]
