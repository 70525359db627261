# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: declared with descriptions and ranges, checked together, read as one object."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from ..rig import RigConfig, RigConfigCamera, RigError, load_rig_yaml
from ..rig.rig import MAX_CAMERAS
from ..runtime import CloudConfig, PipelineConfig
from ..runtime.engine import BACKENDS, PRECISIONS
from .ego_masks import PREFIX as EGO_MASK
from .input_subscription import RELIABILITIES
from .resources import rig_path


@dataclass(frozen=True)
class Parameter:
    """One parameter. `when`: 'live' may change at any time, 'unconfigured' only before configuring, 'start' never."""

    name: str
    default: Any
    when: str
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def descriptor(self) -> ParameterDescriptor:
        """What `ros2 param describe` shows."""
        text = f'{self.text} One of: {", ".join(self.choices)}.' if self.choices else self.text
        descriptor = ParameterDescriptor(name=self.name, description=text, read_only=self.when == 'start')
        if self.when == 'unconfigured':
            descriptor.additional_constraints = 'Can be changed while the node is unconfigured.'
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high), step=0)]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(self.low), to_value=float(self.high), step=0.0)
                ]
        return descriptor


PARAMETERS: tuple[Parameter, ...] = (
    Parameter('rig', '', 'unconfigured', 'Rig file: a path to a YAML file, or nuscenes or ddad.'),
    Parameter(
        'cameras', [''], 'unconfigured',
        'Camera names: with a rig, which of its cameras to use, in which order; without, <name>/image_raw is read.',
    ),
    Parameter('base_frame', '', 'unconfigured', "Frame of the cloud and of the extrinsics; '' takes the rig's."),
    Parameter('model', '', 'unconfigured', "ONNX model: a path, or the name of a shipped one; '' takes the default."),
    Parameter(
        'model_sha256', '', 'unconfigured',
        "SHA-256 that the model must have; '' takes it from the file <model>.sha256 beside it.",
    ),
    Parameter(
        'backend', 'auto', 'unconfigured',
        'What runs the model: TensorRT on a GPU, or ONNX Runtime (with CUDA, else on the CPU); auto takes the first '
        'that can, and warns of those that cannot.',
        choices=BACKENDS,
    ),
    Parameter(
        'precision', 'fp16', 'unconfigured',
        'What a TensorRT engine computes in; ONNX Runtime takes the model as it is.',
        choices=PRECISIONS,
    ),
    Parameter(
        'plan_cache', '', 'unconfigured',
        "Folder of TensorRT's plans, which nobody else may write; '' takes ~/.cache/semi_smd_ros/plans.",
    ),
    Parameter(
        'cuda_graph', False, 'unconfigured',
        "Replay a TensorRT engine's sets as one CUDA graph; benchmarks/gpu.py tells whether that pays.",
    ),
    Parameter('threads', 0, 'unconfigured', 'Threads of ONNX Runtime on the CPU; 0 takes every core.', 0, 256),
    Parameter(
        'max_engine_failures', 10, 'live',
        'Sets in a row that the engine may fail on before the node gives up and is unconfigured.', 1, 1_000_000,
    ),
    Parameter('image_transport', 'raw', 'unconfigured', 'How images are sent.', choices=('raw', 'compressed')),
    Parameter(
        'image_reliability', 'auto', 'start',
        'Reliability asked of image and camera_info publishers; auto asks for what they offer.', choices=RELIABILITIES,
    ),
    Parameter('autostart', True, 'start', 'Configure and activate without a lifecycle manager.'),
    Parameter(
        'depth_encoding', '32FC1', 'unconfigured',
        'Depth images in metres (32FC1) or in millimetres up to 65.535 m (16UC1, 0 unknown or farther).',
        choices=('32FC1', '16UC1'),
    ),
    Parameter('semantics', False, 'unconfigured', 'Offer <cam>/semantics/image, and a class for every point.'),
    Parameter('sync.slop', 0.05, 'live', 'Largest spread of the stamps in one set, seconds.', 0.0, 10.0),
    Parameter('sync.queue_size', 10, 'live', 'Messages of a camera that wait for those of the others.', 1, 1000),
    Parameter(
        'sync.missing_after', 0.2, 'live',
        'Seconds after which a set goes on without the cameras that it lacks; 0 takes complete sets only.', 0.0, 10.0,
    ),
    Parameter(
        'sync.min_cameras', 0, 'live', 'Fewest cameras of a set; 0 means half of them, rounded up.', 0, MAX_CAMERAS
    ),
    Parameter(
        'tf.timeout', 1.0, 'live',
        'Seconds that sets wait for CameraInfo and transforms; then they go on without those cameras.', 0.0, 60.0,
    ),
    Parameter(
        'tf.max_age', 1.0, 'live',
        'A moving transform is taken at the stamp of the image; where the newest is older, it may be by this, seconds.',
        0.0, 3600.0,
    ),
    Parameter(
        'tf.tolerance', 0.001, 'live',
        'Extrinsics that move by less (metres, radians) are the same; more wipes the temporal memory.', 0.0, 1.0,
    ),
    Parameter('temporal.max_gap', 0.5, 'live', 'A longer pause between sets wipes the memory, seconds.', 0.0, 3600.0),
    Parameter('cloud.min_range', 0.5, 'live', 'Nearest depth that becomes a point, metres.', 0.0, 1000.0),
    Parameter('cloud.max_range', 80.0, 'live', 'Farthest depth that becomes a point, metres.', 0.0, 1000.0),
    Parameter('cloud.min_height', -2.0, 'live', 'Lowest point above the ground, metres.', -1000.0, 1000.0),
    Parameter('cloud.max_height', 6.0, 'live', 'Highest point above the ground, metres.', -1000.0, 1000.0),
    Parameter('cloud.min_confidence', 0.0, 'live', 'Least confidence of a point.', 0.0, 1.0),
    Parameter('cloud.stride', 2, 'live', 'Every stride-th pixel of every stride-th row becomes a point.', 1, 64),
    Parameter(
        'cloud.voxel_size', 0.0, 'live', 'One point for every cube with edges of this length, metres; 0 keeps all.',
        0.0, 100.0,
    ),
    Parameter('diagnostics.period', 1.0, 'live', 'Seconds between two messages on /diagnostics.', 0.1, 60.0),
    Parameter('diagnostics.log_period', 5.0, 'live', 'Seconds between two warnings of the same kind.', 0.0, 3600.0),
)  # fmt: skip
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def declare(node: Any) -> None:
    """Declare all parameters; a bad initial value raises rclpy's exception with the reason."""
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def declare_ego_masks(node: Any, cameras: Iterable[str]) -> None:
    """Declare `ego_mask.<camera>` for every camera that has none yet."""
    for camera in cameras:
        name = f'{EGO_MASK}{camera}'
        if not node.has_parameter(name):
            text = f"PNG, white where {camera} sees its own vehicle: a path or package://<package>/<path>; '' none."
            node.declare_parameter(name, '', Parameter(name, '', 'unconfigured', text).descriptor())


def refusal(changes: Iterable[Any], current: dict[str, Any], is_configured: bool) -> str:
    """Why these changes (rclpy Parameters) cannot be made together, or '' where they can."""
    values = dict(current)
    for change in changes:
        if change.name.startswith(EGO_MASK) and is_configured and change.name in current:
            if change.value != current[change.name]:
                return _while_configured(change.name)
            continue
        parameter = BY_NAME.get(change.name)
        if parameter is None:
            continue
        value = values[change.name] = change.value
        if is_configured and parameter.when == 'unconfigured' and value != current.get(change.name):
            return _while_configured(change.name)
        if parameter.choices and value not in parameter.choices:
            return f'{change.name} is {value!r}; expected one of {", ".join(parameter.choices)}'
        if isinstance(value, float) and not math.isfinite(value):
            return f'{change.name} is {value}; expected a finite number'
    try:
        cloud_config(values)
    except ValueError as error:
        return str(error)
    return ''


def _while_configured(name: str) -> str:
    return f'{name} cannot change while the node is configured: clean up, set it, and configure again'


def is_ours(name: str) -> bool:
    """Whether a parameter is one of this module's."""
    return name in BY_NAME or name.startswith(EGO_MASK)


def cloud_config(current: dict[str, Any]) -> CloudConfig:
    """The cloud's settings, with defaults for what is not declared yet. Raises ValueError for what cannot be."""
    names = [name for name in BY_NAME if name.startswith('cloud.')]
    settings = {name.removeprefix('cloud.'): current.get(name, BY_NAME[name].default) for name in names}
    return CloudConfig(**settings, semantics=current.get('semantics', False))


def pipeline_config(current: dict[str, Any]) -> PipelineConfig:
    """The pipeline's settings."""
    return PipelineConfig(current['temporal.max_gap'], cloud_config(current), current['cuda_graph'])


def sync_settings(current: dict[str, Any], cameras: int) -> dict[str, Any]:
    """What `SurroundSynchronizer.configure` is told, for a rig of `cameras`."""
    return {
        'slop': current['sync.slop'],
        'queue_size': current['sync.queue_size'],
        'missing_after': current['sync.missing_after'],
        'min_streams': min(current['sync.min_cameras'], cameras) or (cameras + 1) // 2,
    }


def rig_config(current: dict[str, Any]) -> tuple[tuple[RigConfigCamera, ...], str]:
    """The cameras and the base frame that `rig`, `cameras` and `base_frame` mean together.

    Raises RigError naming the parameter, the file or the key.
    """
    names = [name for name in current['cameras'] if name]
    if len(set(names)) != len(names):
        raise RigError(f'cameras are {names}; expected every name once')
    if not current['rig']:
        if not names:
            raise RigError('neither rig nor cameras is set; expected a rig (nuscenes, ddad, a YAML file) or names')
        cameras = tuple(RigConfigCamera(n, None, f'{n}/image_raw', f'{n}/camera_info', None) for n in names)
        return cameras, current['base_frame'] or 'base_link'
    config: RigConfig = load_rig_yaml(rig_path(current['rig']))
    by_name = {camera.name: camera for camera in config.cameras}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise RigError(f'cameras {", ".join(unknown)} are not in {config.path}; it has {", ".join(by_name)}')
    cameras = tuple(by_name[name] for name in names) if names else config.cameras
    return cameras, current['base_frame'] or config.base_frame
