# SPDX-License-Identifier: Apache-2.0
"""A frozen model of `transformers` from a local folder, ready to be shown pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semi_smd_ros.runtime import ModelError

from .execution import Execution
from .interface import TeacherIdentity, check_images
from .local_weights import CONFIG, PREPROCESSOR, check_folder, hash_files, read_json
from .preprocessing import Preprocessing
from .transformers_preprocessing import preprocessing_of

# Tensors that may lack in a file, for nothing of them shows in an answer: those of training, and constants.
UNUSED = ('mask_token', 'criterion.', 'relative_position_index', 'num_batches_tracked')


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """`model` in evaluation mode on its device, its config, what it sees, and how much at a time."""

    model: nn.Module
    config: Any
    preprocessing: Preprocessing
    batch: int
    device: torch.device
    dtype: torch.dtype
    identity: TeacherIdentity

    @torch.inference_mode()
    def answers(self, images_mhw3: np.ndarray) -> Iterator[Any]:
        """The model's outputs, a batch of pictures each. Raises ValueError for pictures of another shape."""
        check_images(images_mhw3)
        for first in range(0, len(images_mhw3), self.batch):
            pictures = torch.from_numpy(np.ascontiguousarray(images_mhw3[first : first + self.batch]))
            yield self.model(self.preprocessing(pictures.to(self.device)).to(self.dtype))


def load_model(
    folder: Path, choose_class: Callable[[Any, Any], Any], execution: Execution, options: dict[str, Any]
) -> LoadedModel:
    """Load the model in `folder`; nothing is downloaded, nothing unpickled, no code of the folder is run.

    Args:
        folder: config.json, preprocessor_config.json and *.safetensors.
        choose_class: given the library and the config, returns the auto class to load with, or raises ModelError.
        execution: where and how it runs.
        options: `height`, which pictures shall have for the model; and what else is part of the identity.

    Raises:
        ModelError: files that are missing, pickled or broken, weights that do not fit, no `transformers`.
    """
    files = check_folder(folder)
    device, dtype = execution.torch_device(), execution.torch_dtype()
    try:
        import transformers
    except ModuleNotFoundError as missing:
        raise ModelError("this teacher needs transformers: python3 -m pip install '.[teachers]'") from missing
    transformers.logging.disable_progress_bar()
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what does not fit is told below, in one sentence
    content = read_json(folder / PREPROCESSOR)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, report = choose_class(transformers, config).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ModelError:
        raise
    # The library lets through what its parts raise, from a truncated file's SafetensorError to a config's KeyError.
    except Exception as error:
        raise ModelError(f'{folder}: transformers {transformers.__version__} cannot load it: {error}') from error
    finally:
        transformers.logging.set_verbosity(verbosity)
    lacking = [name for name in report['missing_keys'] if not any(unused in name for unused in UNUSED)]
    unfit = sorted(lacking) + sorted(str(entry[0]) for entry in report.get('mismatched_keys') or ())
    if unfit:
        shown = ', '.join(unfit[:5]) + (', ...' if len(unfit) > 5 else '')
        raise ModelError(
            f'{folder}: {len(unfit)} tensors of the model are not in its weights or have another shape ({shown}); '
            f'expected those that belong to {CONFIG}: copy the whole model folder'
        )
    preprocessing = preprocessing_of(
        folder / PREPROCESSOR, content, config.model_type, _patch(config), options.get('height')
    )
    identity = TeacherIdentity('transformers', f'{config.model_type} {folder.name}', hash_files(files), options)
    model = model.eval().requires_grad_(False).to(device, dtype)
    return LoadedModel(model, config, preprocessing, execution.batch, device, dtype, identity)


def as_tensor(output: Any, name: str) -> Tensor:
    """One field of a model's output as float32. Raises ModelError where the model has none."""
    value = getattr(output, name, None)
    if not isinstance(value, Tensor):
        raise ModelError(f'the model gives {", ".join(output.keys())}; expected {name}')
    return value.float()


def _patch(config: Any) -> int:
    """The side of the squares that the model cuts pictures into, where it drops what is left over at the edges."""
    if config.model_type not in ('depth_anything', 'dpt', 'prompt_depth_anything'):
        return 1
    backbone = getattr(config, 'backbone_config', None)
    patch: Any = getattr(backbone, 'patch_size', None) or getattr(config, 'patch_size', 1)
    return patch if isinstance(patch, int) else max(patch)
