# SPDX-License-Identifier: Apache-2.0
"""Everything that a training run depends on, and the YAML file that it is read from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from semi_smd_ros.network.config import CONFIGS, EFFICIENTNETS, KEY_STRIDE, NetworkConfig
from semi_smd_ros.training.batch import Augmentation
from semi_smd_ros.training.losses import LossWeights
from semi_smd_ros.training.semi_losses import SemiLossWeights
from semi_smd_ros.training.settings import ConfigError, load_settings

WARM_UP = 0.02  # share of the budget
SUPERVISIONS = ('supervised', 'semi')
SYNTHETIC = 'synthetic'


@dataclass(frozen=True)
class Stage:
    """Training at one resolution with `batch` frame pairs a step and process, for some minutes of the clock or for some
    steps. Only a run of steps can be repeated exactly."""

    height: int
    width: int
    minutes: float = 0.0
    batch: int = 1
    steps: int = 0

    def __post_init__(self) -> None:
        if (self.minutes > 0) == (self.steps > 0) or self.batch < 1:
            raise ConfigError(
                f'stage {self.height}x{self.width} has minutes {self.minutes}, steps {self.steps} and batch '
                f'{self.batch}; expected either minutes or steps, and a batch of 1 or more'
            )
        if self.height % KEY_STRIDE or self.width % KEY_STRIDE or min(self.height, self.width) < KEY_STRIDE:
            raise ConfigError(
                f'stage {self.height}x{self.width}: the network takes pictures whose height and width are positive '
                f'multiples of {KEY_STRIDE}'
            )

    def halvings(self, full: tuple[int, int]) -> int:
        """How often pictures of the size `full` are halved for this stage."""
        return max(0, round(math.log2(full[0] / self.height)))


@dataclass(frozen=True)
class TrainConfig:
    """A run. Time budgets are wall-clock minutes, pauses between resumed runs not counted."""

    network: str = 'small'
    """A key of `network.config.CONFIGS`."""
    network_changes: Mapping[str, Any] = field(default_factory=dict)
    """Entries of its `NetworkConfig` that shall be others."""
    data: str = SYNTHETIC
    """'synthetic': rendered while the run goes on; else the address of a source, see `datasets.sources`."""
    supervision: str = 'supervised'
    """'supervised': by dense ground truth, which synthetic data have. 'semi': by the pictures themselves and by
    teachers, without ground truth, but for LiDAR where `semi_losses.lidar` is above 0."""
    labels: str = ''
    """Folder of cached teacher labels of the source (`semi-smd label`). Synthetic data have a synthetic teacher."""
    teacher_semantics: bool = True
    """False leaves the semantic teacher's labels unused, for ablations."""
    least_motion_m: float = 0.0
    """Moments of a source since whose predecessor the vehicle is known to have moved less are passed over."""
    validation: str = ''
    """Address of a source for validation. Without, held-out synthetic scenes, or moments of `data` itself, spread over
    it: figures of a source that was trained on, and told so."""
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
    """Frame pairs that must be rendered before the first step; stages of minutes draw at random from what there is."""
    uses: int = 4
    """How often a rendered frame pair is used in stages of steps, whose order the seed decides."""
    views: int = 0
    """Stages of steps: as many rendered frame pairs again and again; 0 renders fresh ones all the time."""
    frames: str = ''
    """Folder of rendered frames, which runs may share; without, `frames` in the run's folder."""
    photographs: str = ''
    """Folder of photographs of surfaces (see `datasets.synthetic.photographs`) that half of the rendered scenes show;
    without, all surfaces are noise."""
    validation_scenes: int = 8
    validate_every_minutes: float = 5.0
    validate_every_steps: int = 0
    """Stages of steps: how often to validate and to save; 0 only at the end of a stage."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossWeights = field(default_factory=LossWeights)
    semi_losses: SemiLossWeights = field(default_factory=SemiLossWeights)

    def __post_init__(self) -> None:
        if self.network not in CONFIGS:
            raise ConfigError(f'network {self.network!r} is not known; expected one of {", ".join(CONFIGS)}')
        if not self.stages:
            raise ConfigError('stages is empty; a run needs at least one')
        if len({stage.steps > 0 for stage in self.stages}) > 1:
            raise ConfigError('some stages have steps, others minutes; expected the same kind of budget for all')
        self.check_data()
        encoder = self.network_config.encoder
        full = self.full_size
        for stage in self.stages:
            if (
                self.synthetic
                and (stage.height * 2 ** stage.halvings(full), stage.width * 2 ** stage.halvings(full)) != full
            ):
                raise ConfigError(
                    f'stage {stage.height}x{stage.width} is no half, quarter, ... of {full[0]}x{full[1]}, at which the '
                    'pictures of all stages are rendered'
                )
        if self.encoder_rate < 1 and encoder not in EFFICIENTNETS:
            raise ConfigError(
                f'encoder_rate is {self.encoder_rate} but {self.network} has the encoder {encoder}; expected 1, or a '
                f'network with one of {", ".join(EFFICIENTNETS)}'
            )
        if not 0 <= self.average < 1:
            raise ConfigError(f'average is {self.average}; expected 0 (none) up to, not including, 1')
        if not 0 <= self.losses.relative <= 1:
            raise ConfigError(f'losses.relative is {self.losses.relative}; expected a share, 0..1')
        if self.validation_scenes < 1:
            raise ConfigError(
                f'validation_scenes is {self.validation_scenes}; expected 1 or more: which weights are the best is '
                'found by them'
            )

    def check_data(self) -> None:
        """Raises ConfigError where data, supervision and budget do not fit each other."""
        if self.supervision not in SUPERVISIONS:
            raise ConfigError(f'supervision is {self.supervision!r}; expected one of {", ".join(SUPERVISIONS)}')
        if self.supervision == 'supervised' and not self.synthetic:
            raise ConfigError(
                f'supervision is supervised but data is {self.data!r}; dense truth comes with data: synthetic alone, '
                'so set supervision: semi (and semi_losses: {lidar: 1.0} for LiDAR)'
            )
        if self.photographs and not self.synthetic:
            raise ConfigError(
                f'photographs is {self.photographs!r} but data is {self.data!r}; they are for rendered scenes, so '
                'leave them out'
            )
        if self.labels and self.synthetic:
            raise ConfigError(
                f'labels is {self.labels!r} but data is synthetic, which has its own teacher; leave it out'
            )
        if self.semi_losses.lidar > 0 and self.synthetic:
            raise ConfigError(
                f'semi_losses.lidar is {self.semi_losses.lidar} but data is synthetic, whose depth training without '
                'truth does not see; leave it out, or name a source with LiDAR'
            )
        if self.uses < 1 or self.views < 0 or self.pool_capacity < self.uses:
            raise ConfigError(
                f'uses is {self.uses}, views {self.views}, pool_capacity {self.pool_capacity}; expected uses of 1 or '
                'more, views of 0 or more, and a capacity that holds as many as uses'
            )
        needed = max(self.pool_minimum, *(stage.batch for stage in self.stages))
        if self.synthetic and not self.steps and self.pool_capacity < needed:
            raise ConfigError(
                f'pool_capacity is {self.pool_capacity} but {needed} frame pairs must be there at a time (pool_minimum '
                f'{self.pool_minimum}, and the largest batch); expected at least as many'
            )

    @property
    def synthetic(self) -> bool:
        return self.data == SYNTHETIC

    @property
    def network_config(self) -> NetworkConfig:
        """Of the network to train. Raises ConfigError where `network_changes` cannot be made."""
        changes: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in self.network_changes.items()
        }
        try:
            return replace(CONFIGS[self.network], **changes)
        except (TypeError, ValueError) as error:
            raise ConfigError(f'network_changes: {error}') from error

    @property
    def steps(self) -> int:
        """Of all stages; 0 where the budget is minutes."""
        return sum(stage.steps for stage in self.stages)

    @property
    def budget(self) -> float:
        """Steps, or minutes."""
        return self.steps or self.minutes

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
    """The same stages in the same proportion within another budget. Raises ConfigError where they have steps."""
    if config.steps:
        raise ConfigError('minutes are given, but the stages of the config have steps')
    factor = minutes / config.minutes
    return replace(config, stages=tuple(replace(s, minutes=s.minutes * factor) for s in config.stages))


def load_train_config(path: Path) -> TrainConfig:
    """Read a run's YAML file; what it leaves out keeps TrainConfig's defaults.

    Raises ConfigError naming the file, the entry and what was expected.
    """
    return load_settings(TrainConfig, path)
