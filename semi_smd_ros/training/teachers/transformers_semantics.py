# SPDX-License-Identifier: Apache-2.0
"""Semantic teachers of `transformers`: SegFormer, Mask2Former and their kin, trained on Cityscapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from semi_smd_ros.network.config import IGNORE_CLASS
from semi_smd_ros.runtime import ModelError

from .cityscapes import class_lookup
from .execution import Execution
from .preprocessing import check_numbers, resized
from .transformers_model import as_tensor, load_model
from .transformers_preprocessing import MASK_CLASSIFIERS

DEFAULT_THRESHOLD = 0.5
QUERIES = 16  # whose masks are held at the size of the picture at a time


class TransformersSemantics:
    """A semantic teacher from a local folder; see `interface.SemanticTeacher`.

    Args:
        folder: config.json, preprocessor_config.json, *.safetensors.
        threshold: classes of which the model is less sure, 0 to 1, become 255.
        height: pictures get this height for the model, aspect kept, instead of what preprocessor_config.json says.
        execution: device, precision, batch.

    Raises:
        ModelError: see `load_model`; no segmenter; classes that are not those of Cityscapes.
    """

    def __init__(
        self,
        folder: Path,
        threshold: float = DEFAULT_THRESHOLD,
        height: int | None = None,
        execution: Execution | None = None,
    ) -> None:
        lookup: list[np.ndarray] = []

        def choose_class(library: Any, config: Any) -> Any:
            # Before the weights are read, which takes longer.
            lookup.append(class_lookup([config.id2label[i] for i in sorted(config.id2label)], str(folder)))
            if config.model_type == 'mask2former':
                return library.AutoModelForUniversalSegmentation
            if config.model_type == 'maskformer':
                return library.AutoModelForInstanceSegmentation
            if type(config) not in library.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING:
                raise ModelError(
                    f'{folder}: is a {config.model_type} model; expected Mask2Former, MaskFormer or one for semantic '
                    'segmentation such as SegFormer'
                )
            return library.AutoModelForSemanticSegmentation

        options = {'threshold': threshold, 'height': height}
        self._loaded = load_model(folder, choose_class, execution or Execution(), options)
        self._classifies_masks = self._loaded.config.model_type in MASK_CLASSIFIERS
        self._lookup = torch.from_numpy(lookup[0]).to(self._loaded.device)
        self._threshold = threshold
        self.identity = self._loaded.identity

    @torch.inference_mode()
    def classes(self, images_mhw3: np.ndarray, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Train ids (M,H,W) uint8; see the interface."""
        size = size_hw or images_mhw3.shape[1:3]
        parts = []
        for output in self._loaded.answers(images_mhw3):
            # One by one: the scores of all classes at the size of a camera's picture take 180 MB.
            if self._classifies_masks:
                classes, masks = (as_tensor(output, f'{part}_queries_logits') for part in ('class', 'masks'))
                check_numbers(~classes.isnan(), self.identity.name)
                shares = (mask_shares(*one, size) for one in zip(classes.split(1), masks.split(1), strict=True))
            else:
                logits = as_tensor(output, 'logits')
                check_numbers(~logits.isnan(), self.identity.name)
                shares = (resized(one, size).softmax(1) for one in logits.split(1))
            parts += [confident_classes(share, self._lookup, self._threshold).cpu().numpy() for share in shares]
        return np.concatenate(parts)


def mask_shares(class_mqk: Tensor, mask_mqhw: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """How much speaks for each class at each pixel, (M,K,H,W) in 0..1, from the logits of Q queries.

    A query gives each class its share of the mask; the last class of `class_mqk` stands for no object (Cheng et al.,
    Per-Pixel Classification is Not All You Need for Semantic Segmentation, equation 3). Where queries overlap, their
    sum is brought back to 1; where no query claims the pixel it stays small, and so the pixel below the threshold.
    """
    shares = mask_mqhw.new_zeros(len(class_mqk), class_mqk.shape[2] - 1, *size_hw)
    for classes, masks in zip(class_mqk.split(QUERIES, 1), mask_mqhw.split(QUERIES, 1), strict=True):
        weights = classes.softmax(-1)[..., :-1]
        shares += torch.einsum('mqk,mqhw->mkhw', weights, resized(masks, size_hw).sigmoid())
    return shares / shares.sum(1, keepdim=True).clamp(min=1)


def confident_classes(share_mkhw: Tensor, lookup_k: Tensor, threshold: float) -> Tensor:
    """Train ids (M,H,W) uint8 of the greatest shares, through `lookup_k`; 255 where the share is below `threshold`."""
    share, index = share_mkhw.max(1)
    return torch.where(share >= threshold, lookup_k[index], IGNORE_CLASS)
