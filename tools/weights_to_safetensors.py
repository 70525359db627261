#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn a published PyTorch state dict (.pth) into .safetensors, the only kind of weights that this project loads.

    python tools/weights_to_safetensors.py efficientnet-lite0.pth efficientnet-lite0.safetensors

It unpickles tensors and plain containers alone (`weights_only`), here and nowhere else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path)
    parser.add_argument('target', type=Path)
    options = parser.parse_args()
    if options.target.suffix != '.safetensors':
        parser.error(f'{options.target}: expected a name that ends in .safetensors')
    weights = torch.load(options.source, map_location='cpu', weights_only=True)
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        parser.error(f'{options.source}: expected a state dict, names to tensors')
    save_file({name: value.contiguous() for name, value in weights.items()}, str(options.target))


if __name__ == '__main__':
    main()
