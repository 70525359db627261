# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: declared with descriptions and ranges, checked together, read as one object."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from ..rig import RigConfig, RigConfigCamera, RigError, load_rig_yaml
from ..runtime import CloudConfig, PipelineConfig
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
    Parameter('threads', 0, 'unconfigured', "Threads of the engine; 0 takes every core.", 0, 256),
    Parameter('image_transport', 'raw', 'start', 'How images are sent.', choices=('raw', 'compressed')),
    Parameter(
        'image_reliability', 'best_effort', 'start',
        'Reliability asked of image and camera_info publishers; reliable for bags.',
        choices=('best_effort', 'reliable'),
    ),
    Parameter('autostart', True, 'start', 'Configure and activate without a lifecycle manager.'),
    Parameter('sync.slop', 0.05, 'unconfigured', 'Largest spread of the stamps in one set, seconds.', 0.0, 10.0),
    Parameter('sync.queue_size', 10, 'unconfigured', 'Incomplete sets that are kept.', 1, 1000),
    Parameter('temporal.max_gap', 0.5, 'live', 'A longer pause between sets wipes the memory, seconds.', 0.0, 3600.0),
    Parameter('cloud.min_range', 0.5, 'live', 'Nearest depth that becomes a point, metres.', 0.0, 1000.0),
    Parameter('cloud.max_range', 80.0, 'live', 'Farthest depth that becomes a point, metres.', 0.0, 1000.0),
    Parameter('cloud.min_height', -2.0, 'live', 'Lowest point above the ground, metres.', -1000.0, 1000.0),
    Parameter('cloud.max_height', 6.0, 'live', 'Highest point above the ground, metres.', -1000.0, 1000.0),
    Parameter('cloud.min_confidence', 0.0, 'live', 'Least confidence of a point.', 0.0, 1.0),
    Parameter('cloud.stride', 2, 'live', 'Every stride-th pixel of every stride-th row becomes a point.', 1, 64),
    Parameter('diagnostics.period', 1.0, 'live', 'Seconds between two messages on /diagnostics.', 0.1, 60.0),
)  # fmt: skip
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def declare(node: Any) -> None:
    """Declare all parameters; a bad initial value raises rclpy's exception with the reason."""
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def refusal(changes: Iterable[Any], current: dict[str, Any], is_configured: bool) -> str:
    """Why these changes (rclpy Parameters) cannot be made together, or '' where they can."""
    values = dict(current)
    for change in changes:
        parameter = BY_NAME.get(change.name)
        if parameter is None:
            continue
        value = values[change.name] = change.value
        if is_configured and parameter.when == 'unconfigured' and value != current.get(change.name):
            return f'{change.name} cannot change while the node is configured: clean up, set it, and configure again'
        if parameter.choices and value not in parameter.choices:
            return f'{change.name} is {value!r}; expected one of {", ".join(parameter.choices)}'
        if isinstance(value, float) and not math.isfinite(value):
            return f'{change.name} is {value}; expected a finite number'
    try:
        cloud_config(values)
    except ValueError as error:
        return str(error)
    return ''


def values(node: Any) -> dict[str, Any]:
    """The current value of every parameter that has been declared."""
    return {name: node.get_parameter(name).value for name in BY_NAME if node.has_parameter(name)}


def cloud_config(current: dict[str, Any]) -> CloudConfig:
    """The cloud's settings, with defaults for what is not declared yet. Raises ValueError for what cannot be."""
    names = [name for name in BY_NAME if name.startswith('cloud.')]
    return CloudConfig(**{name.removeprefix('cloud.'): current.get(name, BY_NAME[name].default) for name in names})


def pipeline_config(current: dict[str, Any]) -> PipelineConfig:
    """The pipeline's settings."""
    return PipelineConfig(max_gap_s=current['temporal.max_gap'], cloud=cloud_config(current))


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
