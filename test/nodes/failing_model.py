# SPDX-License-Identifier: Apache-2.0
"""The tiny model, made to fail on white pictures and to answer NaN on black ones."""

from __future__ import annotations

from pathlib import Path

from tiny_model import write_tiny_model

from semi_smd_ros.runtime.engine.trust import write_checksum


def write_failing_model(path: Path) -> Path:
    """Write the model and return its path.

    Where the brightest value is 1, it reads past the end of a tensor, and ONNX Runtime raises. Where it is 0, memory
    and ego-motion are NaN, and stay so for as long as the memory is used.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(write_tiny_model(path))
    graph = model.graph
    for name in ('confidence', 'memory_out', 'ego_motion'):
        last = next(node for node in graph.node if name in node.output)
        last.output[:] = [f'{name}_of_tiny']
    graph.initializer.extend(
        [
            helper.make_tensor('nearly_nothing', TensorProto.FLOAT, [], [1e-3]),
            helper.make_tensor('one_entry', TensorProto.FLOAT, [1], [1.0]),
        ]
    )
    graph.node.extend(
        [
            helper.make_node('ReduceMax', ['images'], ['brightest'], keepdims=0),
            helper.make_node('Add', ['brightest', 'nearly_nothing'], ['brighter']),
            helper.make_node('Floor', ['brighter'], ['whole']),
            helper.make_node('Cast', ['whole'], ['entry'], to=TensorProto.INT64),
            helper.make_node('Gather', ['one_entry', 'entry'], ['factor'], axis=0),
            helper.make_node('Mul', ['confidence_of_tiny', 'factor'], ['confidence']),
            helper.make_node('Div', ['brightest', 'brightest'], ['one_or_nan']),
            helper.make_node('Mul', ['memory_out_of_tiny', 'one_or_nan'], ['memory_out']),
            helper.make_node('ReduceMean', ['memory_out'], ['mean_memory'], keepdims=0),
            helper.make_node('Div', ['mean_memory', 'mean_memory'], ['one_or_nan_for_long']),
            helper.make_node('Mul', ['ego_motion_of_tiny', 'one_or_nan_for_long'], ['ego_motion']),
        ]
    )
    onnx.save(model, path)
    write_checksum(path)
    return path
