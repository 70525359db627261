# SPDX-License-Identifier: Apache-2.0
"""Ground truth as a recording holds it: one topic per camera and kind, at the stamps of the camera's pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..rig import CameraModel, Rig
from .messages import read_map, read_xyz
from .recording import DEPTH_SUFFIX, GROUND_TRUTH_SUFFIX, MOVING_SUFFIX, SEMANTICS_SUFFIX
from .sample import DataError

READERS: dict[str, Callable[[Any], np.ndarray]] = {
    GROUND_TRUTH_SUFFIX: read_xyz,
    DEPTH_SUFFIX: lambda msg: read_map(msg, '32FC1'),
    SEMANTICS_SUFFIX: lambda msg: read_map(msg, 'mono8'),
    MOVING_SUFFIX: lambda msg: read_map(msg, 'mono8') > 0,
}


def read_truth(
    messages: Mapping[tuple[str, int], Any], rig: Rig, stamps_ns: Sequence[int], suffix: str, path: Path
) -> tuple[np.ndarray, ...] | None:
    """What `messages`, by (topic, stamp), say on `suffix` of READERS, per camera of the recording `path`.

    Nothing known for a camera that lacks it, None if all do. Raises DataError for a message that does not fit.
    """
    found: list[np.ndarray | None] = []
    for camera, stamp in zip(rig.cameras, stamps_ns, strict=True):
        topic = f'/{camera.name}/{suffix}'
        msg = messages.get((topic, stamp))
        try:
            found.append(None if msg is None else _read(suffix, msg, camera.model))
        except ValueError as error:
            raise DataError(f'{path}: {topic} at {stamp} ns: {error}') from error
    if all(item is None for item in found):
        return None
    models = [camera.model for camera in rig.cameras]
    return tuple(_nothing(suffix, model) if item is None else item for item, model in zip(found, models, strict=True))


def _read(suffix: str, msg: Any, model: CameraModel) -> np.ndarray:
    content = READERS[suffix](msg)
    if suffix != GROUND_TRUTH_SUFFIX and content.shape != (model.height, model.width):
        height, width = content.shape
        raise ValueError(f'is {width}x{height}; expected {model.width}x{model.height} as its CameraInfo says')
    return content


def _nothing(suffix: str, model: CameraModel) -> np.ndarray:
    """The ground truth of a camera that has none."""
    if suffix == GROUND_TRUTH_SUFFIX:
        return np.zeros((0, 3), np.float32)
    fill: dict[str, tuple[Any, Any]] = {
        DEPTH_SUFFIX: (np.nan, np.float32), SEMANTICS_SUFFIX: (255, np.uint8), MOVING_SUFFIX: (False, np.bool_),
    }  # fmt: skip
    value, dtype = fill[suffix]
    return np.full((model.height, model.width), value, dtype)
