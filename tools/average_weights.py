#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the mean of the weights of checkpoints of one network; its card holds theirs, and no scores: it was not scored.

What a run learned last is partly the noise of its last samples; the mean of two points of one run lies between them,
where the loss is usually lower (Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization,
2018).

    python tools/average_weights.py out.safetensors first.safetensors second.safetensors [...]
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import torch

from semi_smd_ros.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from semi_smd_ros.training.card import VERSION


def average(output: Path, checkpoints: list[Path]) -> None:
    """Raises CheckpointError when a file is missing or broken, or when the networks differ."""
    networks, cards = zip(*map(load_checkpoint, checkpoints), strict=True)
    network = networks[0]
    for path, other in zip(checkpoints[1:], networks[1:], strict=True):
        if other.config != network.config:
            raise CheckpointError(f'{path}: got another network than in {checkpoints[0]}; expected one config in all')
    states = [other.state_dict() for other in networks]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        for name, value in states[0].items()
    }
    network.load_state_dict(mean)
    command = shlex.join(['python', 'tools/average_weights.py', str(output), *map(str, checkpoints)])
    trained_on = '; averaged with: '.join(dict.fromkeys(card['trained_on'] for card in cards))
    card = {'version': VERSION, 'trained_on': trained_on, 'scores': {}, 'command': command, 'averaged': list(cards)}
    save_checkpoint(network, output, card)


def main() -> None:
    parser = argparse.ArgumentParser(description='Write the mean of the weights of checkpoints of one network.')
    parser.add_argument('output', type=Path, help='the .safetensors to write')
    parser.add_argument('checkpoints', type=Path, nargs='+', help='.safetensors files, their .json beside them')
    options = parser.parse_args()
    try:
        average(options.output, options.checkpoints)
    except CheckpointError as error:
        parser.error(str(error))


if __name__ == '__main__':
    main()
