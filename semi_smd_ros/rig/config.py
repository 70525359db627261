# SPDX-License-Identifier: Apache-2.0
"""A rig as a YAML file: camera names, topics, frames and, where it is known, the calibration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .camera import CameraModel, RigError
from .rig import MAX_CAMERAS, Rig, RigCamera
from .transforms import transform_from

_CAMERA_KEYS = {'name', 'frame_id', 'image_topic', 'camera_info_topic', 'calibration'}
_CALIBRATION_KEYS = {'width', 'height', 'distortion_model', 'K', 'D', 'translation', 'rotation_xyzw'}


@dataclass(frozen=True)
class RigConfigCamera:
    """One camera of a rig file. `calibration` is None where CameraInfo and tf are to provide it."""

    name: str
    frame_id: str | None
    image_topic: str
    camera_info_topic: str
    calibration: RigCamera | None


@dataclass(frozen=True)
class RigConfig:
    """A rig file: 1 to 12 cameras in the order in which they are published."""

    cameras: tuple[RigConfigCamera, ...]
    base_frame: str
    path: Path

    def rig(self) -> Rig:
        """The rig that the file's own calibration describes; RigError names the cameras that have none."""
        missing = [camera.name for camera in self.cameras if camera.calibration is None]
        if missing:
            raise RigError(f'{self.path}: no calibration for {", ".join(missing)}; expected a calibration: section')
        return Rig(tuple(c.calibration for c in self.cameras if c.calibration is not None), self.base_frame)


def load_rig_yaml(path: str | Path) -> RigConfig:
    """Read a rig file (the format is described in `config/rigs/nuscenes.yaml`).

    Raises RigError naming the file and the key for anything malformed, unknown or missing.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise RigError(f'{path}: cannot be read: {error.strerror}; expected a rig YAML file') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RigError(f'{path}: not valid YAML: {error}') from error
    top = _mapping(data, {'base_frame', 'cameras'}, f'{path}')
    entries = top.get('cameras')
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CAMERAS:
        raise RigError(f'{path}: cameras: got {entries!r:.80}; expected a list of 1 to {MAX_CAMERAS} cameras')
    cameras = tuple(_camera(entry, f'{path}: cameras[{i}]') for i, entry in enumerate(entries))
    names = [camera.name for camera in cameras]
    if len(set(names)) != len(names):
        raise RigError(f'{path}: camera names are {names}; expected every name once')
    return RigConfig(cameras, _text(top, 'base_frame', f'{path}', 'base_link'), path)


def _camera(entry: Any, where: str) -> RigConfigCamera:
    entry = _mapping(entry, _CAMERA_KEYS, where)
    name = _text(entry, 'name', where)
    frame_id = _text(entry, 'frame_id', where, '') or None
    calibration = None
    if entry.get('calibration') is not None:
        calibration = _calibration(entry['calibration'], name, frame_id or name, f'{where}.calibration')
    return RigConfigCamera(
        name,
        frame_id,
        _text(entry, 'image_topic', where, f'{name}/image_raw'),
        _text(entry, 'camera_info_topic', where, f'{name}/camera_info'),
        calibration,
    )


def _calibration(entry: Any, name: str, frame_id: str, where: str) -> RigCamera:
    entry = _mapping(entry, _CALIBRATION_KEYS, where)
    size = [_numbers(entry, key, 1, where)[0] for key in ('width', 'height')]
    try:
        model = CameraModel(
            int(size[0]),
            int(size[1]),
            np.reshape(_numbers(entry, 'K', 9, where), (3, 3)),
            np.asarray(_numbers(entry, 'D', None, where) if entry.get('D') else []),
            _text(entry, 'distortion_model', where, 'plumb_bob'),
        )
        base_T_cam = transform_from(
            _numbers(entry, 'translation', 3, where), _numbers(entry, 'rotation_xyzw', 4, where)
        )
        return RigCamera(name, frame_id, model, base_T_cam)
    except RigError as error:
        raise RigError(f'{where}: {error}' if where not in str(error) else str(error)) from error


def _mapping(value: Any, allowed: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RigError(f'{where}: got {type(value).__name__}; expected a mapping with {", ".join(sorted(allowed))}')
    unknown = sorted(str(key) for key in value if key not in allowed)
    if unknown:
        raise RigError(f'{where}: unknown key {", ".join(unknown)}; expected {", ".join(sorted(allowed))}')
    return value


def _text(entry: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str) or (default is None and not value):
        raise RigError(f'{where}.{key}: got {value!r}; expected text')
    return value


def _numbers(entry: dict[str, Any], key: str, count: int | None, where: str) -> list[float]:
    value = entry.get(key)
    values: list[Any] = value if isinstance(value, list) else [value]
    good = all(isinstance(v, (int, float)) and not isinstance(v, bool) and np.isfinite(v) for v in values)
    if not good or (count is not None and len(values) != count):
        raise RigError(f'{where}.{key}: got {value!r}; expected {count or "a list of"} finite numbers')
    return [float(v) for v in values]
