# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: weights in `<name>.safetensors`, config and origin in `<name>.json` beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.model import SemiSmdNetwork

FORMAT = 2
CARD_KEYS = ('version', 'trained_on', 'scores', 'command')


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says what differs."""


def save_checkpoint(network: SemiSmdNetwork, path: Path, card: dict[str, Any]) -> None:
    """Write both files, each complete or not at all. `card` holds CARD_KEYS."""
    missing = [key for key in CARD_KEYS if key not in card]
    if missing:
        raise CheckpointError(f"{path}: the checkpoint's card lacks {missing}; it needs {list(CARD_KEYS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    description = {'format': FORMAT, 'config': network.config.to_dict(), 'card': card}
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    part = path.with_suffix('.part')
    save_file(weights, str(part))
    part.chmod(0o644)  # safetensors writes files that only their owner may read
    os.replace(part, path)
    part.write_text(json.dumps(description, indent=2) + '\n')
    os.replace(part, path.with_suffix('.json'))


def load_checkpoint(path: Path) -> tuple[SemiSmdNetwork, dict[str, Any]]:
    """The network in evaluation mode, and its card.

    Raises CheckpointError when a file is missing or broken, or format, names or shapes differ.
    """
    description_path = path.with_suffix('.json')
    for needed in (path, description_path):
        if not needed.is_file():
            raise CheckpointError(f'{needed}: no such file; a checkpoint is a .safetensors with a .json beside it')
    try:
        description = json.loads(description_path.read_text())
        weights = load_file(str(path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f'{description_path}: not JSON ({error}); restore the file') from error
    except SafetensorError as error:
        raise CheckpointError(f'{path}: not a complete safetensors file ({error}); restore the file') from error
    if not isinstance(description, dict) or not all(isinstance(description.get(k), dict) for k in ('config', 'card')):
        raise CheckpointError(f'{description_path}: expected an object with format, config and card; restore the file')
    if (found := description.get('format')) != FORMAT:
        advice = 'update this package' if isinstance(found, int) and found > FORMAT else 'train anew'
        raise CheckpointError(f'{description_path}: format {found!r}, this version reads {FORMAT}; {advice}')
    try:
        network = SemiSmdNetwork(NetworkConfig.from_dict(description['config']))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'{description_path}: unusable config: {error}') from error
    differences = compare(network.state_dict(), weights)
    if differences:
        raise CheckpointError(f'{path}: weights do not fit their config: ' + '; '.join(differences))
    network.load_state_dict(weights)
    return network.eval(), description['card']


def compare(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """What differs in names and shapes, one sentence per kind."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    differences = []
    if missing:
        differences.append(f'missing {", ".join(missing)}')
    if extra:
        differences.append(f'unexpected {", ".join(extra)}')
    for name in sorted(expected.keys() & found.keys()):
        if expected[name].shape != found[name].shape:
            differences.append(f'{name} has shape {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}')
    return differences
