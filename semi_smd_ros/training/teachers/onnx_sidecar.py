# SPDX-License-Identifier: Apache-2.0
"""What an exported teacher's file does not say, from a YAML or JSON file beside it: `model.onnx`, `model.yaml`.

    output: disparity            # or depth (any unit), logits, probabilities, classes
    name: Depth Anything V2 S    # for the labels' manifest; without, the file's name
    input: pixel_values          # where the model has more than one
    output_tensor: depth         # where the model has more than one
    height: 518                  # where the model leaves its input's size open; without, the picture's own
    width: 924
    multiple: 14                 # both edges become multiples of it, where the size is open
    resampling: bicubic          # bilinear, bicubic or nearest
    factor: 0.00392156862745098  # of 0..255; without, 1/255
    mean: [0.485, 0.456, 0.406]  # then (x - mean) / std; without, ImageNet's
    std: [0.229, 0.224, 0.225]
    bgr: false                   # true: blue comes first
    classes: [road, sidewalk, ...]  # of logits, probabilities and classes, in the model's order

Input is (M,3,H,W) float32 or float16. Output is (M,H,W) or (M,1,H,W); of logits and probabilities (M,K,H,W).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from semi_smd_ros.runtime import ModelError

from .preprocessing import IMAGENET_MEAN, IMAGENET_STD

DEPTH_OUTPUTS = ('disparity', 'depth')
CLASS_OUTPUTS = ('logits', 'probabilities', 'classes')
RESAMPLINGS = ('bilinear', 'bicubic', 'nearest')
SUFFIXES = ('.yaml', '.yml', '.json')


@dataclass(frozen=True)
class Sidecar:
    """The entries, see above, and the `path` they come from."""

    path: Path
    output: str
    name: str = ''
    input: str = ''
    output_tensor: str = ''
    height: int | None = None
    width: int | None = None
    multiple: int = 1
    resampling: str = 'bilinear'
    factor: float = 1 / 255
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    bgr: bool = False
    classes: tuple[str, ...] = ()


def read_sidecar(model: Path, outputs: tuple[str, ...]) -> Sidecar:
    """The sidecar of `model`, whose `output` must be one of `outputs`. Raises ModelError naming file and entry."""
    beside = [model.with_suffix(suffix) for suffix in SUFFIXES]
    present = [path for path in beside if path.is_file()]
    if len(present) != 1:
        raise ModelError(
            f'{model}: has {" and ".join(path.name for path in present) or "no sidecar"} beside it; expected one of '
            f'{", ".join(path.name for path in beside)}, with at least the entry output: one of {", ".join(outputs)}'
        )
    path = present[0]
    try:
        text = path.read_text(encoding='utf-8')
        content = json.loads(text) if path.suffix == '.json' else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelError(f'{path}: cannot be read: {error}') from error
    if not isinstance(content, dict):
        raise ModelError(f'{path}: holds {content!r:.60}; expected entries such as output: {outputs[0]}')
    unknown = sorted(str(name) for name in content if name not in _CHECKS)
    if unknown:
        raise ModelError(f'{path}: unknown entries {", ".join(unknown)}; known are {", ".join(_CHECKS)}')
    if content.get('output') not in outputs:
        raise ModelError(f'{path}: output is {content.get("output")!r}; expected one of {", ".join(outputs)}')
    values: dict[str, Any] = {}
    for name, value in content.items():
        fits, expected = _CHECKS[name]
        if not fits(value):
            raise ModelError(f'{path}: {name} is {value!r:.60}; expected {expected}')
        values[name] = tuple(value) if isinstance(value, list) else value
    sidecar = Sidecar(path, **values)
    if (sidecar.height is None) != (sidecar.width is None):
        raise ModelError(f'{path}: has one of height and width; expected both or neither')
    if sidecar.output in CLASS_OUTPUTS and not sidecar.classes:
        raise ModelError(f"{path}: has no classes; expected the names of the model's classes, in its order")
    return sidecar


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_three(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_number(number) for number in value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_text(name) for name in value)


_CHECKS = {
    'output': (_is_text, 'text'),
    'name': (_is_text, 'text'),
    'input': (_is_text, 'the name of a tensor'),
    'output_tensor': (_is_text, 'the name of a tensor'),
    'height': (_is_whole, 'a whole number above 0'),
    'width': (_is_whole, 'a whole number above 0'),
    'multiple': (_is_whole, 'a whole number above 0'),
    'resampling': (lambda value: value in RESAMPLINGS, f'one of {", ".join(RESAMPLINGS)}'),
    'factor': (lambda value: _is_number(value) and value > 0, 'a number above 0'),
    'mean': (_is_three, 'three numbers'),
    'std': (lambda value: _is_three(value) and all(number > 0 for number in value), 'three numbers above 0'),
    'bgr': (lambda value: isinstance(value, bool), 'true or false'),
    'classes': (_is_names, 'a list of names'),
}
