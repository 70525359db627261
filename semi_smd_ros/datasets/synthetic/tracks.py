# SPDX-License-Identifier: Apache-2.0
"""How things travel: straight, turning at a junction, changing lanes, braking and starting, for any number at once.

A track is a path in road coordinates (s along, lat to the left, metres) and a speed along it. Everything that moves,
the ego vehicle included, follows one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_STEP = 0.25  # metres either side from which the direction of travel is taken


class Track(NamedTuple):
    """One thing's travel; lengths in metres, speeds in m/s, angles in radians, time 0 is the sequence's start."""

    s: float
    lat: float
    heading: float = 0.0  # against the road: 0 along +s, pi against it
    speed: float = 0.0
    accel: float = 0.0
    top: float = 40.0  # speed at which acceleration ends
    turn_at: float = 1e6  # distance after which a turn begins
    radius: float = 10.0
    angle: float = 0.0  # of the turn, to the left
    shift: float = 0.0  # lane change to the left
    shift_at: float = 0.0
    shift_over: float = 25.0
    swerve: float = 1.0  # 1 follows the road round an island, 0 does not

    @property
    def moves(self) -> bool:
        """Whether it goes anywhere in the next seconds."""
        return self.speed > 0.05 or self.accel > 0.0


def distance(tracks_mk: np.ndarray, seconds: float | np.ndarray) -> np.ndarray:
    """Metres travelled at a time, (M,), negative before time 0.

    Args:
        tracks_mk: M tracks, one a row, fields in the order of `Track`.
        seconds: any time, one for all or one each; before 0 the acceleration holds as well.
    """
    speed, accel, top = tracks_mk[:, 3], tracks_mk[:, 4], tracks_mk[:, 5]
    last = np.where(accel > 0.0, np.maximum(top, speed), 0.0)
    steady = np.abs(accel) < 1e-6
    until = np.where(steady, np.inf, (last - speed) / np.where(steady, 1.0, accel))
    t = np.minimum(seconds, until)
    return speed * t + 0.5 * accel * t * t + last * np.where(steady, 0.0, seconds - t)


def _on_path(tracks_mk: np.ndarray, gone: np.ndarray, island: tuple[float, float, float]) -> tuple[np.ndarray, ...]:
    """s and lat after `gone` metres."""
    s0, lat0, heading = tracks_mk[:, 0], tracks_mk[:, 1], tracks_mk[:, 2]
    turn_at, radius, angle, shift, shift_at, shift_over = tracks_mk[:, 6:12].T
    side = np.sign(angle)
    arc = np.clip(gone - turn_at, 0.0, radius * np.abs(angle))
    rest = np.maximum(gone - turn_at - radius * np.abs(angle), 0.0)
    turned = arc / radius
    x = np.minimum(gone, turn_at) + radius * np.sin(turned) + rest * np.cos(angle)
    y = side * radius * (1.0 - np.cos(turned)) + rest * np.sin(angle)
    part = np.clip((gone - shift_at) / shift_over, 0.0, 1.0)
    y = y + shift * part * part * part * (part * (6.0 * part - 15.0) + 10.0)
    s = s0 + x * np.cos(heading) - y * np.sin(heading)
    lat = lat0 + x * np.sin(heading) + y * np.cos(heading)
    middle, reach, amount = island
    if amount > 0.0:
        lat = lat + tracks_mk[:, 12] * np.sign(lat0) * amount * np.exp(-(((s - middle) / reach) ** 2))
    return s, lat


def locate(
    tracks_mk: np.ndarray, seconds: float | np.ndarray, island: tuple[float, float, float] = (0.0, 1.0, 0.0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where M tracks are at a time: s, lat (m) and direction of travel in road coordinates (rad), (M,) each.

    Args:
        tracks_mk: M tracks, one a row, fields in the order of `Track`.
        seconds: any time, one for all or one each.
        island: middle (s), reach and sideways amount of the swerve round a roundabout's island; amount 0 for none.
    """
    gone = distance(tracks_mk, seconds)
    steps = np.concatenate([gone, gone - _STEP, gone + _STEP])
    s, lat = (v.reshape(3, -1) for v in _on_path(np.concatenate([tracks_mk] * 3), steps, island))
    return s[0], lat[0], np.arctan2(lat[2] - lat[1], s[2] - s[1])


def boxes_meet(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether oriented boxes overlap: a (M, 5), b (M, 5) of x, y, yaw, half length, half width. (M,) bool."""
    gap = b[:, :2] - a[:, :2]
    turn = b[:, 2] - a[:, 2]
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    hit = np.ones(len(a), dtype=bool)
    for one, other in ((a, b), (b, a)):
        cos, sin = np.cos(one[:, 2]), np.sin(one[:, 2])
        hit &= np.abs(gap[:, 0] * cos + gap[:, 1] * sin) < one[:, 3] + other[:, 3] * c + other[:, 4] * s
        hit &= np.abs(gap[:, 1] * cos - gap[:, 0] * sin) < one[:, 4] + other[:, 3] * s + other[:, 4] * c
    return hit
