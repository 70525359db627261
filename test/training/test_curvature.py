# SPDX-License-Identifier: Apache-2.0
"""The curvature loss on surfaces of known curvature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from semi_smd_ros.training.curvature import KNEE, STEPS, curvature_loss, second_differences

HEIGHT, WIDTH, FOCAL = 64, 96, 80.0


def rays() -> Tensor:
    """(3,H,W) float64, Z = 1."""
    u, v = torch.meshgrid(
        torch.arange(WIDTH, dtype=torch.float64) - 47.5, torch.arange(HEIGHT, dtype=torch.float64) - 31.5, indexing='xy'
    )
    return torch.stack((u / FOCAL, v / FOCAL, torch.ones_like(u)))


def plane(normal: tuple[float, float, float], distance: float) -> Tensor:
    """Inverse depth of n.X = distance."""
    return (torch.tensor(normal, dtype=torch.float64)[:, None, None] * rays()).sum(0) / distance


def quadric(radius: float, distance: float, axis: Tensor | None = None) -> Tensor:
    """Inverse depth of the near side of a sphere with its centre straight ahead, or of a cylinder about an axis."""
    ray, centre = rays(), torch.tensor((0.0, 0.0, distance), dtype=torch.float64)
    across = ray if axis is None else ray - axis[:, None, None] * (axis[:, None, None] * ray).sum(0)
    a, b = across.square().sum(0), (across * centre[:, None, None]).sum(0)
    return a / (b - (b.square() - a * (distance**2 - radius**2)).sqrt())


def curvatures(inverse_depth: Tensor) -> tuple[Tensor, Tensor]:
    """Principal curvatures (1 / m, the larger in size first) from second differences, by the formula of the module.

    II_ij = -|n.r| rho_ij / rho^2: convex is positive. The metric is that of the tangents.
    """
    ray = rays()
    point = ray / inverse_depth
    tangent_u = (point[:, 1:-1, 2:] - point[:, 1:-1, :-2]) / 2
    tangent_v = (point[:, 2:, 1:-1] - point[:, :-2, 1:-1]) / 2
    normal = torch.cross(tangent_u, tangent_v, dim=0)
    normal = normal / normal.norm(dim=0)
    facing = (normal * ray[:, 1:-1, 1:-1]).sum(0)
    scale = -facing.abs() / inverse_depth[1:-1, 1:-1].square()
    uu, vv, uv = (scale * difference for difference in second_differences(inverse_depth[None], 1))
    metric = [(a * b).sum(0) for a, b in ((tangent_u, tangent_u), (tangent_v, tangent_v), (tangent_u, tangent_v))]
    determinant = metric[0] * metric[1] - metric[2].square()
    gauss = (uu * vv - uv.square())[0] / determinant
    mean = (uu * metric[1] + vv * metric[0] - 2 * uv * metric[2])[0] / (2 * determinant)
    spread = (mean.square() - gauss).clamp(min=0).sqrt()
    return mean + mean.sign() * spread, mean - mean.sign() * spread


def test_planes_have_none_at_any_distance_of_the_pixels() -> None:
    for normal, distance in (((0.0, 1.0, 0.02), 1.5), ((0.3, -0.2, 0.9), 7.0), ((0.0, 0.0, 1.0), 40.0)):
        for step in STEPS[:-1]:  # the last is wider than this picture
            for difference in second_differences(plane(normal, distance)[None], step):
                assert float(difference.abs().max()) < 1e-12


@pytest.mark.parametrize(('radius', 'distance'), [(20.0, 40.0), (30.0, 36.0)])
def test_the_hessian_of_inverse_depth_is_the_curvature_of_spheres(radius: float, distance: float) -> None:
    near_axis = (slice(22, 40), slice(37, 57))
    for curvature in curvatures(quadric(radius, distance)):
        assert curvature[near_axis].numpy() == pytest.approx(1 / radius, rel=0.02)


@pytest.mark.parametrize('angle', [0.0, 0.5, math.pi / 2])
def test_and_of_cylinders(angle: float) -> None:
    """Of rank one, whichever way the cylinder lies."""
    axis = torch.tensor((math.cos(angle), math.sin(angle), 0.0), dtype=torch.float64)
    larger, smaller = curvatures(quadric(20.0, 40.0, axis))
    near_axis = (slice(22, 40), slice(37, 57))
    assert larger[near_axis].numpy() == pytest.approx(1 / 20.0, rel=0.02)
    assert float(smaller[near_axis].abs().max()) < 0.02 / 20.0


def known() -> Tensor:
    return torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)


def bump(height: float = 0.4) -> Tensor:
    """A road with something round on it: float32, (1,H,W)."""
    u, v = torch.meshgrid(torch.arange(WIDTH) - 47.5, torch.arange(HEIGHT) - 31.5, indexing='xy')
    road = 0.02 + 0.12 * (v + 32) / 64
    return (road * (1 + height * (-(u.square() + v.square()) / 300).exp()))[None]


def loss(prediction: Tensor, teacher: Tensor, mask: Tensor | None = None) -> float:
    return float(curvature_loss(prediction, teacher, known() if mask is None else mask))


def test_equal_shapes_cost_nothing_whatever_scale_and_shift() -> None:
    surface = bump()
    assert loss(surface, surface) == 0
    for scale, shift in ((1000.0, 0.0), (0.003, 5.0), (7.0, -3.0)):
        assert loss(surface, scale * surface + shift) < 1e-3
        assert loss(scale * surface, surface) < 1e-3


def test_another_shape_costs_the_same_whatever_the_teachers_scale_and_shift() -> None:
    flat, teacher = bump(0.0), bump()
    cost = loss(flat, teacher)
    assert cost > 0.05
    for scale, shift in ((50.0, 0.0), (0.01, 0.3), (4.0, -2.0)):
        assert loss(flat, scale * teacher + shift) == pytest.approx(cost, rel=1e-2)


def test_the_scale_of_the_prediction_is_not_touched() -> None:
    """The loss doesn't change with a common factor of depth, so its gradient has no part along it."""
    prediction = bump(-0.3).requires_grad_()
    (gradient,) = torch.autograd.grad(curvature_loss(prediction, bump(), known()), prediction)
    along = float((gradient * prediction.detach()).sum())
    assert abs(along) < 1e-4 * float((gradient * prediction.detach()).abs().sum())


def test_a_wrong_bend_costs_more_the_more_it_is_wrong() -> None:
    costs = [loss(bump(height), bump(0.4)) for height in (0.4, 0.3, 0.2, 0.0, -0.2)]
    assert costs == sorted(costs)
    assert costs[-1] > 2 * costs[1]


def stepped(column: int, size: float) -> Tensor:
    """A post of constant inverse depth before the road's bump."""
    surface = bump().clone()
    surface[:, :, column : column + 10] = 0.15 + size
    return surface


def test_depth_steps_are_bounded() -> None:
    """Steps of other sizes, or a pixel off, count less than the shape; and never more than a logarithm."""
    teacher = stepped(70, 0.3)
    same = loss(stepped(70, 0.3), teacher)
    assert same < 1e-6
    missing = loss(bump(), teacher)
    assert loss(stepped(70, 0.6), teacher) < 0.4 * missing
    assert loss(stepped(71, 0.3), teacher) < 0.6 * missing
    # ten times as large a step costs at most its logarithm more
    assert loss(bump(), stepped(70, 30.0)) < missing + math.log(100) + math.log(1 / KNEE)


def test_a_step_elsewhere_leaves_the_gradient_of_the_shape() -> None:
    """Beside an edge that the teacher draws a pixel off, the bump is still bent the right way."""
    mask = known()
    for teacher in (stepped(70, 0.3), stepped(71, 0.3)):
        prediction = stepped(70, 0.3)
        prediction[:, :, :66] = bump(0.0)[:, :, :66]
        prediction.requires_grad_()
        (gradient,) = torch.autograd.grad(curvature_loss(prediction, teacher, mask), prediction)
        lacking = (bump() - bump(0.0))[:, :, :66]
        agreement = torch.nn.functional.cosine_similarity(-gradient[:, :, :66].flatten(), lacking.flatten(), dim=0)
        assert torch.isfinite(gradient).all()
        assert agreement > 0.1


def test_unknown_pixels_and_shapeless_pictures_take_no_part() -> None:
    mask = known()
    mask[:, :, 40:60] = False
    teacher = bump()
    teacher[:, :, 40:60] = torch.nan
    spoilt = bump().clone()
    spoilt[:, :, 40:60] = 99.0
    spoilt.requires_grad_()
    cost = curvature_loss(spoilt, teacher, mask)
    assert float(cost.detach()) < 1e-6
    constant = torch.full_like(spoilt, 0.05).requires_grad_()
    for prediction, other, where in ((constant, bump(), known()), (bump(0.0), bump(), ~known())):
        prediction = prediction.detach().requires_grad_()
        cost = curvature_loss(prediction, other, where)
        (gradient,) = torch.autograd.grad(cost, prediction)
        assert float(cost.detach()) == 0
        assert float(gradient.abs().sum()) == 0


def remaining_shape(prediction: Tensor, truth: Tensor) -> float:
    """Share of the truth's variation that a scale and an added plane cannot make of the prediction."""
    u, v = torch.meshgrid(torch.arange(WIDTH).double(), torch.arange(HEIGHT).double(), indexing='xy')
    columns = torch.stack([x.flatten() for x in (prediction[0].double(), u, v, torch.ones_like(u))], dim=1)
    columns = columns / columns.norm(dim=0)
    target = truth[0].double().flatten()
    residual = target - columns @ torch.linalg.lstsq(columns, target[:, None]).solution[:, 0]
    planar = columns[:, 1:]
    flat_residual = target - planar @ torch.linalg.lstsq(planar, target[:, None]).solution[:, 0]
    return float(residual.norm() / flat_residual.norm())


def test_minimised_alone_it_bends_a_flat_prediction_into_the_teachers_shape() -> None:
    """The prediction is the road times a map of stride 4 that is free, as a network's decoder draws it."""
    truth, road, steps = bump(), bump(0.0), 100
    teacher = 40 * truth + 3
    change = torch.zeros(1, 1, HEIGHT // 4, WIDTH // 4, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=0.05)
    prediction = road
    for index in range(steps):
        optimizer.param_groups[0]['lr'] = 0.05 * (1 - index / steps)
        optimizer.zero_grad()
        prediction = road * interpolate(change, size=(HEIGHT, WIDTH), mode='bilinear')[0].exp()
        curvature_loss(prediction, teacher, known()).backward()
        optimizer.step()
    wavy = road * (1 + 1e-3 * torch.rand(road.shape, generator=torch.Generator().manual_seed(0)))
    assert remaining_shape(wavy, truth) > 0.9
    assert remaining_shape(prediction.detach(), truth) < 0.1
