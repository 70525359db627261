# SPDX-License-Identifier: Apache-2.0
"""A tiny ONNX file that keeps the whole engine contract, for tests that need an engine and not an answer.

Its answer can be told in advance, from the picture alone:

* `depth` = 10 * mean(RGB, 0..1) + 1, metres, per pixel (1 for black, 11 for white);
* `confidence` = 0.75 everywhere;
* `semantics` = floor(18 * mean brightness of an 8x8 block), uint8;
* `memory_out` = memory * memory_valid + 1: it counts the frames since the memory was wiped;
* `ego_motion` = identity, with x = 0.1 * memory_valid (metres): 0.1 m forward, or nothing after a reset.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from semi_smd_ros.runtime.engine.trust import write_checksum

CLASSES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
STRIDE = 8
CHANNELS = 4
CONFIDENCE = 0.75
STEP_M = 0.1


def tiny_metadata(height: int, width: int) -> dict[str, Any]:
    """The metadata that the engine contract asks for, as the object that is stored under the key `semi_smd_ros`."""
    return {
        'contract': 1,
        'name': 'tiny',
        'version': '0.0.1',
        'height': height,
        'width': width,
        'max_cameras': 12,
        'depth_min': 0.5,
        'depth_max': 200.0,
        'depth_map': 'depth = 10 * mean brightness + 1',
        'classes': list(CLASSES),
        'trained_on': 'nothing: a stand-in for tests',
        'scores': {},
        'command': 'test/tiny_model.py',
    }


def write_tiny_model(path: str | Path, height: int = 48, width: int = 80, **metadata_overrides: Any) -> Path:
    """Write the model and return its path.

    `height` and `width` are multiples of 8. Each keyword replaces one key of the metadata; None takes the key out.
    """
    import onnx
    from onnx import TensorProto, helper

    if height % STRIDE or width % STRIDE:
        raise ValueError(f'got {height}x{width}, expected multiples of {STRIDE}')
    rows, cols = height // STRIDE, width // STRIDE
    float32 = TensorProto.FLOAT

    def value(name: str, *shape: int | str, dtype: int = float32) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, dtype, list(shape))

    def constant(name: str, values: list[float], shape: list[int]) -> onnx.TensorProto:
        return helper.make_tensor(name, float32, shape, values)

    identity = [float(row == col) for row in range(4) for col in range(4)]
    forward = [STEP_M * float((row, col) == (0, 3)) for row in range(4) for col in range(4)]
    nodes = [
        helper.make_node('ReduceMean', ['images'], ['grey'], axes=[1], keepdims=1),
        helper.make_node('Mul', ['grey', 'ten'], ['grey10']),
        helper.make_node('Add', ['grey10', 'one'], ['depth']),
        helper.make_node('Mul', ['grey', 'zero'], ['grey0']),
        helper.make_node('Add', ['grey0', 'sure'], ['confidence']),
        helper.make_node('AveragePool', ['grey'], ['blocks'], kernel_shape=[STRIDE, STRIDE], strides=[STRIDE, STRIDE]),
        helper.make_node('Mul', ['blocks', 'eighteen'], ['blocks18']),
        helper.make_node('ReduceMean', ['blocks18'], ['labels'], axes=[1], keepdims=0),
        helper.make_node('Cast', ['labels'], ['semantics'], to=TensorProto.UINT8),
        helper.make_node('Mul', ['memory', 'memory_valid'], ['kept']),
        helper.make_node('Add', ['kept', 'one'], ['memory_out']),
        helper.make_node('Mul', ['forward', 'memory_valid'], ['step']),
        helper.make_node('Add', ['identity', 'step'], ['ego_motion']),
    ]
    graph = helper.make_graph(
        nodes,
        'tiny',
        [
            value('images', 'N', 3, height, width),
            value('intrinsics', 'N', 3, 3),
            value('base_T_cam', 'N', 4, 4),
            value('camera_valid', 'N'),
            value('memory', 'N', CHANNELS, rows, cols),
            value('memory_valid', 1),
        ],
        [
            value('depth', 'N', 1, height, width),
            value('confidence', 'N', 1, height, width),
            value('semantics', 'N', rows, cols, dtype=TensorProto.UINT8),
            value('memory_out', 'N', CHANNELS, rows, cols),
            value('ego_motion', 4, 4),
        ],
        initializer=[
            constant('zero', [0.0], []),
            constant('one', [1.0], []),
            constant('ten', [10.0], []),
            constant('eighteen', [18.0], []),
            constant('sure', [CONFIDENCE], []),
            constant('identity', identity, [4, 4]),
            constant('forward', forward, [4, 4]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], producer_name='semi_smd_ros tests')
    model.ir_version = 8
    metadata = {**tiny_metadata(height, width), **metadata_overrides}
    entry = model.metadata_props.add()
    entry.key = 'semi_smd_ros'
    entry.value = json.dumps({key: item for key, item in metadata.items() if item is not None})
    onnx.checker.check_model(model)
    target = Path(path)
    target.write_bytes(model.SerializeToString())
    write_checksum(target)
    return target
