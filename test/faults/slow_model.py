# SPDX-License-Identifier: Apache-2.0
"""The tiny model, made to work for many seconds inside ONNX Runtime, where no signal reaches it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_model import write_tiny_model

from semi_smd_ros.runtime.engine.trust import write_checksum

SIZE = 256
# Products of two matrices, a fifth of a millisecond each where it is fast: longer than any test waits.
PRODUCTS = 400_000


def write_slow_model(path: Path, always: bool) -> Path:
    """Write the model and return its path. It is slow on any picture that has a white pixel, or `always`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(write_tiny_model(path))
    graph, float32 = model.graph, TensorProto.FLOAT
    last = next(node for node in graph.node if 'confidence' in node.output)
    last.output[:] = ['confidence_of_tiny']
    body = helper.make_graph(
        [
            helper.make_node('Identity', ['go_on'], ['goes_on']),
            helper.make_node('MatMul', ['matrix', 'same'], ['product']),
        ],
        'product',
        [
            helper.make_tensor_value_info('turn', TensorProto.INT64, []),
            helper.make_tensor_value_info('go_on', TensorProto.BOOL, []),
            helper.make_tensor_value_info('matrix', float32, [SIZE, SIZE]),
        ],
        [
            helper.make_tensor_value_info('goes_on', TensorProto.BOOL, []),
            helper.make_tensor_value_info('product', float32, [SIZE, SIZE]),
        ],
    )
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.eye(SIZE, dtype=np.float32), 'same'),
            helper.make_tensor('nearly', float32, [], [1.001 if always else 1e-3]),
            helper.make_tensor('products', TensorProto.INT64, [], [PRODUCTS]),
            helper.make_tensor('true', TensorProto.BOOL, [], [True]),
        ]
    )
    graph.node.extend(
        [
            helper.make_node('ReduceMax', ['images'], ['brightest'], keepdims=0),
            helper.make_node('Add', ['brightest', 'nearly'], ['brighter']),
            helper.make_node('Floor', ['brighter'], ['whole']),
            helper.make_node('Cast', ['whole'], ['times'], to=TensorProto.INT64),
            helper.make_node('Mul', ['times', 'products'], ['turns']),
            helper.make_node('Loop', ['turns', 'true', 'same'], ['turned'], body=body),
            helper.make_node('ReduceMax', ['turned'], ['factor'], keepdims=0),
            helper.make_node('Mul', ['confidence_of_tiny', 'factor'], ['confidence']),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    write_checksum(path)
    return path
