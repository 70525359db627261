# SPDX-License-Identifier: Apache-2.0
"""Class labels at the engine's resolution and at the depth images'."""

from __future__ import annotations

import numpy as np

from .frame import SurroundDepth

# Cityscapes' id for "not judged": the ego vehicle, beyond the lens, a camera without an image.
IGNORE = 255


def mask_labels(semantics_nhw: np.ndarray, known_nhw: np.ndarray) -> np.ndarray:
    """uint8 class ids of `semantics_nhw` (N,h,w); 255 where the pixel of `known_nhw` (bool, N,H,W) below is False."""
    _, height, width = semantics_nhw.shape
    known = known_nhw[:, nearest(height, known_nhw.shape[1])][:, :, nearest(width, known_nhw.shape[2])]
    return np.where(known, semantics_nhw, IGNORE).astype(np.uint8)


def label_images(depth: SurroundDepth) -> np.ndarray:
    """Class ids (N,H,W) uint8 of one result at the size of its depth images, nearest neighbour; 255 where unknown.

    Raises ValueError for a result that was made without semantics.
    """
    labels = depth.semantics_nhw
    if not labels.shape[1]:
        raise ValueError('the result has no semantics; expected one of process(frame, semantics=True)')
    model = depth.rectified.cameras[0].model
    height, width = model.height, model.width
    return labels[:, nearest(height, labels.shape[1])][:, :, nearest(width, labels.shape[2])]


def nearest(size: int, source_size: int) -> np.ndarray:
    """For every one of `size` pixels of a row, the pixel of a row of `source_size` that lies below its centre."""
    return ((np.arange(size) + 0.5) * (source_size / size)).astype(np.intp)
