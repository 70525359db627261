# SPDX-License-Identifier: Apache-2.0
"""Teachers exported to ONNX, of any origin; see `onnx_sidecar` for what is said beside the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .cityscapes import class_lookup
from .execution import Execution
from .onnx_model import OnnxModel
from .onnx_sidecar import CLASS_OUTPUTS, DEPTH_OUTPUTS
from .preprocessing import as_disparity, check_numbers, resized
from .transformers_semantics import DEFAULT_THRESHOLD, confident_classes


class OnnxDepth:
    """A depth teacher; see `interface.DepthTeacher`. Metric3D and its kin say `output: depth`.

    Raises ModelError, also from `disparity` when the model answers something else than its sidecar says.
    """

    def __init__(self, path: Path, execution: Execution | None = None) -> None:
        how = execution or Execution()
        self._model = OnnxModel(path, DEPTH_OUTPUTS, how.batch, how.device, {})
        self.identity = self._model.identity

    def disparity(self, images_mhw3: np.ndarray, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Relative inverse depth (M,H,W) float32; see the interface. NaN where a model of depth gives none above 0."""
        size = size_hw or images_mhw3.shape[1:3]
        parts = []
        for answer in self._model.answers(images_mhw3):
            if answer.ndim == 4 and answer.shape[1] == 1:
                answer = answer[:, 0]
            if answer.ndim != 3 or not answer.is_floating_point():
                raise self._model.refuse(answer, 'float (M,H,W) or (M,1,H,W)')
            disparity = as_disparity(answer.float(), self._model.sidecar.output, self.identity.name)
            parts.append(resized(disparity[:, None], size)[:, 0].numpy())
        return np.concatenate(parts)


class OnnxSemantics:
    """A semantic teacher; see `interface.SemanticTeacher`.

    `threshold`: classes of which the model is less sure, 0 to 1, become 255; a model that answers `classes` does not
    say how sure it is. Raises ModelError, also from `classes` when the model answers something else than its sidecar
    says.
    """

    def __init__(self, path: Path, threshold: float = DEFAULT_THRESHOLD, execution: Execution | None = None) -> None:
        how = execution or Execution()
        self._model = OnnxModel(path, CLASS_OUTPUTS, how.batch, how.device, {'threshold': threshold})
        sidecar = self._model.sidecar
        self._lookup = torch.from_numpy(class_lookup(sidecar.classes, str(sidecar.path)))
        self._threshold = threshold
        self.identity = self._model.identity

    def classes(self, images_mhw3: np.ndarray, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Train ids (M,H,W) uint8; see the interface."""
        size = size_hw or images_mhw3.shape[1:3]
        parts = []
        for answer in self._model.answers(images_mhw3):
            if self._model.sidecar.output == 'classes':
                parts.append(self._looked_up(answer, size))
                continue
            if answer.ndim != 4 or answer.shape[1] != len(self._lookup) or not answer.is_floating_point():
                raise self._model.refuse(answer, f'float (M,{len(self._lookup)},H,W)')
            check_numbers(~answer.isnan(), self.identity.name)
            for one in answer.float().split(1):
                shares = resized(one, size)
                if self._model.sidecar.output == 'logits':
                    shares = shares.softmax(1)
                parts.append(confident_classes(shares, self._lookup, self._threshold).numpy())
        return np.concatenate(parts)

    def _looked_up(self, answer: torch.Tensor, size_hw: tuple[int, int]) -> np.ndarray:
        if answer.ndim == 4 and answer.shape[1] == 1:
            answer = answer[:, 0]
        index = answer.long()
        if answer.ndim != 3 or not 0 <= int(index.min()) <= int(index.max()) < len(self._lookup):
            raise self._model.refuse(answer, f'(M,H,W) of indices below {len(self._lookup)}')
        # Nearest neighbour: a class between two others is a third.
        return resized(self._lookup[index][:, None], size_hw, 'nearest')[:, 0].numpy()
