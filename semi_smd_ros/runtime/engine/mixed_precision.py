# SPDX-License-Identifier: Apache-2.0
"""The same ONNX model with some of its nodes in FP16: what a strongly typed TensorRT network, which takes its types
from the file, needs. The model's inputs and outputs keep their types.

Needs the package onnx; vehicles that only load built plans, or build them by flags, do without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np

from .contract import BackendError
from .precision import stays_fp32

ONNX_HINT = 'python3 -m pip install onnx'
LARGEST = float(np.finfo(np.float16).max)
# Inputs that ONNX wants in FP32 whatever the others are.
FP32_INPUTS = {'Resize': (1, 2), 'QuantizeLinear': (0, 1), 'DequantizeLinear': (1,)}
# Operators that are left in FP32: they hold other graphs, or belong to quantisation.
LEFT = frozenset({'If', 'Loop', 'Scan', 'QuantizeLinear', 'DequantizeLinear', 'Range'})


def mixed_precision(model: bytes, fp16_scopes: Collection[str]) -> bytes:
    """The model with every node of `fp16_scopes` in FP16, and casts where FP32 and FP16 meet.

    Constants larger than FP16 holds become its largest number. Raises BackendError without the package onnx, or for a
    model whose tensors' types cannot be told.
    """
    onnx = import_onnx()
    proto = onnx.load_from_string(model)
    _Converter(onnx, proto, fp16_scopes).run()
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString())


def rounded_to_fp16(model: bytes, fp16_scopes: Collection[str]) -> bytes:
    """The FP32 model with what goes into and comes out of every node of `fp16_scopes` rounded to FP16.

    What FP16 costs, for machines that cannot compute in it: ONNX Runtime on the CPU runs most FP16 operators in FP32
    and does not round between them. Sums are as in FP32, which is what GPUs do in convolutions and matrix products.
    """
    onnx = import_onnx()
    proto = onnx.load_from_string(mixed_precision(model, fp16_scopes))
    graph, half, wide = proto.graph, onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT

    def in_fp32(tensor: Any) -> Any:
        return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), tensor.name)

    for tensor in graph.initializer:
        if tensor.data_type == half:
            tensor.CopyFrom(in_fp32(tensor))
    nodes = []
    for node in list(graph.node):
        if node.op_type == 'Cast' and node.attribute[0].i == wide and node.input[0].endswith('.fp16'):
            node = onnx.helper.make_node('Identity', node.input, node.output, name=node.name)
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.i == half:
                attribute.i = wide
            if node.op_type == 'ConstantOfShape' and attribute.t.data_type == half:
                attribute.t.CopyFrom(in_fp32(attribute.t))
        nodes.append(node)
        for i, name in enumerate(node.output):
            if name.endswith(('.fp16', '.to_fp16')):
                node.output[i] = f'{name}.exact'
                for source, target, to in ((f'{name}.exact', f'{name}.half', half), (f'{name}.half', name, wide)):
                    nodes.append(onnx.helper.make_node('Cast', [source], [target], name=f'round/{target}', to=to))
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(proto.SerializeToString())


def import_onnx() -> Any:
    """The package onnx. Raises BackendError saying how to get it."""
    try:
        import onnx
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise BackendError(f'a mixed FP16 model cannot be made without the package onnx: {ONNX_HINT}') from error
    return onnx


class _Converter:
    """Walks the nodes once, in their (topological) order, and writes the graph's new list of nodes."""

    def __init__(self, onnx: Any, proto: Any, fp16_scopes: Collection[str]) -> None:
        self.onnx = onnx
        self.float, self.half = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
        self.graph = proto.graph
        self.scopes = fp16_scopes
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=False).graph
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.types |= {name: tensor.data_type for name, tensor in self.constants.items()}
        self.kept = {value.name for value in self.graph.output}
        # The name of a tensor's FP16 form, once there is one; the tensors that were cast back to FP32.
        self.half_names: dict[str, str] = {}
        self.floats: set[str] = set()
        self.nodes: list[Any] = []

    def run(self) -> None:
        """Convert the graph in place."""
        for node in list(self.graph.node):
            if node.op_type == 'Constant':
                self._keep_constant(node)
            elif self._is_half(node):
                self._convert(node)
            else:
                self._read_floats(node)
        self._drop_unread()
        # Their types have changed; what remains is inferred again by whoever reads the file.
        del self.graph.value_info[:]

    def _drop_unread(self) -> None:
        """Put the new nodes into the graph, without the constants that are now read in FP16 only."""
        read = {name for node in _all_nodes(self.nodes) for name in node.input} | self.kept
        nodes = [node for node in self.nodes if node.op_type != 'Constant' or node.output[0] in read]
        tensors = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(nodes)
        self.graph.initializer.extend(tensors)

    def _is_half(self, node: Any) -> bool:
        if node.op_type in LEFT or stays_fp32(node.name, self.scopes):
            return False
        names = [name for name in (*node.input, *node.output) if name]
        unknown = [name for name in names if name not in self.types]
        if unknown:
            raise BackendError(f'the type of tensor {unknown[0]} of node {node.name} cannot be told: export it again')
        return any(self.types[name] == self.float for name in names)

    def _convert(self, node: Any) -> None:
        fp32 = FP32_INPUTS.get(node.op_type, ())
        for i, name in enumerate(node.input):
            if name and self.types[name] == self.float:
                node.input[i] = self._as_float(name) if i in fp32 else self._as_half(name)
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.name == 'to' and attribute.i == self.float:
                attribute.i = self.half
            if node.op_type == 'ConstantOfShape' and attribute.name == 'value' and attribute.t.data_type == self.float:
                attribute.t.CopyFrom(self._rounded(attribute.t, attribute.t.name))
        self.nodes.append(node)
        for i, name in enumerate(node.output):
            if name and self.types[name] == self.float:
                node.output[i] = self.half_names[name] = f'{name}.fp16'
                if name in self.kept:
                    self._as_float(name)

    def _read_floats(self, node: Any) -> None:
        for i, name in enumerate(node.input):
            if name:
                node.input[i] = self._as_float(name)
        # What a graph inside reads from outside, it reads under its own name.
        for inner in _all_nodes([node]):
            for name in inner.input:
                self._as_float(name)
        self.nodes.append(node)

    def _as_float(self, name: str) -> str:
        """The tensor in FP32, under its old name; cast back where a converted node makes it."""
        if self.half_names.get(name) == f'{name}.fp16' and name not in self.floats:
            self._cast(self.half_names[name], name, self.float)
            self.floats.add(name)
        return name

    def _as_half(self, name: str) -> str:
        """The tensor in FP16: a rounded constant, what a converted node makes, or a cast."""
        if name not in self.half_names:
            self.half_names[name] = f'{name}.to_fp16'
            if name in self.constants:
                rounded = self._rounded(self.constants[name], self.half_names[name])
                self.graph.initializer.append(rounded)
            else:
                self._cast(name, self.half_names[name], self.half)
        return self.half_names[name]

    def _cast(self, source: str, target: str, to: int) -> None:
        self.nodes.append(self.onnx.helper.make_node('Cast', [source], [target], name=f'cast/{target}', to=to))

    def _keep_constant(self, node: Any) -> None:
        value = next((attribute.t for attribute in node.attribute if attribute.name == 'value'), None)
        if value is not None and value.data_type == self.float:
            self.constants[node.output[0]] = value
            self.types[node.output[0]] = self.float
        self.nodes.append(node)

    def _rounded(self, tensor: Any, name: str) -> Any:
        values = self.onnx.numpy_helper.to_array(tensor)
        finite = np.clip(values, -LARGEST, LARGEST)
        halves = np.where(np.isfinite(values), finite, values).astype(np.float16)
        return self.onnx.numpy_helper.from_array(halves, name)


def _all_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """The nodes, and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all_nodes(graph.node)
