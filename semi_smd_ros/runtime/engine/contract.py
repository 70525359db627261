# SPDX-License-Identifier: Apache-2.0
"""What every engine promises: the tensors, the metadata, and the temporal memory that it keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...rig import Rig

CONTRACT_VERSION = 1
METADATA_KEY = 'semi_smd_ros'
# Axes of every tensor; a letter stands for a size that must agree wherever it appears.
INPUTS: dict[str, tuple[str | int, ...]] = {
    'images': ('N', 3, 'H', 'W'),
    'intrinsics': ('N', 3, 3),
    'base_T_cam': ('N', 4, 4),
    'camera_valid': ('N',),
    'memory': ('N', 'C', 'h', 'w'),
    'memory_valid': (1,),
}
OUTPUTS: dict[str, tuple[str | int, ...]] = {
    'depth': ('N', 1, 'H', 'W'),
    'confidence': ('N', 1, 'H', 'W'),
    'semantics': ('N', 'hs', 'ws'),
    'memory_out': ('N', 'C', 'h', 'w'),
    'ego_motion': (4, 4),
}


class ModelError(RuntimeError):
    """A model file that cannot be used, or that does not fit the rig. The message says what to do."""


class BackendError(ModelError):
    """A backend that cannot run here, or cannot run this model; another one may. The message says what is missing."""


@dataclass(frozen=True)
class EngineSpec:
    """What a model file says of itself. `cameras` is None where it takes any number up to `max_cameras`."""

    name: str
    version: str
    height: int
    width: int
    memory_chw: tuple[int, int, int]
    cameras: int | None
    max_cameras: int
    depth_min: float
    depth_max: float
    classes: tuple[str, ...]
    trained_on: str
    backend: str
    precision: str
    sha256: str


@dataclass(frozen=True, eq=False)
class EngineInputs:
    """Named as in the contract: `images` (N,3,H,W) float32 RGB 0..1, `intrinsics` (N,3,3), `base_T_cam` (N,4,4)."""

    images: np.ndarray
    intrinsics: np.ndarray
    base_T_cam: np.ndarray
    camera_valid: np.ndarray


@dataclass(frozen=True, eq=False)
class EngineOutputs:
    """Named as in the contract, on the host. `ego_motion` is `prev_T_now` (4,4).

    The arrays may be the engine's own: its next run may overwrite them.
    """

    depth: np.ndarray
    confidence: np.ndarray
    semantics: np.ndarray
    ego_motion: np.ndarray


class Engine(Protocol):
    """Runs one model. It keeps the temporal memory itself, so that the memory need never leave its device."""

    spec: EngineSpec

    def run(self, inputs: EngineInputs, use_memory: bool) -> EngineOutputs:
        """One set. With `use_memory` the features of the set before are used; without, it is a first frame."""

    def check_rig(self, rig: Rig) -> None:
        """Raise ModelError when the model cannot run this rig."""

    def warm_up(self, cameras: int) -> None:
        """Run once on black images, so that the first real set is as fast as the others; leaves no memory."""

    def reset_memory(self) -> None:
        """Forget the features of the set before."""

    def close(self) -> None:
        """Free the model and its memory."""


def check_tensors(got: dict[str, list[Any]], expected: dict[str, tuple[str | int, ...]], where: str) -> dict[str, int]:
    """Check names and shapes (sizes, or text for symbolic ones); returns the fixed sizes of the lettered axes.

    Raises ModelError naming the tensor, its shape in the file, and the contract's.
    """
    missing = sorted(set(expected) - set(got))
    if missing:
        raise ModelError(
            f'{where}: tensors {", ".join(missing)} are missing; it has {", ".join(sorted(got)) or "none"}: '
            'export the model again with `semi-smd export`'
        )
    sizes: dict[str, int] = {}
    for name, axes in expected.items():
        shape = got[name]
        wanted = f'({", ".join(str(axis) for axis in axes)})'
        if len(shape) != len(axes):
            raise ModelError(f'{where}: tensor {name} has shape {shape}; expected {wanted}')
        for size, axis in zip(shape, axes, strict=True):
            known = axis if isinstance(axis, int) else sizes.get(axis)
            if isinstance(size, int):
                if known is not None and size != known:
                    raise ModelError(f'{where}: tensor {name} has shape {shape}; expected {wanted} with {axis}={known}')
                if isinstance(axis, str):
                    sizes[axis] = size
    return sizes


def read_metadata(text: str | None, where: str) -> dict[str, Any]:
    """Parse the metadata entry and check the contract's version; raises ModelError saying what is amiss."""
    if text is None:
        raise ModelError(f'{where}: no metadata entry {METADATA_KEY!r}; expected a model exported by `semi-smd export`')
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ModelError(f'{where}: metadata {METADATA_KEY!r} is not JSON: {error}') from error
    required = {'contract', 'name', 'version', 'height', 'width', 'max_cameras', 'depth_min', 'depth_max', 'classes',
                'trained_on'}  # fmt: skip
    missing = sorted(required - set(data)) if isinstance(data, dict) else sorted(required)
    if missing:
        raise ModelError(f'{where}: metadata lacks {", ".join(missing)}: export the model again')
    if data['contract'] != CONTRACT_VERSION:
        raise ModelError(
            f'{where}: the model speaks version {data["contract"]} of the engine contract; this program speaks '
            f'{CONTRACT_VERSION}: use a model and a program of the same release'
        )
    return data


def read_spec(
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    metadata: dict[str, Any],
    where: str,
    backend: str,
    precision: str,
    sha256: str,
) -> EngineSpec:
    """The spec of a model from its tensors (name to shape) and its metadata, once they keep the contract.

    Raises ModelError naming the tensor, the axis or the key that does not.
    """
    sizes = check_tensors(inputs, INPUTS, where)
    check_tensors(outputs, OUTPUTS, where)
    unknown = sorted(set(inputs) - set(INPUTS))
    if unknown:
        raise ModelError(f'{where}: inputs {", ".join(unknown)} are not in the contract ({", ".join(INPUTS)})')
    symbolic = [axis for axis in ('H', 'W', 'C', 'h', 'w') if axis not in sizes]
    if symbolic:
        raise ModelError(f'{where}: axes {", ".join(symbolic)} are symbolic; expected only N to be')
    if (metadata['height'], metadata['width']) != (sizes['H'], sizes['W']):
        raise ModelError(
            f'{where}: metadata says {metadata["width"]}x{metadata["height"]}, the tensors {sizes["W"]}x{sizes["H"]}: '
            'export the model again'
        )
    return EngineSpec(
        name=str(metadata['name']),
        version=str(metadata['version']),
        height=sizes['H'],
        width=sizes['W'],
        memory_chw=(sizes['C'], sizes['h'], sizes['w']),
        cameras=sizes.get('N'),
        max_cameras=int(metadata['max_cameras']),
        depth_min=float(metadata['depth_min']),
        depth_max=float(metadata['depth_max']),
        classes=tuple(metadata['classes']),
        trained_on=str(metadata['trained_on']),
        backend=backend,
        precision=precision,
        sha256=sha256,
    )


def black_inputs(spec: EngineSpec, cameras: int) -> EngineInputs:
    """Black images of `cameras` level cameras 1.5 m above the ground, to warm an engine up."""
    intrinsics = np.diag([spec.width, spec.width, 1.0])
    intrinsics[:2, 2] = spec.width / 2, spec.height / 2
    forward = np.eye(4)
    forward[:3] = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5]])
    return EngineInputs(
        np.zeros((cameras, 3, spec.height, spec.width), np.float32),
        np.tile(intrinsics, (cameras, 1, 1)),
        np.tile(forward, (cameras, 1, 1)),
        np.ones(cameras),
    )


def check_rig(spec: EngineSpec, rig: Rig) -> None:
    """Raise ModelError when a model of this `spec` cannot run `rig`."""
    if spec.cameras is not None and len(rig) != spec.cameras:
        raise ModelError(
            f'model {spec.name} is made for {spec.cameras} cameras; the rig has {len(rig)} '
            f'({", ".join(rig.names)}): use a model with a symbolic number of cameras, or build one for this rig'
        )
    if len(rig) > spec.max_cameras:
        raise ModelError(f'model {spec.name} takes at most {spec.max_cameras} cameras; the rig has {len(rig)}')
