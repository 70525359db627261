# SPDX-License-Identifier: Apache-2.0
"""Integrates the network's ego-motion into a pose, with a covariance that says how little it is worth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..rig import quaternion_from, transform_from

# One standard deviation of a step's error: this share of the motion, plus a floor. Large on purpose: the motion is
# estimated from two frames and nothing ever corrects the pose. For scale: the shipped model's mean error on held-out
# synthetic scenes (0.9.0) is 0.06 m for steps of 0.79 m (here: 0.34 m a component) and 0.08 deg (here: 0.57 deg).
RELATIVE_ERROR = 0.3
TRANSLATION_FLOOR_M = 0.1
ROTATION_FLOOR_RAD = 0.01
# What the vehicle may do while nobody looks, per second.
UNSEEN_SPEED = 20.0
UNSEEN_TURN = 0.5
MAX_VARIANCE = 1e6


@dataclass(frozen=True, eq=False)
class Motion:
    """Pose `odom_T_base` (4,4), twist in the base frame (linear m/s, angular rad/s), both covariances (6,6).

    The pose's covariance is of its errors along and about the fixed axes of odom, the twist's along those of the base.
    """

    odom_T_base: np.ndarray
    twist_6: np.ndarray
    pose_covariance_66: np.ndarray
    twist_covariance_66: np.ndarray


class OdometryIntegrator:
    """Dead reckoning from `prev_T_now`. It starts at the identity, for certain; nothing corrects it."""

    def __init__(self) -> None:
        self._odom_T_base = np.eye(4)
        self._covariance_66 = np.zeros((6, 6))
        self._last_ns: int | None = None

    def update(self, stamp_ns: int, prev_T_now: np.ndarray | None) -> Motion:
        """Take one set's motion; None where the memory was wiped: the pose stays, and its covariance grows."""
        elapsed = 0.0 if self._last_ns is None else (stamp_ns - self._last_ns) * 1e-9
        started = self._last_ns is not None
        self._last_ns = stamp_ns
        if prev_T_now is None or not started or elapsed <= 0:
            unknown = np.repeat([UNSEEN_SPEED**2, UNSEEN_TURN**2], 3)
            self._grow(unknown * elapsed**2)
            return Motion(self._odom_T_base.copy(), np.zeros(6), self._covariance_66.copy(), np.diag(unknown))
        step_6 = twist_of(prev_T_now)
        length, angle = float(np.linalg.norm(step_6[:3])), float(np.linalg.norm(step_6[3:]))
        sigma_m, sigma_rad = RELATIVE_ERROR * length + TRANSLATION_FLOOR_M, RELATIVE_ERROR * angle + ROTATION_FLOOR_RAD
        step_variance = np.repeat([sigma_m**2, sigma_rad**2], 3)
        # A heading that is wrong by a small turn moves every step that follows sideways, all to the same side.
        carry = np.eye(6)
        carry[:3, 3:] = -_cross(self._odom_T_base[:3, :3] @ prev_T_now[:3, 3])
        self._covariance_66 = carry @ self._covariance_66 @ carry.T
        moved = self._odom_T_base @ prev_T_now
        # Normalised with every step: what rounding adds to a rotation multiplies, and a vehicle drives for days.
        self._odom_T_base = transform_from(moved[:3, 3], quaternion_from(moved[:3, :3]))
        self._grow(step_variance)
        twist_variance = np.minimum(step_variance / elapsed**2, MAX_VARIANCE)
        return Motion(self._odom_T_base.copy(), step_6 / elapsed, self._covariance_66.copy(), np.diag(twist_variance))

    def _grow(self, variance_6: np.ndarray) -> None:
        """Add an error along every axis; beyond the maximum all is shrunk alike, so that it remains a covariance."""
        grown = self._covariance_66 + np.diag(variance_6)
        share = np.sqrt(MAX_VARIANCE / np.maximum(np.diag(grown), MAX_VARIANCE))
        self._covariance_66 = grown * np.outer(share, share)
        np.fill_diagonal(self._covariance_66, np.minimum(np.diag(grown), MAX_VARIANCE))


def twist_of(prev_T_now: np.ndarray) -> np.ndarray:
    """The constant motion (6,) in the moving frame, linear then angular, that makes `prev_T_now` in one unit of time.

    The logarithm of SE(3): on a curve the chord `prev_T_now[:3, 3]` lies in the frame of before and is shorter than
    the way, so it is turned by V(angular)^-1.
    """
    angular = cv2.Rodrigues(np.ascontiguousarray(prev_T_now[:3, :3]))[0].ravel()
    angle = float(np.linalg.norm(angular))
    cross = _cross(angular)
    # (1 - a/2 cot(a/2)) / a^2 tends to 1/12.
    share = 1 / 12 if angle < 1e-4 else (1 - angle / 2 / np.tan(angle / 2)) / angle**2
    chord_to_way = np.eye(3) - cross / 2 + share * cross @ cross
    return np.concatenate([chord_to_way @ prev_T_now[:3, 3], angular])


def _cross(v_3: np.ndarray) -> np.ndarray:
    """The matrix that multiplies as the cross product with `v_3` does."""
    x, y, z = v_3
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
