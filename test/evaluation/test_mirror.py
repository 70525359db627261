# SPDX-License-Identifier: Apache-2.0
"""The mirrored rig, and flip averaging of a real engine against the average taken by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rigs import LENSES, ring

from semi_smd_ros.evaluation.mirror import flip_averaged, mirrored_frame, mirrored_rig
from semi_smd_ros.evaluation.prediction import Predictor
from semi_smd_ros.evaluation.protocols import protocol_named
from semi_smd_ros.rig import CameraModel, Rig
from semi_smd_ros.runtime import CameraImage, SurroundDepthPipeline, SurroundFrame, load_engine

WIDTH = 160


def skewed(rig: Rig) -> Rig:
    """The same rig with skew, a projection of its own, and an ego mask on the left of every picture."""
    cameras = []
    for camera in rig.cameras:
        model = camera.model
        K = model.K + np.array([[0, 0.7, 0], [0, 0, 0], [0, 0, 0]])
        model = CameraModel(model.width, model.height, K, model.D, model.distortion_model, 0.8 * K + 0.2 * np.eye(3))
        mask = np.zeros((model.height, model.width), bool)
        mask[60:, :20] = True
        cameras.append(dataclasses.replace(camera, model=model, ego_mask=mask))
    return Rig(tuple(cameras))


@pytest.mark.parametrize('lens', [None, *LENSES])
def test_what_was_on_the_left_is_as_far_on_the_right(lens: str | None) -> None:
    rig = skewed(ring(4, lens=lens)) if lens != 'equidistant' and lens is not None else ring(4, lens=lens)
    mirrored = mirrored_rig(rig)
    points = np.random.default_rng(0).uniform([-20, -20, -1], [20, 20, 5], (2000, 3))
    for camera, other in zip(rig.cameras, mirrored.cameras, strict=True):
        cam_T_base, other_T_base = np.linalg.inv(camera.base_T_cam), np.linalg.inv(other.base_T_cam)
        here = points @ cam_T_base[:3, :3].T + cam_T_base[:3, 3]
        there = points * [1, -1, 1] @ other_T_base[:3, :3].T + other_T_base[:3, 3]
        np.testing.assert_allclose(there[:, 2], here[:, 2], atol=1e-9)
        uv, seen = camera.model.project(here)
        uv_mirrored, seen_mirrored = other.model.project(there)
        # The image's open end changes sides; no random point lies on it.
        assert (seen == seen_mirrored).all()
        assert seen.sum() > 100
        np.testing.assert_allclose(uv_mirrored[seen], [WIDTH - 1, 0] + uv[seen] * [-1, 1], atol=1e-6)


def test_the_mirror_of_the_mirror_is_the_rig_itself() -> None:
    rig = skewed(ring(3, lens='plumb_bob'))
    assert mirrored_rig(mirrored_rig(rig)).fingerprint() == rig.fingerprint()
    assert mirrored_rig(rig).cameras[0].ego_mask[70, -1]  # type: ignore[index]


def test_pictures_that_cannot_be_flipped_are_refused() -> None:
    rig = ring(1)
    frame = SurroundFrame(rig, (CameraImage(np.zeros((96, 160), np.uint8), 'bayer_rggb8', 0),), 0)
    with pytest.raises(ValueError, match='bayer_rggb8 cannot be flipped column by column'):
        mirrored_frame(frame, mirrored_rig(rig))


def test_flip_averaging_of_an_engine_is_the_average_by_hand(tiny_model: Path) -> None:
    rig = skewed(ring(3, lens='plumb_bob'))
    rng = np.random.default_rng(1)
    predictor = Predictor(tiny_model, protocol_named('surrounddepth', 200.0), threads=1)
    plain, mirrored = (SurroundDepthPipeline(load_engine(tiny_model, 1)) for _ in range(2))
    for instant in range(2):
        pictures = [rng.integers(0, 256, (96, 160, 3), np.uint8) for _ in range(3)]
        stamp = 10**9 + instant * 10**8
        result = predictor(frame(rig, pictures, stamp))
        one = plain.process(frame(rig, pictures, stamp)).depth_nhw
        two = mirrored.process(frame(mirrored_rig(rig), [p[:, ::-1].copy() for p in pictures], stamp)).depth_nhw
        assert np.isnan(one).any()
        width = one.shape[2]
        for c, v, u in np.ndindex(one.shape):
            a, b = float(one[c, v, u]), float(two[c, v, width - 1 - u])
            x = u / (width - 1)
            left = 1 - min(max(20 * (x - 0.05), 0.0), 1.0)
            right = 1 - min(max(20 * ((1 - x) - 0.05), 0.0), 1.0)
            inverse = left / b + right / a + (1 - left - right) * (1 / a + 1 / b) / 2
            assert result.depth_nhw[c, v, u] == pytest.approx(1 / inverse, rel=1e-5, nan_ok=True)
        assert result.prev_T_now is None if instant == 0 else result.prev_T_now is not None


def frame(rig: Rig, pictures: list[np.ndarray], stamp: int) -> SurroundFrame:
    return SurroundFrame(rig, tuple(CameraImage(picture, 'rgb8', stamp) for picture in pictures), stamp)


def test_sky_is_sky_only_when_both_say_so() -> None:
    plain = np.full((1, 1, 41), 50, np.float32)
    flipped = plain.copy()
    plain[..., 18:20] = np.inf
    flipped[..., 41 - 1 - 19] = np.inf
    flipped[..., 41 - 1 - 25] = np.nan
    fused = flip_averaged(plain, flipped, 200.0)[0, 0]
    assert fused[18] == pytest.approx(1 / ((1 / 200 + 1 / 50) / 2))
    assert np.isposinf(fused[19])
    assert np.isnan(fused[25])
    assert fused[0] == 50
