# SPDX-License-Identifier: Apache-2.0
"""Tiny teachers of the real kinds, randomly initialised and saved as their publishers save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from semi_smd_ros.network.config import CITYSCAPES_CLASSES

NORMALISATION = {'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]}
COMMON: dict[str, Any] = {
    'do_normalize': True, 'do_rescale': True, 'do_resize': True, 'rescale_factor': 1 / 255, **NORMALISATION,
}  # fmt: skip
# As published with Depth Anything V2, SegFormer b0 and Mask2Former Swin-T, but for the sizes.
DEPTH_ANYTHING: dict[str, Any] = {
    **COMMON, 'do_pad': False, 'ensure_multiple_of': 14, 'image_processor_type': 'DPTImageProcessor',
    'keep_aspect_ratio': True, 'resample': 3, 'size': {'height': 70, 'width': 70}, 'size_divisor': None,
}  # fmt: skip
SEGFORMER: dict[str, Any] = {
    **COMMON, 'do_reduce_labels': False, 'image_processor_type': 'SegformerImageProcessor', 'resample': 2,
    'size': {'height': 64, 'width': 96},
}  # fmt: skip
MASK2FORMER: dict[str, Any] = {
    **COMMON, '_max_size': 2048, 'ignore_index': 255, 'image_processor_type': 'Mask2FormerImageProcessor',
    'num_labels': 19, 'resample': 2, 'size': {'height': 60, 'width': 90}, 'size_divisor': 32,
}  # fmt: skip
# In another order than ours, which only names tell.
LABELS = {i: name for i, name in enumerate(reversed(CITYSCAPES_CLASSES))}


def save_depth_anything(folder: Path, kind: str = 'relative') -> Path:
    backbone = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=70, patch_size=14, mlp_ratio=2,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=14, reassemble_hidden_size=32, neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8, head_hidden_size=8, depth_estimation_type=kind, max_depth=80,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.DepthAnythingForDepthEstimation(config)
    _make_lively(model)
    # The last layer's rectifier would cut a random model's answer off.
    nn.init.constant_(model.head.conv3.bias, 5.0)
    return _save(model, folder, DEPTH_ANYTHING)


def save_dpt(folder: Path) -> Path:
    config = transformers.DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=64, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8,
    )  # fmt: skip
    torch.manual_seed(3)
    sizes = {'size': {'height': 64, 'width': 64}, 'ensure_multiple_of': 1, 'keep_aspect_ratio': False}
    return _save(transformers.DPTForDepthEstimation(config), folder, {**DEPTH_ANYTHING, **sizes})


def save_segformer(folder: Path, labels: dict[int, str] | None = None) -> Path:
    names = labels or LABELS
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 16, 16], num_attention_heads=[1, 2, 2, 2], decoder_hidden_size=16,
        id2label=names, label2id={name: i for i, name in names.items()},
    )  # fmt: skip
    torch.manual_seed(1)
    model = transformers.SegformerForSemanticSegmentation(config)
    _make_lively(model)
    return _save(model, folder, SEGFORMER)


def save_mask2former(folder: Path) -> Path:
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=30, id2label=LABELS,
    )  # fmt: skip
    torch.manual_seed(2)
    model = transformers.Mask2FormerForUniversalSegmentation(config)
    _make_lively(model)
    with torch.no_grad():
        # Queries that differ, each with a class and a mask of its own.
        nn.init.normal_(model.model.transformer_module.queries_features.weight, std=3)
        nn.init.normal_(model.class_predictor.weight)
    return _save(model, folder, MASK2FORMER)


def _make_lively(model: nn.Module) -> None:
    """As it is initialised, a picture hardly shows in the answer."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)


def _save(model: Any, folder: Path, preprocessing: dict[str, Any]) -> Path:
    model.save_pretrained(folder)
    (folder / 'preprocessor_config.json').write_text(json.dumps(preprocessing))
    return folder
