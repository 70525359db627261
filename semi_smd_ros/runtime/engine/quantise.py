# SPDX-License-Identifier: Apache-2.0
"""INT8: the same ONNX model with quantise and dequantise nodes around what is costly, calibrated on real frames.

Needs the package onnx beside ONNX Runtime.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .contract import EngineInputs
from .mixed_precision import import_onnx
from .precision import stays_fp32

COSTLY = ('Conv', 'Gemm', 'MatMul')


def quantised(model: bytes, path: Path, fp16_scopes: Collection[str], inputs: Sequence[EngineInputs]) -> bytes:
    """The model with INT8 convolutions and matrix products in `fp16_scopes`, the rest as it was.

    Symmetric, weights by channel, as TensorRT wants it; the ranges of activations are those that occur for `inputs`
    (consecutive sets of one rig, the first without memory). Raises BackendError without the package onnx.
    """
    onnx = import_onnx()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = iter(_feeds(model, path, inputs))

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    graph = onnx.load_from_string(model).graph
    left = [node.name for node in graph.node if node.op_type in COSTLY and stays_fp32(node.name, fp16_scopes)]
    options = {'ActivationSymmetric': True, 'WeightSymmetric': True, 'QuantizeBias': False}
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / 'fp32.onnx', Path(folder) / 'int8.onnx'
        source.write_bytes(model)
        quantize_static(
            source, target, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=list(COSTLY),
            per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, nodes_to_exclude=left,
            extra_options=options,
        )  # fmt: skip
        proto = onnx.load(str(target))
    _read_unrounded(proto.graph, fp16_scopes)
    return bytes(proto.SerializeToString())


def _read_unrounded(graph: Any, fp16_scopes: Collection[str]) -> None:
    """Let nodes that stay in FP32 read tensors as they were before they were rounded for others."""
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in ('QuantizeLinear', 'DequantizeLinear') or not stays_fp32(node.name, fp16_scopes):
            continue
        for i, name in enumerate(node.input):
            wide = made_by.get(name)
            narrow = made_by.get(wide.input[0]) if wide is not None and wide.op_type == 'DequantizeLinear' else None
            if narrow is not None and narrow.op_type == 'QuantizeLinear':
                node.input[i] = narrow.input[0]


def _feeds(model: bytes, path: Path, inputs: Sequence[EngineInputs]) -> Iterator[dict[str, np.ndarray]]:
    """What the model is fed set by set, with the memory that it would have then."""
    from .onnxruntime import OnnxRuntimeEngine

    engine = OnnxRuntimeEngine(model, path, '')
    try:
        for k, given in enumerate(inputs):
            yield engine.feed(given, use_memory=k > 0)
            engine.run(given, use_memory=k > 0)
    finally:
        engine.close()


class _quiet:
    """ONNX Runtime's quantiser advises on the root logger; what it says there is not for users."""

    def __enter__(self) -> None:
        logging.disable(logging.WARNING)

    def __exit__(self, *_: Any) -> None:
        logging.disable(logging.NOTSET)
