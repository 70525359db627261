# SPDX-License-Identifier: Apache-2.0
"""What counts of two pictures, and what of one tells where."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semi_fixtures import outputs_of, rendered, teacher_of
from torch import Tensor

from semi_smd_ros.training.consistency import (
    largest_difference,
    reconstruction_loss,
    spatial_depth_loss,
    temporal_depth_loss,
)
from semi_smd_ros.training.photometric import (
    align_intensity,
    auto_masked,
    box,
    dissimilarity,
    mean_finite,
    spatial_loss,
    spatio_temporal_loss,
    temporal_loss,
)
from semi_smd_ros.training.scene import Scene, make_scene
from semi_smd_ros.training.smoothness import smoothness_loss
from semi_smd_ros.training.view_synthesis import Warp

CAR = 13


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def scene_of(seed: int = 4, labels: Tensor | None = None, **changes: Tensor) -> Scene:
    batch = rendered(seed)
    teacher = teacher_of(batch)
    if labels is not None:
        teacher = replace(teacher, semantics_tbnhw=labels)
    return replace(make_scene(outputs_of(batch), batch, teacher, 1), **changes)


def test_a_box_is_the_mean_of_nine() -> None:
    image = pictures(2, 5, 8, 9)
    assert float(box(image)[1, 3, 4, 5]) == pytest.approx(float(image[1, 3, 3:6, 4:7].mean()), rel=1e-5)


def test_equal_pictures_are_alike_and_unlike_ones_are_not() -> None:
    image = pictures(2, 3, 20, 30)
    assert float(dissimilarity(image, image).max()) < 1e-5
    assert float(dissimilarity(image, 1 - image).mean()) > 0.6
    assert torch.allclose(dissimilarity(image, image.flip(-1)), dissimilarity(image.flip(-1), image), atol=1e-6)
    slightly = dissimilarity(image, image + 0.01).mean()
    assert 0 < float(slightly) < float(dissimilarity(image, image + 0.1).mean())


def test_another_exposure_is_undone_and_nothing_learns_from_it() -> None:
    target = pictures(1, 1, 2, 3, 20, 30)
    gain = torch.tensor([0.8, 1.3]).reshape(1, 1, 2, 1, 1, 1)
    rebuilt = (gain * target - 0.1).requires_grad_()
    depth = torch.zeros(1, 1, 2, 20, 30)
    visible = torch.ones(1, 1, 2, 20, 30, dtype=torch.bool)
    visible[..., :4] = False
    warped = Warp(target, rebuilt, depth, depth, visible)
    aligned = align_intensity(warped)
    assert torch.allclose(aligned, target, atol=1e-3)
    (gradient,) = torch.autograd.grad(aligned.sum(), rebuilt)
    assert torch.allclose(gradient, (1 / gain).expand_as(gradient), rtol=1e-2)
    nothing_shared = replace(warped, visible_mnshw=torch.zeros_like(visible))
    assert torch.equal(align_intensity(nothing_shared), rebuilt)


def test_what_looks_better_unwarped_teaches_nothing() -> None:
    least = torch.tensor([0.1, 0.4, torch.inf]).requires_grad_()
    still = torch.tensor([0.3, 0.2, 0.1])
    counts = torch.tensor([True, True, True])
    masked = auto_masked(least, still)
    (gradient,) = torch.autograd.grad(mean_finite(masked, counts), least)
    assert gradient.tolist() == [0.5, 0, 0]
    assert masked.tolist() == pytest.approx([0.1, 0.2, torch.inf], abs=1e-3)


def test_a_standing_vehicle_learns_nothing_from_time() -> None:
    """All instants show the same; the depth is wrong, and gets no gradient worth the name."""
    scene = scene_of()
    still = torch.eye(4).expand_as(scene.prev_T_now_tbn44).clone().requires_grad_()
    image = scene.image_tbn3hw[:1].expand_as(scene.image_tbn3hw)
    log_depth = (scene.log_depth_tbnhw[:1].expand_as(scene.log_depth_tbnhw) + 0.3).clone().requires_grad_()
    scene = replace(scene, prev_T_now_tbn44=still, image_tbn3hw=image, log_depth_tbnhw=log_depth)
    loss = temporal_loss(scene)
    assert float(loss.detach()) < 1e-4
    gradient = torch.autograd.grad(loss, log_depth)[0]
    assert float(gradient.abs().sum()) < 1e-4


def test_the_better_of_two_instants_counts() -> None:
    """A picture that is spoilt at t+1 costs t little as long as t-1 shows the same."""
    scene = scene_of()
    plain = float(temporal_loss(scene))
    image = scene.image_tbn3hw.clone()
    image[2] = pictures(*image[2].shape)
    at_one = torch.zeros_like(scene.static_tbnhw)
    at_one[1] = scene.static_tbnhw[1]
    spoilt = temporal_loss(replace(scene, image_tbn3hw=image, static_tbnhw=at_one))
    assert float(spoilt) < 1.4 * plain
    image[0] = pictures(*image[0].shape)
    spoilt = temporal_loss(replace(scene, image_tbn3hw=image, static_tbnhw=at_one))
    assert float(spoilt) > 3 * plain


def test_a_scene_full_of_cars_is_compared_at_one_instant_only() -> None:
    scene = scene_of(labels=torch.full_like(rendered(4).semantics_tbnhw, CAR))
    for term in (temporal_loss, spatio_temporal_loss, reconstruction_loss, temporal_depth_loss):
        assert float(term(scene)) == 0
    assert float(spatial_loss(scene)) > 0.01
    assert float(spatial_depth_loss(scene)) > 0


def test_sky_by_the_teacher_takes_no_part() -> None:
    scene = scene_of(labels=torch.full_like(rendered(4).semantics_tbnhw, 10))
    for term in (temporal_loss, spatial_loss, spatio_temporal_loss, spatial_depth_loss, temporal_depth_loss):
        assert float(term(scene)) == 0


def test_depths_that_differ_between_cameras_or_instants_are_seen() -> None:
    scene = scene_of()
    plain = float(spatial_depth_loss(scene)), float(temporal_depth_loss(scene))
    one_camera = scene.log_depth_tbnhw.clone()
    one_camera[:, :, 1] += 0.1
    spoilt = replace(scene, log_depth_tbnhw=one_camera)
    assert float(spatial_depth_loss(spoilt)) > 2 * plain[0]
    one_instant = scene.log_depth_tbnhw.clone()
    one_instant[1] += 0.1
    spoilt = replace(scene, log_depth_tbnhw=one_instant)
    assert float(temporal_depth_loss(spoilt)) == pytest.approx(0.1, abs=0.02)
    assert plain[1] < 0.01


def test_the_largest_difference_is_that_of_the_camera_that_is_off() -> None:
    scene = scene_of()
    true_difference, told = largest_difference(scene)
    assert told.float().mean() > 0.5
    one_camera = scene.log_depth_tbnhw.clone()
    one_camera[1, :, 1] -= 0.15
    difference, _ = largest_difference(replace(scene, log_depth_tbnhw=one_camera))
    where = told[1, :, 1] & (true_difference[1, :, 1] < 0.02)
    assert float(difference[1, :, 1][where].median()) == pytest.approx(0.15, abs=0.03)
    assert float(true_difference[told].median()) < 0.005


def test_two_reconstructions_agree_where_depth_and_motion_are_true() -> None:
    plain = float(reconstruction_loss(scene_of()))
    motion = scene_of().prev_T_now_tbn44.clone()
    motion[..., 0, 3] += 0.3
    assert float(reconstruction_loss(scene_of(prev_T_now_tbn44=motion))) > 1.3 * plain


def smooth(inverse_depth: Tensor, image: Tensor, labels: Tensor | None = None) -> float:
    usable = torch.ones(inverse_depth.shape, dtype=torch.bool)
    return float(smoothness_loss(inverse_depth, image, usable, labels))


def test_planes_are_smooth_and_edges_may_break() -> None:
    u, v = torch.meshgrid(torch.arange(30.0), torch.arange(20.0), indexing='xy')
    road = (0.01 + 0.004 * v + 0.001 * u)[None, None]
    grey = torch.full((1, 1, 3, 20, 30), 0.5)
    assert smooth(road, grey) < 1e-6
    stepped = torch.where(u < 14, road, road + 0.1)
    cost = smooth(stepped, grey)
    assert cost > 1e-3
    edge = torch.where(u < 14, 0.1, 0.9).expand(1, 1, 3, 20, 30)
    assert smooth(stepped, edge) < 0.01 * cost
    labels = torch.where(u < 14, 0, 2).expand(1, 1, 20, 30)
    assert smooth(stepped, grey, labels) < 1e-6
    assert smooth(7 * stepped, grey) == pytest.approx(cost, rel=1e-4)
