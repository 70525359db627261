# SPDX-License-Identifier: Apache-2.0
"""Surround rigs for the synthetic world: like DDAD's, like nuScenes', and random ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ...rig import CameraModel
from .lens import make_lens

# Optical axes (x right, y down, z forward) in a body frame (x forward, y left, z up): REP 103.
_BODY_R_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

_LENS_ATTEMPTS = 12


@dataclass(frozen=True)
class SyntheticRig:
    """N cameras on a vehicle; without `distortion` they are rectified pinholes.

    Attributes:
        names: N camera names, each once.
        width, height: picture size in pixels, the same for all.
        intrinsics_n33: float64, pixels; pixel centres at integer coordinates.
        base_T_cam_n44: float64, metres; base is x forward, y left, z up on the ground, optical frames REP 103.
        distortion: empty, or for each camera a distortion model that `CameraModel` knows and its coefficients.
        readout_s: seconds from the first row's exposure to the last row's (rolling shutter); 0 for global shutters.
    """

    names: tuple[str, ...]
    width: int
    height: int
    intrinsics_n33: np.ndarray
    base_T_cam_n44: np.ndarray
    distortion: tuple[tuple[str, tuple[float, ...]], ...] = ()
    readout_s: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0 or len(set(self.names)) != n:
            raise ValueError(f'camera names {self.names} must be at least one and all different; rename them')
        if self.intrinsics_n33.shape != (n, 3, 3) or self.base_T_cam_n44.shape != (n, 4, 4):
            raise ValueError(
                f'got intrinsics {self.intrinsics_n33.shape} and poses {self.base_T_cam_n44.shape} for {n} names; '
                f'expected {(n, 3, 3)} and {(n, 4, 4)}'
            )
        if self.distortion and len(self.distortion) != n:
            raise ValueError(f'got distortion of {len(self.distortion)} cameras for {n} names, expected {n} or none')
        if not 0.0 <= self.readout_s <= 0.1:
            raise ValueError(f'got a readout of {self.readout_s} s, expected 0 (global shutter) to 0.1 s')

    def camera_models(self) -> tuple[CameraModel, ...]:
        """The cameras' intrinsics and lenses."""
        lenses = self.distortion or (('plumb_bob', ()),) * len(self.names)
        return tuple(
            CameraModel(self.width, self.height, k, np.array(coefficients, dtype=np.float64), model)
            for k, (model, coefficients) in zip(self.intrinsics_n33, lenses, strict=True)
        )

    def resized(self, height: int, width: int) -> SyntheticRig:
        """The same rig with pictures scaled to height x width (both axes scaled on their own)."""
        sx, sy = width / self.width, height / self.height
        k = self.intrinsics_n33.copy()
        k[:, 0, 0] *= sx
        k[:, 1, 1] *= sy
        k[:, 0, 2] = (k[:, 0, 2] + 0.5) * sx - 0.5
        k[:, 1, 2] = (k[:, 1, 2] + 0.5) * sy - 0.5
        return replace(self, width=width, height=height, intrinsics_n33=k)

    def with_readout(self, readout_s: float) -> SyntheticRig:
        """The same rig with rolling shutters that take `readout_s` seconds, 0 for global ones."""
        return replace(self, readout_s=readout_s)


def camera_pose(xyz: tuple[float, float, float], yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """base_T_cam of a camera at xyz (m); yaw to the left, pitch downwards, roll clockwise, radians. (4, 4)."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (math.cos, math.sin))
    z = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    y = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    x = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
    pose = np.eye(4)
    pose[:3, :3] = z @ y @ x @ _BODY_R_OPTICAL
    pose[:3, 3] = xyz
    return pose


def _rig(
    cameras: list[tuple[str, tuple[float, float, float], tuple[float, float, float], float]],
    native: tuple[int, int],
    height: int,
    width: int,
) -> SyntheticRig:
    """Rig of (name, xyz, (yaw, pitch, roll) in degrees, horizontal field of view in degrees)."""
    native_width, native_height = native
    intrinsics, poses, names = [], [], []
    for name, xyz, angles, fov in cameras:
        f = native_width / 2.0 / math.tan(math.radians(fov) / 2.0)
        intrinsics.append([[f, 0.0, native_width / 2.0 - 0.5], [0.0, f, native_height / 2.0 - 0.5], [0.0, 0.0, 1.0]])
        yaw, pitch, roll = (math.radians(a) for a in angles)
        poses.append(camera_pose(xyz, yaw, pitch, roll))
        names.append(name)
    rig = SyntheticRig(tuple(names), native_width, native_height, np.array(intrinsics), np.stack(poses))
    return rig.resized(height, width)


def ddad_like_rig(height: int, width: int) -> SyntheticRig:
    """Six cameras on a roof rack as in DDAD: a long lens ahead, wide ones around. Native 1936 x 1216."""
    return _rig(
        [
            ('front', (1.75, 0.0, 1.53), (0.0, 0.0, 0.0), 48.0),
            ('front_left', (1.40, 0.40, 1.52), (58.0, 0.5, 0.0), 85.0),
            ('front_right', (1.40, -0.40, 1.52), (-58.0, 0.5, 0.0), 85.0),
            ('rear_left', (0.95, 0.55, 1.51), (117.0, 0.5, 0.0), 85.0),
            ('rear_right', (0.95, -0.55, 1.51), (-117.0, 0.5, 0.0), 85.0),
            ('rear', (0.70, 0.0, 1.55), (180.0, 0.5, 0.0), 85.0),
        ],
        (1936, 1216),
        height,
        width,
    )


def nuscenes_like_rig(height: int, width: int) -> SyntheticRig:
    """Six cameras as in nuScenes: 65 degrees, and a wide one (90) astern. Native 1600 x 900."""
    return _rig(
        [
            ('front', (1.70, 0.0, 1.51), (0.0, 0.0, 0.0), 64.6),
            ('front_left', (1.52, 0.49, 1.51), (55.0, 0.0, 0.0), 64.6),
            ('front_right', (1.55, -0.49, 1.50), (-55.0, 0.0, 0.0), 64.6),
            ('back_left', (1.04, 0.48, 1.56), (110.0, 0.0, 0.0), 64.6),
            ('back_right', (1.01, -0.48, 1.56), (-110.0, 0.0, 0.0), 64.6),
            ('back', (0.03, 0.0, 1.58), (180.0, 0.0, 0.0), 89.0),
        ],
        (1600, 900),
        height,
        width,
    )


def random_rig(rng: np.random.Generator, height: int, width: int, cameras: int = 6) -> SyntheticRig:
    """A plausible rig nobody has built: 1..12 cameras spread around, 0.8..3 m high, 40..120 degrees wide."""
    if not 1 <= cameras <= 12:
        raise ValueError(f'got {cameras} cameras, expected 1..12')
    car_height = float(rng.uniform(0.9, 2.2)) if rng.random() < 0.85 else float(rng.uniform(0.8, 3.0))
    wide = float(rng.uniform(max(50.0, 330.0 / cameras if cameras > 3 else 50.0), 114.0))
    first = float(rng.normal(0.0, 4.0))
    x0, spread = float(rng.uniform(0.3, 1.6)), float(rng.uniform(0.1, 1.0))
    found = []
    for i in range(cameras):
        # Front, then alternating left and right, ending astern.
        step = (i + 1) // 2 * (360.0 / cameras)
        yaw = first + (step if i % 2 else -step) + float(rng.normal(0.0, 5.0))
        fov = float(np.clip(wide + rng.normal(0.0, 4.0), 40.0, 120.0))
        if i == 0 and rng.random() < 0.35:
            fov = float(rng.uniform(40.0, 60.0))
        radians = math.radians(yaw)
        xyz = (
            x0 + spread * math.cos(radians) * 1.2,
            spread * math.sin(radians) * 0.7,
            float(np.clip(car_height + rng.normal(0.0, 0.05), 0.8, 3.0)),
        )
        pitch = float(rng.normal(1.0 + 3.0 * max(0.0, car_height - 1.6), 2.0))
        found.append((f'camera_{i}', xyz, (yaw, pitch, float(rng.normal(0.0, 1.0))), fov))
    aspect = width / height
    return _rig(found, (round(1200 * aspect), 1200), height, width)


def raw_rig(rig: SyntheticRig, rng: np.random.Generator, readout_s: float | None = None) -> SyntheticRig:
    """The same rig before rectification: one kind of lens for all cameras, each with its own distortion.

    A camera keeps its pose and its horizontal field of view; its focal length follows from the lens.

    Args:
        rig: N pinholes.
        rng: draws lenses and shutter.
        readout_s: of the rolling shutter, 0 for a global one; without, half of the rigs roll for 10 to 30 ms.

    Raises:
        ValueError: the rig has distortion already, or its pictures are too small for any lens of the drawn kind.
    """
    if rig.distortion:
        raise ValueError('got a rig with distortion, expected pinholes; make it raw only once')
    kind = ('plumb_bob', 'rational_polynomial', 'equidistant')[int(rng.integers(3))]
    if readout_s is None:
        readout_s = float(rng.uniform(0.010, 0.030)) if rng.random() < 0.5 else 0.0
    lenses, intrinsics = [], []
    for k in rig.intrinsics_n33:
        edge = rig.width / 2.0 / k[0, 0]
        strength = float(rng.uniform(0.02, 0.2))
        spread = rng.normal(0.0, 1.0, 6)
        for attempt in range(_LENS_ATTEMPTS):
            coefficients = _coefficients(kind, strength, edge, spread)
            reached = _pixels_from_axis(kind, coefficients, edge)
            bent = k.copy()
            bent[0, 0], bent[1, 1] = k[0, 0] * edge / reached, k[1, 1] * edge / reached
            try:
                make_lens(CameraModel(rig.width, rig.height, bent, np.array(coefficients), kind))
                break
            except ValueError:
                # Too strong for so wide a picture: its corners would fold back.
                if attempt == _LENS_ATTEMPTS - 1:
                    raise
                strength *= 0.6
        lenses.append((kind, coefficients))
        intrinsics.append(bent)
    return replace(rig, intrinsics_n33=np.stack(intrinsics), distortion=tuple(lenses), readout_s=readout_s)


def _coefficients(kind: str, strength: float, edge: float, spread: np.ndarray) -> tuple[float, ...]:
    """Barrel distortion that moves the picture's edge (at x = `edge`, Z = 1) inwards by a share `strength`."""
    squared = edge * edge
    p1, p2 = (float(v) * 4e-4 * min(1.0, strength / 0.05) for v in spread[:2])
    if kind == 'plumb_bob':
        return (-strength / squared, 0.25 * strength / squared**2, p1, p2, 0.0)
    if kind == 'rational_polynomial':
        a = 0.3 * (1.0 + 0.2 * float(spread[2])) / squared
        return (a, 0.02 / squared**2, p1, p2, 0.0, a + strength / squared, 0.03 / squared**2, 0.0)
    k1, k2, k3, k4 = (float(v) * s * strength for v, s in zip(spread[2:], (0.1, 0.03, 0.01, 0.003), strict=True))
    return (k1, k2, k3, k4)


def _pixels_from_axis(kind: str, coefficients: tuple[float, ...], edge: float) -> float:
    """Where the lens puts a point at x = `edge`, y = 0, in focal lengths."""
    model = CameraModel(3, 3, np.eye(3), np.array(coefficients), kind)
    uv, _ = model.project(np.array([[edge, 0.0, 1.0]]))
    return float(uv[0, 0])
