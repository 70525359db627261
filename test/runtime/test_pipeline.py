# SPDX-License-Identifier: Apache-2.0
"""From images to depth and cloud: values that can be told in advance, memory, masks and failures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rigs import LENSES, camera, level_pose, ring

from semi_smd_ros.rig import CameraModel, Rig, RigCamera
from semi_smd_ros.runtime import (
    CameraImage,
    CloudConfig,
    InputError,
    ModelError,
    PipelineConfig,
    SurroundDepthPipeline,
    SurroundFrame,
    load_engine,
)

MS = 1_000_000


def frame(rig: Rig, stamp_ns: int = 0, brightness: int = 51, missing: tuple[int, ...] = ()) -> SurroundFrame:
    images = tuple(
        None
        if i in missing
        else CameraImage(np.full((cam.model.height, cam.model.width, 3), brightness, np.uint8), 'bgr8', stamp_ns - i)
        for i, cam in enumerate(rig.cameras)
    )
    return SurroundFrame(rig, images, stamp_ns)


@pytest.fixture
def pipeline(tiny_model: Path) -> SurroundDepthPipeline:
    return SurroundDepthPipeline(load_engine(tiny_model, threads=1))


def test_depth_is_the_models_and_geometry_the_rigs(pipeline: SurroundDepthPipeline) -> None:
    depth = pipeline.process(frame(ring(3)))
    np.testing.assert_allclose(depth.depth_nhw, 10 * 51 / 255 + 1, rtol=1e-5)
    assert depth.stamps_ns == (0, -1, -2)
    np.testing.assert_allclose(depth.rectified.cameras[0].model.K[0, 0], 40.0)
    assert depth.rectified.cameras[0].model.width == 80


def test_colours_arrive_as_rgb(pipeline: SurroundDepthPipeline) -> None:
    rig = ring(1)
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[..., 0] = 200  # blue of bgr8
    depth = pipeline.process(SurroundFrame(rig, (CameraImage(picture, 'bgr8', 0),), 0))
    assert depth.images_nhw3[0, 5, 5].tolist() == [0, 0, 200]


@pytest.mark.parametrize(
    ('stamps_ms', 'reasons'),
    [
        ([0, 100, 200], ['first frame', None, None]),
        ([0, 700, 800], ['first frame', 'gap in time', None]),
        ([500, 100, 200], ['first frame', 'time went back', None]),
        ([0, 0], ['first frame', 'time went back']),
    ],
)
def test_memory_follows_time(pipeline: SurroundDepthPipeline, stamps_ms: list[int], reasons: list[str | None]) -> None:
    rig = ring(2)
    results = [pipeline.process(frame(rig, stamp * MS)) for stamp in stamps_ms]
    assert [r.memory_reset for r in results] == reasons
    # The model moves by 0.1 m where it has a memory; without one there is no ego-motion to tell.
    assert [r.prev_T_now is not None for r in results] == [reason is None for reason in reasons]


def test_memory_is_wiped_by_a_changed_rig_a_reset_and_a_failure(pipeline: SurroundDepthPipeline) -> None:
    rig = ring(2)
    pipeline.process(frame(rig, 0))
    assert pipeline.process(frame(ring(2), 100 * MS)).memory_reset is None  # equal rigs are the same rig
    moved = dataclasses.replace(rig.cameras[0], base_T_cam=level_pose(0.1))
    assert pipeline.process(frame(Rig((moved, rig.cameras[1])), 200 * MS)).memory_reset == 'rig changed'
    pipeline.reset('asked')
    assert pipeline.process(frame(rig, 300 * MS)).memory_reset == 'asked'
    broken = SurroundFrame(rig, (CameraImage(np.zeros((9, 9, 3), np.uint8), 'bgr8', 0), None), 400 * MS)
    with pytest.raises(InputError, match=r'camera cam_0: image is 9x9; its CameraInfo says 160x96'):
        pipeline.process(broken)
    assert pipeline.process(frame(rig, 500 * MS)).memory_reset == 'a set failed'
    assert pipeline.memory.resets['a set failed'] == 1


def test_a_missing_camera_has_no_depth(pipeline: SurroundDepthPipeline) -> None:
    depth = pipeline.process(frame(ring(3), missing=(1,)))
    assert depth.camera_valid == (True, False, True)
    assert np.isnan(depth.depth_nhw[1]).all()
    assert np.isfinite(depth.depth_nhw[[0, 2]]).all()
    assert set(pipeline.cloud(depth).points()['camera']) == {0, 2}


def test_the_ego_vehicle_and_what_the_lens_does_not_see_are_unknown(pipeline: SurroundDepthPipeline) -> None:
    mask = np.zeros((96, 160), bool)
    mask[80:] = True
    wide = camera().K.copy()
    wide[0, 0] = wide[1, 1] = 30
    distorted = CameraModel(160, 96, camera().K, LENSES['plumb_bob'], 'plumb_bob', wide)
    rig = Rig(
        (
            RigCamera('masked', 'm', camera(), level_pose(0), mask),
            RigCamera('wide', 'w', distorted, level_pose(1)),
        )
    )
    depth = pipeline.process(frame(rig))
    assert np.isnan(depth.depth_nhw[0, 40:]).all()
    assert np.isfinite(depth.depth_nhw[0, :39]).all()
    assert np.isnan(depth.depth_nhw[1, 0, 0])
    assert np.isfinite(depth.depth_nhw[1, 24, 40])
    assert (depth.confidence_nhw[np.isnan(depth.depth_nhw)] == 0).all()


def test_the_cloud_lies_where_depth_and_extrinsics_put_it(pipeline: SurroundDepthPipeline) -> None:
    rig = ring(3)
    depth = pipeline.process(frame(rig))
    pipeline.config = PipelineConfig(cloud=CloudConfig(min_height=-100, max_height=100, stride=1))
    cloud = pipeline.cloud(depth)
    points = cloud.points()
    assert cloud.n_points == len(points) == 3 * 48 * 80
    assert len(cloud.data) == cloud.n_points * cloud.point_step
    for i, cam in enumerate(depth.rectified.cameras):
        mine = points[points['camera'] == i]
        xyz = np.column_stack([mine['x'], mine['y'], mine['z']]).astype(float)
        cam_T_base = np.linalg.inv(cam.base_T_cam)
        local = xyz @ cam_T_base[:3, :3].T + cam_T_base[:3, 3]
        np.testing.assert_allclose(local[:, 2], 3.0, atol=1e-4)  # depth is Z, not distance
        uv, _ = cam.model.project(local)
        v, u = np.divmod(np.arange(48 * 80), 80)
        np.testing.assert_allclose(uv, np.column_stack([u, v]), atol=1e-3)
    assert (points['rgb'] == 51 << 16 | 51 << 8 | 51).all()
    np.testing.assert_allclose(points['confidence'], 0.75)


def test_cloud_filters(pipeline: SurroundDepthPipeline) -> None:
    depth = pipeline.process(frame(ring(2)))
    everything = CloudConfig(min_height=-100, max_height=100, stride=1)

    def count(**changes: float) -> int:
        pipeline.config = PipelineConfig(cloud=dataclasses.replace(everything, **changes))
        return pipeline.cloud(depth).n_points

    whole = 2 * 48 * 80
    assert count() == whole
    assert count(stride=4) == 2 * 12 * 20
    assert count(max_range=2.9) == 0
    assert count(min_range=3.1) == 0
    assert count(min_confidence=0.8) == 0
    assert 0 < count(max_height=1.0) < whole
    sky = dataclasses.replace(depth, depth_nhw=np.full_like(depth.depth_nhw, np.inf))
    assert pipeline.cloud(sky).n_points == 0


@pytest.mark.parametrize(
    'settings',
    [{'min_range': 5, 'max_range': 4}, {'min_height': 3, 'max_height': 1}, {'min_confidence': 2}, {'stride': 0}],
)
def test_cloud_settings_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match='expected'):
        CloudConfig(**settings)  # type: ignore[arg-type]


def test_a_rig_that_the_model_cannot_run_is_refused(tmp_path: Path) -> None:
    from tiny_model import write_tiny_model

    engine = load_engine(write_tiny_model(tmp_path / 'few.onnx', max_cameras=2))
    with pytest.raises(ModelError, match='at most 2 cameras'):
        SurroundDepthPipeline(engine).process(frame(ring(3)))


def test_stage_times_are_kept(pipeline: SurroundDepthPipeline) -> None:
    for i in range(3):
        pipeline.cloud(pipeline.process(frame(ring(2), i * 100 * MS)))
    summary = pipeline.stats.summary()
    assert set(summary) == {'prepare rig', 'preprocess', 'engine', 'postprocess', 'cloud'}
    assert summary.pop('prepare rig')['n'] == 1
    assert all(s['n'] == 3 and 0 < s['p50'] <= s['p95'] for s in summary.values())
