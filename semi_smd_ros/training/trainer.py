# SPDX-License-Identifier: Apache-2.0
"""The training loop: stages of growing resolution, one cosine schedule over the whole budget of steps or minutes."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from semi_smd_ros.network.checkpoint import save_checkpoint
from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.encoder import EfficientNetEncoder
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.batch import make_batch
from semi_smd_ros.training.beginning import begin_with_checkpoint, begin_with_imagenet, check_beginning
from semi_smd_ros.training.card import VERSION, trained_on
from semi_smd_ros.training.config import TrainConfig
from semi_smd_ros.training.evaluate import evaluate, protocol
from semi_smd_ros.training.fabric import make_fabric
from semi_smd_ros.training.objective import Lesson, Objective, make_lesson
from semi_smd_ros.training.optimisation import GRADIENT_LIMIT, guilty_terms, make_optimizer, update_average
from semi_smd_ros.training.run_log import RunLog
from semi_smd_ros.training.sample_pictures import sample_picture
from semi_smd_ros.training.samples import Sample
from semi_smd_ros.training.settings import dump_settings
from semi_smd_ros.training.stage_data import HeldOut, StageData
from semi_smd_ros.training.state import load_state, save_state

logger = logging.getLogger(__name__)

STATE_FILE = 'state.safetensors'
CONFIG_FILE = 'config.yaml'
LOG_EVERY = 20
PICTURES = 2  # validation samples that are drawn


def validation_cost(figures: dict[str, float]) -> float:
    """What `best` minimises: AbsRel alone would reward hedging towards near depths, d < 1.25 does not.

    Where no truth is known it is the loss.
    """
    return figures['abs_rel'] + 1 - figures['d1'] if 'abs_rel' in figures else figures['loss']


class Trainer:
    """One run in one folder: `best` and `last` checkpoints (of the averaged weights), `state.safetensors` to resume
    from, `config.yaml`, `log.jsonl`, curves for TensorBoard and pictures.

    A run of steps that is resumed does what it would have done without the break: on a CPU to the last digit, on a GPU,
    whose sums come in another order each time, but for rounding. With several processes every one makes a Trainer, and
    the first writes.
    """

    def __init__(
        self,
        config: TrainConfig,
        network_config: NetworkConfig,
        folder: Path,
        command: str,
        fabric: Fabric | None = None,
        log_every: int = LOG_EVERY,
    ) -> None:
        self.log_every = log_every
        self.config, self.folder, self.command = config, folder, command
        self.fabric = fabric or make_fabric(config)
        self.augmentation = config.augmentation
        if not network_config.sees_images:
            self.augmentation = replace(self.augmentation, colour=0.0, noise=0.0)
        if config.supervision == 'semi':
            self.augmentation = replace(self.augmentation, rotation_noise_deg=0.0, translation_noise_m=0.0)
        torch.manual_seed(config.seed)
        self.network = SemiSmdNetwork(network_config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.encoder_rate < 1 and isinstance(self.network.encoder, EfficientNetEncoder):
            self.network.encoder.keep_pretrained()
        self.optimizer = make_optimizer(self.network, config)
        self.objective = Objective(self.network, config)
        self.shared, self.shared_optimizer = self.fabric.setup(self.objective, self.optimizer)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.step = 0
        self.elapsed_s = 0.0
        self.best: dict[str, float] = {}
        self.began_with = ''
        """What the weights were before the first step, for the card; '' for random ones."""
        self.log: RunLog | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start_from(self, checkpoint: Path) -> None:
        """Begin with the weights of a checkpoint. Raises CheckpointError when they are of another network."""
        self.began_with = begin_with_checkpoint(self.network, checkpoint)
        self.averaged.load_state_dict(self.network.state_dict())

    def start_from_imagenet(self, weights: Path) -> None:
        """Begin with published weights of the encoder. Raises CheckpointError when they are not this encoder's."""
        self.began_with = begin_with_imagenet(self.network, weights)
        self.averaged.load_state_dict(self.network.state_dict())

    def resume(self) -> None:
        """Continue from `state.safetensors` of the run's folder. Raises FileNotFoundError when there is none."""
        progress = load_state(self.folder / STATE_FILE, self.network, self.averaged, self.optimizer)
        self.step, self.elapsed_s, self.best = progress['step'], progress['elapsed_s'], progress['best']
        self.began_with = progress['began_with']
        logger.info('resumed at step %d after %.1f minutes', self.step, self.elapsed_s / 60)

    @property
    def done(self) -> float:
        """Steps, or minutes, of the config's budget."""
        return self.step if self.config.steps else self.elapsed_s / 60

    def run(self, on_progress: Callable[[float, str], None]) -> None:
        """Train to the end of the budget. `on_progress` gets how much of it is done (steps or minutes) and a line of
        text after every step.

        Raises FloatingPointError when a loss or a gradient is not finite; the checkpoints are those of before.
        CheckpointError where the encoder is to be kept as it begins, and that is at random.
        """
        check_beginning(self.config, self.began_with)
        if not self.fabric.is_global_zero:
            self.run_stages(on_progress)
            return
        dump_settings(self.config, self.folder / CONFIG_FILE, f'Everything that {self.command!r} was made with.')
        with RunLog(self.folder, self.step) as self.log:
            self.run_stages(on_progress)

    def run_stages(self, on_progress: Callable[[float, str], None]) -> None:
        end = 0.0
        for index, stage in enumerate(self.config.stages):
            begin, end = end, end + (stage.steps or stage.minutes)
            if self.done < end:
                self.run_stage(index, begin, end, on_progress)

    def run_stage(self, index: int, begin: float, end: float, on_progress: Callable[[float, str], None]) -> None:
        data = StageData(self.config, index, self.folder, self.fabric.global_rank, self.fabric.world_size)
        stage = data.stage
        held_out = data.held_out() if self.fabric.is_global_zero else HeldOut([])
        self.best = self.best if self.best.get('height') == stage.height else {}  # figures differ between sizes
        validated_s = self.elapsed_s
        with closing(data.batches(self.step - int(begin) if stage.steps else self.step)) as batches:
            while self.done < end:
                started = time.monotonic()
                losses = self.train_step(next(batches))
                # one clock for all processes: they must agree on when to stop
                self.elapsed_s = self.fabric.broadcast(self.elapsed_s + time.monotonic() - started)
                if self.step % self.log_every == 0:
                    self.log_losses(losses)
                on_progress(self.done, f'step {self.step}, loss {losses["total"]:.3f}')
                if self.done >= end or self.is_due(validated_s):
                    validated_s = self.elapsed_s
                    if self.fabric.is_global_zero:
                        self.validate(held_out, data)
                    self.fabric.barrier()

    def is_due(self, validated_s: float) -> bool:
        """Whether to validate, last done at `validated_s`."""
        if self.config.steps:
            every = self.config.validate_every_steps
            return every > 0 and self.step % every == 0
        return self.elapsed_s - validated_s > 60 * self.config.validate_every_minutes

    def rate(self) -> float:
        return self.config.learning_rate_at(min(1.0, self.done / self.config.budget))

    def train_step(self, samples: list[Sample]) -> dict[str, float]:
        """One optimiser step; returns the loss terms. Raises FloatingPointError when something is not finite."""
        place = [self.config.seed, self.step, self.fabric.global_rank]
        generator = np.random.default_rng(place)
        torch.manual_seed(int(generator.integers(2**62)))  # what is random in a step depends on its number alone
        lesson = make_lesson(samples, self.augmentation, generator)
        for group in self.optimizer.param_groups:
            group['lr'] = self.rate() * group['rate']
        self.network.train()
        tensors = self.fabric.to_device(lesson.tensors())
        terms = self.shared(tensors)
        total = torch.stack(list(terms.values())).sum()
        values = {'total': total.item(), **{name: value.item() for name, value in terms.items()}}
        self.check_finite(math.isfinite(values['total']), tensors, values)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        norm = self.fabric.clip_gradients(
            self.shared, self.shared_optimizer, max_norm=GRADIENT_LIMIT, error_if_nonfinite=False
        )
        self.check_finite(norm is not None and bool(torch.isfinite(norm)), tensors, values)
        self.shared_optimizer.step()
        self.step += 1
        update_average(self.averaged, self.network, self.config.average, self.step)
        return values

    def check_finite(self, finite: bool, tensors: dict[str, Any], values: dict[str, float]) -> None:
        """All processes stop where one of them has something that is not finite; it is told which term it comes from.

        Raises FloatingPointError.
        """
        broken = self.fabric.all_reduce(
            torch.tensor(0.0 if finite else 1.0, device=self.fabric.device), reduce_op='sum'
        )
        if float(broken) == 0:  # type: ignore[arg-type]
            return
        if finite:
            raise FloatingPointError(f'step {self.step}: another process met something that is not finite')
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        with self.fabric.autocast():  # as the step was computed
            terms = self.objective(tensors)
        guilty = guilty_terms(terms, parameters) or ['the sum']
        raise FloatingPointError(
            f'step {self.step}: {", ".join(guilty)} or its gradient is not finite; the terms were {values}. The '
            f'checkpoints of before are kept in {self.folder}; lower the learning rate and continue with --resume'
        )

    def log_losses(self, losses: dict[str, float]) -> None:
        """Write down the terms of this step, averaged over the processes."""
        names = list(losses)
        means = self.fabric.all_reduce(torch.tensor([losses[name] for name in names], device=self.fabric.device))
        if self.log is not None:
            values = {**dict(zip(names, means.tolist())), 'rate': self.rate()}  # type: ignore[union-attr]
            self.log.entry(self.step, self.elapsed_s / 60, values)
            self.log.scalars('train', values, self.step)

    def validate(self, held_out: HeldOut, data: StageData) -> None:
        """Score, log, draw, and write `last`, `state.safetensors` and, when the validation cost fell, `best`."""
        stage = data.stage
        figures = evaluate(self.averaged, held_out.samples, held_out.farthest_m)
        if 'abs_rel' not in figures:
            figures['loss'] = self.loss_of(held_out.samples)
        assert self.log is not None
        self.log.entry(self.step, self.elapsed_s / 60, {'validation': figures, 'height': stage.height})
        self.log.scalars('validation', figures, self.step)
        for i, sample in enumerate(held_out.samples[:PICTURES]):
            self.log.picture(f'sample_{i}', sample_picture(self.averaged, sample, self.fabric.device), self.step)
        shown = {name: round(value, 4) for name, value in figures.items()}
        logger.info('step %d, %.1f min: %s', self.step, self.elapsed_s / 60, shown)
        card = {
            'version': VERSION,
            'trained_on': '; '.join(filter(None, (trained_on(self.config, self.network.config), self.began_with))),
            'scores': {'protocol': f'{data.validated_on}; {protocol(held_out.farthest_m)}', **figures},
            'command': self.command,
            'steps': self.step,
            'minutes': self.elapsed_s / 60,
            'train_config': asdict(self.config),
        }
        save_checkpoint(self.averaged, self.folder / 'last.safetensors', card)
        cost = validation_cost(figures)
        if cost < self.best.get('cost', math.inf):
            self.best = {'cost': cost, 'height': stage.height}
            save_checkpoint(self.averaged, self.folder / 'best.safetensors', card)
        progress = {
            'step': self.step, 'elapsed_s': self.elapsed_s, 'best': self.best, 'began_with': self.began_with
        }  # fmt: skip
        save_state(self.folder / STATE_FILE, self.network, self.averaged, self.optimizer, progress)

    @torch.no_grad()
    def loss_of(self, samples: list[Sample]) -> float:
        """Mean loss of the averaged network over samples that are not augmented."""
        objective = Objective(self.averaged, self.config)
        totals = []
        for sample in samples:
            batch = make_batch([sample], None, np.random.default_rng(0))
            tensors = self.fabric.to_device(Lesson(batch, batch.images_tbn3hw).tensors())
            totals.append(float(torch.stack(list(objective(tensors).values())).sum()))
        return float(np.mean(totals))
