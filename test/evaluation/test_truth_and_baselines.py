# SPDX-License-Identifier: Apache-2.0
"""Truth points from sparse and dense sources, and what geometry alone answers for them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rigs import LENSES, ring
from rigs import camera as rig_camera

from semi_smd_ros.datasets.ddad import DdadScene
from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.evaluation.baselines import blind_model_path, fit_ground, flat_ground, ground_depth, true_ground_plane
from semi_smd_ros.evaluation.truth import CameraTruth, TruthReader, pixel_rays, without_masks
from semi_smd_ros.rig import Rig, flat_ground_depth, rays

TILTED = np.array([0.02, -0.01, 1.0, -0.15]) / np.linalg.norm([0.02, -0.01, 1.0])


def masked(rig: Rig) -> Rig:
    mask = np.zeros((96, 160), bool)
    mask[70:] = True
    return Rig(tuple(dataclasses.replace(camera, ego_mask=mask) for camera in rig.cameras))


def sample(rig: Rig, **known: object) -> SurroundSample:
    return SurroundSample(rig, (EncodedImage(b'', 'png'),) * len(rig), (0,) * len(rig), **known)  # type: ignore[arg-type]


def test_sparse_truth_on_the_ego_vehicle_is_left_out_only_with_masks() -> None:
    rig = masked(ring(1))
    K = rig.cameras[0].model.K
    pixels = np.array([[10, 20, 1], [50, 69, 1], [50, 70, 1], [159.4, 95.4, 1]])
    points = (7 * pixels @ np.linalg.inv(K).T).astype(np.float32)
    for masks, kept in ((True, 2), (False, 4)):
        truths = TruthReader(masks)(sample(rig, depth_points=(points,)))
        assert truths is not None
        np.testing.assert_allclose(truths[0].points_n3, points[:kept], rtol=1e-6)
    assert TruthReader(True)(sample(rig)) is None
    assert without_masks(rig).cameras[0].ego_mask is None


@pytest.mark.parametrize('lens', [None, 'plumb_bob', 'equidistant'])
def test_dense_truth_is_the_points_that_the_pixels_see(lens: str | None) -> None:
    rig = ring(1, lens=lens)
    model = rig.cameras[0].model
    depth = np.random.default_rng(0).uniform(2, 90, (96, 160)).astype(np.float32)
    depth[:10], depth[90:] = np.inf, np.nan
    truths = TruthReader(True)(sample(rig, depth_maps=(depth,)))
    assert truths is not None
    row, column = np.nonzero(np.isfinite(depth))
    uv, seen = model.project(truths[0].points_n3)
    assert seen.mean() > 0.95  # the corners lie beyond what the lens polynomial is good for
    np.testing.assert_allclose(uv[seen], np.column_stack([column, row])[seen], atol=0.02)
    np.testing.assert_allclose(truths[0].points_n3[:, 2], depth[row, column], rtol=1e-6)
    assert len(truths[0].sky_n3) == 10 * 160
    only_sky = TruthReader(True)(sample(masked(rig), depth_maps=(np.full((96, 160), np.inf),)))
    assert only_sky is not None
    assert (len(only_sky[0].points_n3), len(only_sky[0].sky_n3)) == (0, 70 * 160)


def test_dense_truth_of_large_pictures_is_thinned() -> None:
    camera = dataclasses.replace(ring(1).cameras[0], model=rig_camera(640, 400))
    depth = np.arange(400 * 640, dtype=np.float32).reshape(400, 640) + 1
    truths = TruthReader(True)(sample(Rig((camera,)), depth_maps=(depth,)))
    assert truths is not None
    np.testing.assert_allclose(truths[0].points_n3[:, 2], depth[1::2, 1::2].ravel())


def test_rays_of_a_distorted_camera_project_back() -> None:
    for lens in LENSES:
        model = ring(1, lens=lens).cameras[0].model
        inner = np.s_[10:-10:7, 10:-10:7]
        grid = np.stack(np.meshgrid(np.arange(160), np.arange(96)), axis=-1)
        uv = model.project(pixel_rays(model)[inner].reshape(-1, 3) * 5)[0]
        np.testing.assert_allclose(uv, grid[inner].reshape(-1, 2), atol=0.02)


@pytest.mark.parametrize('plane', [np.array([0.0, 0, 1, 0]), TILTED])
def test_ground_along_rays_is_the_rigs_flat_ground(plane: np.ndarray) -> None:
    for camera in ring(3).cameras:
        directions = rays(camera.model.K, 160, 96).reshape(-1, 3)
        found = np.minimum(ground_depth(directions, camera.base_T_cam, plane), 20.0).reshape(96, 160)
        expected = flat_ground_depth(camera.model.K, camera.base_T_cam, 160, 96, 20.0, tuple(plane))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def ground_points(rng: np.random.Generator, count: int) -> np.ndarray:
    xy = rng.uniform(-20, 20, (count, 2))
    z = -(TILTED[0] * xy[:, 0] + TILTED[1] * xy[:, 1] + TILTED[3]) / TILTED[2]
    return np.column_stack([xy, z + rng.normal(0, 0.015, count)])


def test_the_grounds_plane_is_found_among_other_things() -> None:
    rng = np.random.default_rng(0)
    verge = ground_points(rng, 800) * [0.5, 0.5, 1] + [0, 0, 0.4]
    walls = rng.uniform([-20, -20, -0.5], [20, 20, 3], (3000, 3))
    plane = fit_ground(np.vstack([ground_points(rng, 2000), verge, walls]))
    assert plane is not None
    assert np.degrees(np.arccos(plane[:3] @ TILTED[:3])) < 0.1
    assert plane[3] == pytest.approx(TILTED[3], abs=0.01)
    # From the true plane, the truth's ground points are answered right.
    camera = ring(1).cameras[0]
    cam_T_base = np.linalg.inv(camera.base_T_cam)
    points = ground_points(rng, 3000) @ cam_T_base[:3, :3].T + cam_T_base[:3, 3]
    truth = CameraTruth(points[points[:, 2] > 2], np.zeros((0, 3)))
    near = truth.points_n3[:, 2] < 10
    error = np.abs(flat_ground(truth, camera.base_T_cam, plane) / truth.points_n3[:, 2] - 1)
    assert np.median(error[near]) < 0.02
    assert np.median(np.abs(flat_ground(truth, camera.base_T_cam) / truth.points_n3[:, 2] - 1)[near]) > 0.05


def test_no_plane_is_made_up() -> None:
    rng = np.random.default_rng(0)
    assert fit_ground(ground_points(rng, 60)) is None
    steep = ground_points(rng, 3000)
    steep[:, 2] = 0.3 * steep[:, 0]
    assert fit_ground(steep) is None
    assert fit_ground(rng.uniform([-20, -20, 2], [20, 20, 3], (3000, 3))) is None


def test_the_sources_own_plane_comes_first() -> None:
    plane = np.array([0.0, 0.0, 1.0, -0.2])
    truths = (CameraTruth(np.zeros((0, 3)), np.zeros((0, 3))),)
    assert true_ground_plane(sample(ring(1), ground_plane_base=plane), truths) is plane
    assert true_ground_plane(sample(ring(1)), truths) is None


def test_the_real_scenes_ground_is_found(real_scene: Path) -> None:
    frames = json.loads((real_scene / 'calib.json').read_text())['frames']
    for moment, frame in zip(DdadScene(real_scene), frames, strict=True):
        truths = TruthReader(True)(moment)
        assert truths is not None
        plane = true_ground_plane(moment, truths)
        assert plane is not None
        given = frame['ground_plane_ego']
        assert np.degrees(np.arccos(plane[:3] @ given['normal'])) < 1.0
        assert plane[3] == pytest.approx(given['d'], abs=0.03)


def test_the_blind_network_lies_beside_the_model() -> None:
    assert blind_model_path(Path('models/small.onnx')) == Path('models/small_blind.onnx')
