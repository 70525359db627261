# SPDX-License-Identifier: Apache-2.0
"""Depth teachers of `transformers`: Depth Anything V2, and whatever AutoModelForDepthEstimation loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from semi_smd_ros.runtime import ModelError

from .execution import Execution
from .preprocessing import as_disparity, resized
from .transformers_model import as_tensor, load_model

OUTPUTS = ('disparity', 'depth')
# What `predicted_depth` is, where the kind of model tells. Depth Pro's is inverse depth before it is scaled by the
# field of view; Depth Anything says in its config.
KNOWN_OUTPUTS = {'depth_pro': 'disparity', 'zoedepth': 'depth', 'glpn': 'depth'}


class TransformersDepth:
    """A depth teacher from a local folder; see `interface.DepthTeacher`.

    Args:
        folder: config.json, preprocessor_config.json, *.safetensors.
        output: what the model predicts: 'disparity' (affine-invariant inverse depth) or 'depth' (along the optical
            axis, any unit). Empty where the model itself tells, as Depth Anything does; DPT comes in both kinds and
            does not.
        height: pictures get this height for the model, aspect kept, instead of what preprocessor_config.json says.
        execution: device, precision, batch.

    Raises:
        ModelError: see `load_model`; no depth model; a model whose output is not known.
    """

    def __init__(
        self, folder: Path, output: str = '', height: int | None = None, execution: Execution | None = None
    ) -> None:
        options: dict[str, Any] = {'output': output, 'height': height}

        def choose_class(library: Any, config: Any) -> Any:
            options['output'] = output or stated_output(config, folder)
            if type(config) not in library.MODEL_FOR_DEPTH_ESTIMATION_MAPPING:
                raise ModelError(f'{folder}: is a {config.model_type} model; expected one for depth estimation')
            return library.AutoModelForDepthEstimation

        self._loaded = load_model(folder, choose_class, execution or Execution(), options)
        self.identity = self._loaded.identity

    def disparity(self, images_mhw3: np.ndarray, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Relative inverse depth (M,H,W) float32; see the interface. NaN where a model of depth gives none above 0."""
        size = size_hw or images_mhw3.shape[1:3]
        parts = []
        for output in self._loaded.answers(images_mhw3):
            predicted = as_tensor(output, 'predicted_depth')
            disparity = as_disparity(predicted, self.identity.options['output'], self.identity.name)
            parts.append(resized(disparity[:, None], size)[:, 0].cpu().numpy())
        return np.concatenate(parts)


def stated_output(config: Any, folder: Path) -> str:
    """What a model predicts according to its config. Raises ModelError where that does not tell."""
    if config.model_type == 'depth_anything':
        return 'depth' if config.depth_estimation_type == 'metric' else 'disparity'
    if config.model_type not in KNOWN_OUTPUTS:
        raise ModelError(
            f'{folder}: models of type {config.model_type} do not tell what they predict; say it: '
            f'transformers:{folder}?output=disparity (relative inverse depth) or ?output=depth'
        )
    return KNOWN_OUTPUTS[config.model_type]
