# SPDX-License-Identifier: Apache-2.0
"""The model in FP16 where it bears it, run by ONNX Runtime against the same model in FP32."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from semi_smd_ros.runtime.engine.contract import BackendError
from semi_smd_ros.runtime.engine.mixed_precision import LARGEST, mixed_precision, rounded_to_fp16
from semi_smd_ros.runtime.engine.model_file import onnx_metadata
from semi_smd_ros.runtime.engine.plan_check import FP16_BOUND, compare, fp32_answers, is_refused, worst_scope
from semi_smd_ros.runtime.engine.precision import scope_of, stays_fp32
from semi_smd_ros.runtime.engine.samples import read_samples, sample_inputs

SHIPPED = Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx'
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def build(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], outputs: tuple[str, ...] = ('y',)) -> bytes:
    graph = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info('x', FLOAT, ['N', 4])],
        [helper.make_tensor_value_info(name, FLOAT, ['A', 'B']) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def node(kind: str, scope: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    name = f'/network/{scope}/{kind}' if scope else f'/{kind}'
    return helper.make_node(kind, inputs, [output], name=f'{name}_{output}', **attributes)


def run(model: bytes, x: np.ndarray) -> list[np.ndarray]:
    return list(ort.InferenceSession(model, providers=['CPUExecutionProvider']).run(None, {'x': x}))


def types(model: bytes) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output, *graph.input)}


def test_scopes_are_read_from_names() -> None:
    assert scope_of('/network/encoder/stem/Conv') == 'encoder'
    assert scope_of('/network/Add') == scope_of('/encoder/network/stem/Conv') == scope_of('') == ''
    assert not stays_fp32('/network/encoder/Conv', ('encoder',))
    assert stays_fp32('/network/ground/Conv', ('encoder',))
    assert stays_fp32('Identity_12', ('encoder',))


def test_only_the_scope_is_in_fp16_and_the_ends_are_not() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    model = build(
        [
            node('MatMul', 'encoder', ['x', 'w'], 'a'),
            node('Relu', 'encoder', ['a'], 'b'),
            node('MatMul', 'ground', ['b', 'w'], 'c'),
            node('Add', 'encoder', ['c', 'b'], 'y'),
        ],
        {'w': weights},
        outputs=('y', 'b'),
    )
    mixed = mixed_precision(model, ('encoder',))
    kinds = types(mixed)
    assert (kinds['x'], kinds['y'], kinds['b'], kinds['c']) == (FLOAT, FLOAT, FLOAT, FLOAT)
    assert (kinds['a.fp16'], kinds['b.fp16'], kinds['y.fp16']) == (HALF, HALF, HALF)
    # One cast for x, one each for b, c and y: nothing is cast twice.
    assert sum(item.op_type == 'Cast' for item in onnx.load_from_string(mixed).graph.node) == 4
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    for right, near in zip(run(model, x), run(mixed, x), strict=True):
        assert near.dtype == np.float32
        assert not np.array_equal(right, near)
        np.testing.assert_allclose(near, right, atol=2e-2)


def test_rounding_in_fp32_is_that_of_fp16() -> None:
    weights = np.array([[1.0001, 3e-6, -7e4, 0.1]], np.float32)
    model = build([node('Mul', 'heads', ['x', 'w'], 'a'), node('Neg', '', ['a'], 'y')], {'w': weights})
    x = np.random.default_rng(1).uniform(-3, 3, (50, 4)).astype(np.float32)
    halves = x.astype(np.float16).astype(np.float32)
    expected = halves * np.clip(weights, -LARGEST, LARGEST).astype(np.float16).astype(np.float32)
    with np.errstate(over='ignore'):
        expected = expected.astype(np.float16)
    np.testing.assert_array_equal(run(rounded_to_fp16(model, ('heads',)), x)[0], -expected.astype(np.float32))
    assert np.isinf(expected).any()


def test_constants_beyond_fp16_become_its_largest_and_infinity_stays() -> None:
    model = build(
        [
            helper.make_node('Constant', [], ['mask'], name='/network/fusion/Constant', value=numpy_helper.from_array(
                np.array([-1e9, 0, np.inf, 1e-3], np.float32))),
            node('Add', 'fusion', ['x', 'mask'], 'y'),
        ],
        {},
    )  # fmt: skip
    (answer,) = run(mixed_precision(model, ('fusion',)), np.zeros((1, 4), np.float32))
    assert answer[0, :3].tolist() == [-LARGEST, 0, np.inf]
    assert answer[0, 3] == pytest.approx(1e-3, rel=1e-3)


def test_types_that_are_written_in_attributes_follow() -> None:
    one = numpy_helper.from_array(np.array([1.5], np.float32))
    model = build(
        [
            node('Shape', 'encoder', ['x'], 'shape'),
            node('ConstantOfShape', 'encoder', ['shape'], 'ones', value=one),
            node('Greater', 'encoder', ['x', 'ones'], 'mask'),
            node('Cast', 'encoder', ['mask'], 'number', to=FLOAT),
            node('Mul', 'encoder', ['number', 'ones'], 'y'),
        ],
        {},
    )
    mixed = mixed_precision(model, ('encoder',))
    kinds = types(mixed)
    assert (kinds['ones.fp16'], kinds['number.fp16'], kinds['mask'], kinds['y']) == (
        HALF,
        HALF,
        TensorProto.BOOL,
        FLOAT,
    )
    assert run(mixed, np.array([[0, 1, 2, 3]], np.float32))[0].tolist() == [[0, 0, 1.5, 1.5]]


def test_scales_of_a_resize_stay_in_fp32() -> None:
    model = build(
        [
            node('Unsqueeze', 'decoder', ['x', 'axis'], 'wide'),
            node('Resize', 'decoder', ['wide', '', 'scales'], 'big', mode='linear'),
            node('Squeeze', 'decoder', ['big', 'axis'], 'y'),
        ],
        {'axis': np.array([1]), 'scales': np.array([1, 1, 2], np.float32)},
    )
    x = np.array([[0, 1, 2, 3]], np.float32)
    mixed = mixed_precision(model, ('decoder',))
    np.testing.assert_allclose(run(mixed, x)[0], run(model, x)[0], atol=1e-3)
    resize = next(item for item in onnx.load_from_string(mixed).graph.node if item.op_type == 'Resize')
    assert list(resize.input) == ['wide.fp16', '', 'scales']


def test_nothing_changes_without_a_scope() -> None:
    model = build([node('Relu', 'encoder', ['x'], 'y')], {})
    assert [item.op_type for item in onnx.load_from_string(mixed_precision(model, ())).graph.node] == ['Relu']


def test_without_onnx_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(BackendError, match='python3 -m pip install onnx'):
        mixed_precision(b'', ())


def test_the_shipped_model_bears_fp16_where_its_metadata_says() -> None:
    model = SHIPPED.read_bytes()
    scopes = json.loads(onnx_metadata(model, 'shipped') or '')['fp16_scopes']
    inputs = sample_inputs(read_samples(4), 320, 192)
    reference = fp32_answers(model, SHIPPED, inputs)
    mixed = mixed_precision(model, scopes)
    assert len(mixed) < 0.65 * len(model)
    assert not is_refused(compare(reference, fp32_answers(mixed, SHIPPED, inputs)))
    difference = compare(reference, fp32_answers(rounded_to_fp16(model, scopes), SHIPPED, inputs))
    # Measured: 0.49 % with six cameras.
    assert 1e-3 < difference.p99 < 0.01 < FP16_BOUND
    assert difference.finite < 1e-3
    assert difference.ego_motion_m < 1e-3


def test_a_part_that_does_not_bear_fp16_is_found(tiny_model: Path) -> None:
    """Its decoder multiplies by a million and back, which FP16 cannot follow."""
    proto = onnx.load(tiny_model)
    mean, up, down, zero = proto.graph.node[:4]
    names = ('encoder/mean', 'decoder/up', 'decoder/down', 'heads/zero')
    mean.name, up.name, down.name, zero.name = (f'/network/{name}' for name in names)
    down.op_type, up.input[1], down.input[1] = 'Mul', 'heavy', 'light'
    for name, value in (('heavy', 1e6), ('light', 1e-5)):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    model = proto.SerializeToString()
    inputs = sample_inputs(read_samples(1), 80, 48)
    reference = fp32_answers(model, tiny_model, inputs)
    scopes = ('encoder', 'decoder', 'heads')
    assert is_refused(compare(reference, fp32_answers(rounded_to_fp16(model, scopes), tiny_model, inputs)))
    scope, difference = worst_scope(model, tiny_model, scopes, inputs, reference)
    assert scope == 'decoder'
    assert is_refused(difference)
    assert not is_refused(worst_scope(model, tiny_model, ('encoder', 'heads'), inputs, reference)[1])
