# SPDX-License-Identifier: Apache-2.0
"""The engine contract on real ONNX Runtime: what a good file does, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rigs import ring
from tiny_model import write_tiny_model

from semi_smd_ros.runtime import EngineInputs, ModelError, load_engine
from semi_smd_ros.runtime.engine.trust import write_checksum


def inputs(cameras: int, brightness: float = 0.5) -> EngineInputs:
    return EngineInputs(
        np.full((cameras, 3, 48, 80), brightness, np.float32),
        np.tile(np.eye(3, dtype=np.float32), (cameras, 1, 1)),
        np.tile(np.eye(4, dtype=np.float32), (cameras, 1, 1)),
        np.ones(cameras, np.float32),
    )


def test_the_spec_is_read_from_the_file(tiny_model: Path) -> None:
    spec = load_engine(tiny_model).spec
    assert (spec.name, spec.width, spec.height, spec.memory_chw) == ('tiny', 80, 48, (4, 6, 10))
    assert spec.cameras is None
    assert spec.classes[10] == 'sky'


@pytest.mark.parametrize('cameras', [1, 5, 6, 12])
def test_any_number_of_cameras(tiny_model: Path, cameras: int) -> None:
    engine = load_engine(tiny_model, threads=1)
    outputs = engine.run(inputs(cameras), use_memory=False)
    assert outputs.depth.shape == (cameras, 1, 48, 80)
    np.testing.assert_allclose(outputs.depth, 6.0)


def test_memory_is_carried_until_it_is_reset(tiny_model: Path) -> None:
    engine = load_engine(tiny_model)
    with pytest.raises(ModelError, match='no memory'):
        engine.run(inputs(2), use_memory=True)
    # The tiny model moves 0.1 m where the memory is valid.
    steps = [engine.run(inputs(2), use_memory).ego_motion[0, 3] for use_memory in (False, True, True, False)]
    np.testing.assert_allclose(steps, [0, 0.1, 0.1, 0], atol=1e-6)
    engine.reset_memory()
    with pytest.raises(ModelError, match='no memory'):
        engine.run(inputs(2), use_memory=True)


def test_warm_up_leaves_no_memory(tiny_model: Path) -> None:
    engine = load_engine(tiny_model)
    engine.warm_up(3)
    with pytest.raises(ModelError, match='no memory'):
        engine.run(inputs(3), use_memory=True)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'gone.onnx: no such model file'):
        load_engine(tmp_path / 'gone.onnx')


@pytest.mark.parametrize('kind', ['truncated', 'empty', 'text'])
def test_a_broken_file_is_refused(tmp_path: Path, tiny_model: Path, kind: str) -> None:
    data = tiny_model.read_bytes()
    path = tmp_path / f'{kind}.onnx'
    path.write_bytes({'truncated': data[: len(data) // 2], 'empty': b'', 'text': b'<html>not found</html>'}[kind])
    write_checksum(path)
    with pytest.raises(ModelError, match=rf'{kind}.onnx'):
        load_engine(path)


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'contract': 99}, 'version 99 of the engine contract; this program speaks 1'),
        ({'height': 96}, r'metadata says 80x96, the tensors 80x48'),
        ({'classes': None}, 'metadata lacks classes'),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    metadata = dict(changes)
    path = write_tiny_model(tmp_path / 'odd.onnx')
    model = onnx.load(path)
    entry = next(entry for entry in model.metadata_props if entry.key == 'semi_smd_ros')
    import json

    data = {**json.loads(entry.value), **metadata}
    entry.value = json.dumps({key: value for key, value in data.items() if value is not None})
    onnx.save(model, path)
    write_checksum(path)
    with pytest.raises(ModelError, match=says):
        load_engine(path)


def test_a_model_without_metadata_or_tensors_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'bare.onnx')
    write_checksum(tmp_path / 'bare.onnx')
    with pytest.raises(ModelError, match='no metadata entry'):
        load_engine(tmp_path / 'bare.onnx')
    model = onnx.load(tiny_model)
    del model.graph.output[1]
    onnx.save(model, tmp_path / 'less.onnx')
    write_checksum(tmp_path / 'less.onnx')
    with pytest.raises(ModelError, match='confidence are missing'):
        load_engine(tmp_path / 'less.onnx')


def test_a_model_that_does_not_fit_the_rig_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    model = onnx.load(tiny_model)
    for tensor in (*model.graph.input, *model.graph.output):
        for dim in tensor.type.tensor_type.shape.dim:
            if dim.dim_param == 'N':
                dim.dim_value = 6
    onnx.save(model, tmp_path / 'six.onnx')
    write_checksum(tmp_path / 'six.onnx')
    engine = load_engine(tmp_path / 'six.onnx')
    engine.check_rig(ring(6))
    with pytest.raises(ModelError, match='made for 6 cameras; the rig has 3'):
        engine.check_rig(ring(3))
    few = load_engine(write_tiny_model(tmp_path / 'few.onnx', max_cameras=2))
    with pytest.raises(ModelError, match='at most 2 cameras; the rig has 3'):
        few.check_rig(ring(3))
