# SPDX-License-Identifier: Apache-2.0
"""The supervised training loop: stages of growing resolution, one cosine schedule over the whole time budget."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semi_smd_ros.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.encoder import EfficientNetEncoder, ResNetEncoder
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.batch import Batch, make_batch
from semi_smd_ros.training.config import Stage, TrainConfig
from semi_smd_ros.training.evaluate import PROTOCOL, evaluate, frame_input
from semi_smd_ros.training.losses import LossWeights, frame_losses
from semi_smd_ros.training.pool import SamplePool, held_out_samples
from semi_smd_ros.training.samples import VALIDATION_SEEDS
from semi_smd_ros.training.state import load_state, save_state

logger = logging.getLogger(__name__)

VERSION = '0.4.0'
TRAINED_ON = (
    'synthetic pictures only: six-camera frame pairs of rendered streets (semi_smd_ros.datasets.synthetic), random, '
    'DDAD-like and nuScenes-like rigs; no real picture'
)
BLIND = 'geometry channels alone, blind to the pictures; its depth comes from '
STATE_FILE = 'state.safetensors'
GRADIENT_LIMIT = 1.0


def sequence_loss(network: SemiSmdNetwork, batch: Batch, weights: LossWeights) -> dict[str, Tensor]:
    """Run the frames in order with memory carried (gradients flow through it); terms averaged over frames."""
    times, rigs, cameras, _, height, width = batch.images_tbn3hw.shape
    memory, memory_valid = network.empty_memory(rigs, cameras, height, width), 0.0
    sums: dict[str, list[Tensor]] = {}
    for instant in range(times):
        output = network(frame_input(batch, instant, memory, memory_valid))
        for name, value in frame_losses(output, batch, instant, weights, has_memory=instant > 0).items():
            sums.setdefault(name, []).append(value)
        memory, memory_valid = output.memory_bnchw, 1.0
    return {name: torch.stack(values).mean() for name, values in sums.items()}


def parameter_groups(network: SemiSmdNetwork, config: TrainConfig) -> list[dict[str, Any]]:
    """Groups for the optimiser: `rate` is the factor of the learning rate; vectors (biases, norms) do not decay."""
    slow: set[nn.Parameter] = set()
    if config.encoder_rate < 1 and isinstance(network.encoder, EfficientNetEncoder):
        slow = set(network.encoder.backbone.parameters())
    groups = []
    for rate, members in ((config.encoder_rate, slow), (1.0, set(network.parameters()) - slow)):
        # in the network's order: a resumed run finds every moment at its parameter
        learning = [p for p in network.parameters() if p in members and p.requires_grad]
        for decay, matrices in ((config.weight_decay, True), (0.0, False)):
            chosen = [p for p in learning if (p.dim() > 1) == matrices]
            if chosen:
                groups.append({'params': chosen, 'weight_decay': decay, 'rate': rate})
    return groups


@torch.no_grad()
def update_average(averaged: SemiSmdNetwork, network: SemiSmdNetwork, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's; faster at first, when they are still far off.

    Buffers (statistics of batch norm) are averages already and are copied.
    """
    share = 1 - min(decay, step / (step + 10))
    for mean, value in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, share)
    for copied, current in zip(averaged.buffers(), network.buffers(), strict=True):
        copied.copy_(current)


def validation_cost(figures: dict[str, float]) -> float:
    """What `best` minimises: AbsRel alone would reward hedging towards near depths, d < 1.25 does not."""
    return figures['abs_rel'] + 1 - figures['d1']


class Trainer:
    """One run in one folder: `best` and `last` checkpoints, `state.safetensors` to resume from, `log.jsonl`."""

    def __init__(self, config: TrainConfig, network_config: NetworkConfig, folder: Path, command: str) -> None:
        if not network_config.sees_images:
            config = replace(config, augmentation=replace(config.augmentation, colour=0.0, noise=0.0))
        if config.bfloat16 and not torch.cpu._is_avx512_bf16_supported():
            logger.warning('this CPU has no bfloat16 instructions (AVX512_BF16): training in float32, which is faster')
            config = replace(config, bfloat16=False)
        self.config, self.folder, self.command = config, folder, command
        torch.manual_seed(config.seed)
        self.generator = np.random.default_rng(config.seed)
        self.network = SemiSmdNetwork(network_config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.encoder_rate < 1 and isinstance(self.network.encoder, EfficientNetEncoder):
            self.network.encoder.keep_pretrained()
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, config), lr=config.learning_rate, betas=(0.9, 0.98)
        )
        self.averaged = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.step = 0
        self.elapsed_s = 0.0
        self.best: dict[str, float] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start_from(self, checkpoint: Path) -> None:
        """Begin with the weights of a checkpoint. Raises CheckpointError when they are of another network."""
        given, _ = load_checkpoint(checkpoint)
        theirs, ours = given.config.to_dict(), self.network.config.to_dict()
        if theirs != ours:
            differing = ', '.join(
                f'{name} {theirs[name]} (here {ours[name]})' for name in ours if theirs[name] != ours[name]
            )
            raise CheckpointError(f'{checkpoint}: of another network: {differing}; choose its config')
        self.network.load_state_dict(given.state_dict())
        self.averaged.load_state_dict(given.state_dict())

    def start_from_imagenet(self, weights: Path) -> None:
        """Begin with published weights of the encoder. Raises CheckpointError when they are not this encoder's."""
        encoder = self.network.encoder
        if not isinstance(encoder, (EfficientNetEncoder, ResNetEncoder)):
            raise CheckpointError(
                f'{weights}: {self.network.config.name} has the encoder {self.network.config.encoder}; expected an '
                'EfficientNet-Lite, resnet18 or resnet34'
            )
        try:
            encoder.load_imagenet(weights)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        self.averaged.load_state_dict(self.network.state_dict())

    def resume(self) -> None:
        """Continue from `state.safetensors` of the run's folder. Raises FileNotFoundError when there is none."""
        progress = load_state(self.folder / STATE_FILE, self.network, self.averaged, self.optimizer)
        self.step, self.elapsed_s, self.best = progress['step'], progress['elapsed_s'], progress['best']
        self.generator = np.random.default_rng([self.config.seed, self.step])
        logger.info('resumed at step %d after %.1f minutes', self.step, self.elapsed_s / 60)

    def run(self, on_progress: Callable[[float, str], None]) -> None:
        """Train to the end of the budget. `on_progress` gets minutes done and a line of text after every step."""
        stage_end_s = 0.0
        for stage in self.config.stages:
            stage_end_s += 60 * stage.minutes
            if self.elapsed_s < stage_end_s:
                self.run_stage(stage, stage_end_s, on_progress)

    def run_stage(self, stage: Stage, end_s: float, on_progress: Callable[[float, str], None]) -> None:
        config, frames = self.config, self.folder / 'frames'
        seeds = VALIDATION_SEEDS[: config.validation_scenes]
        held_out = held_out_samples(frames, seeds, stage.height, stage.width)
        self.best = self.best if self.best.get('height') == stage.height else {}  # figures differ between sizes
        full, limits = config.full_size, (config.pool_capacity, config.pool_minimum)
        pool = SamplePool(frames, *full, config.workers, *limits, halvings=stage.halvings(full))
        since_validation_s = 0.0
        with pool:
            samples = pool.draw(self.generator, stage.batch)
            while self.elapsed_s < end_s:
                started = time.monotonic()
                losses = self.train_step(samples)
                samples = pool.draw(self.generator, stage.batch)
                spent_s = time.monotonic() - started
                self.elapsed_s += spent_s
                since_validation_s += spent_s
                on_progress(self.elapsed_s / 60, f'loss {losses["total"]:.3f} depth {losses["depth"]:.3f}')
                if self.step % 20 == 0:
                    self.write_log({**losses, 'rate': self.rate(), 'newest_seed': pool.newest_seed()})
                if since_validation_s > 60 * config.validate_every_minutes or self.elapsed_s >= end_s:
                    since_validation_s = 0.0
                    self.validate(held_out, stage)

    def rate(self) -> float:
        return self.config.learning_rate_at(min(1.0, self.elapsed_s / (60 * self.config.minutes)))

    def train_step(self, samples: list[Any]) -> dict[str, float]:
        """One optimiser step; returns the loss terms. Raises FloatingPointError when the loss is not finite."""
        batch = make_batch(samples, self.config.augmentation, self.generator)
        for group in self.optimizer.param_groups:
            group['lr'] = self.rate() * group['rate']
        self.network.train()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=self.config.bfloat16):
            terms = sequence_loss(self.network, batch, self.config.losses)
        total = torch.stack(list(terms.values())).sum()
        values = {'total': total.item(), **{name: value.item() for name, value in terms.items()}}
        if not math.isfinite(values['total']):
            raise FloatingPointError(f'step {self.step}: loss is {values}; lower the learning rate and resume')
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_LIMIT)
        self.optimizer.step()
        self.step += 1
        update_average(self.averaged, self.network, self.config.average, self.step)
        return values

    def validate(self, held_out: list[Any], stage: Stage) -> None:
        """Score, log, and write `last`, `state.safetensors` and, when the validation cost fell, `best`."""
        figures = evaluate(self.averaged, held_out)
        self.write_log({'validation': figures, 'height': stage.height})
        shown = {name: round(value, 4) for name, value in figures.items()}
        logger.info('step %d, %.1f min: %s', self.step, self.elapsed_s / 60, shown)
        scores = {'protocol': f'validation scenes at {stage.height}x{stage.width}; {PROTOCOL}', **figures}
        card = {
            'version': VERSION,
            'trained_on': TRAINED_ON if self.network.config.sees_images else BLIND + TRAINED_ON,
            'scores': scores,
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
        progress = {'step': self.step, 'elapsed_s': self.elapsed_s, 'best': self.best}
        save_state(self.folder / STATE_FILE, self.network, self.averaged, self.optimizer, progress)

    def write_log(self, entry: dict[str, Any]) -> None:
        with (self.folder / 'log.jsonl').open('a') as file:
            file.write(json.dumps({'step': self.step, 'minutes': self.elapsed_s / 60, **entry}) + '\n')
