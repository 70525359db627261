# SPDX-License-Identifier: Apache-2.0
"""What a network sees and says of one sample, as a picture: image, depth, truth, teacher, classes, camera by camera."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from semi_smd_ros.evaluation.pictures import colour_depth, left_to_right
from semi_smd_ros.network.config import IGNORE_CLASS
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.batch import make_batch
from semi_smd_ros.training.objective import run_sequence
from semi_smd_ros.training.samples import SEMANTIC_STRIDE, Sample

# Cityscapes' own colours (RGB) in the order of its train ids.
CLASS_COLOURS = np.array(
    [
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
        (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142),
        (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ],
    np.uint8,
)  # fmt: skip
MARGIN = 74  # pixels left of the rows, for their names


def colour_classes(labels_hw: np.ndarray) -> np.ndarray:
    """Class indices at stride 4 as a BGR picture at full size, 255 black."""
    colours = np.concatenate([CLASS_COLOURS[:, ::-1], np.zeros((1, 3), np.uint8)])
    picture = colours[np.where(labels_hw == IGNORE_CLASS, len(CLASS_COLOURS), labels_hw)]
    return picture.repeat(SEMANTIC_STRIDE, 0).repeat(SEMANTIC_STRIDE, 1)


def colour_disparity(disparity_hw: np.ndarray) -> np.ndarray:
    """Relative inverse depth as a BGR picture, near bright: from its 2nd to its 98th percentile; NaN grey."""
    known = np.isfinite(disparity_hw)
    picture = np.full((*disparity_hw.shape, 3), 90, np.uint8)
    if known.any():
        low, high = np.percentile(disparity_hw[known], (2, 98))
        scaled = np.clip((np.where(known, disparity_hw, low) - low) / max(high - low, 1e-9), 0, 1)
        coloured = cv2.applyColorMap((255 * scaled).astype(np.uint8), cv2.COLORMAP_INFERNO)
        picture[known] = coloured[known]
    return picture


@torch.no_grad()
def sample_picture(network: SemiSmdNetwork, sample: Sample, device: torch.device) -> np.ndarray:
    """A BGR picture of the sample's last moment: a column a camera, from rear left to rear right, a row a thing.

    The network must be in evaluation mode. Rows of truth and teacher are there where the sample has them.
    """
    batch = make_batch([sample], None, np.random.default_rng(0)).to(device)
    output = run_sequence(network, batch)[-1]
    depth, _, classes = (value.cpu().numpy()[0] for value in network.publish(output, batch.camera_valid_tbn[-1]))
    rows: dict[str, list[np.ndarray]] = {
        'image': [cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for image in sample.images_tnhw3[-1]],
        'depth': [colour_depth(one[0]) for one in depth],
    }
    truth = sample.depth_tnhw[-1].astype(np.float32)
    if np.isfinite(truth).any():
        rows['true depth'] = [colour_depth(one) for one in truth]
    if sample.teacher_disparity_tnhw is not None:
        rows['teacher'] = [colour_disparity(one) for one in sample.teacher_disparity_tnhw[-1]]
    rows['classes'] = [colour_classes(one) for one in classes]
    if sample.teacher_semantics_tnhw is not None:
        rows['teacher '] = [colour_classes(one) for one in sample.teacher_semantics_tnhw[-1]]
    order = left_to_right(sample.base_T_cam_n44)
    lines = []
    for name, pictures in rows.items():
        line = np.hstack([pictures[i] for i in order])
        margin = np.full((line.shape[0], MARGIN, 3), 24, np.uint8)
        cv2.putText(margin, name, (4, line.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (230,) * 3, 1, cv2.LINE_AA)
        lines.append(np.hstack([margin, line]))
    return np.vstack(lines)
