# SPDX-License-Identifier: Apache-2.0
"""Cameras, extrinsics and the transform tree: everything that is geometry and nothing else."""

from .camera import CameraModel, RigError
from .config import RigConfig, RigConfigCamera, load_rig_yaml
from .dgp import rig_from_dgp_calibration
from .geometry import FAR_WITHOUT_GROUND_M, flat_ground_depth, rays
from .rectify import RectifyMap
from .rig import Rig, RigCamera, rig_from_camera_infos
from .transforms import (
    FrameMissing,
    TransformError,
    TransformExtrapolation,
    TransformTree,
    quaternion_from,
    transform_from,
)

__all__ = [
    'FAR_WITHOUT_GROUND_M',
    'CameraModel',
    'FrameMissing',
    'RectifyMap',
    'Rig',
    'RigCamera',
    'RigConfig',
    'RigConfigCamera',
    'RigError',
    'TransformError',
    'TransformExtrapolation',
    'TransformTree',
    'flat_ground_depth',
    'load_rig_yaml',
    'quaternion_from',
    'rays',
    'rig_from_camera_infos',
    'rig_from_dgp_calibration',
    'transform_from',
]
