# SPDX-License-Identifier: Apache-2.0
"""Everything that a training run depends on, and the YAML file that it is read from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from semi_smd_ros.network.config import CONFIGS, EFFICIENTNETS
from semi_smd_ros.training.batch import Augmentation
from semi_smd_ros.training.losses import LossWeights

WARM_UP = 0.02  # share of the budget

Settings = TypeVar('Settings')


class ConfigError(ValueError):
    """A training config that cannot be used; the message names file, entry and what was expected."""


@dataclass(frozen=True)
class Stage:
    """Training at one resolution for some minutes of the clock, with `batch` frame pairs a step."""

    height: int
    width: int
    minutes: float
    batch: int

    def halvings(self, full: tuple[int, int]) -> int:
        """How often pictures of the size `full` are halved for this stage."""
        return max(0, round(math.log2(full[0] / self.height)))


@dataclass(frozen=True)
class TrainConfig:
    """A run. Time budgets are wall-clock minutes, pauses between resumed runs not counted."""

    network: str = 'small'
    """A key of `network.config.CONFIGS`."""
    stages: tuple[Stage, ...] = (Stage(96, 160, 30.0, batch=2), Stage(192, 320, 20.0, batch=2))
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-5
    weight_decay: float = 0.02
    encoder_rate: float = 1.0
    """Factor of the learning rate for an encoder that begins with published weights. Below 1 its batch norm also keeps
    its statistics and its first layers their weights."""
    average: float = 0.998
    """Decay of the exponential moving average of the weights, which is what is validated and saved; 0 for none."""
    seed: int = 0
    bfloat16: bool = True
    workers: int = 1
    """Processes that render."""
    pool_capacity: int = 400
    """Rendered frame pairs that are kept on disk, about 5 MB each at 192x320; the oldest make room for new ones."""
    pool_minimum: int = 16
    """Frame pairs that must be rendered before the first step."""
    validation_scenes: int = 8
    validate_every_minutes: float = 5.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if self.network not in CONFIGS:
            raise ConfigError(f'network {self.network!r} is not known; expected one of {", ".join(CONFIGS)}')
        if not self.stages:
            raise ConfigError('stages is empty; a run needs at least one')
        full = self.full_size
        for stage in self.stages:
            if (stage.height * 2 ** stage.halvings(full), stage.width * 2 ** stage.halvings(full)) != full:
                raise ConfigError(
                    f'stage {stage.height}x{stage.width} is no half, quarter, ... of {full[0]}x{full[1]}, at which the '
                    'pictures of all stages are rendered'
                )
        if self.encoder_rate < 1 and CONFIGS[self.network].encoder not in EFFICIENTNETS:
            raise ConfigError(
                f'encoder_rate is {self.encoder_rate} but {self.network} has the encoder '
                f'{CONFIGS[self.network].encoder}; expected 1, or a network with one of {", ".join(EFFICIENTNETS)}'
            )
        if not 0 <= self.average < 1:
            raise ConfigError(f'average is {self.average}; expected 0 (none) up to, not including, 1')

    @property
    def full_size(self) -> tuple[int, int]:
        """Height and width of the largest stage."""
        return max((stage.height, stage.width) for stage in self.stages)

    @property
    def minutes(self) -> float:
        return sum(stage.minutes for stage in self.stages)

    def learning_rate_at(self, progress: float) -> float:
        """Linear warm-up, then half a cosine down to the final rate; `progress` 0..1."""
        if progress < WARM_UP:
            return self.learning_rate * max(progress / WARM_UP, 0.01)
        cosine = 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * cosine


def with_stage_minutes(config: TrainConfig, minutes: float) -> TrainConfig:
    """The same stages in the same proportion within another budget."""
    factor = minutes / config.minutes
    return replace(config, stages=tuple(replace(s, minutes=s.minutes * factor) for s in config.stages))


def load_train_config(path: Path) -> TrainConfig:
    """Read a run's YAML file; what it leaves out keeps TrainConfig's defaults.

    Raises ConfigError naming the file, the entry and what was expected.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ConfigError(f'{path}: no such file; expected a training config such as configs/small.yaml') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: not YAML: {error}') from error
    try:
        return settings_from(TrainConfig, values, '')
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error


def settings_from(kind: type[Settings], values: Any, where: str) -> Settings:
    """A dataclass from a mapping, dataclasses and tuples inside it included. Raises ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(f'{where or "the file"} holds {values!r}, expected a mapping of {_names(kind)}')
    unknown = sorted(str(key) for key in values if key not in {f.name for f in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ConfigError(f'{where or "the file"} has unknown entries {", ".join(unknown)}; known: {_names(kind)}')
    hints = get_type_hints(kind)
    found = {key: _value(hints[key], value, f'{where}.{key}' if where else key) for key, value in values.items()}
    try:
        return kind(**found)
    except TypeError as error:  # an entry without a default is missing
        raise ConfigError(f'{where}: {error}; expected {_names(kind)}') from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return settings_from(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f'{where} is {value!r}, expected a list')
        return tuple(_value(get_args(hint)[0], entry, f'{where}[{index}]') for index, entry in enumerate(value))
    number = hint in (int, float) and not isinstance(value, bool) and isinstance(value, (int, hint))
    if not number and not (hint in (str, bool) and isinstance(value, hint)):
        # YAML 1.1 takes 2e-3 for text: say how a number is written
        raise ConfigError(f'{where} is {value!r}, expected a {hint.__name__} (numbers as 0.002 or 2.0e-3)')
    return hint(value)


def _names(kind: Any) -> str:
    return ', '.join(f.name for f in fields(kind))
