# SPDX-License-Identifier: Apache-2.0
"""Agreement between cameras and over time in a room whose depth is known everywhere, and nothing hides anything."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from rigs import ring

from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.evaluation.consistency import (
    AgreementTally,
    FlickerMeter,
    RawLookup,
    compare,
    may_overlap,
    overlap_agreements,
)
from semi_smd_ros.rig import Rig, RigCamera, rays
from semi_smd_ros.runtime import SurroundDepth
from semi_smd_ros.runtime.preprocess import prepare_rig

# The room's walls in the world: |x| < 30, |y| < 20, floor at 0 and ceiling at 12 m.
LOW, HIGH = np.array([-30.0, -20.0, 0.0]), np.array([30.0, 20.0, 12.0])
WIDTH, HEIGHT = 160, 96
STEP_NS = 10**8


def room_depth(camera: RigCamera, world_T_base: np.ndarray) -> np.ndarray:
    """(H,W) float64: the room's true depth."""
    world_T_cam = world_T_base @ camera.base_T_cam
    direction = rays(camera.model.K, camera.model.width, camera.model.height) @ world_T_cam[:3, :3].T
    with np.errstate(divide='ignore'):
        to_walls = np.where(direction > 0, HIGH - world_T_cam[:3, 3], LOW - world_T_cam[:3, 3]) / direction
    return to_walls.min(axis=-1)


def answer(rig: Rig, depth_nhw: np.ndarray) -> SurroundDepth:
    n = len(rig)
    return SurroundDepth(
        0, (0,) * n, rig, prepare_rig(rig, WIDTH, HEIGHT).rectified, (True,) * n, depth_nhw,
        np.ones_like(depth_nhw), np.zeros((n, 1, 1), int), np.zeros((*depth_nhw.shape, 3), np.uint8), None, None,
    )  # fmt: skip


def true_answer(rig: Rig, world_T_base: np.ndarray) -> SurroundDepth:
    return answer(rig, np.stack([room_depth(camera, world_T_base) for camera in rig.cameras]))


def drive(x: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3] = x
    return pose


def sample(rig: Rig, number: int, poses: list[np.ndarray], **known: tuple[np.ndarray, ...]) -> SurroundSample:
    stamp = 10**12 + number * STEP_NS
    return SurroundSample(
        rig, (EncodedImage(b'', 'png'),) * len(rig), (stamp,) * len(rig), ego_poses=((stamp, poses[number]),), **known
    )


def in_one_place(rig: Rig) -> Rig:
    """The same cameras, all at one point, where overlaps have no parallax."""
    cameras = []
    for camera in rig.cameras:
        pose = camera.base_T_cam.copy()
        pose[:3, 3] = [1.0, 0.0, 1.5]
        cameras.append(dataclasses.replace(camera, base_T_cam=pose))
    return Rig(tuple(cameras))


def test_true_depth_agrees_with_itself_in_every_overlap() -> None:
    rig = ring(6)
    tally = AgreementTally()
    for camera, other, agreement in overlap_agreements(true_answer(rig, drive(0))):
        tally.add(f'{camera} {other}', agreement)
        assert agreement.mean < 2e-3  # bilinear interpolation where walls meet
        assert agreement.median < 1e-4
        assert agreement.within == 1
    # 90 degrees of view every 60 degrees: each camera meets its two neighbours.
    assert len(tally.by_view) == 12
    summary = tally.summary()
    assert summary is not None
    assert summary['images'] == 12


def test_a_common_wrong_scale_is_seen_only_through_parallax() -> None:
    depth = true_answer(in_one_place(ring(6)), drive(0))
    scaled = dataclasses.replace(depth, depth_nhw=1.3 * depth.depth_nhw)
    assert all(agreement.mean < 2e-3 for _, _, agreement in overlap_agreements(scaled))
    depth = true_answer(ring(6), drive(0))
    scaled = dataclasses.replace(depth, depth_nhw=1.3 * depth.depth_nhw)
    # Half a metre of parallax; with true depth the medians are below 1e-4.
    assert max(agreement.median for _, _, agreement in overlap_agreements(scaled)) > 1e-3


def test_one_cameras_wrong_scale_is_its_share() -> None:
    rig = in_one_place(ring(6))
    depth_nhw = true_answer(rig, drive(0)).depth_nhw.copy()
    depth_nhw[2] *= 1.5
    for camera, other, agreement in overlap_agreements(answer(rig, depth_nhw)):
        expected = 0.5 if camera == 'cam_2' else 1 - 1 / 1.5 if other == 'cam_2' else 0.0
        assert agreement.mean == pytest.approx(expected, abs=3e-3)
        assert agreement.median == pytest.approx(expected, abs=5e-4)
        assert agreement.within == (0 if expected else 1)


def test_sky_against_something_is_counted_apart() -> None:
    carried, own = np.full(200, 10.0), np.full(200, 12.0)
    own[:50], own[50:100] = np.inf, np.nan
    agreement = compare(carried, own)
    assert agreement is not None
    assert (agreement.sky, agreement.points) == (pytest.approx(1 / 3), 150)
    assert agreement.mean == pytest.approx(1 / 6)
    assert compare(carried[:120], own[:120]) is None  # only 20 are left


def test_cameras_back_to_back_do_not_overlap() -> None:
    front, *_, back = (ring(4).cameras[i] for i in (0, 1, 2))
    assert not may_overlap(front, back)


def test_true_depth_does_not_flicker() -> None:
    rig, poses = ring(4), [drive(0.0), drive(1.2), drive(2.4)]
    meter = FlickerMeter()
    assert meter(sample(rig, 0, poses), true_answer(rig, poses[0])) == []
    for i in (1, 2):
        agreements = meter(sample(rig, i, poses), true_answer(rig, poses[i]))
        assert [camera for camera, _ in agreements] == list(rig.names)
        assert max(agreement.mean for _, agreement in agreements) < 2e-3
    meter.reset()
    assert meter(sample(rig, 2, poses), true_answer(rig, poses[2])) == []


def test_a_scale_that_changes_from_set_to_set_flickers_by_its_share() -> None:
    rig, poses = ring(4), [drive(0.0), drive(0.0)]
    meter = FlickerMeter()
    meter(sample(rig, 0, poses), true_answer(rig, poses[0]))
    now = true_answer(rig, poses[1])
    for _, agreement in meter(sample(rig, 1, poses), dataclasses.replace(now, depth_nhw=1.1 * now.depth_nhw)):
        assert agreement.mean == pytest.approx(0.1, abs=1e-3)


def test_a_constant_wrong_scale_does_not_fit_the_known_motion() -> None:
    """Driving d metres straight at a wall with depth s * true: carried s * z + d, said before s * (z + d)."""
    rig, poses = ring(1), [drive(0.0), drive(2.0)]
    s, d = 1.5, 2.0
    meter = FlickerMeter()
    answers = [true_answer(rig, pose) for pose in poses]
    wall = np.full((HEIGHT, WIDTH), np.nan)
    middle = np.s_[36:47, 70:90]  # nothing but wall
    wrong = []
    for each in answers:
        depth = wall.copy()
        depth[middle] = s * each.depth_nhw[0][middle]
        wrong.append(dataclasses.replace(each, depth_nhw=depth[None]))
    meter(sample(rig, 0, poses), wrong[0])
    [(_, agreement)] = meter(sample(rig, 1, poses), wrong[1])
    z = 30 - 2.0 - 1.5  # the camera stands 1.5 m ahead of base
    assert agreement.mean == pytest.approx(abs(s * z + d - s * (z + d)) / (s * (z + d)), rel=1e-3)


def test_what_moves_by_itself_does_not_count() -> None:
    rig, poses = ring(2), [drive(0.0), drive(0.0)]
    moving = tuple(np.zeros((HEIGHT, WIDTH), bool) for _ in rig.cameras)
    moving[0][:, 40:80] = True
    now = true_answer(rig, poses[1])
    closer = now.depth_nhw.copy()
    closer[0, :, 40:80] *= 0.5
    for known, expected in (({}, 0.25 * 0.5), ({'moving': moving}, 0.0)):
        meter = FlickerMeter()
        meter(sample(rig, 0, poses, **known), true_answer(rig, poses[0]))
        result = dict(meter(sample(rig, 1, poses, **known), dataclasses.replace(now, depth_nhw=closer)))
        assert result['cam_0'].mean == pytest.approx(expected, abs=2e-3)
        assert result['cam_1'].mean == pytest.approx(0, abs=1e-6)


def test_without_poses_there_is_no_flicker() -> None:
    rig = ring(2)
    meter = FlickerMeter()
    for i in range(2):
        blind = dataclasses.replace(sample(rig, i, [drive(0), drive(1)]), ego_poses=())
        assert meter(blind, true_answer(rig, drive(0))) == []


def test_the_synthetic_worlds_depth_agrees_with_itself() -> None:
    """Rendered streets, where near things hide what lies behind: most points agree, and the median is nearly right.

    What a street shows changes whenever the world does; a pose or pixel that is off would spoil all of it.
    """
    pytest.importorskip('torch')
    from semi_smd_ros.datasets.sources import open_source

    meter = FlickerMeter()
    overlaps, flicker = AgreementTally(), AgreementTally()
    for moment in open_source('synthetic:2?sets=2&rig=nuscenes', width=WIDTH, height=HEIGHT):
        assert moment.depth_maps is not None
        depth = answer(moment.rig, np.stack(moment.depth_maps))
        for camera, other, agreement in overlap_agreements(depth):
            overlaps.add(f'{camera} {other}', agreement)
        for camera, agreement in meter(moment, depth):
            flicker.add(camera, agreement)
    # Neighbours that share little but sky do not count.
    assert len(overlaps.by_view) >= 8
    assert len(flicker.by_view) == 6
    for tally in (overlaps, flicker):
        views = tally.views().values()
        assert np.median([view['median'] for view in views]) < 0.03
        assert np.median([view['within'] for view in views]) > 0.65


def test_true_depth_is_put_in_place_of_the_answer() -> None:
    rig = ring(3)
    wide = Rig(
        tuple(dataclasses.replace(c, model=c.model.resized(3 * WIDTH, 3 * HEIGHT)) for c in rig.cameras)
    )  # fmt: skip
    maps = tuple(room_depth(camera, drive(0)) for camera in wide.cameras)
    depth = true_answer(wide, drive(0))
    answered = np.full((3, HEIGHT, WIDTH), 5.0, np.float32)
    answered[:, :4] = np.nan
    result = RawLookup().true_depth(
        sample(wide, 0, [drive(0)], depth_maps=maps), dataclasses.replace(depth, depth_nhw=answered)
    )
    assert result is not None
    expected = np.stack([room_depth(camera, drive(0)) for camera in rig.cameras])
    # The middle of three pixels lies where the small picture's pixel does.
    np.testing.assert_allclose(result.depth_nhw[:, 4:], expected[:, 4:], rtol=1e-5)
    assert np.isnan(result.depth_nhw[:, :4]).all()
    assert RawLookup().true_depth(sample(wide, 0, [drive(0)]), depth) is None
