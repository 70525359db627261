# SPDX-License-Identifier: Apache-2.0
"""Lasting properties of a camera: optics, sensor, exposure control, tone; drawn from the scene's seed and its name.

Defaults are those of a *rectified and resized* picture, which is what a network sees: after shrinking a 2 megapixel
picture sixfold its noise is faint, its blur below a pixel, and its compression nearly gone.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from .ego_body import EgoBody, draw_ego_body

# A picture of this radiance (as metered, in the units of `Light`) is well exposed after 2.5 ms without gain.
_WELL_EXPOSED = 0.27
_UNIT_EXPOSURE_S = 0.0025


@dataclass(frozen=True)
class CameraLook:
    """Lasting properties of one camera."""

    metering: float  # error of the exposure control, as a factor
    longest_s: float  # longest exposure
    shortest_s: float
    most_gain: float
    balance: tuple[float, float, float]
    vignette: float  # loss of light at the picture's corners, share
    glare: float  # share of the picture's light that the lens spreads evenly
    blur: float  # pixels at 320 wide
    noise: float  # of full scale, without gain
    sharpening: float  # how much of the fine brightness detail is added once more
    contrast: float
    saturation: float
    compression: float  # strength of block quantisation, 0 none
    body: EgoBody


@dataclass(frozen=True)
class Exposure:
    """One picture's exposure: time in seconds, and the factor from radiance to sensor signal that it amounts to."""

    seconds: float
    factor: float
    gain: float


def camera_seed(seed: int, name: str, what: str = '') -> int:
    """A seed of its own for a camera: it does not depend on the camera's place in the rig."""
    return (seed * 1000003 + zlib.crc32(f'{name}/{what}'.encode())) % (2**63)


def make_look(seed: int, name: str, base_t_cam: np.ndarray, height: int, width: int) -> CameraLook:
    """The look of camera `name` in scene `seed`; what it sees of its own vehicle follows from where it looks."""
    whole = np.random.default_rng(camera_seed(seed, 'all cameras'))
    common, longest, raw = float(whole.normal(0.0, 0.18)), float(whole.uniform(0.006, 0.02)), whole.random() < 0.15
    rng = np.random.default_rng(camera_seed(seed, name))
    u = rng.uniform
    return CameraLook(
        metering=math.exp(common + float(rng.normal(0.0, 0.12))),
        longest_s=longest,
        shortest_s=float(u(0.0002, 0.0008)),
        most_gain=float(u(16.0, 64.0)),
        balance=(math.exp(float(rng.normal(0, 0.06))), 1.0, math.exp(float(rng.normal(0, 0.07)))),
        vignette=float(u(0.0, 0.35)),
        glare=float(u(0.0, 0.05)),
        blur=float(u(0.2, 0.65)),
        noise=float(u(0.001, 0.007)),
        sharpening=float(u(0.0, 1.0)) if rng.random() < 0.75 else 0.0,
        contrast=float(u(1.1, 2.2)),
        saturation=float(u(0.7, 1.4)),
        # Few pipelines compress after shrinking; the rest leave hardly a trace.
        compression=float(u(0.3, 1.0)) if raw else (float(u(0.0, 0.3)) if rng.random() < 0.3 else 0.0),
        body=draw_ego_body(seed, camera_seed(seed, name, 'body'), base_t_cam, height, width),
    )


def expose(look: CameraLook, radiance: float, wobble: float) -> Exposure:
    """The exposure control's choice for a picture of this metered radiance.

    It lengthens the exposure first and then raises the gain; beyond both limits the picture stays dark. `wobble` is
    the momentary error of the control, as a factor.
    """
    wanted = _WELL_EXPOSED / max(radiance, 1e-6) * look.metering * wobble
    seconds = min(max(wanted * _UNIT_EXPOSURE_S, look.shortest_s), look.longest_s)
    gain = min(max(wanted * _UNIT_EXPOSURE_S / seconds, 1.0), look.most_gain)
    return Exposure(seconds, seconds * gain / _UNIT_EXPOSURE_S, gain)
