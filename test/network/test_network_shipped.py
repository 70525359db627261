# SPDX-License-Identifier: Apache-2.0
"""The model that ships: checkpoint and ONNX file are one network, and it beats the flat ground on held-out scenes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from half_precision import half_precision
from network_fixtures import onnx_session

from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.network.checkpoint import load_checkpoint
from semi_smd_ros.network.export import INPUTS, METADATA_KEY, OUTPUTS, EngineModule
from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.network.model import NetworkInput, SemiSmdNetwork
from semi_smd_ros.runtime import SurroundFrame
from semi_smd_ros.runtime.engine import EngineInputs
from semi_smd_ros.runtime.preprocess import engine_inputs, prepare_rig, rectify_images
from semi_smd_ros.training.evaluate import evaluate
from semi_smd_ros.training.samples import TEST_SEEDS, render_sample

MODELS = Path(__file__).parents[2] / 'models'
FRAMES = 20


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


@pytest.fixture(scope='module')
def real_sets(real_scene: Path, trained: SemiSmdNetwork) -> list[EngineInputs]:
    """The engine's inputs for the real scene's sets, as the runtime makes them."""
    sets = []
    for sample in open_source(f'ddad:{real_scene}'):
        frame = SurroundFrame(sample.rig, tuple(image.camera_image() for image in sample.images), sample.stamp_ns)
        prepared = prepare_rig(sample.rig, trained.config.width, trained.config.height)
        sets.append(engine_inputs(frame, prepared, rectify_images(frame, prepared)))
    return sets


def test_onnx_runtime_agrees_on_real_frames_with_memory_carried(
    trained: SemiSmdNetwork, real_sets: list[EngineInputs]
) -> None:
    """Twenty frames: the scene's sets forward and backward, each runtime with the memory that it made itself."""
    session = onnx_session(MODELS / 'semi_smd_small.onnx')
    memory = trained.empty_memory(1, 6, trained.config.height, trained.config.width)[0]
    memory_onnx = memory.numpy()
    order = [*range(len(real_sets)), *range(len(real_sets) - 2, 0, -1)]
    for instant, index in zip(range(FRAMES), itertools.cycle(order)):
        one = real_sets[index]
        arrays = (one.images, one.intrinsics, one.base_T_cam, one.camera_valid)
        memory_valid = np.array([float(instant > 0)], np.float32)
        with torch.no_grad():
            tensors = (torch.from_numpy(value) for value in arrays)
            answers = EngineModule(trained)(*tensors, memory, torch.from_numpy(memory_valid))
        expected = dict(zip(OUTPUTS, (answer.numpy() for answer in answers)))
        memory = answers[3]
        feed = dict(zip(INPUTS, (*arrays, memory_onnx, memory_valid)))
        found = dict(zip(OUTPUTS, session.run(list(OUTPUTS), feed)))
        memory_onnx = found['memory_out']

        finite = np.isfinite(expected['depth']) & np.isfinite(found['depth'])
        assert (np.isfinite(expected['depth']) == np.isfinite(found['depth'])).mean() > 0.9999
        relative = np.abs(found['depth'][finite] / expected['depth'][finite] - 1)
        assert relative.max() <= 1e-3
        assert np.median(relative) <= 1e-4
        assert np.abs(found['confidence'][finite] - expected['confidence'][finite]).max() <= 1e-3
        assert (found['semantics'] == expected['semantics']).mean() > 0.999
        assert np.allclose(found['ego_motion'], expected['ego_motion'], atol=1e-4)


def sequence(network: SemiSmdNetwork, sets: list[EngineInputs], scale: float = 1.0) -> list[tuple[torch.Tensor, ...]]:
    """Depth (N,H,W) and `prev_T_now` of every set, memory carried; cameras' places times `scale`."""
    memory, found = network.empty_memory(1, 6, network.config.height, network.config.width), []
    for instant, one in enumerate(sets):
        images, intrinsics, pose, valid = (
            torch.from_numpy(value)[None]
            for value in (one.images, one.intrinsics, one.base_T_cam.copy(), one.camera_valid)
        )
        pose[..., :3, 3] *= scale
        output = network(NetworkInput(images, intrinsics, pose, valid, memory, torch.tensor([float(instant > 0)])))
        memory = output.memory_bnchw
        found.append((network.publish(output, valid)[0][0, :, 0], output.ego_motion_b44[0]))
    return found


def test_fp16_keeps_depth_and_motion_of_real_frames(trained: SemiSmdNetwork, real_sets: list[EngineInputs]) -> None:
    with torch.no_grad():
        full = sequence(trained, real_sets)
    with half_precision(trained) as (rounded, rounding):
        less = sequence(rounded, real_sets)
    assert rounding.overflows == []
    for (depth, motion), (near, moved) in zip(full, less):
        both = depth.isfinite() & near.isfinite()
        assert (depth.isfinite() == near.isfinite()).float().mean() > 0.999
        relative = (near / depth - 1).abs()[both]
        assert relative.median() < 1e-3
        assert relative.quantile(0.99) < 1e-2
        assert relative.max() < 0.05
        assert (motion - moved).abs().max() < 5e-3


def test_a_rig_of_another_scale_scales_the_ground(trained: SemiSmdNetwork, real_sets: list[EngineInputs]) -> None:
    """Pictures and angles alike, all places s times as large: the ground nearer than `prior_far` is about s times as
    deep, for there geometry decides. What stands on it, and what lies farther, pictures decide: it changes less."""
    s = 1.25
    with torch.no_grad():
        (depth, _), (scaled, _) = (sequence(trained, real_sets[:1], scale)[0] for scale in (1.0, s))
    one = real_sets[0]
    rays = ray_grid(
        *(torch.from_numpy(v)[None] for v in (one.intrinsics, one.base_T_cam)), *depth.shape[-2:], 1, far=60.0
    )
    ground = rays.ground_depth()[0]
    is_ground = (ground < 15) & ((depth / ground).log().abs() < 0.1)
    assert is_ground.float().mean() > 0.05
    ratio = (scaled / depth)[is_ground].log() / np.log(s)
    assert 0.85 < float(ratio.median()) < 1.15


def test_beats_the_flat_ground_on_held_out_scenes(trained: SemiSmdNetwork) -> None:
    seeds = TEST_SEEDS[:4]
    samples = [render_sample(seed, trained.config.height, trained.config.width) for seed in seeds]
    figures = evaluate(trained, samples)
    assert figures['abs_rel'] < 0.8 * figures['abs_rel_ground']
    assert figures['d1'] > figures['d1_ground'] + 0.03
    assert figures['abs_rel_confident'] < figures['abs_rel']
    assert figures['ego_translation_m'] < 0.9 * figures['ego_still_translation_m']
