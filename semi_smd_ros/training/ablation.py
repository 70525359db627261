# SPDX-License-Identifier: Apache-2.0
"""Variants of one method, each trained and evaluated with several seeds; what is finished is not done again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.network.profile import count_flops
from semi_smd_ros.training.config import TrainConfig, load_train_config
from semi_smd_ros.training.evaluate import SYNTHETIC_PROTOCOL, evaluate
from semi_smd_ros.training.fabric import make_fabric
from semi_smd_ros.training.pool import held_out_samples
from semi_smd_ros.training.samples import TEST_SEEDS
from semi_smd_ros.training.settings import ConfigError, load_settings, plain, settings_from
from semi_smd_ros.training.trainer import CONFIG_FILE, STATE_FILE, Trainer
from semi_smd_ros.training.views import RenderedViews

RESULT_FILE = 'result.json'
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Variant:
    """What one line of the table changes: entries of the network's config, of the run's, and of its losses."""

    name: str
    """Of its folder."""
    title: str
    note: str = ''
    network: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    semi_losses: Mapping[str, Any] = field(default_factory=dict)

    def applied(self, config: TrainConfig) -> TrainConfig:
        """The run's config with these changes. Raises ConfigError."""
        values = plain(asdict(config))
        values.update(self.train)
        values['network_changes'] = {**values['network_changes'], **self.network}
        values['semi_losses'] = {**values['semi_losses'], **self.semi_losses}
        return settings_from(TrainConfig, plain(values), f'variant {self.name}')


@dataclass(frozen=True)
class AblationConfig:
    """What `semi-smd ablate` does; the first variant is the one that the others are compared with."""

    seeds: tuple[int, ...] = (0, 1)
    test_scenes: int = 24
    train: TrainConfig = field(default_factory=TrainConfig)
    variants: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f'variants are named {names}; expected at least one, every name once')
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ConfigError(f'seeds are {list(self.seeds)}; expected at least one, each once')
        if self.train.supervision != 'semi' or not self.train.synthetic:
            raise ConfigError('train: expected supervision: semi on synthetic data: no true depth')
        if not self.train.steps or not self.train.views:
            raise ConfigError(
                'train: expected stages of steps and a number of views, so that all variants see the same'
            )
        if len(self.train.stages) > 1:
            raise ConfigError(f'train: has {len(self.train.stages)} stages; expected one')
        for variant in self.variants:
            variant.applied(self.train)


@dataclass(frozen=True)
class Job:
    """One variant with one seed."""

    variant: Variant
    seed: int
    config: TrainConfig
    folder: Path
    test_scenes: int
    imagenet: Path | None = None
    """Published weights that its encoder begins with."""

    @property
    def fingerprint(self) -> str:
        """Changes when anything does that the figures depend on; where the frames lie does not."""
        begin = '' if self.imagenet is None else hashlib.sha256(self.imagenet.read_bytes()).hexdigest()
        settings = plain(asdict(replace(self.config, frames='')))
        text = json.dumps([settings, self.test_scenes, SYNTHETIC_PROTOCOL, begin], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def result(self) -> dict[str, Any] | None:
        """What the finished job found; None where it is not finished, or was another one."""
        path = self.folder / RESULT_FILE
        if not path.is_file():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        return found if found['fingerprint'] == self.fingerprint else None


def load_ablation(path: Path) -> AblationConfig:
    """Read the YAML file. Raises ConfigError naming what cannot be used."""
    return load_settings(AblationConfig, path)


def jobs(config: AblationConfig, out: Path, imagenet: Path | None = None) -> list[Job]:
    """All runs, every variant of the first seed before the next seed's. Rendered frames are shared."""
    return [
        Job(
            variant,
            seed,
            replace(variant.applied(config.train), seed=seed, frames=str(out / 'frames')),
            out / 'runs' / f'{variant.name}_seed{seed}',
            config.test_scenes,
            imagenet,
        )
        for seed in config.seeds
        for variant in config.variants
    ]


def run_job(job: Job, command: str, on_progress: Progress, accelerator: str = 'cpu') -> dict[str, Any]:
    """Train and evaluate one job, from where it was left off; `on_progress` gets steps done and what is being done.

    Raises CheckpointError for `imagenet` weights of another encoder, ConfigError for an accelerator that is not there.
    """
    done = job.result()
    if done is not None:
        return done
    fabric = make_fabric(job.config, accelerator)
    trainer = Trainer(job.config, job.config.network_config, begun(job), command, fabric)
    if (job.folder / STATE_FILE).is_file():
        trainer.resume()
    elif job.imagenet is not None:
        trainer.start_from_imagenet(job.imagenet)
    trainer.run(on_progress)
    on_progress(job.config.steps, 'evaluating')  # on other scenes, and on those whose pictures it has seen
    network = load_checkpoint(job.folder / 'last.safetensors')[0].to(fabric.device)
    stage = job.config.stages[-1]
    samples = held_out_samples(Path(job.config.frames), TEST_SEEDS[: job.test_scenes], stage.height, stage.width)
    views = RenderedViews(Path(job.config.frames), stage.height, stage.width, halvings=0, teacher=None, kept=None)
    seen = evaluate(network, [views.view(i) for i in range(min(job.config.views, job.test_scenes))])
    cameras = samples[0].images_tnhw3.shape[1]
    sized = replace(network.config, height=stage.height, width=stage.width)
    result = {
        'variant': job.variant.name,
        'seed': job.seed,
        'fingerprint': job.fingerprint,
        'steps': trainer.step,
        'minutes': trainer.elapsed_s / 60,
        'gflops': sum(count_flops(type(network)(sized), cameras).values()),
        'figures': {**evaluate(network, samples), **{f'seen_{name}': value for name, value in seen.items()}},
    }
    part = job.folder / (RESULT_FILE + '.part')
    part.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    part.replace(job.folder / RESULT_FILE)
    return result


def begun(job: Job) -> Path:
    """The job's folder, emptied where it holds a run of another config.

    Raises FileExistsError where it holds something else.
    """
    if job.folder.exists():
        written = job.folder / CONFIG_FILE
        if not any(job.folder.iterdir()):
            return job.folder  # of a run that ended before it began
        if not written.is_file():
            raise FileExistsError(f'{job.folder} is no run of an ablation; name another folder')
        if replace(load_train_config(written), frames='') != replace(job.config, frames=''):
            shutil.rmtree(job.folder)
    return job.folder
