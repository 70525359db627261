# SPDX-License-Identifier: Apache-2.0
"""The model that ships: checkpoint and ONNX file are one network, and it beats the flat ground on held-out scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from semi_smd_ros.datasets.synthetic import nuscenes_like_rig, render_sequence
from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.network.export import INPUTS, METADATA_KEY, OUTPUTS, EngineModule
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.evaluate import evaluate
from semi_smd_ros.training.samples import TEST_SEEDS, render_sample

MODELS = Path(__file__).parents[2] / 'models'
FRAMES = 4


@pytest.fixture(scope='module')
def trained() -> SemiSmdNetwork:
    return load_checkpoint(MODELS / 'semi_smd_small.safetensors')[0]


def test_metadata_repeats_the_checkpoints_card(trained: SemiSmdNetwork) -> None:
    card = json.loads((MODELS / 'semi_smd_small.json').read_text())['card']
    model = onnx.load(str(MODELS / 'semi_smd_small.onnx'))
    stored = json.loads({entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY])
    assert (stored['height'], stored['width']) == (trained.config.height, trained.config.width) == (192, 320)
    for key in ('version', 'trained_on', 'scores'):
        assert stored[key] == card[key]
    assert stored['scores']['abs_rel'] < stored['scores']['abs_rel_ground']
    assert stored['scores']['d1'] > stored['scores']['d1_ground']


def test_onnx_runtime_agrees_on_rendered_frames_with_memory_carried(trained: SemiSmdNetwork) -> None:
    rig = nuscenes_like_rig(trained.config.height, trained.config.width)
    intrinsics = torch.from_numpy(rig.intrinsics_n33).float()
    base_T_cam = torch.from_numpy(rig.base_T_cam_n44).float()
    cameras = len(rig.names)
    session = onnxruntime.InferenceSession(str(MODELS / 'semi_smd_small.onnx'), providers=['CPUExecutionProvider'])
    memory = trained.empty_memory(1, cameras, rig.height, rig.width)[0]
    memory_onnx = memory.numpy()
    for instant, frame in enumerate(render_sequence(TEST_SEEDS[3], rig, frames=FRAMES)):
        images = torch.from_numpy(frame.images_nhw3).movedim(-1, 1).float() / 255
        valid, memory_valid = torch.ones(cameras), torch.tensor([float(instant > 0)])
        with torch.no_grad():
            answers = EngineModule(trained)(images, intrinsics, base_T_cam, valid, memory, memory_valid)
        expected = dict(zip(OUTPUTS, (answer.numpy() for answer in answers)))
        memory = answers[3]
        tensors = (images, intrinsics, base_T_cam, valid, torch.from_numpy(memory_onnx), memory_valid)
        found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), dict(zip(INPUTS, (t.numpy() for t in tensors))))))
        memory_onnx = found['memory_out']

        finite = np.isfinite(expected['depth']) & np.isfinite(found['depth'])
        assert (np.isfinite(expected['depth']) == np.isfinite(found['depth'])).mean() > 0.9999
        relative = np.abs(found['depth'][finite] / expected['depth'][finite] - 1)
        assert relative.max() <= 1e-3
        assert np.median(relative) <= 1e-4
        assert np.abs(found['confidence'][finite] - expected['confidence'][finite]).max() <= 1e-3
        assert (found['semantics'] == expected['semantics']).mean() > 0.999
        assert np.allclose(found['ego_motion'], expected['ego_motion'], atol=1e-4)


def test_beats_the_flat_ground_on_held_out_scenes(trained: SemiSmdNetwork) -> None:
    seeds = TEST_SEEDS[:4]
    samples = [render_sample(seed, trained.config.height, trained.config.width) for seed in seeds]
    figures = evaluate(trained, samples)
    assert figures['abs_rel'] < 0.8 * figures['abs_rel_ground']
    assert figures['d1'] > figures['d1_ground'] + 0.03
    assert figures['abs_rel_confident'] < figures['abs_rel']
    assert figures['ego_translation_m'] < 0.9 * figures['ego_still_translation_m']
