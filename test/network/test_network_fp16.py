# SPDX-License-Identifier: Apache-2.0
"""FP16 safety: encoder, coarse heads, attention, decoder and heads in FP16, geometry and solvers in FP32."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from half_precision import half_precision
from network_fixtures import rig_input

from semi_smd_ros.network.export import needs_fp32
from semi_smd_ros.network.heads import MIXTURE_LIMIT, convex_upsample
from semi_smd_ros.network.model import SemiSmdNetwork

COSTLY = {'Conv', 'MatMul', 'Gemm', 'LayerNormalization', 'Softmax'}


def test_the_costly_nodes_are_in_fp16(onnx_path: Path) -> None:
    nodes = [node for node in onnx.load(str(onnx_path)).graph.node if node.op_type in COSTLY]
    kept = {node.name for node in nodes if needs_fp32(node.name)}
    assert len(nodes) > 40
    small = ('matching', 'ego_motion', 'query_16', 'query_8', 'key_16', 'key_8', 'sweep', 'from_4', 'from_8')
    assert {name.split('/')[2] for name in kept} <= set(small)
    assert not any(needs_fp32(node.name) for node in nodes if node.op_type == 'LayerNormalization')


def test_depth_and_confidence_stay_close(network: SemiSmdNetwork) -> None:
    inputs = rig_input(network, 6)
    with torch.no_grad():
        full = network(inputs)
        depth, confidence, _ = network.publish(full, inputs.camera_valid_bn)
    with half_precision(network) as (rounded, rounding):
        less = rounded(inputs)
    assert rounding.rounded > 300
    assert rounding.overflows == []
    near, sure, _ = network.publish(less, inputs.camera_valid_bn)
    assert not torch.equal(depth, near)
    both = depth.isfinite() & near.isfinite()
    assert (depth.isfinite() == near.isfinite()).float().mean() > 0.999
    relative = (near / depth - 1).abs()[both]
    assert relative.median() < 1e-3
    assert relative.quantile(0.99) < 5e-3
    assert relative.max() < 1e-2
    assert (confidence - sure)[both].abs().max() < 5e-3


@pytest.mark.parametrize('mixture', [-100.0, 0.0, 100.0])
def test_upsampling_of_large_values_stays_in_range(mixture: float) -> None:
    """Nine weights at their limit times the largest taps that trained heads give (a sky logit of 24), and then some."""
    coarse, logits = torch.full((1, 4, 3, 3), 100.0), torch.full((1, 144, 3, 3), mixture)
    assert torch.allclose(convex_upsample(coarse, logits), torch.tensor(100.0))
    halves = convex_upsample(coarse.half(), logits.half())
    assert torch.allclose(halves.float(), torch.tensor(100.0), rtol=1e-2)
    assert MIXTURE_LIMIT == 8
