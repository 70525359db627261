# SPDX-License-Identifier: Apache-2.0
"""A folder with a model of `transformers`: what must be in it, what must not, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from semi_smd_ros.runtime import ModelError

CONFIG = 'config.json'
PREPROCESSOR = 'preprocessor_config.json'
PICKLED = ('*.bin', '*.pt', '*.pth', '*.ckpt')
_CHUNK = 1 << 22


def check_folder(folder: Path) -> list[Path]:
    """The files that make the model: its two configs and its weights.

    Raises ModelError where one is missing, or where the weights are pickled: unpickling runs whatever code is in them.
    """
    if not folder.is_dir():
        raise ModelError(f'{folder}: no such folder; expected a model saved by transformers ({CONFIG}, *.safetensors)')
    weights = sorted(folder.glob('*.safetensors'))
    if not weights:
        pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
        if pickled:
            raise ModelError(
                f'{folder}: its weights are pickled ({", ".join(pickled)}), which can run code when they are read; '
                'expected *.safetensors: get the model in that format, or convert it where you trust it with '
                'save_pretrained of transformers'
            )
        raise ModelError(f'{folder}: no *.safetensors in it; expected the weights of a model saved by transformers')
    configs = [folder / CONFIG, folder / PREPROCESSOR]
    for path in configs:
        if not path.is_file():
            raise ModelError(f'{path}: no such file; expected it beside the weights, copy the whole model folder')
    return [*configs, *weights]


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises ModelError."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ModelError(f'{path}: cannot be read as JSON: {error}; copy the model folder again') from error
    if not isinstance(content, dict):
        raise ModelError(f'{path}: holds a {type(content).__name__}; expected a JSON object')
    return content


def hash_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files. Raises OSError."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f'{path.name}\0{path.stat().st_size}\0'.encode())
        with path.open('rb') as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
