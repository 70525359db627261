# SPDX-License-Identifier: Apache-2.0
"""What can be checked before the first image comes."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.exceptions import NameValidationException
from rclpy.validate_topic_name import validate_topic_name

from ..rig import RigConfigCamera, RigError
from ..runtime import EngineSpec, ModelError

# 255 means that nothing is known.
MAX_CLASSES = 255


def check_camera_count(spec: EngineSpec, names: Sequence[str]) -> None:
    """Raise ModelError when a model cannot take this many cameras; the rest of the rig is checked once it is known."""
    wanted = f'{spec.cameras}' if spec.cameras is not None else f'at most {spec.max_cameras}'
    if len(names) > spec.max_cameras or spec.cameras not in (None, len(names)):
        raise ModelError(
            f'model {spec.name} takes {wanted} cameras; the rig has {len(names)} ({", ".join(names)}): '
            'set another model, or fewer cameras'
        )


def check_semantics(spec: EngineSpec) -> None:
    """Raise ModelError when a model does not say which classes its labels mean."""
    if not 1 <= len(spec.classes) <= MAX_CLASSES:
        raise ModelError(
            f'model {spec.name} names {len(spec.classes)} classes; semantics needs 1 to {MAX_CLASSES}: set semantics '
            'to false, or use another model'
        )


def check_topic_names(cameras: Sequence[RigConfigCamera]) -> None:
    """Raise RigError, naming the camera, when a name or topic cannot be a topic."""
    for camera in cameras:
        for topic in (camera.image_topic, camera.camera_info_topic, f'{camera.name}/depth/image'):
            try:
                validate_topic_name(topic)
            except NameValidationException as error:
                raise RigError(f'camera {camera.name!r}: {topic!r} cannot be a topic: {error}') from error
