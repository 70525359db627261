# SPDX-License-Identifier: Apache-2.0
"""`preprocessor_config.json` as a `Preprocessing`.

The library's own image processors work on one picture after the other on the CPU, and the faster ones need torchvision;
this does the same on the model's device, a batch at a time. What it cannot do is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semi_smd_ros.runtime import ModelError

from .preprocessing import IMAGENET_MEAN, IMAGENET_STD, InputSize, Preprocessing

# Pillow's numbers.
RESAMPLING = {0: 'nearest', 2: 'bilinear', 3: 'bicubic'}
# Their processors round sizes up to `size_divisor`, read a plain number as the shorter edge, and pad only where the
# pictures of a batch differ in size.
MASK_CLASSIFIERS = ('mask2former', 'maskformer')


def preprocessing_of(
    path: Path, content: dict[str, Any], model_type: str, patch: int, height: int | None
) -> Preprocessing:
    """What the model in the folder of `path` sees.

    Args:
        path: of preprocessor_config.json, for messages.
        content: of that file.
        model_type: as in config.json.
        patch: the model cuts its input into squares of this many pixels; 1 where it doesn't.
        height: pictures shall get this height and keep their aspect, instead of what the file says.

    Raises:
        ModelError: an entry that is unusable, or asks for something that this doesn't do.
    """
    try:
        return _preprocessing(content, model_type, patch, height)
    except (KeyError, TypeError, ValueError) as error:
        told = f'lacks {error}' if isinstance(error, KeyError) else str(error)
        raise ModelError(f'{path}: {told}; expected what the model was published with') from error


def _preprocessing(content: dict[str, Any], model_type: str, patch: int, height: int | None) -> Preprocessing:
    pads = content.get('do_pad') and model_type not in MASK_CLASSIFIERS
    for name, asked in (('do_pad', pads), ('do_center_crop', content.get('do_center_crop'))):
        if asked:
            raise ValueError(f'{name} is true, which this program does not do: set it to false if the model allows it')
    resample = content.get('resample', 3 if model_type in ('depth_anything', 'dpt') else 2)
    if resample not in RESAMPLING:
        raise ValueError(
            f'resample is {resample!r}; known are {", ".join(f"{k} ({v})" for k, v in RESAMPLING.items())}'
        )
    normalises = content.get('do_normalize', True)
    return Preprocessing(
        size=_input_size(content, model_type, patch, height),
        resampling=RESAMPLING[resample],
        factor=float(content.get('rescale_factor', 1 / 255)) if content.get('do_rescale', True) else 1.0,
        mean=_three(content, 'image_mean', IMAGENET_MEAN) if normalises else (0.0, 0.0, 0.0),
        std=_three(content, 'image_std', IMAGENET_STD) if normalises else (1.0, 1.0, 1.0),
        bgr=bool(content.get('do_flip_channel_order', False)),
    )


def _input_size(content: dict[str, Any], model_type: str, patch: int, height: int | None) -> InputSize:
    round_up = model_type in MASK_CLASSIFIERS
    multiple = _whole(content, 'size_divisor' if round_up else 'ensure_multiple_of', 1)
    if height is not None:
        return InputSize(height=height, multiple=max(multiple, patch), round_up=round_up)
    if not content.get('do_resize', True):
        size = InputSize(multiple=multiple)
    else:
        size = _stated_size(content, multiple, round_up)
    is_fixed = size.height is not None and size.width is not None and not size.keep_aspect
    if multiple % patch and not (is_fixed and all(edge % patch == 0 for edge in size.of(1, 1))):
        raise ValueError(
            f'sizes are multiples of {multiple}, but the model cuts pictures into squares of {patch}: '
            f'set ensure_multiple_of to {patch}'
        )
    return size


def _stated_size(content: dict[str, Any], multiple: int, round_up: bool) -> InputSize:
    size = content['size']
    if isinstance(size, int):
        longest = content.get('max_size', content.get('_max_size'))
        size = {'shortest_edge': size, 'longest_edge': longest} if round_up else {'height': size, 'width': size}
    if not isinstance(size, dict):
        raise ValueError(f'size is {size!r}; expected a number, height and width, or shortest_edge')
    keeps = bool(content.get('keep_aspect_ratio', False))
    if size.get('height') and size.get('width'):
        return InputSize(_whole(size, 'height'), _whole(size, 'width'), keeps, multiple=multiple, round_up=round_up)
    if size.get('shortest_edge'):
        longest = _whole(size, 'longest_edge') if size.get('longest_edge') else None
        return InputSize(shortest=_whole(size, 'shortest_edge'), longest=longest, multiple=multiple, round_up=round_up)
    raise ValueError(f'size is {size!r}; expected a number, height and width, or shortest_edge')


def _whole(content: dict[str, Any], name: str, default: int | None = None) -> int:
    value = content.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or value < 1:
        raise ValueError(f'{name} is {value!r}; expected a whole number above 0')
    return value


def _three(content: dict[str, Any], name: str, default: tuple[float, float, float]) -> tuple[float, float, float]:
    values = content.get(name, default)
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise ValueError(f'{name} is {values!r}; expected three numbers')
    red, green, blue = (float(value) for value in values)
    return red, green, blue
