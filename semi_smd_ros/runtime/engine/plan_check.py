# SPDX-License-Identifier: Apache-2.0
"""What a lower precision costs: depth of the same frames against FP32, and a bound beyond which FP16 is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .contract import BackendError, EngineInputs, EngineOutputs
from .samples import run_samples

# Relative depth error at the 99th percentile. The shipped model, rounded to FP16 (`rounded_to_fp16`), has 0.49 % on the
# stored frames; several times that means that something in it does not bear FP16.
FP16_BOUND = 0.02
# Share of pixels that are finite in one answer and not in the other: sky where it is not, or NaN.
FINITE_BOUND = 0.01
# Further than this INT8 is no longer worth having, and it is said; it is the user's choice.
INT8_DOUBTFUL = 0.10


@dataclass(frozen=True)
class DepthDifference:
    """Relative depth errors (median, 99th percentile, largest), share of pixels whose being finite differs, and the
    largest difference of the ego-motion (metres)."""

    p50: float
    p99: float
    largest: float
    finite: float
    ego_motion_m: float

    def __str__(self) -> str:
        return (
            f'depth error {self.p50:.2%} (median), {self.p99:.2%} (99th percentile), {self.largest:.2%} (largest); '
            f'sky or unknown differs in {self.finite:.2%} of the pixels; ego-motion by {self.ego_motion_m:.4f} m'
        )

    def as_json(self) -> dict[str, Any]:
        """For the record beside a plan."""
        return asdict(self)


def compare(reference: Sequence[EngineOutputs], tested: Sequence[EngineOutputs]) -> DepthDifference:
    """|tested / reference - 1| over all pixels of all sets where both are finite."""
    errors, differ, ego = [], [], [0.0]
    for right, other in zip(reference, tested, strict=True):
        known = np.isfinite(right.depth)
        both = known & np.isfinite(other.depth) & (right.depth > 0)
        errors.append(np.abs(other.depth[both] / right.depth[both] - 1))
        differ.append(float((known != np.isfinite(other.depth)).mean()))
        moved = np.abs(other.ego_motion[:3, 3] - right.ego_motion[:3, 3]).max()
        ego.append(float(moved) if np.isfinite(moved) else np.inf)
    relative = np.concatenate(errors)
    if not relative.size:
        return DepthDifference(np.inf, np.inf, np.inf, float(np.mean(differ)), max(ego))
    p50, p99 = np.quantile(relative, [0.5, 0.99])
    return DepthDifference(float(p50), float(p99), float(relative.max()), float(np.mean(differ)), max(ego))


def is_refused(difference: DepthDifference, bound: float = FP16_BOUND) -> bool:
    """Whether FP16 errs by more than `bound` at the 99th percentile, or loses pixels."""
    return not (difference.p99 <= bound and difference.finite <= FINITE_BOUND)


def _badness(difference: DepthDifference) -> float:
    return max(difference.p99 / FP16_BOUND, difference.finite / FINITE_BOUND)


def fp32_answers(model: bytes, path: Path, inputs: Sequence[EngineInputs]) -> list[EngineOutputs]:
    """What the model says in FP32: ONNX Runtime on the CPU, the same arithmetic on every machine.

    Raises BackendError where ONNX Runtime is not installed.
    """
    try:
        from .onnxruntime import OnnxRuntimeEngine
    except ImportError as error:
        raise BackendError(
            f'{path}: a lower precision is compared with ONNX Runtime, which does not load ({error}): '
            'python3 -m pip install onnxruntime, or use precision fp32'
        ) from error
    engine = OnnxRuntimeEngine(model, path, '')
    try:
        return run_samples(engine, inputs)
    finally:
        engine.close()


def worst_scope(
    model: bytes, path: Path, scopes: Sequence[str], inputs: Sequence[EngineInputs], reference: Sequence[EngineOutputs]
) -> tuple[str, DepthDifference]:
    """The part of the network that bears FP16 worst, and by how much: each alone rounded to FP16.

    Raises BackendError without the package onnx.
    """
    from .mixed_precision import rounded_to_fp16

    worst = ('', DepthDifference(0.0, 0.0, 0.0, 0.0, 0.0))
    for scope in scopes:
        difference = compare(reference, fp32_answers(rounded_to_fp16(model, (scope,)), path, inputs))
        if not worst[0] or _badness(difference) > _badness(worst[1]):
            worst = (scope, difference)
    return worst
