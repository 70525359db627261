# SPDX-License-Identifier: Apache-2.0
"""Answers of a skeleton of TensorRT: a network with the tiny model's tensors, and an engine that runs a plan.

Its plan is the ONNX file that was parsed, and it runs in ONNX Runtime, from and to the addresses that it is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from host_context import at
from tensorrt_skeleton import Skeleton

from semi_smd_ros.runtime.cuda.driver import DeviceInfo
from semi_smd_ros.runtime.engine.contract import INPUTS, OUTPUTS
from semi_smd_ros.runtime.engine.tensorrt_api import Log, TensorRT

GPU = DeviceInfo(0, 'Orin', (8, 7), 32 << 30, True, (12, 6), 16)
N, H, W = 2, 48, 80
SHAPES = {
    'images': (N, 3, H, W), 'intrinsics': (N, 3, 3), 'base_T_cam': (N, 4, 4), 'camera_valid': (N,),
    'memory': (N, 4, 6, 10), 'memory_valid': (1,), 'depth': (N, 1, H, W), 'confidence': (N, 1, H, W),
    'semantics': (N, 6, 10), 'memory_out': (N, 4, 6, 10), 'ego_motion': (4, 4),
}  # fmt: skip
LAYERS = (
    '/network/encoder/stem/Conv', 'ONNXTRT_Broadcast', '/network/ground/Solve', 'ONNXTRT_Broadcast_2',
    '/network/heads/depth/Conv', '/Shape',
)  # fmt: skip


def tensorrt(version: str) -> TensorRT:
    module = Skeleton(version)
    answer_build(module)
    return TensorRT(module, Log(module), GPU)


def answer_build(module: Skeleton) -> None:
    """A network with the contract's tensors and six layers, and a builder that builds."""

    def tensor(name: str, shape: tuple[int, ...], dtype: str = 'FLOAT', is_execution_tensor: bool = True) -> Any:
        made = module.ITensor.__new__(module.ITensor)
        made.name, made.shape, made.dtype = name, shape, module.DataType[dtype]
        made.__dict__['_is_execution_tensor'] = is_execution_tensor
        return made

    def layer(name: str) -> Any:
        made = module.ILayer.__new__(module.ILayer)
        made.__dict__.update(_num_outputs=1, _type=module.LayerType.CONVOLUTION)
        if name.startswith('ONNXTRT'):
            made.name, made.metadata = name, ''
        else:
            made.name, made.metadata = f'{name}_12', f'[ONNX Layer: {name}]'
        return made

    layers = [layer(name) for name in LAYERS]
    outputs = {id(made): tensor(f'{made.name}_output', (1,), 'INT32' if name == '/Shape' else 'FLOAT')
               for made, name in zip(layers, LAYERS, strict=True)}  # fmt: skip
    ins = [tensor(name, (-1, *SHAPES[name][1:]) if INPUTS[name][0] == 'N' else SHAPES[name]) for name in INPUTS]
    outs = [tensor(name, (-1, *SHAPES[name][1:]) if OUTPUTS[name][0] == 'N' else SHAPES[name]) for name in OUTPUTS]
    network = 'INetworkDefinition'
    module.answers.update({
        (network, 'num_inputs'): lambda _: len(ins), (network, 'get_input'): lambda _, i: ins[i],
        (network, 'num_outputs'): lambda _: len(outs), (network, 'get_output'): lambda _, i: outs[i],
        (network, 'num_layers'): lambda _: len(layers), (network, 'get_layer'): lambda _, i: layers[i],
        ('ILayer', 'get_output'): lambda made, _: outputs[id(made)],
        ('OnnxParser', 'num_errors'): lambda _: 1,
        ('ITimingCache', 'serialize'): lambda _: b'measured',
        ('Builder', 'build_serialized_network'): lambda *_: b'plan',
    })  # fmt: skip
    module.calls.clear()


def answer_run(module: Skeleton) -> None:
    """A runtime whose plans are ONNX files with the tiny model's tensors; other plans it cannot use."""
    dtypes = {name: np.float32 for name in SHAPES} | {'semantics': np.uint8}
    names, open_n = list(SHAPES), {name for name in SHAPES if {**INPUTS, **OUTPUTS}[name][0] == 'N'}
    modes = module.TensorIOMode

    def deserialise(_: Any, plan: bytes) -> Any:
        if b'images' not in plan:
            return None
        made = module.ICudaEngine.__new__(module.ICudaEngine)
        made.__dict__['session'] = ort.InferenceSession(plan, providers=['CPUExecutionProvider'])
        return made

    def context(made: Any) -> Any:
        running = module.IExecutionContext.__new__(module.IExecutionContext)
        running.__dict__.update(session=made.__dict__['session'], addresses={})
        return running

    def execute(running: Any, stream_handle: int) -> bool:
        assert stream_handle
        addresses = running.__dict__['addresses']
        feed = {name: at(addresses[name], SHAPES[name], dtypes[name]) for name in INPUTS}
        for name, result in zip(OUTPUTS, running.__dict__['session'].run(list(OUTPUTS), feed), strict=True):
            at(addresses[name], SHAPES[name], dtypes[name])[...] = result
        return True

    module.answers.update({
        ('Runtime', 'deserialize_cuda_engine'): deserialise,
        ('ICudaEngine', 'create_execution_context'): context,
        ('ICudaEngine', 'num_io_tensors'): lambda _: len(names),
        ('ICudaEngine', 'get_tensor_name'): lambda _, i: names[i],
        ('ICudaEngine', 'get_tensor_mode'): lambda _, name: modes.INPUT if name in INPUTS else modes.OUTPUT,
        ('ICudaEngine', 'get_tensor_shape'):
            lambda _, name: (-1, *SHAPES[name][1:]) if name in open_n else SHAPES[name],
        ('ICudaEngine', 'get_tensor_dtype'):
            lambda _, name: module.DataType.UINT8 if name == 'semantics' else module.DataType.FLOAT,
        ('IExecutionContext', 'set_input_shape'): lambda _, name, shape: shape == SHAPES[name],
        ('IExecutionContext', 'get_tensor_shape'): lambda _, name: SHAPES[name],
        ('IExecutionContext', 'set_tensor_address'):
            lambda running, name, memory: not running.__dict__['addresses'].update({name: memory}),
        ('IExecutionContext', 'execute_async_v3'): execute,
    })  # fmt: skip
