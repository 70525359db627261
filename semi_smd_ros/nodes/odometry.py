# SPDX-License-Identifier: Apache-2.0
"""Integrates the network's ego-motion into a pose, with a covariance that says how little it is worth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# One standard deviation of a step's error: this share of the motion, plus a floor. Large on purpose: the motion is
# estimated from two frames and nothing ever corrects the pose.
RELATIVE_ERROR = 0.3
TRANSLATION_FLOOR_M = 0.1
ROTATION_FLOOR_RAD = 0.01
# What the vehicle may do while nobody looks, per second.
UNSEEN_SPEED = 20.0
UNSEEN_TURN = 0.5
MAX_VARIANCE = 1e6


@dataclass(frozen=True, eq=False)
class Motion:
    """Pose `odom_T_base` (4,4), twist in the base frame (linear m/s, angular rad/s), both covariances (6,6)."""

    odom_T_base: np.ndarray
    twist_6: np.ndarray
    pose_covariance_66: np.ndarray
    twist_covariance_66: np.ndarray


class OdometryIntegrator:
    """Dead reckoning from `prev_T_now`. The pose starts at the identity and its covariance only grows."""

    def __init__(self) -> None:
        self._odom_T_base = np.eye(4)
        self._variance = np.zeros(6)
        self._last_ns: int | None = None

    def update(self, stamp_ns: int, prev_T_now: np.ndarray | None) -> Motion:
        """Take one set's motion; None where the memory was wiped: the pose stays, and its covariance grows."""
        elapsed = 0.0 if self._last_ns is None else (stamp_ns - self._last_ns) * 1e-9
        started = self._last_ns is not None
        self._last_ns = stamp_ns
        if prev_T_now is None or not started or elapsed <= 0:
            unseen = abs(elapsed)
            self._grow(np.repeat([(UNSEEN_SPEED * unseen) ** 2, (UNSEEN_TURN * unseen) ** 2], 3))
            unknown = np.repeat([UNSEEN_SPEED**2, UNSEEN_TURN**2], 3)
            return Motion(self._odom_T_base.copy(), np.zeros(6), np.diag(self._variance), np.diag(unknown))
        translation = prev_T_now[:3, 3]
        rotation = cv2.Rodrigues(np.ascontiguousarray(prev_T_now[:3, :3]))[0].ravel()
        length, angle = float(np.linalg.norm(translation)), float(np.linalg.norm(rotation))
        sigma_m, sigma_rad = RELATIVE_ERROR * length + TRANSLATION_FLOOR_M, RELATIVE_ERROR * angle + ROTATION_FLOOR_RAD
        step_variance = np.repeat([sigma_m**2, sigma_rad**2], 3)
        # A heading error moves everything that follows sideways.
        drift = np.repeat([length**2 * self._variance[5], 0.0], 3)
        self._odom_T_base = self._odom_T_base @ prev_T_now
        self._grow(step_variance + drift)
        twist = np.concatenate([translation, rotation]) / elapsed
        twist_variance = np.minimum(step_variance / elapsed**2, MAX_VARIANCE)
        return Motion(self._odom_T_base.copy(), twist, np.diag(self._variance), np.diag(twist_variance))

    def _grow(self, variance: np.ndarray) -> None:
        self._variance = np.minimum(self._variance + variance, MAX_VARIANCE)
