# SPDX-License-Identifier: Apache-2.0
"""The blind baseline: the same engine contract, and an answer that no picture can change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from network_fixtures import CARD, SIZE, onnx_session, rig_input

from semi_smd_ros.evaluation.baselines import blind_model_path
from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.network.config import CONFIGS
from semi_smd_ros.network.export import INPUTS, export_onnx
from semi_smd_ros.network.model import SemiSmdNetwork


@pytest.fixture(scope='module')
def blind() -> SemiSmdNetwork:
    torch.manual_seed(0)
    return SemiSmdNetwork(replace(CONFIGS['small_blind'], height=SIZE[0], width=SIZE[1])).eval()


@torch.no_grad()
def test_pictures_change_nothing_and_geometry_does(blind: SemiSmdNetwork) -> None:
    inputs = rig_input(blind, 4)
    answer = blind(inputs)
    other_pictures = blind(replace(inputs, images_bn3hw=1 - inputs.images_bn3hw))
    assert torch.equal(answer.log_depth_bnhw, other_pictures.log_depth_bnhw)
    higher = inputs.base_T_cam_bn44.clone()
    higher[..., 2, 3] += 0.5
    assert not torch.allclose(answer.log_depth_bnhw, blind(replace(inputs, base_T_cam_bn44=higher)).log_depth_bnhw)


def test_exports_with_the_whole_contract(blind: SemiSmdNetwork, tmp_path: Path) -> None:
    path = tmp_path / 'blind.onnx'
    export_onnx(blind, path, CARD)
    session = onnx_session(path)
    assert [tensor.name for tensor in session.get_inputs()] == list(INPUTS)
    inputs = rig_input(blind, 4)
    values = (
        inputs.images_bn3hw[0], inputs.intrinsics_bn33[0], inputs.base_T_cam_bn44[0], inputs.camera_valid_bn[0],
        inputs.memory_bnchw[0], inputs.memory_valid_b,
    )  # fmt: skip
    found = session.run(['depth'], dict(zip(INPUTS, (value.numpy() for value in values))))[0]
    with torch.no_grad():
        expected = blind.publish(blind(inputs), inputs.camera_valid_bn)[0][0].numpy()
    finite = np.isfinite(expected)
    assert np.allclose(found[finite], expected[finite], rtol=1e-3)


def test_the_config_is_that_of_the_shipped_one() -> None:
    path = Path(__file__).parents[2] / 'models' / 'semi_smd_small_blind.safetensors'
    assert load_checkpoint(path)[0].config == CONFIGS['small_blind']


def test_the_shipped_one_lies_where_evaluation_looks_and_is_blind() -> None:
    model = Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx'
    network, card = load_checkpoint(blind_model_path(model).with_suffix('.safetensors'))
    assert not network.config.sees_images
    assert blind_model_path(model).is_file()
    assert 'blind to the pictures' in card['trained_on']
    assert card['scores']['abs_rel'] < card['scores']['abs_rel_ground']
