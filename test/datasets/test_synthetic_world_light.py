# SPDX-License-Identifier: Apache-2.0
"""Night and its lamps, wet ground, and the rounded box that vehicles are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semi_smd_ros.datasets.synthetic import nuscenes_like_rig, render_sequence
from semi_smd_ros.datasets.synthetic.intersect import intersect
from semi_smd_ros.datasets.synthetic.lamps import LampMap, LampMaps
from semi_smd_ros.datasets.synthetic.layout import make_scene
from semi_smd_ros.datasets.synthetic.primitives import SUPER
from semi_smd_ros.datasets.synthetic.sheen import add_sheen
from semi_smd_ros.datasets.synthetic.slots import Slots
from semi_smd_ros.datasets.synthetic.vectors import Vec3
from semi_smd_ros.datasets.synthetic.weather import make_light

CPU = torch.device('cpu')


def vectors(points: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y, z = torch.as_tensor(points, dtype=torch.float32).T
    return x, y, z


def columns(points: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y, z = vectors(points)
    return x[:, None], y[:, None], z[:, None]


def test_all_weathers_occur() -> None:
    lights = [make_light(np.random.default_rng(seed)) for seed in range(300)]
    assert sum(light.night == 1.0 for light in lights) > 10
    assert sum(0.1 < light.night < 0.6 for light in lights) > 15
    assert sum(light.wetness > 0.3 for light in lights) > 20
    assert sum(max(light.sun_colour) > 0.0 for light in lights) > 100
    assert sum(max(light.sun_colour) == 0.0 and light.night == 0.0 for light in lights) > 50
    assert sum(light.haze < 300.0 for light in lights) > 5
    night = np.mean([max(light.sky_colour) for light in lights if light.night == 1.0])
    day = np.mean([max(light.sky_colour) for light in lights if light.night == 0.0])
    assert night < 0.05 * day


def test_pictures_at_night_are_darker() -> None:
    rig = nuscenes_like_rig(24, 40)
    seeds: dict[float, list[int]] = {0.0: [], 1.0: []}
    for seed in range(400):
        light = make_scene(np.random.default_rng(seed)).light
        if len(seeds.get(light.night, [0] * 8)) < 8:
            seeds[light.night].append(seed)
        if all(len(found) == 8 for found in seeds.values()):
            break
    brightness = {}
    for night, found in seeds.items():
        frames = [render_sequence(seed, rig, frames=1)[0] for seed in found]
        brightness[night] = np.mean([np.median(f.images_nhw3[~f.ego_mask_nhw]) for f in frames])
    assert brightness[1.0] < 0.8 * brightness[0.0]


def lamp_light(lit: LampMap, world: Vec3, normal: Vec3) -> Vec3:
    """Light at points of the one instant that there is."""
    found = LampMaps([lit], CPU).light(Slots((0,)), world, normal)
    assert found is not None
    return found


def test_a_lamp_lights_what_is_below_it() -> None:
    lamp = np.array([[0.0, -10.0, 5.0, 8.0, 90.0, 60.0, 30.0, 0.0, 0.0, -1.0, 0.6, 26.0]])
    still = np.eye(4)[None]
    assert LampMap.build(lamp, still, np.eye(4), 0.0) is None
    lit = LampMap.build(lamp, still, np.eye(4), 1.0)
    assert lit is not None
    where = vectors(np.array([[-10.0, 5.0, 0.0], [-10.0, 12.0, 0.0], [-10.0, 40.0, 0.0], [-10.0, 5.0, 14.0]]))
    up = vectors(np.tile([[0.0, 0.0, 1.0]], (4, 1)))
    red, _, blue = lamp_light(lit, where, up)
    assert red[0] > 2 * red[1] > 10 * red[2]
    assert red[0] > 5 * red[3]  # above the lamp
    assert blue[0] < 0.5 * red[0]
    # A wall that faces the lamp gets more than one that faces away.
    beside = vectors(np.array([[-10.0, 9.0, 1.0]] * 2))
    faces = vectors(np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]]))
    towards, away = lamp_light(lit, beside, faces)[0]
    assert towards > 1.5 * away


def test_the_vehicle_has_headlights() -> None:
    world_t_base = np.eye(4)
    world_t_base[:3, 3] = 100.0, 50.0, 3.0
    none = np.zeros((0, 12))
    lit = LampMap.build(none, np.eye(4)[None], world_t_base, 1.0)
    assert lit is not None
    places = vectors(np.array([[115.0, 50.0, 3.0], [85.0, 50.0, 3.0], [104.0, 65.0, 3.0]]))
    ahead, behind, aside = lamp_light(lit, places, vectors(np.tile([[0.0, 0.0, 1.0]], (3, 1))))[0]
    assert ahead > 20 * behind
    assert ahead > 5 * aside


def test_lamps_of_many_instants_light_their_own_points() -> None:
    none, still = np.zeros((0, 12)), np.eye(4)[None]
    maps: list[LampMap | None] = []
    for x in (0.0, 40.0):
        pose = np.eye(4)
        pose[:2, 3] = x, 2.0 * x
        maps += [LampMap.build(none, still, pose, 1.0), None]
    rng = np.random.default_rng(0)
    places = vectors(rng.uniform([-150.0, -150.0, -1.0], [150.0, 200.0, 6.0], (40_000, 3)))
    up = vectors(np.tile([[0.0, 0.0, 1.0]], (40_000, 1)))
    own = torch.arange(40_000) % 4
    together = LampMaps(maps, CPU).light(Slots((0, 1, 2, 3), own), places, up)
    assert together is not None
    assert LampMaps(maps, CPU).light(Slots((1, 3), own[own % 2 == 1]), places, up) is None
    for k, lit in enumerate(maps):
        for c in range(3):
            expected = torch.zeros(40_000) if lit is None else lamp_light(lit, places, up)[c]
            assert lit is None or expected[own == k].max() > 1e-3
            torch.testing.assert_close(together[c][own == k], expected[own == k], rtol=1e-3, atol=1e-3)


def test_wet_ground_mirrors_what_stands_behind_it() -> None:
    height, width, horizon = 60, 40, 20
    picture = torch.full((1, 3, height, width), 0.1)
    picture[:, :, :horizon] = 0.5
    picture[:, 0, 10:30, 15:25] = 4.0  # a red thing whose foot is at row 30
    ground = torch.zeros(1, height, width, dtype=torch.bool)
    ground[:, horizon:] = True
    ground[:, 10:30, 15:25] = False
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    # A camera 1.5 m over level ground, looking along x: rays in the world per metre of depth.
    focal = 40.0
    world_ray = torch.stack([torch.ones(height, width), (width / 2 - u) / focal, (horizon - 0.5 - v) / focal])[None]
    depth = 1.5 * focal / (v - horizon + 0.5).clamp(min=0.1)
    origin = torch.tensor([[0.0, 0.0, 1.5]])
    wet = add_sheen(picture, ground, depth[None], world_ray, origin, torch.ones(1))
    below, aside = wet[0, :, 34, 20], wet[0, :, 34, 5]
    assert below[0] > 2 * below[2]
    assert below[0] > 1.5 * aside[0]
    torch.testing.assert_close(wet[:, :, ~ground[0]], picture[:, :, ~ground[0]])
    # Flat at one's feet it mirrors less than far ahead.
    assert wet[0, 2, 55, 5] - 0.1 < 0.5 * (wet[0, 2, 22, 5] - 0.1)
    torch.testing.assert_close(add_sheen(picture, ground, depth[None], world_ray, origin, torch.zeros(1)), picture)


@pytest.mark.parametrize('seed', range(3))
def test_rounded_boxes_are_hit_on_their_surface(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1.1, 1.1, (256, 3))
    origin = rng.normal(size=(256, 3))
    origin *= 4.0 / np.linalg.norm(origin, axis=1, keepdims=True)
    direction = target - origin
    empty = torch.zeros(256, 4)
    t = intersect(SUPER, columns(origin), columns(direction), empty, empty[:, :3], empty[:, 0], empty[:, 0])[
        :, 0
    ].numpy()
    # Brute force: where the sixth powers first sum to less than one.
    steps = np.linspace(0.5, 1.5, 2001)
    inside = ((origin[:, None] + steps[:, None] * direction[:, None]) ** 6).sum(2) < 1.0
    hit, first = inside.any(1), steps[inside.argmax(1)]
    clear = inside.sum(1) > 40  # grazing rays aside
    missed = ~inside.any(1) & (
        np.abs(((origin[:, None] + steps[:, None] * direction[:, None]) ** 6).sum(2)).min(1) > 1.1
    )
    assert hit.sum() > 60
    assert missed.sum() > 10
    np.testing.assert_allclose(t[clear], first[clear], atol=2e-3)
    assert (t[missed] > 1e20).all()
