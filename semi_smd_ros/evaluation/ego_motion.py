# SPDX-License-Identifier: Apache-2.0
"""Where the vehicle truly was, and how far the network's ego-motion is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..datasets.sample import SurroundSample

Poses = Sequence[tuple[int, np.ndarray]]

# A pose may be this much older or newer than all stamps asked for; at 20 m/s that is 2 cm.
_SLACK_NS = 1_000_000
# Below that a ratio of distances says nothing.
MOVING_M = 0.1
_STILL = np.eye(4)


def pose_at(poses: Poses, stamp_ns: int) -> np.ndarray | None:
    """`world_T_base` (4,4) at a time, interpolated between the (stamp_ns, pose) pairs around it; None outside them."""
    ordered = sorted(poses, key=lambda pair: pair[0])
    before = [pair for pair in ordered if pair[0] <= stamp_ns + _SLACK_NS]
    after = [pair for pair in ordered if pair[0] >= stamp_ns - _SLACK_NS]
    if not before or not after:
        return None
    nearest = min(ordered, key=lambda pair: abs(pair[0] - stamp_ns))
    if abs(nearest[0] - stamp_ns) <= _SLACK_NS:
        return nearest[1]
    (t0, first), (t1, second) = before[-1], after[0]
    share = (stamp_ns - t0) / (t1 - t0)
    turn = cv2.Rodrigues(first[:3, :3].T @ second[:3, :3])[0]
    pose = np.eye(4)
    pose[:3, :3] = first[:3, :3] @ cv2.Rodrigues(turn * share)[0]
    pose[:3, 3] = (1 - share) * first[:3, 3] + share * second[:3, 3]
    return pose


def true_motion(previous: SurroundSample, now: SurroundSample, camera: int | None = None) -> np.ndarray | None:
    """`prev_T_now` (4,4) of the base between two samples; None where the source does not know the poses.

    Between the sets' own stamps (those of their newest images), or between those of one `camera`'s images.
    """
    poses = [*previous.ego_poses, *now.ego_poses]
    stamps = [max(s.stamps_ns) if camera is None else s.stamps_ns[camera] for s in (previous, now)]
    before, after = (pose_at(poses, stamp) for stamp in stamps)
    return None if before is None or after is None else np.linalg.inv(before) @ after


@dataclass(frozen=True)
class MotionError:
    """`translation_m`: length of the difference of the translations; `rotation_deg`: angle between the rotations;
    `scale`: estimated over true distance, NaN for less than 0.1 m; `standing_*`: errors of assuming no motion."""

    translation_m: float
    rotation_deg: float
    scale: float
    standing_translation_m: float
    standing_rotation_deg: float


def motion_error(estimate: np.ndarray, true: np.ndarray) -> MotionError:
    """How far an estimated `prev_T_now` (4,4) is from the true one."""
    distance = float(np.linalg.norm(true[:3, 3]))
    return MotionError(
        translation_m=float(np.linalg.norm(estimate[:3, 3] - true[:3, 3])),
        rotation_deg=angle_deg(estimate[:3, :3].T @ true[:3, :3]),
        scale=float(np.linalg.norm(estimate[:3, 3])) / distance if distance > MOVING_M else float('nan'),
        standing_translation_m=distance,
        standing_rotation_deg=angle_deg(true[:3, :3]),
    )


def angle_deg(rotation: np.ndarray) -> float:
    """Angle of a rotation (3,3), degrees; exact for small ones, which an arc cosine of the trace is not."""
    sine = np.linalg.norm([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0],
                           rotation[1, 0] - rotation[0, 1]]) / 2  # fmt: skip
    return float(np.degrees(np.arctan2(sine, (np.trace(rotation) - 1) / 2)))


@dataclass
class MotionTally:
    """Collects errors of a data set's sets; those without an estimate or without known poses don't count."""

    errors: list[MotionError] = field(default_factory=list)

    def add(self, estimate: np.ndarray | None, true: np.ndarray | None) -> None:
        """One set's estimate and truth."""
        if estimate is not None and true is not None:
            self.errors.append(motion_error(estimate, true))

    def summary(self) -> dict[str, float] | None:
        """Means over the sets (`scale`: over those that moved), and their count; None without any."""
        if not self.errors:
            return None
        result: dict[str, float] = {'sets': len(self.errors)}
        for name in ('translation_m', 'rotation_deg', 'scale', 'standing_translation_m', 'standing_rotation_deg'):
            values = np.array([getattr(error, name) for error in self.errors])
            known = values[~np.isnan(values)]
            result[name] = float(known.mean()) if len(known) else float('nan')
        return result
