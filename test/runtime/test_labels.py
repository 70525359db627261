# SPDX-License-Identifier: Apache-2.0
"""Class labels: nearest neighbours, and 255 where nothing can be known."""

from __future__ import annotations

import numpy as np
import pytest
from rigs import camera, level_pose, ring

from semi_smd_ros.rig import Rig, RigCamera
from semi_smd_ros.runtime import CameraImage, SurroundDepthPipeline, SurroundFrame, label_images, load_engine


def grey(rig: Rig, missing: int | None = None) -> SurroundFrame:
    pixels = np.full((96, 160, 3), 128, np.uint8)
    pixels[:, 80:] = 255
    return SurroundFrame(
        rig, tuple(None if i == missing else CameraImage(pixels, 'bgr8', 0) for i in range(len(rig))), 0
    )


def test_labels_follow_the_picture_and_the_ego_mask(tiny_model: object) -> None:
    mask = np.zeros((96, 160), bool)
    mask[64:] = True
    rig = Rig((RigCamera('a', 'a', camera(), level_pose(0), mask), RigCamera('b', 'b', camera(), level_pose(1))))
    depth = SurroundDepthPipeline(load_engine(tiny_model, threads=1)).process(grey(rig, missing=1))
    labels = label_images(depth)
    assert labels.shape == (2, 48, 80)
    assert labels.dtype == np.uint8
    # The tiny model's class is 18 times the brightness; the picture is half its size.
    assert set(np.unique(labels[0, :30, :38])) == {9}
    assert set(np.unique(labels[0, :30, 42:])) <= {17, 18}
    assert (labels[0, 33:] == 255).all()
    assert (labels[1] == 255).all()


def test_what_nobody_asked_for_is_not_made(tiny_model: object) -> None:
    pipeline = SurroundDepthPipeline(load_engine(tiny_model, threads=1))
    depth = pipeline.process(grey(ring(3)), depth=False, semantics=False)
    assert depth.depth_nhw.shape == depth.confidence_nhw.shape == depth.semantics_nhw.shape == (3, 0, 0)
    assert depth.images_nhw3.shape == (3, 48, 80, 3)
    with pytest.raises(ValueError, match='no semantics'):
        label_images(depth)
    # The memory went on, all the same.
    assert pipeline.process(SurroundFrame(ring(3), grey(ring(3)).images, 10**8)).prev_T_now is not None
