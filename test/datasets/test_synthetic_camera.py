# SPDX-License-Identifier: Apache-2.0
"""The synthetic cameras: lenses that rectification undoes, rolling shutters, motion, exposure, the own vehicle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from semi_smd_ros.datasets.synthetic import SyntheticRig, ddad_like_rig, random_rig, raw_rig, render_sequence
from semi_smd_ros.datasets.synthetic.camera import expose, make_look
from semi_smd_ros.datasets.synthetic.capture import Studio, viewpoints
from semi_smd_ros.datasets.synthetic.cull import WorldPrimitives
from semi_smd_ros.datasets.synthetic.develop import _toned
from semi_smd_ros.datasets.synthetic.ego_body import draw_ego_body
from semi_smd_ros.datasets.synthetic.lens import make_lens, pixel_grid
from semi_smd_ros.datasets.synthetic.motion import blurred, image_velocity
from semi_smd_ros.datasets.synthetic.primitives import BOX
from semi_smd_ros.datasets.synthetic.rasterise import GBuffer, Raster
from semi_smd_ros.datasets.synthetic.resolve import linear_pictures
from semi_smd_ros.datasets.synthetic.rigs import camera_pose
from semi_smd_ros.datasets.synthetic.stage import Instants
from semi_smd_ros.datasets.synthetic.views import Viewpoint, Views, rotations_of
from semi_smd_ros.rig.rectify import RectifyMap

CPU = torch.device('cpu')
LENSES = {
    'plumb_bob': (-0.2, 0.06, 0.001, -0.0005, 0.0),
    'rational_polynomial': (0.3, 0.05, 0.0005, -0.0003, 0.005, 0.65, 0.12, 0.01),
    'equidistant': (-0.02, 0.005, -0.003, 0.0005),
}


def two_cameras(height: int = 96, width: int = 160) -> SyntheticRig:
    whole = ddad_like_rig(height, width)
    keep = [1, 4]
    names = tuple(whole.names[k] for k in keep)
    return dataclasses.replace(
        whole, names=names, intrinsics_n33=whole.intrinsics_n33[keep], base_T_cam_n44=whole.base_T_cam_n44[keep]
    )


def bare(seed: int, rig: SyntheticRig, seconds: float = 0.0) -> tuple[np.ndarray, np.ndarray, Raster, GBuffer]:
    """Linear pictures (N, H, W, 3) and depths (N, H, W) without any camera effect but lens and shutter."""
    with torch.inference_mode():
        studio = Studio.of(seed, rig)
        instants = Instants.of([studio.stage.at(seconds)], CPU)
        views = Views.cameras(viewpoints(studio, seconds), CPU)
        raster = Raster(instants.prims, [instants.spans[0]] * len(rig.names), views)
        linear, buffer = linear_pictures(raster, instants.shader, [0] * len(rig.names))
        depth = torch.where(buffer.candidate_vhw < 0, torch.inf, buffer.depth_vhw)
        return linear.permute(0, 2, 3, 1).numpy(), depth.numpy(), raster, buffer


@pytest.fixture(scope='module')
def fast_seed() -> int:
    """A scene in which the vehicle drives at 9 m/s or more."""
    for seed in range(100):
        stage = Studio.of(seed, two_cameras(16, 24)).stage
        poses = [stage.motion.pose(stage.scene, t)[0][:3, 3] for t in (0.0, 0.2)]
        if np.linalg.norm(poses[1] - poses[0]) > 1.8:
            return seed
    raise AssertionError('no scene in which the vehicle drives')


@pytest.fixture(scope='module')
def pinhole() -> tuple[np.ndarray, np.ndarray]:
    linear, depth, _, _ = bare(23, two_cameras())
    return linear, depth


@pytest.mark.parametrize('kind', LENSES)
def test_a_lens_follows_its_camera_model(kind: str) -> None:
    rig = dataclasses.replace(two_cameras(), distortion=((kind, LENSES[kind]),) * 2)
    for model in rig.camera_models():
        lens = make_lens(model)
        x, y = pixel_grid(lens.poly_t26, model.width, model.height)
        v, u = np.mgrid[: model.height, : model.width]
        rays = model.unproject(np.stack([u, v], axis=-1).reshape(-1, 2)).reshape(model.height, model.width, 3)
        # Normalised coordinates times the focal length are pixels at the picture's centre.
        assert np.abs(x - rays[..., 0] / rays[..., 2]).max() * model.K[0, 0] < 0.1
        assert np.abs(y - rays[..., 1] / rays[..., 2]).max() * model.K[1, 1] < 0.1


@pytest.mark.parametrize('kind', LENSES)
def test_rectifying_a_distorted_picture_gives_the_pinhole_picture(
    kind: str, pinhole: tuple[np.ndarray, np.ndarray]
) -> None:
    rig = dataclasses.replace(two_cameras(), distortion=((kind, LENSES[kind]),) * 2)
    linear, depth, _, _ = bare(23, rig)
    for camera, model in enumerate(rig.camera_models()):
        assert np.abs(linear[camera] - pinhole[0][camera]).mean() > 0.02, 'the lens must bend, or this proves nothing'
        rectify = RectifyMap(model, rig.width, rig.height)
        np.testing.assert_allclose(rectify.model.K, rig.intrinsics_n33[camera])
        seen = rectify.valid_hw & np.isfinite(pinhole[1][camera])
        nearness = rectify(np.ascontiguousarray(1.0 / depth[camera]))[seen] * pinhole[1][camera][seen]
        assert seen.mean() > 0.3
        assert np.median(np.abs(nearness - 1.0)) < 0.004
        assert np.mean(np.abs(nearness - 1.0) < 0.03) > 0.8
        apart = np.abs(np.sqrt(rectify(linear[camera])) - np.sqrt(pinhole[0][camera]))[rectify.valid_hw]
        assert np.median(apart) < 0.015
        assert apart.mean() < 0.04


def test_a_lens_that_folds_the_picture_is_refused() -> None:
    rig = dataclasses.replace(two_cameras(), distortion=(('plumb_bob', (-0.6, 0.0, 0.0, 0.0, 0.0)),) * 2)
    with pytest.raises(ValueError, match='folds the picture'):
        make_lens(rig.camera_models()[0])


def boxes(centres: np.ndarray, halves: np.ndarray, velocities: np.ndarray) -> WorldPrimitives:
    """Upright boxes along the world's axes."""
    count = len(centres)
    axes = np.stack([np.diag(half) for half in halves])
    return WorldPrimitives(
        shape=torch.full((count,), BOX),
        centre_p3=torch.tensor(centres),
        axes_p33=torch.tensor(axes),
        inverse_p33=torch.tensor(np.linalg.inv(axes)),
        half_p3=torch.tensor(halves).float(),
        cut_p4=torch.zeros(count, 4),
        salt_p=torch.zeros(count),
        velocity_p3=torch.tensor(velocities),
    )


def first_hits(
    centres: np.ndarray, halves: np.ndarray, origin_h3: np.ndarray, rays_hw3: np.ndarray, shift_hp3: np.ndarray
) -> np.ndarray:
    """Ray parameters (H, W) of the first box hit, with the boxes moved by `shift_hp3` for each row; inf where none."""
    best = np.full(rays_hw3.shape[:2], np.inf)
    for p, (centre, half) in enumerate(zip(centres, halves, strict=True)):
        away = (origin_h3 - centre - shift_hp3[:, p])[:, None]
        with np.errstate(divide='ignore'):
            ends = np.stack([(-away - half) / rays_hw3, (-away + half) / rays_hw3])
        enter, leave = ends.min(0).max(-1), ends.max(0).min(-1)
        best = np.minimum(best, np.where((enter <= leave) & (enter > 0), enter, np.inf))
    return best


@pytest.mark.parametrize('kind', ['', 'plumb_bob'])
def test_with_a_rolling_shutter_every_row_is_true_at_its_own_time(kind: str) -> None:
    """Against an independent ray caster in which camera, spin and things move on from row to row."""
    rig = two_cameras()
    if kind:
        rig = dataclasses.replace(rig, distortion=((kind, LENSES[kind]),) * 2)
    model = rig.camera_models()[0]
    centres = np.array([[12.0, 1.0, 1.0], [8.0, -2.0, 0.5], [6.0, 2.0, 0.8], [30.0, 0.0, 4.0]])
    halves = np.array([[0.2, 3.0, 2.0], [1.0, 0.7, 0.9], [0.05, 0.05, 2.0], [1.0, 20.0, 6.0]])
    velocities = np.array([[0.0, 0.0, 0.0], [-9.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    pose = camera_pose((0.0, 0.0, 1.5), 0.1, 0.02)
    velocity, spin = np.array([14.0, 0.5, 0.0]), np.array([0.05, -0.5, 0.1])
    v, u = np.mgrid[: rig.height, : rig.width]
    rays = model.unproject(np.stack([u, v], axis=-1).reshape(-1, 2)).reshape(rig.height, rig.width, 3)
    rays = rays / rays[..., 2:]
    got, expected = [], []
    for readout in (0.03, 0.0):
        row_s = readout / (rig.height - 1)
        times = (np.arange(rig.height) - (rig.height - 1) / 2) * row_s
        views = Views.cameras([Viewpoint(make_lens(model), pose, velocity, spin, row_s)], CPU)
        depth = Raster(boxes(centres, halves, velocities), [(0, 4)], views).sample().depth_vhw[0].numpy()
        got.append(np.where(depth < 1e8, depth, np.inf))
        turned = np.einsum('ij,hjk,hwk->hwi', pose[:3, :3], rotations_of(spin * times[:, None]), rays)
        origins = pose[:3, 3] + velocity * times[:, None]
        expected.append(first_hits(centres, halves, origins, turned, velocities[None] * times[:, None, None]))
    for one, other in zip(got, expected, strict=True):
        assert np.mean(np.isfinite(one) != np.isfinite(other)) < 0.002
        both = np.isfinite(one) & np.isfinite(other)
        assert both.mean() > 0.2
        # At outlines a hundredth of a pixel decides which thing is hit.
        assert np.mean(np.abs(one[both] / other[both] - 1.0) < 1e-3) > 0.997
    both = np.isfinite(got[0]) & np.isfinite(expected[1])
    differ = np.abs(got[0][both] / expected[1][both] - 1.0) > 2e-3
    assert differ.mean() > 0.2, 'the shutter must matter, or this proves nothing'


def test_rolling_and_global_shutters_meet_in_the_middle_row(fast_seed: int) -> None:
    rig = two_cameras()
    _, still, _, _ = bare(fast_seed, rig, 0.1)
    _, rolling, _, _ = bare(fast_seed, dataclasses.replace(rig, readout_s=0.03), 0.1)
    middle = slice(rig.height // 2 - 1, rig.height // 2 + 1)
    both = np.isfinite(still) & np.isfinite(rolling)
    same = np.abs(np.where(both, still, 1.0) / np.where(both, rolling, 1.0) - 1.0) < 0.01
    assert same[:, middle][both[:, middle]].mean() > 0.97
    assert same[:, :8][both[:, :8]].mean() < same[:, middle][both[:, middle]].mean()


@pytest.mark.parametrize('raw', [False, True])
def test_image_velocity_is_where_points_go(raw: bool, fast_seed: int) -> None:
    rig = two_cameras()
    if raw:
        rig = dataclasses.replace(rig, distortion=(('plumb_bob', LENSES['plumb_bob']),) * 2)
    seed, dt = fast_seed, 0.002
    studio = Studio.of(seed, rig)
    motion, scene = studio.stage.motion, studio.stage.scene
    _, depth, raster, buffer = bare(seed, rig, 0.1)
    with torch.inference_mode():
        flow = image_velocity(raster, buffer).numpy()
    still = np.abs(raster.prims.velocity_p3.numpy()).max(1)[raster.found.prim[buffer.candidate_vhw.clamp(min=0)]] < 1e-6
    now, later = (motion.pose(scene, 0.1 + t)[0] for t in (0.0, dt))
    for camera, model in enumerate(rig.camera_models()):
        v, u = np.mgrid[: rig.height, : rig.width]
        pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
        rays = model.unproject(pixels)
        points = rays / rays[:, 2:] * depth[camera].reshape(-1, 1)
        use = np.isfinite(points[:, 2]) & still[camera].ravel()
        old, new = now @ rig.base_T_cam_n44[camera], later @ rig.base_T_cam_n44[camera]
        world = points[use] @ old[:3, :3].T + old[:3, 3]
        moved, _ = model.project((world - new[:3, 3]) @ new[:3, :3])
        expected = (moved - pixels[use]) / dt
        got = flow[camera].reshape(2, -1).T[use]
        inside = (np.abs(moved - pixels[use]) < 5).all(1)
        error = np.linalg.norm(got - expected, axis=1)[inside]
        speed = np.linalg.norm(expected, axis=1)[inside]
        assert speed.max() > 100.0, 'pixels a second'
        assert np.percentile(error / (speed + 10.0), 95) < 0.05


def test_motion_blur_spreads_light_along_the_motion_and_keeps_its_sum() -> None:
    picture = torch.zeros(1, 3, 32, 64)
    picture[:, :, :, 32] = 1.0
    velocity = torch.zeros(1, 2, 32, 64)
    velocity[:, 0] = 500.0
    once = blurred(picture, velocity, torch.tensor([0.01]))
    assert torch.equal(once[:, :, 3], once[:, :, 20])
    assert int((once[0, 0, 10] > 0.05).sum()) == 5, 'five pixels long: 500 px/s for 10 ms'
    assert float(once[0, 0, 10].sum()) == pytest.approx(1.0, abs=0.01)
    assert blurred(picture, velocity, torch.tensor([0.0005])) is picture, 'a quarter pixel is no blur'


def test_the_tone_curve_is_the_formula_to_a_tenth_of_a_grey_level() -> None:
    signal = torch.linspace(0.0, 3.0, 2 * 3 * 50 * 50).view(2, 3, 50, 50)
    contrasts = [1.0, 2.2]
    got = _toned(signal, contrasts).double().numpy()
    x = signal.double().numpy() ** np.array(contrasts).reshape(2, 1, 1, 1)
    expected = (1.0 - np.exp(-1.5 * x - 1.2 * x * x) + 1e-5) ** (1 / 2.2)
    assert np.abs(got - expected).max() * 255 < 0.1
    assert float(_toned(torch.full((1, 3, 1, 1), 1e9), [1.5]).min()) > 0.999


def test_exposure_follows_the_light() -> None:
    look = make_look(1, 'front', np.eye(4), 48, 80)
    bright, dim, dark, black = (expose(look, radiance, 1.0) for radiance in (0.5, 0.1, 0.01, 1e-5))
    assert bright.seconds < dim.seconds <= dark.seconds == look.longest_s
    assert bright.gain == dim.gain == 1.0 < dark.gain < black.gain == look.most_gain
    # Until the limits are reached, signal = factor x radiance stays the same.
    assert bright.factor * 0.5 == pytest.approx(dim.factor * 0.1)
    assert black.factor * 1e-5 < 0.1 * dim.factor * 0.1


def test_cameras_expose_for_what_they_see_and_stay_near_a_middle_brightness() -> None:
    frame = render_sequence(21, ddad_like_rig(96, 160), frames=1)[0]
    assert frame.exposure_s_n.shape == (6,)
    assert frame.exposure_s_n.min() > 0.0001
    assert frame.exposure_s_n.max() <= 0.02
    assert frame.exposure_s_n.max() / frame.exposure_s_n.min() > 1.2
    for image, mask in zip(frame.images_nhw3, frame.ego_mask_nhw, strict=True):
        assert 40 < image[~mask].mean() < 215


def test_the_own_vehicle_is_opaque_constant_and_out_of_the_truth() -> None:
    rig = ddad_like_rig(96, 160)
    covered = 0
    for seed in (21, 23):
        first, second = render_sequence(seed, rig, frames=2)
        np.testing.assert_array_equal(first.ego_mask_nhw, second.ego_mask_nhw)
        np.testing.assert_array_equal(np.isnan(first.depth_nhw), first.ego_mask_nhw)
        np.testing.assert_array_equal(first.semantics_nhw == 255, first.ego_mask_nhw)
        assert not first.moving_nhw[first.ego_mask_nhw].any()
        covered += int(first.ego_mask_nhw.any((1, 2)).sum())
    assert covered >= 2


def test_the_own_vehicle_lies_towards_its_long_axis() -> None:
    """As in a real rig: a camera looking ahead to the left has the bonnet in its right half."""
    for yaw, side in ((58.0, 1), (-58.0, -1), (117.0, -1), (-117.0, 1)):
        pose = camera_pose((1.4, 0.4, 1.5), np.radians(yaw))
        halves = np.zeros(2)
        shown = 0
        for seed in range(60):
            mask = draw_ego_body(0, seed, pose, 48, 80).mask_hw
            assert mask.mean() < 0.5
            shown += bool(mask.any())
            halves += (mask[:, :40].sum(), mask[:, 40:].sum())
        assert 15 < shown < 60
        assert (halves[1] - halves[0]) * side > 0.2 * halves.sum()


def test_raw_rigs_render_with_every_lens_and_shutter() -> None:
    kinds, shutters = set(), set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rig = raw_rig(random_rig(rng, 96, 160, cameras=2), rng)
        kinds.add(rig.distortion[0][0])
        shutters.add(rig.readout_s > 0.0)
        assert rig.readout_s == 0.0 or 0.01 <= rig.readout_s <= 0.03
        frame = render_sequence(seed, rig, frames=1)[0]
        assert np.isfinite(frame.depth_nhw).mean() > 0.3
        moved = np.linalg.norm(frame.world_T_base_rows[1, :3, 3] - frame.world_T_base_rows[0, :3, 3])
        assert (moved > 0.0) <= (rig.readout_s > 0.0)
    assert len(kinds) >= 2
    assert shutters == {False, True}


def test_rotation_vectors() -> None:
    rotation = rotations_of(np.array([[0.1, -0.2, 0.3]]))[0]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation @ [0.1, -0.2, 0.3], [0.1, -0.2, 0.3], atol=1e-12)
