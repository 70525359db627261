# SPDX-License-Identifier: Apache-2.0
"""Held-out figures of a network on synthetic frames, beside the flat-ground prior's."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from semi_smd_ros.network.checkpoint import load_checkpoint, save_checkpoint
from semi_smd_ros.network.config import IGNORE_CLASS
from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.network.model import NetworkInput, SemiSmdNetwork
from semi_smd_ros.training.batch import Batch, make_batch
from semi_smd_ros.training.losses import ground_error, motion_errors
from semi_smd_ros.training.pool import held_out_samples
from semi_smd_ros.training.samples import TEST_SEEDS, Sample

PRIOR_FAR = 20.0
DEPTH_RANGE = (0.1, 200.0)
KEPT_WHEN_CONFIDENT = 0.8
PROTOCOL = (
    'synthetic held-out seeds; the second of two frames with memory carried; metric, no median scaling, no crop; '
    f'{DEPTH_RANGE[0]:g}..{DEPTH_RANGE[1]:g} m, sky left out, prediction (sky: {DEPTH_RANGE[1]:g} m) clipped to that '
    'range; ego vehicle masked; mean per image, then per camera, then over cameras. Flat-ground prior: depth of the '
    f'plane z = 0 of base from intrinsics and extrinsics, {PRIOR_FAR:g} m where the ray meets no ground nearer'
)


@dataclass
class CameraMeans:
    """Collects figures per image and averages them per camera, then over cameras."""

    rows: dict[str, list[tuple[int, float]]]

    def add(self, name: str, camera: int, value: float) -> None:
        self.rows.setdefault(name, []).append((camera, value))

    def means(self) -> dict[str, float]:
        result = {}
        for name, entries in self.rows.items():
            cameras = sorted({camera for camera, _ in entries})
            result[name] = float(
                np.mean([np.mean([value for camera, value in entries if camera == index]) for index in cameras])
            )
        return result


def depth_figures(predicted_hw: np.ndarray, true_hw: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
    """AbsRel, share with max(ratio, 1 / ratio) < 1.25, relative error per scored pixel, and the mask of those."""
    nearest, farthest = DEPTH_RANGE
    scored = np.isfinite(true_hw) & (true_hw > nearest) & (true_hw < farthest)
    if not scored.any():
        return float('nan'), float('nan'), np.empty(0), scored
    predicted, true = np.clip(predicted_hw[scored], nearest, farthest), true_hw[scored]
    relative = np.abs(predicted - true) / true
    ratio = np.maximum(predicted / true, true / predicted)
    return float(relative.mean()), float((ratio < 1.25).mean()), relative, scored


def frame_input(batch: Batch, time: int, memory: torch.Tensor, memory_valid: float) -> NetworkInput:
    valid = torch.full((batch.images_tbn3hw.shape[1],), memory_valid, device=memory.device)
    return NetworkInput(
        batch.images_tbn3hw[time],
        batch.intrinsics_bn33,
        batch.base_T_cam_bn44,
        batch.camera_valid_tbn[time],
        memory,
        valid,
    )


@torch.no_grad()
def evaluate(network: SemiSmdNetwork, samples: Sequence[Sample]) -> dict[str, float]:
    """Figures over the last frame of every sample; see PROTOCOL. The network must be in evaluation mode."""
    means = CameraMeans({})
    motion: dict[str, list[float]] = {}
    correct = labelled = sky_hit = sky_any = 0
    generator = np.random.default_rng(0)
    for sample in samples:
        batch = make_batch([sample], None, generator)
        times, _, cameras, _, height, width = batch.images_tbn3hw.shape
        empty = network.empty_memory(1, cameras, height, width)
        memory, memory_valid = empty, 0.0
        for time in range(times):
            output = network(frame_input(batch, time, memory, memory_valid))
            memory, memory_valid = output.memory_bnchw, 1.0
        alone = network(frame_input(batch, times - 1, empty, 0.0))
        depth, confidence, classes = network.publish(output, batch.camera_valid_tbn[-1])
        depth_alone = network.publish(alone, batch.camera_valid_tbn[-1])[0]
        rig = (batch.intrinsics_bn33, batch.base_T_cam_bn44)
        prior = ray_grid(*rig, height, width, 1, PRIOR_FAR).ground_depth_bnhw[0].numpy()

        for camera in range(cameras):
            true = batch.depth_tbnhw[-1, 0, camera].numpy()
            abs_rel, d1, relative, scored = depth_figures(depth[0, camera, 0].numpy(), true)
            if not scored.any():
                continue
            means.add('abs_rel', camera, abs_rel)
            means.add('d1', camera, d1)
            order = np.argsort(-confidence[0, camera, 0].numpy()[scored], kind='stable')
            kept = order[: max(1, int(KEPT_WHEN_CONFIDENT * order.size))]
            means.add('abs_rel_confident', camera, float(relative[kept].mean()))
            means.add('abs_rel_single_frame', camera, depth_figures(depth_alone[0, camera, 0].numpy(), true)[0])
            abs_rel, d1, _, _ = depth_figures(prior[camera], true)
            means.add('abs_rel_ground', camera, abs_rel)
            means.add('d1_ground', camera, d1)

        labels = batch.semantics_tbnhw[-1]
        correct += int(((classes == labels) & (labels != IGNORE_CLASS)).sum())
        labelled += int((labels != IGNORE_CLASS).sum())
        known = ~torch.isnan(batch.depth_tbnhw[-1])
        is_sky, says_sky = torch.isposinf(batch.depth_tbnhw[-1]) & known, torch.isposinf(depth[:, :, 0]) & known
        sky_hit, sky_any = sky_hit + int((is_sky & says_sky).sum()), sky_any + int((is_sky | says_sky).sum())

        flat = torch.zeros_like(output.ground_b3)
        for name, guess in (('ground', output.ground_b3), ('ground_flat', flat)):
            motion.setdefault(f'{name}_error_m', []).append(float(ground_error(guess, batch.ground_tb3[-1])))
        true_motion = batch.prev_T_now_tb44[-1]
        still = torch.eye(4)[None]
        for name, guess in (('ego', output.ego_motion_b44), ('ego_still', still)):
            translation, rotation = motion_errors(guess, true_motion)
            motion.setdefault(f'{name}_translation_m', []).append(float(translation))
            motion.setdefault(f'{name}_rotation_deg', []).append(float(rotation))
    figures = means.means()
    figures['semantics_accuracy'] = correct / max(labelled, 1)
    figures['sky_iou'] = sky_hit / max(sky_any, 1)
    figures.update({name: float(np.mean(values)) for name, values in motion.items()})
    return figures


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Held-out figures of a checkpoint on synthetic frames, as JSON.')
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('--seeds', type=int, default=24, help='how many held-out test scenes')
    parser.add_argument('--cache', type=Path, default=Path('out/train/frames'), help='folder for rendered frames')
    parser.add_argument('--write', action='store_true', help="store the figures in the checkpoint's card")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    network, card = load_checkpoint(options.checkpoint)
    seeds = TEST_SEEDS[: options.seeds]
    samples = held_out_samples(options.cache, seeds, network.config.height, network.config.width)
    scores = {'protocol': f'{PROTOCOL}. Seeds {seeds.start}..{seeds.stop - 1}.', **evaluate(network, samples)}
    if options.write:
        save_checkpoint(network, options.checkpoint, {**card, 'scores': scores})
    sys.stdout.write(json.dumps(scores, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
