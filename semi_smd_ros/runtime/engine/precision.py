# SPDX-License-Identifier: Apache-2.0
"""Which parts of a model may be computed in less than FP32, by the names of its ONNX nodes."""

from __future__ import annotations

from collections.abc import Collection

PRECISIONS = ('fp16', 'fp32', 'int8')


def stays_fp32(node: str, fp16_scopes: Collection[str]) -> bool:
    """Whether a node must stay in FP32: all but those named `/network/<scope>/.../<operator>`.

    `fp16_scopes` stands in the model's metadata. Rays, normal equations, positions of matches and the map from log
    depth to metres lose metric scale in FP16; the scopes are the encoder, attention and heads, nearly all of the cost.
    """
    return scope_of(node) not in fp16_scopes


def scope_of(node: str) -> str:
    """The part of the network that a node belongs to; '' for none."""
    parts = node.split('/')
    return parts[2] if len(parts) >= 4 and parts[1] == 'network' else ''
