# SPDX-License-Identifier: Apache-2.0
"""How the ego vehicle travels: smooth in time, tilted a little on its springs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .rigs import camera_pose
from .road import Road
from .scene import Scene
from .tracks import Track, distance, locate

# Most a driver asks for, m/s2: in a bend, braking.
_SIDEWAYS, _BRAKING = 3.5, -4.0
_SPEEDS = {
    'urban': (0.0, 14.0),
    'suburb': (3.0, 16.0),
    'park': (5.0, 20.0),
    'lot': (1.0, 10.0),
    'highway': (8.0, 20.0),
    'industrial': (2.0, 13.0),
    'narrow': (1.0, 9.0),
}


def ego_track(rng: np.random.Generator, road: Road) -> Track:
    """The ego vehicle's travel: along its lane, turning, changing lanes, braking, starting or standing."""
    speed = float(rng.uniform(*_SPEEDS[road.kind]))
    draw = float(rng.random())
    accel, top = 0.0, 20.0
    if draw < 0.1:
        speed = 0.0
    elif draw < 0.25:
        accel = float(rng.uniform(_BRAKING, -0.8))
    elif draw < 0.37:
        accel, speed = float(rng.uniform(0.5, 2.2)), speed * 0.6
    track = Track(0.0, road.ego_lat, 0.0, speed, accel, top)
    j = road.junction
    if j is not None and j.island <= 0.0 and 5.0 < j.middle < 26.0 and rng.random() < 0.75:
        turned = _turn(rng, road, track)
        if turned is not None:
            return turned
    others = [lat for lat, way in road.lanes() if way > 0 and 1.0 < abs(lat - road.ego_lat) < 1.4 * road.lane_width]
    if others and rng.random() < 0.2 and speed > 4.0:
        shift = others[int(rng.integers(len(others)))] - road.ego_lat
        return track._replace(shift=shift, shift_at=float(rng.uniform(-10, 6)), shift_over=max(18.0, speed * 3.0))
    return track


def _turn(rng: np.random.Generator, road: Road, track: Track) -> Track | None:
    """The same travel, turning into the side street; None where there is no room for the bend."""
    j = road.junction
    if j is None:
        return None
    side = j.arms[int(rng.integers(len(j.arms)))]
    # Drive on the right: turning right the near lane lies before the middle, turning left beyond it.
    lane = j.middle + side * min(1.8, j.carriageway / 4)
    edge = road.right_edge if side < 0 else road.left_edge
    room = lane - 1.0
    radius = float(np.clip(abs(edge - road.ego_lat) + (j.s1 - j.s0 - j.carriageway) / 2 - 0.5, 5.0, 16.0))
    if room < radius:
        return None
    fastest = math.sqrt(_SIDEWAYS * radius)
    return track._replace(
        turn_at=lane - radius,
        radius=radius,
        angle=side * math.pi / 2,
        speed=min(track.speed, fastest),
        accel=min(track.accel, 0.0),
        top=fastest,
    )


@dataclass(frozen=True)
class EgoMotion:
    """The ego vehicle's travel and how it sits on its springs; angles in radians, lift in metres."""

    track: Track
    pitch: float
    roll: float
    lift: float
    weave: float
    phase: float

    @staticmethod
    def draw(rng: np.random.Generator, scene: Scene) -> EgoMotion:
        """The motion of the ego vehicle in this scene."""
        # A load, a kerb under one side, soft springs: 1 to 2 degrees against the road are usual.
        pitch, roll = (float(np.clip(rng.normal(0.0, math.radians(1.4)), -0.06, 0.06)) for _ in range(2))
        pitch -= 0.004 * scene.ego.accel
        weave = float(np.clip(rng.normal(0.0, 0.06), -0.1, 0.1)) if scene.ego.speed > 2.0 else 0.0
        return EgoMotion(
            scene.ego, pitch, roll, float(rng.normal(0.0, 0.02)), weave, float(rng.uniform(0.0, 2.0 * math.pi))
        )

    def pose(self, scene: Scene, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """Where the vehicle is at a time, smooth in it, from a little before 0 on.

        Returns:
            world_T_base (4, 4), metres, and the road's plane under the vehicle in base coordinates: (4,), (n, d)
            with n.x + d = 0.
        """
        row = np.array([self.track])
        s, lat, yaw = (float(v[0]) for v in locate(row, seconds, scene.road.swerve))
        # The weave goes with the distance, so a vehicle that stands does not slide sideways.
        gone, wave = float(distance(row, seconds)[0]), 1.0 / 25.0
        off = self.weave * (math.sin(wave * gone + self.phase) - math.sin(self.phase))
        drift = math.atan(self.weave * wave * math.cos(wave * gone + self.phase))
        s, lat = s - off * math.sin(yaw), lat + off * math.cos(yaw)
        ground, plane = scene.road.ride(s, lat, yaw + drift)
        shake = 0.002 * min(1.0, self.track.speed / 10.0)
        tilt = np.eye(4)
        rotation = camera_pose(
            (0.0, 0.0, 0.0),
            0.0,
            self.pitch + shake * math.sin(7.0 * seconds + self.phase),
            self.roll + shake * math.sin(5.3 * seconds + 2.0 * self.phase),
        )[:3, :3]
        tilt[:3, :3] = rotation @ camera_pose((0.0, 0.0, 0.0), 0.0)[:3, :3].T
        tilt[2, 3] = self.lift
        world_t_base = ground @ tilt
        return world_t_base, plane @ world_t_base
