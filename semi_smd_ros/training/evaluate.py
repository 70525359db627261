# SPDX-License-Identifier: Apache-2.0
"""Figures of a network on samples whose truth is known, beside the flat-ground prior's."""

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

from semi_smd_ros.evaluation.consistency import carry, compare, may_overlap
from semi_smd_ros.network.checkpoint import load_checkpoint, save_checkpoint
from semi_smd_ros.network.config import IGNORE_CLASS
from semi_smd_ros.network.geometry import ray_grid
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.rig import CameraModel, RigCamera
from semi_smd_ros.training.batch import make_batch
from semi_smd_ros.training.losses import ground_error, motion_errors
from semi_smd_ros.training.objective import frame_input, run_sequence
from semi_smd_ros.training.pool import held_out_samples
from semi_smd_ros.training.samples import TEST_SEEDS, Sample
from semi_smd_ros.training.scene import ego_mask

PRIOR_FAR = 20.0
NEAREST_M, FARTHEST_M = 0.1, 200.0
KEPT_WHEN_CONFIDENT = 0.8


def protocol(farthest_m: float = FARTHEST_M) -> str:
    """How `evaluate` comes to its figures, whatever the samples are."""
    return (
        'the second of two frames with memory carried; metric, no median scaling, no crop; '
        f'{NEAREST_M:g}..{farthest_m:g} m, sky left out, prediction (sky: {farthest_m:g} m) clipped to that '
        'range; ego vehicle masked; mean per image, then per camera, then over cameras. Flat-ground prior: depth of '
        f'the plane z = 0 of base from intrinsics and extrinsics, {PRIOR_FAR:g} m where the ray meets no ground nearer'
    )


SYNTHETIC_PROTOCOL = f'synthetic held-out seeds; {protocol()}'


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


def depth_figures(
    predicted_hw: np.ndarray, true_hw: np.ndarray, farthest_m: float = FARTHEST_M
) -> tuple[float, float, np.ndarray, np.ndarray]:
    """AbsRel, share with max(ratio, 1 / ratio) < 1.25, relative error per scored pixel, and the mask of those."""
    scored = np.isfinite(true_hw) & (true_hw > NEAREST_M) & (true_hw < farthest_m)
    if not scored.any():
        return float('nan'), float('nan'), np.empty(0), scored
    predicted, true = np.clip(predicted_hw[scored], NEAREST_M, farthest_m), true_hw[scored]
    relative = np.abs(predicted - true) / true
    ratio = np.maximum(predicted / true, true / predicted)
    return float(relative.mean()), float((ratio < 1.25).mean()), relative, scored


def rectified_cameras(sample: Sample) -> list[RigCamera]:
    """The sample's cameras, for figures between them."""
    height, width = sample.images_tnhw3.shape[2:4]
    models = [CameraModel(width, height, intrinsics, np.zeros(0)) for intrinsics in sample.intrinsics_n33]
    return [
        RigCamera(f'camera {i}', f'camera {i}', model, pose)
        for i, (model, pose) in enumerate(zip(models, sample.base_T_cam_n44, strict=True))
    ]


def overlap_agreement(depth_nhw: np.ndarray, sample: Sample) -> list[float]:
    """For every ordered pair of cameras with common points, the share of depths carried from one into the other whose
    ratio to the other's own is below 1.25 both ways (see `evaluation.consistency`)."""
    cameras = rectified_cameras(sample)
    agreements = [
        compare(*carry(depth_nhw[i], one, depth_nhw[j], other, np.eye(4)))
        for i, one in enumerate(cameras)
        for j, other in enumerate(cameras)
        if i != j and may_overlap(one, other)
    ]
    return [agreement.within for agreement in agreements if agreement is not None]


@torch.no_grad()
def evaluate(network: SemiSmdNetwork, samples: Sequence[Sample], farthest_m: float = FARTHEST_M) -> dict[str, float]:
    """Figures over the last frame of every sample; see `protocol`. The network must be in evaluation mode.

    Figures of what no sample knows (depth, classes, ground, motion) are left out, and so is the sky of samples whose
    truth has none: LiDAR knows where there is something, not where there is nothing.
    """
    means = CameraMeans({})
    single: dict[str, list[float]] = {}
    correct = labelled = sky_hit = sky_any = 0
    generator = np.random.default_rng(0)
    device = next(network.parameters()).device
    for sample in samples:
        batch = make_batch([sample], None, generator)
        on_device = batch.to(device)
        output = run_sequence(network, on_device)[-1]
        cameras, height, width = sample.images_tnhw3.shape[1:4]
        empty = network.empty_memory(1, cameras, height, width).to(device)
        alone = network(frame_input(on_device, sample.images_tnhw3.shape[0] - 1, empty, 0.0))
        valid = on_device.camera_valid_tbn[-1]
        depth, confidence, classes = (value.cpu() for value in network.publish(output, valid))
        depth_alone = network.publish(alone, valid)[0].cpu()
        rig = (batch.intrinsics_bn33, batch.base_T_cam_bn44)
        prior = ray_grid(*rig, height, width, 1, PRIOR_FAR).ground_depth_bnhw[0].numpy()

        for camera in range(cameras):
            true = batch.depth_tbnhw[-1, 0, camera].numpy()
            abs_rel, d1, relative, scored = depth_figures(depth[0, camera, 0].numpy(), true, farthest_m)
            if not scored.any():
                continue
            means.add('abs_rel', camera, abs_rel)
            means.add('d1', camera, d1)
            order = np.argsort(-confidence[0, camera, 0].numpy()[scored], kind='stable')
            kept = order[: max(1, int(KEPT_WHEN_CONFIDENT * order.size))]
            means.add('abs_rel_confident', camera, float(relative[kept].mean()))
            alone_abs_rel, *_ = depth_figures(depth_alone[0, camera, 0].numpy(), true, farthest_m)
            means.add('abs_rel_single_frame', camera, alone_abs_rel)
            abs_rel, d1, _, _ = depth_figures(prior[camera], true, farthest_m)
            means.add('abs_rel_ground', camera, abs_rel)
            means.add('d1_ground', camera, d1)

        labels = batch.semantics_tbnhw[-1]
        correct += int(((classes == labels) & (labels != IGNORE_CLASS)).sum())
        labelled += int((labels != IGNORE_CLASS).sum())
        known = ~torch.isnan(batch.depth_tbnhw[-1])
        is_sky, says_sky = torch.isposinf(batch.depth_tbnhw[-1]) & known, torch.isposinf(depth[:, :, 0]) & known
        if is_sky.any():
            sky_hit, sky_any = sky_hit + int((is_sky & says_sky).sum()), sky_any + int((is_sky | says_sky).sum())

        answers = np.where(ego_mask(batch)[-1, 0].numpy(), np.nan, depth[0, :, 0].numpy())
        if agreements := overlap_agreement(answers, sample):
            single.setdefault('overlap_within', []).append(float(np.mean(agreements)))
        ground = output.ground_b3.cpu()
        for name, guess in (('ground', ground), ('ground_flat', torch.zeros_like(ground))):
            single.setdefault(f'{name}_error_m', []).append(float(ground_error(guess, batch.ground_tb3[-1])))
        for name, guess in (('ego', output.ego_motion_b44.cpu()), ('ego_still', torch.eye(4)[None])):
            translation, rotation = motion_errors(guess, batch.prev_T_now_tb44[-1])
            single.setdefault(f'{name}_translation_m', []).append(float(translation))
            single.setdefault(f'{name}_rotation_deg', []).append(float(rotation))
    figures = means.means()
    if labelled:
        figures['semantics_accuracy'] = correct / labelled
    if sky_any:
        figures['sky_iou'] = sky_hit / sky_any
    for name, values in single.items():
        known_values = [value for value in values if np.isfinite(value)]
        if known_values:
            figures[name] = float(np.mean(known_values))
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
    scores = {'protocol': f'{SYNTHETIC_PROTOCOL}. Seeds {seeds.start}..{seeds.stop - 1}.', **evaluate(network, samples)}
    if options.write:
        save_checkpoint(network, options.checkpoint, {**card, 'scores': scores})
    sys.stdout.write(json.dumps(scores, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
