# SPDX-License-Identifier: Apache-2.0
"""The exported file: contract, metadata, and PyTorch against ONNX Runtime over a sequence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from network_fixtures import CARD, TINY, onnx_session, rig_input, seeded_network

from semi_smd_ros.network import export
from semi_smd_ros.network.model import SemiSmdNetwork

REFUSED_OPS = {
    'NonZero', 'Loop', 'If', 'Scan', 'Unique', 'ScatterND', 'ScatterElements', 'Einsum', 'EyeLike',
    'OneHot', 'TopK', 'RoiAlign', 'Compress', 'NonMaxSuppression', 'Det', 'SequenceAt',
}  # fmt: skip


def test_contract_and_metadata(onnx_path: Path, network: SemiSmdNetwork) -> None:
    model = onnx.load(str(onnx_path))

    def shapes(values: list[onnx.ValueInfoProto]) -> dict[str, list[int | str]]:
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    assert shapes(model.graph.input) == {
        'images': ['N', 3, 64, 96],
        'intrinsics': ['N', 3, 3],
        'base_T_cam': ['N', 4, 4],
        'camera_valid': ['N'],
        'memory': ['N', 357, 4, 6],
        'memory_valid': [1],
    }
    assert shapes(model.graph.output) == {
        'depth': ['N', 1, 64, 96],
        'confidence': ['N', 1, 64, 96],
        'semantics': ['N', 16, 24],
        'memory_out': ['N', 357, 4, 6],
        'ego_motion': [4, 4],
    }
    assert {entry.version for entry in model.opset_import if entry.domain in ('', 'ai.onnx')} == {17}
    assert not REFUSED_OPS & {node.op_type for node in model.graph.node}
    stored = json.loads({entry.key: entry.value for entry in model.metadata_props}[export.METADATA_KEY])
    assert stored['contract'] == 1
    assert (stored['height'], stored['width'], stored['max_cameras']) == (64, 96, 12)
    assert (stored['name'], stored['version'], stored['command']) == ('semi_smd_small', '9.9.9', 'the command')
    assert len(stored['classes']) == 19
    assert stored.keys() >= {'depth_min', 'depth_max', 'depth_map', 'trained_on', 'scores'}


@pytest.mark.parametrize(('cameras', 'frames'), [(1, 3), (6, 20), (8, 2)])
def test_onnx_runtime_agrees_over_a_sequence(
    onnx_path: Path, network: SemiSmdNetwork, cameras: int, frames: int
) -> None:
    session = onnx_session(onnx_path)
    module = export.EngineModule(network)
    memory = torch.full(network.empty_memory(1, cameras, 64, 96).shape[1:], torch.nan)
    memory_onnx = memory.numpy()
    worst, medians = 0.0, []
    for instant in range(frames):
        inputs = rig_input(network, cameras, seed=instant)
        arguments = (inputs.images_bn3hw[0], inputs.intrinsics_bn33[0], inputs.base_T_cam_bn44[0])
        valid, memory_valid = torch.ones(cameras), torch.tensor([float(instant > 0)])
        with torch.no_grad():
            depth, confidence, semantics, memory, ego = module(*arguments, valid, memory, memory_valid)
        tensors = (*arguments, valid, torch.from_numpy(memory_onnx), memory_valid)
        feed = {name: tensor.numpy() for name, tensor in zip(export.INPUTS, tensors)}
        found = dict(zip(export.OUTPUTS, session.run(list(export.OUTPUTS), feed)))
        memory_onnx = found['memory_out']

        finite = torch.isfinite(depth).numpy() & np.isfinite(found['depth'])
        assert (np.isfinite(found['depth']) == torch.isfinite(depth).numpy()).mean() > 0.9999
        relative = np.abs(found['depth'][finite] - depth.numpy()[finite]) / depth.numpy()[finite]
        worst, medians = max(worst, float(relative.max())), [*medians, float(np.median(relative))]
        assert np.abs(found['confidence'] - confidence.numpy())[finite].max() < 1e-3
        assert (found['semantics'] == semantics.numpy()).mean() > 0.999
        assert np.allclose(found['ego_motion'], ego.numpy(), atol=1e-4)
        assert found['semantics'].dtype == np.int32
    assert worst <= 1e-3
    assert max(medians) <= 1e-4


def test_variants_for_comparison_can_be_exported_too(tmp_path: Path) -> None:
    network = seeded_network(config=TINY, fusion='separate', attends_to=('memory',))
    export.export_onnx(network, tmp_path / 'separate.onnx', CARD)
    inputs = rig_input(network, 5)
    arguments = (inputs.images_bn3hw[0], inputs.intrinsics_bn33[0], inputs.base_T_cam_bn44[0])
    tensors = (*arguments, inputs.camera_valid_bn[0], inputs.memory_bnchw[0], inputs.memory_valid_b)
    with torch.no_grad():
        depth = export.EngineModule(network)(*tensors)[0].numpy()
    feed = {name: tensor.numpy() for name, tensor in zip(export.INPUTS, tensors)}
    found = onnx_session(tmp_path / 'separate.onnx').run(['depth'], feed)[0]
    assert np.isfinite(depth).mean() > 0.5
    assert np.allclose(found, depth, rtol=1e-3)
