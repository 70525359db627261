# SPDX-License-Identifier: Apache-2.0
"""What any model is shown beside: depth from the rig's geometry alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..datasets.sample import SurroundSample
from ..rig import FAR_WITHOUT_GROUND_M
from .truth import CameraTruth

# Candidates for the depth of whatever does not stand on the ground; the best one is picked on the data themselves.
FAR_CANDIDATES_M = (8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 60.0, 80.0)
VEHICLE_PLANE = np.array([0.0, 0.0, 1.0, 0.0])
# The ground that the vehicle stands on: the vehicle itself reaches 3 to 5 m from base, farther out than 20 m the
# ground is no plane any more, and beside the road another, larger plane may lie.
_FIT_RANGE_M = (3.0, 20.0)
_FIT_HALF_WIDTH_M = 4.0
_FIT_TOLERANCE_M = 0.06
_FIT_MAX_TILT_DEG = 6.0
_FIT_MAX_OFFSET_M = 0.8
_FIT_TRIALS = 400
_FIT_MIN_POINTS = 100


def ground_depth(
    directions_n3: np.ndarray, base_T_cam: np.ndarray, plane_base: np.ndarray = VEHICLE_PLANE
) -> np.ndarray:
    """Depth Z (N,) in metres at which rays (Z = 1, optical frame) meet the plane n.x + d = 0 of `base`; +inf where
    they never do. As `rig.flat_ground_depth`, for single rays and without a far value."""
    normal, offset = plane_base[:3], float(plane_base[3])
    height = float(normal @ base_T_cam[:3, 3] + offset)
    descent = -(directions_n3 @ base_T_cam[:3, :3].T) @ normal
    with np.errstate(divide='ignore', invalid='ignore'):
        depth = height / descent
    return np.where((descent > 1e-9) & (depth > 0), depth, np.inf)


def flat_ground(
    truth: CameraTruth,
    base_T_cam: np.ndarray,
    plane_base: np.ndarray = VEHICLE_PLANE,
    far_m: float = FAR_WITHOUT_GROUND_M,
) -> np.ndarray:
    """Depths (N,) at the truth's points: the ground's where it lies nearer than `far_m`, elsewhere `far_m`."""
    directions = truth.points_n3 / truth.points_n3[:, 2:]
    return np.minimum(ground_depth(directions, base_T_cam, plane_base), far_m)


def true_ground_plane(sample: SurroundSample, truths: tuple[CameraTruth, ...]) -> np.ndarray | None:
    """The ground's plane (4,) n.x + d = 0 in `base`: the source's own, else fitted to the truth near the vehicle.

    None where too few points lie on any plane near the vehicle's own.
    """
    if sample.ground_plane_base is not None:
        return sample.ground_plane_base
    points = np.concatenate(
        [
            truth.points_n3 @ camera.base_T_cam[:3, :3].T + camera.base_T_cam[:3, 3]
            for truth, camera in zip(truths, sample.rig.cameras, strict=True)
        ]
    )
    return fit_ground(points)


def fit_ground(points_n3: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """The plane (4,) that most points of the road lie on within 6 cm; None for fewer than 100 such points.

    The road is what lies 3..20 m from `base` and at most 4 m to its sides; the plane is tilted by at most 6 degrees
    and at most 0.8 m off at the origin (RANSAC, then least squares on what agrees).
    """
    distance = np.hypot(points_n3[:, 0], points_n3[:, 1])
    reach = _FIT_MAX_OFFSET_M + np.tan(np.radians(_FIT_MAX_TILT_DEG)) * distance
    near = (distance > _FIT_RANGE_M[0]) & (distance < _FIT_RANGE_M[1]) & (np.abs(points_n3[:, 2]) < reach)
    near &= np.abs(points_n3[:, 1]) < _FIT_HALF_WIDTH_M
    points = points_n3[near]
    if len(points) < _FIT_MIN_POINTS:
        return None
    # One point per 25 cm square: a LiDAR's rings would let the nearest metres decide alone.
    _, first = np.unique(np.floor(points[:, :2] / 0.25).astype(np.int64), axis=0, return_index=True)
    points = points[np.sort(first)] if len(first) >= _FIT_MIN_POINTS else points
    rng = np.random.default_rng(seed)
    slopes = _candidate_planes(points, rng)
    design = np.column_stack([points[:, :2], np.ones(len(points))])
    if len(slopes):
        agree = np.abs(design @ slopes.T - points[:, 2:]) < _FIT_TOLERANCE_M
        best = agree[:, agree.sum(axis=0).argmax()]
        for _ in range(3):
            if best.sum() < _FIT_MIN_POINTS:
                break
            slope = np.linalg.lstsq(design[best], points[best, 2], rcond=None)[0]
            best = np.abs(design @ slope - points[:, 2]) < _FIT_TOLERANCE_M
        else:
            normal = np.array([-slope[0], -slope[1], 1.0])
            length = float(np.linalg.norm(normal))
            return np.array([*normal / length, -slope[2] / length])
    return None


def _candidate_planes(points_n3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(M,3): a, b, c of planes z = a x + b y + c through random triples of points, within the limits."""
    triples = points_n3[rng.integers(0, len(points_n3), (_FIT_TRIALS, 3))]
    design = np.concatenate([triples[..., :2], np.ones((_FIT_TRIALS, 3, 1))], axis=2)
    # Triples on a line, seen from above, say nothing of the tilt across it.
    triples, design = (array[np.abs(np.linalg.det(design)) > 1.0] for array in (triples, design))
    slopes = np.linalg.solve(design, triples[..., 2:])[..., 0]
    tilt = np.hypot(slopes[:, 0], slopes[:, 1])
    limit = np.tan(np.radians(_FIT_MAX_TILT_DEG))
    return np.asarray(slopes[(tilt < limit) & (np.abs(slopes[:, 2]) < _FIT_MAX_OFFSET_M)])


def blind_model_path(model: Path) -> Path:
    """Where the blind network of a model lies: the same contract and training, but it never saw a picture."""
    return model.with_name(f'{model.stem}_blind.onnx')
