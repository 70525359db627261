# SPDX-License-Identifier: Apache-2.0
"""What a run needs to continue: weights and their average, the optimiser's moments, progress.

One safetensors file, no pickle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semi_smd_ros.network.checkpoint import CheckpointError

_PROGRESS = 'progress'


def save_state(
    path: Path, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Write the state; the file appears whole or not at all. `progress` is anything that JSON can hold."""
    tensors: dict[str, Tensor] = {}
    for prefix, module in (('network', network), ('averaged', averaged)):
        tensors |= {f'{prefix}.{name}': tensor.contiguous() for name, tensor in module.state_dict().items()}
    for index, moments in optimizer.state_dict()['state'].items():
        tensors |= {f'optimizer.{index}.{name}': moment.contiguous() for name, moment in moments.items()}
    part = path.with_suffix('.part')
    save_file(tensors, part, {_PROGRESS: json.dumps(progress)})
    part.replace(path)


def load_state(path: Path, network: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what `save_state` wrote and return its `progress`.

    Raises FileNotFoundError, or CheckpointError when the file is no such state or is that of a run of another network,
    or of another encoder_rate, which decides what learns.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: there is no run to resume; start one without --resume')
    try:
        with safe_open(path, 'pt') as file:
            progress = json.loads(file.metadata()[_PROGRESS])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for prefix, module in (('network.', network), ('averaged.', averaged)):
            module.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f'{path}: not the state of a run of this network: {error}; resume with the config that began the run (one '
            'of before motion stereo needs network_changes: {sweep_width: 0, edge_width: 0}, one of before the edges '
            'edge_width: 0), or choose another folder'
        ) from error
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith('optimizer.'):
            _, index, moment = name.split('.', 2)
            moments.setdefault(int(index), {})[moment] = tensor
    check_moments(path, moments, optimizer)
    state = optimizer.state_dict()
    optimizer.load_state_dict({**state, 'state': moments})
    return dict(progress)


def check_moments(path: Path, moments: dict[int, dict[str, Tensor]], optimizer: torch.optim.Optimizer) -> None:
    """Raises CheckpointError where they are not those of the optimiser's parameters, which it would not notice."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group['params']]
    for index, named in moments.items():
        found = {tuple(moment.shape) for moment in named.values() if moment.dim()}  # but for the count of steps
        expected = tuple(parameters[index].shape) if index < len(parameters) else None
        if found - {expected}:
            raise CheckpointError(
                f'{path}: the optimiser has learned {index} as {sorted(found)}, here it is {expected}: the run learned '
                'other parameters; resume with the encoder_rate that it began with, or choose another folder'
            )
