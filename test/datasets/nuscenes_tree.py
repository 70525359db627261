# SPDX-License-Identifier: Apache-2.0
"""A tiny data set in the published schema of nuScenes v1.0, whose geometry is known without the reader's help.

Rotations are applied by quaternion products here, by matrices in the reader; both scenes stand in one world of
points, which the vehicle drives through while it turns.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

START_US = 1_533_151_603_000_000
WIDTH, HEIGHT = 320, 180
K = [[250.0, 0.0, 161.0], [0.0, 252.0, 88.5], [0.0, 0.0, 1.0]]
# (translation, rotation w x y z) in the vehicle's frame.
SENSORS = {
    'CAM_FRONT': ((1.7, 0.02, 1.51), (0.4998, -0.5034, 0.4997, -0.4971)),
    'CAM_BACK': ((0.03, 0.01, 1.58), (0.5067, -0.4981, -0.4959, 0.4992)),
    'LIDAR_TOP': ((0.94, 0.0, 1.84), (0.7077, -0.0065, 0.0108, -0.7064)),
    'RADAR_FRONT': ((3.4, 0.0, 0.5), (1.0, 0.0, 0.0, 0.0)),
}
SPEED = 11.0
KEY_FRAMES = 3
# Microseconds after the key frame's own stamp, which is the LiDAR's.
OFFSETS = {'CAM_FRONT': -37_000, 'CAM_BACK': -12_000, 'LIDAR_TOP': 0, 'RADAR_FRONT': 5_000}


def token(*parts: object) -> str:
    return hashlib.md5('/'.join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def rotate(q: Any, points_n3: np.ndarray) -> np.ndarray:
    """Points turned by the quaternion w x y z: v + 2 u x (u x v + w v)."""
    q = np.asarray(q, float) / np.linalg.norm(q)
    u, w = q[1:], q[0]
    return points_n3 + 2 * np.cross(u, np.cross(u, points_n3) + w * points_n3)


def conjugate(q: Any) -> tuple[float, float, float, float]:
    return (q[0], -q[1], -q[2], -q[3])


def ego_pose(scene: int, stamp_us: int) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """Where the vehicle is: on a wide bend, 11 m/s."""
    seconds = (stamp_us - START_US) / 1e6 - 100 * scene
    yaw = 0.6 + 0.35 * seconds
    radius = SPEED / 0.35
    x, y = 400 + 50 * scene + radius * np.sin(yaw), 1180 - radius * np.cos(yaw)
    return (float(x), float(y), 0.0), (float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2)))


def to_world(pose: Any, points_n3: np.ndarray) -> np.ndarray:
    return rotate(pose[1], points_n3) + np.asarray(pose[0])


def from_world(pose: Any, points_n3: np.ndarray) -> np.ndarray:
    return rotate(conjugate(pose[1]), points_n3 - np.asarray(pose[0]))


def world_points(scene: int, key: int) -> np.ndarray:
    """Points around the vehicle at a key frame, sparse enough that none hides another: (N,3) in the world."""
    rng = np.random.default_rng(100 * scene + key)
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    distance = rng.uniform(12.0, 45.0, len(angle))
    around = np.column_stack([distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-0.5, 3.0, len(angle))])
    return to_world(ego_pose(scene, key_stamp(scene, key)), around)


def key_stamp(scene: int, key: int) -> int:
    return START_US + scene * 100_000_000 + key * 500_000


def camera_stamp(scene: int, key: int, channel: str, sweep: bool = False) -> int:
    return key_stamp(scene, key) + OFFSETS[channel] - (83_000 if sweep else 0)


def expected_points(scene: int, key: int, channel: str) -> dict[tuple[int, int], float]:
    """Depth by pixel: every world point taken into the camera at the camera's own time."""
    pose = ego_pose(scene, camera_stamp(scene, key, channel))
    points = from_world(SENSORS[channel], from_world(pose, world_points(scene, key)))
    points = points[points[:, 2] > 1]
    u = K[0][0] * points[:, 0] / points[:, 2] + K[0][2]
    v = K[1][1] * points[:, 1] / points[:, 2] + K[1][2]
    inside = (u >= -0.5) & (u < WIDTH - 0.5) & (v >= -0.5) & (v < HEIGHT - 0.5)
    found: dict[tuple[int, int], float] = {}
    for column, row, z in zip(np.rint(u[inside]), np.rint(v[inside]), points[inside, 2], strict=True):
        at = (int(column), int(row))
        found[at] = min(found.get(at, np.inf), float(z))
    return found


def picture(*parts: object) -> np.ndarray:
    seed = int(token(*parts)[:8], 16)
    small = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


@dataclass
class Tree:
    """The tables while they are built, and the folder they go to."""

    root: Path
    version: str = 'v1.0-mini'
    scenes: tuple[str, ...] = ('scene-0061', 'scene-0103')
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, table: str, **row: Any) -> None:
        self.tables.setdefault(table, []).append(row)

    def write(self) -> Path:
        """Write everything; returns the root."""
        for channel, (translation, rotation) in SENSORS.items():
            kind = {'C': 'camera', 'L': 'lidar', 'R': 'radar'}[channel[0]]
            self.add('sensor', token=token('sensor', channel), channel=channel, modality=kind)
            for scene in self.scenes:
                self.add(
                    'calibrated_sensor', token=token('cal', scene, channel), sensor_token=token('sensor', channel),
                    translation=list(translation), rotation=list(rotation),
                    camera_intrinsic=K if kind == 'camera' else [],
                )  # fmt: skip
        for number, scene in enumerate(self.scenes):
            self._scene(number, scene)
        self.save()
        return self.root

    def save(self) -> None:
        folder = self.root / self.version
        folder.mkdir(parents=True, exist_ok=True)
        for table, rows in self.tables.items():
            (folder / f'{table}.json').write_text(json.dumps(rows, indent=0))

    def _scene(self, number: int, name: str) -> None:
        samples = [token('sample', name, key) for key in range(KEY_FRAMES)]
        self.add('log', token=token('log', name), logfile='n015', vehicle='n015', date_captured='', location='here')
        self.add(
            'scene', token=token('scene', name), log_token=token('log', name), nbr_samples=KEY_FRAMES, name=name,
            first_sample_token=samples[0], last_sample_token=samples[-1], description='a } and a ] in "words"',
        )  # fmt: skip
        for key, sample in enumerate(samples):
            self.add(
                'sample', token=sample, timestamp=key_stamp(number, key), scene_token=token('scene', name),
                prev=samples[key - 1] if key else '', next=samples[key + 1] if key + 1 < KEY_FRAMES else '',
            )  # fmt: skip
        for channel in SENSORS:
            before = ''
            for key, sample in enumerate(samples):
                for sweep in (True, False):
                    if sweep and key == 0:
                        continue  # a scene begins with its first key frame
                    before = self._datum(number, name, key, sample, channel, sweep, before)

    def _datum(self, number: int, name: str, key: int, sample: str, channel: str, sweep: bool, before: str) -> str:
        this = token('data', name, channel, key, sweep)
        stamp = camera_stamp(number, key, channel, sweep)
        ending = {'C': 'jpg', 'L': 'pcd.bin', 'R': 'pcd'}[channel[0]]
        file = f'{"sweeps" if sweep else "samples"}/{channel}/{name}__{channel}__{stamp}.{ending}'
        is_camera = channel.startswith('CAM')
        self.add(
            'sample_data', token=this, sample_token=sample, ego_pose_token=this,
            calibrated_sensor_token=token('cal', name, channel), timestamp=stamp, fileformat=ending.split('.')[0],
            is_key_frame=not sweep, height=HEIGHT if is_camera else 0, width=WIDTH if is_camera else 0, filename=file,
            prev=before, next='',
        )  # fmt: skip
        translation, rotation = ego_pose(number, stamp)
        self.add('ego_pose', token=this, timestamp=stamp, rotation=list(rotation), translation=list(translation))
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_camera:
            assert cv2.imwrite(str(path), picture(name, channel, key, sweep))
        elif channel == 'LIDAR_TOP' and not sweep:
            points = from_world(SENSORS[channel], from_world(ego_pose(number, stamp), world_points(number, key)))
            extra = np.tile([12.0, 3.0], (len(points), 1))
            np.hstack([points, extra]).astype('<f4').tofile(path)
        else:
            path.write_bytes(b'')
        return this
