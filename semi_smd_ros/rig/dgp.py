# SPDX-License-Identifier: Apache-2.0
"""Rig from a calibration of the DGP layout, in which DDAD is published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .camera import CameraModel, RigError
from .rig import Rig, RigCamera
from .transforms import transform_from


def dgp_pose(pose: Mapping[str, Any]) -> np.ndarray:
    """(4,4) transform of a DGP pose ({rotation: {qw,qx,qy,qz}, translation: {x,y,z}}); RigError if malformed."""
    try:
        q, t = pose['rotation'], pose['translation']
        return transform_from([float(t[k]) for k in ('x', 'y', 'z')], [float(q[k]) for k in ('qx', 'qy', 'qz', 'qw')])
    except (KeyError, TypeError, ValueError) as error:
        raise RigError(f'pose is {pose!r:.200}; expected rotation qw,qx,qy,qz and translation x,y,z') from error


def rig_from_dgp_calibration(
    path: str | Path, image_sizes: Mapping[str, tuple[int, int]], base_frame: str = 'base_link'
) -> Rig:
    """The cameras of a DGP calibration JSON that `image_sizes` names, as (width, height) in pixels.

    DDAD's images are undistorted, so D is empty. Extrinsics take points of a sensor into the vehicle's frame.
    Raises RigError naming the file for a camera that is absent or a file that is malformed.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding='utf-8'))
        tables = {key: list(data[key]) for key in ('names', 'intrinsics', 'extrinsics')}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RigError(f'{path}: expected a DGP calibration with names, intrinsics, extrinsics ({error})') from error
    if len({len(table) for table in tables.values()}) != 1:
        raise RigError(f'{path}: names, intrinsics and extrinsics differ in length')
    index = {name: i for i, name in enumerate(tables['names'])}
    cameras = []
    for name, (width, height) in image_sizes.items():
        if name not in index:
            raise RigError(f'{path}: no camera {name}; it has {sorted(index)}')
        k = tables['intrinsics'][index[name]]
        try:
            K = np.array([[k['fx'], k.get('skew', 0.0), k['cx']], [0, k['fy'], k['cy']], [0, 0, 1]], dtype=np.float64)
            model = CameraModel(width, height, K, np.zeros(0))
            cameras.append(RigCamera(name, name, model, dgp_pose(tables['extrinsics'][index[name]])))
        except (RigError, KeyError, TypeError) as error:
            raise RigError(f'{path}: camera {name}: {error}') from error
    return Rig(tuple(cameras), base_frame)
