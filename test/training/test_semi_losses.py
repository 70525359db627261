# SPDX-License-Identifier: Apache-2.0
"""The losses without ground truth together: least at the truth, metric, and reaching all of a real network."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from semi_fixtures import SIZE, outputs_of, rendered, teacher_of, with_log_depth
from torch import Tensor

from semi_smd_ros.network.config import CONFIGS
from semi_smd_ros.network.model import NetworkInput, NetworkOutput, SemiSmdNetwork
from semi_smd_ros.training.batch import Batch
from semi_smd_ros.training.confidence import visible_error
from semi_smd_ros.training.scene import TeacherLabels, make_scene
from semi_smd_ros.training.semi_losses import SemiLossWeights, semi_supervised_losses
from semi_smd_ros.training.teacher_alignment import aligned_residual

FACTORS = tuple(
    field.name
    for field in fields(SemiLossWeights)
    if field.name not in ('false_sky', 'lidar_range', 'stride', 'coarsest')
)
OFF = SemiLossWeights(**dict.fromkeys(FACTORS, 0.0), coarsest=1)
SEEDS = (4, 5, 9)


def losses_of(
    outputs: list[NetworkOutput],
    batch: Batch,
    weights: SemiLossWeights,
    teacher: TeacherLabels | None = None,
) -> dict[str, float]:
    torch.manual_seed(0)
    return {name: float(value) for name, value in semi_supervised_losses(outputs, batch, teacher, weights).items()}


def cost(outputs: list[NetworkOutput], batch: Batch, *terms: str, coarsest: int = 1) -> float:
    weights = replace(OFF, coarsest=coarsest, **{name: getattr(SemiLossWeights(), name) for name in terms})
    return sum(losses_of(outputs, batch, weights, teacher_of(batch)).values())


@pytest.mark.parametrize('seed', SEEDS)
def test_one_cameras_frames_tell_shape_and_motion_but_no_scale(seed: int) -> None:
    batch = rendered(seed)
    least = cost(outputs_of(batch), batch, 'temporal')
    for factor in (0.9, 1.1):
        assert cost(outputs_of(batch, factor), batch, 'temporal') > 1.05 * least
        assert cost(outputs_of(batch, motion_factor=factor), batch, 'temporal') > 1.05 * least
        assert cost(outputs_of(batch, factor, factor), batch, 'temporal') == pytest.approx(least, rel=0.01)


@pytest.mark.parametrize('seed', SEEDS)
def test_overlaps_tell_the_scale(seed: int) -> None:
    """What one camera can't tell, depth and motion that grow together, costs more in every term that is metric."""
    batch = rendered(seed)
    for term in ('spatial', 'spatio_temporal', 'spatial_depth', 'ground'):
        least = cost(outputs_of(batch), batch, term)
        for factor in (0.9, 1.1):
            assert cost(outputs_of(batch, factor, factor), batch, term) > 1.02 * least, (term, factor)


@pytest.mark.parametrize('seed', SEEDS)
def test_all_terms_of_several_views_together_are_least_at_the_truth(seed: int) -> None:
    batch = rendered(seed)
    terms = ('temporal', 'spatial', 'spatio_temporal', 'spatial_depth', 'temporal_depth', 'reconstruction', 'ground')
    least = cost(outputs_of(batch), batch, *terms, coarsest=4)
    for depth in (0.9, 1.0, 1.1):
        for motion in (0.9, 1.0, 1.1):
            if (depth, motion) != (1.0, 1.0):
                assert cost(outputs_of(batch, depth, motion), batch, *terms, coarsest=4) > least, (depth, motion)


def test_a_turned_or_shifted_motion_costs_more() -> None:
    batch = rendered(4)
    least = cost(outputs_of(batch), batch, 'temporal')
    for row, column, value in ((1, 3, 0.1), (2, 3, 0.05), (0, 3, -0.1)):
        outputs = outputs_of(batch)
        for output in outputs:
            output.ego_motion_b44[:, row, column] += value
        assert cost(outputs, batch, 'temporal') > 1.02 * least
    yaw = torch.tensor([[0.9999, -0.0141, 0, 0], [0.0141, 0.9999, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    turned = [replace(output, ego_motion_b44=yaw @ output.ego_motion_b44) for output in outputs_of(batch)]
    assert cost(turned, batch, 'temporal') > 1.2 * least


def test_no_ground_truth_is_read() -> None:
    """Depth, motion, ground, semantics and moving things of the batch may be anything; but for the mask, told apart."""
    batch = rendered(4)
    outputs, teacher = outputs_of(batch), teacher_of(batch)
    told = replace(batch, ego_mask_bnhw=torch.isnan(batch.depth_tbnhw[0]))
    nonsense = replace(
        told,
        depth_tbnhw=torch.full_like(batch.depth_tbnhw, 3.0),
        semantics_tbnhw=torch.zeros_like(batch.semantics_tbnhw),
        prev_T_now_tb44=torch.full_like(batch.prev_T_now_tb44, torch.nan),
        ground_tb3=torch.full_like(batch.ground_tb3, torch.nan),
        moving_tbnhw=torch.ones_like(batch.moving_tbnhw),
    )
    expected = losses_of(outputs, batch, SemiLossWeights(), teacher)
    assert losses_of(outputs, nonsense, SemiLossWeights(), teacher) == expected


def test_only_lidar_reads_depth_where_it_is() -> None:
    batch = rendered(4)
    sparse = torch.full_like(batch.depth_tbnhw, torch.nan)
    sparse[..., ::7, ::5] = batch.depth_tbnhw[..., ::7, ::5]
    told = replace(batch, depth_tbnhw=sparse, ego_mask_bnhw=torch.isnan(batch.depth_tbnhw[0]))
    weights = replace(OFF, lidar=2.0)
    assert losses_of(outputs_of(batch), told, weights) == {'lidar': pytest.approx(0, abs=1e-5)}
    assert losses_of(outputs_of(batch, 1.2), told, weights)['lidar'] == pytest.approx(2 * 0.1823, rel=1e-3)


@pytest.mark.parametrize('name', FACTORS)
def test_a_term_of_weight_zero_is_left_out(name: str) -> None:
    batch = rendered(4)
    alone = losses_of(outputs_of(batch), batch, replace(OFF, **{name: 1.0}), teacher_of(batch))
    expected = {'coarse': {'coarse_depth'}, 'coarse_semantics': set()}.get(name, {name})
    assert set(alone) == expected


def test_photometric_terms_are_the_mean_over_sizes_of_the_pictures() -> None:
    batch = rendered(4)
    assert SemiLossWeights().strides() == [1, 2, 4]
    assert SemiLossWeights(stride=2).strides() == [2, 4]
    assert SemiLossWeights(stride=4, coarsest=1).strides() == [4]
    outputs, photometric = outputs_of(batch, 1.1), replace(OFF, spatial=1.0, coarsest=4)
    whole = losses_of(outputs, batch, photometric, teacher_of(batch))['spatial']
    alone = [
        losses_of(outputs, batch, replace(photometric, stride=stride, coarsest=stride), teacher_of(batch))['spatial']
        for stride in (1, 2, 4)
    ]
    assert whole == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_a_factor_multiplies_its_term() -> None:
    batch = rendered(4)
    outputs, teacher = outputs_of(batch, 1.1), teacher_of(batch)
    once, twice = (
        losses_of(outputs, batch, replace(OFF, **dict.fromkeys(FACTORS, factor)), teacher) for factor in (1.0, 2.0)
    )
    for name, value in once.items():
        assert twice[name] == pytest.approx((4 if name == 'coarse_semantics' else 2) * value, rel=1e-4, abs=1e-7), name


def test_what_does_not_fit_is_refused() -> None:
    batch = rendered(4)
    outputs, teacher = outputs_of(batch), teacher_of(batch)
    with pytest.raises(ValueError, match='got 2 outputs for 3 instants'):
        semi_supervised_losses(outputs[:2], batch, teacher, SemiLossWeights())
    with pytest.raises(ValueError, match='stride 3'):
        semi_supervised_losses(outputs, batch, teacher, SemiLossWeights(stride=3))
    small = replace(teacher, disparity_tbnhw=teacher.disparity_tbnhw[..., ::2])
    with pytest.raises(ValueError, match=r'disparity_tbnhw: got shape .* expected'):
        semi_supervised_losses(outputs, batch, small, SemiLossWeights())


def test_labels_teach_classes_and_sky_but_not_where_they_are_unknown() -> None:
    batch = rendered(4)
    teacher = teacher_of(batch)
    labels = teacher.semantics_tbnhw
    right = torch.nn.functional.one_hot(labels.clamp(max=18), 19).movedim(-1, 3).float() * 40
    is_sky = (labels == 10).repeat_interleave(4, -1).repeat_interleave(4, -2)
    outputs = [
        replace(
            output,
            semantic_logit_bnkhw=right[t],
            coarse_semantic_logit_bnkhw=right[t][..., 2::4, 2::4],
            sky_logit_bnhw=torch.where(is_sky[t], 20.0, -20.0),
        )
        for t, output in enumerate(outputs_of(batch))
    ]
    weights = replace(OFF, semantics=1.0, coarse=1.0, sky=1.0)
    for name in ('semantics', 'coarse_semantics', 'sky'):
        assert losses_of(outputs, batch, weights, teacher)[name] < 1e-4
        assert losses_of(outputs_of(batch), batch, weights, teacher)[name] > 0.1
    unknown = replace(teacher, semantics_tbnhw=torch.full_like(labels, 255))
    told_nothing = losses_of(outputs_of(batch), batch, weights, unknown)
    assert all(told_nothing[name] == 0 for name in ('semantics', 'coarse_semantics', 'sky'))
    wrong = [replace(output, sky_logit_bnhw=-output.sky_logit_bnhw) for output in outputs]
    missing = replace(batch, camera_valid_tbn=torch.zeros_like(batch.camera_valid_tbn))
    assert losses_of(wrong, missing, weights, teacher)['sky'] == 0


def test_the_aligned_teacher_shows_wrong_shapes_only() -> None:
    batch = rendered(4)
    teacher = teacher_of(batch, 30.0, -1.0)
    known = teacher.disparity_known_tbnhw & (batch.depth_tbnhw < 80)
    inverse_depth = torch.where(known, 1 / batch.depth_tbnhw, torch.ones_like(batch.depth_tbnhw))
    maps = [value.flatten(0, 2) for value in (inverse_depth, teacher.disparity_tbnhw, known)]
    residual, fits = aligned_residual(*maps)
    assert bool(fits.all())
    assert float(residual[maps[2]].max()) < 0.05
    spoilt = maps[0].clone()
    spoilt[:, 60:70, 60:80] *= 1.35
    residual, _ = aligned_residual(spoilt, *maps[1:])
    assert float(residual[:, 60:70, 60:80][maps[2][:, 60:70, 60:80]].median()) == pytest.approx(0.3, abs=0.06)
    assert float(residual[:, :50][maps[2][:, :50]].median()) < 0.05
    assert float(aligned_residual(3 * maps[0], *maps[1:])[0][maps[2]].max()) < 0.05
    assert not aligned_residual(maps[0], -maps[1], maps[2])[1].any()


def test_confidence_learns_the_size_of_the_error() -> None:
    """The likelihood is best at the mean error, which the truth lacks and a spoilt patch has; depth learns nothing."""
    batch = rendered(4)
    outputs, teacher = outputs_of(batch), teacher_of(batch)
    log_depth = torch.stack([output.log_depth_bnhw for output in outputs])
    patch = (..., slice(60, 72), slice(60, 90))
    spoilt = log_depth.clone()
    spoilt[patch] += 0.25
    error, known = visible_error(make_scene(with_log_depth(outputs, spoilt), batch, teacher, 1), teacher, 1)
    assert float(error[patch][known[patch]].median()) == pytest.approx(0.25, abs=0.07)
    assert float(error[..., :50, :][known[..., :50, :]].median()) < 0.03

    inputs = [spoilt.clone().requires_grad_(), torch.zeros_like(spoilt).requires_grad_()]
    said = [replace(o, log_depth_bnhw=d, log_error_bnhw=e) for o, d, e in zip(outputs, *inputs)]
    loss = semi_supervised_losses(said, batch, teacher, replace(OFF, confidence=1.0))['confidence']
    gradient = torch.autograd.grad(loss, inputs, allow_unused=True)
    assert gradient[0] is None or not gradient[0].any()
    assert gradient[1] is not None
    assert float(gradient[1][patch].sum()) > 0  # an error of 1 was said: too large everywhere


@pytest.fixture(scope='module')
def network() -> SemiSmdNetwork:
    torch.manual_seed(0)
    network = SemiSmdNetwork(replace(CONFIGS['small'], height=SIZE[0], width=SIZE[1])).train()
    with torch.no_grad():  # zero before the first step, behind which nothing of these parts would learn
        for layer in (network.sweep.to_decoder, network.edges.mixture, network.edges.dense):
            layer.weight.normal_(std=0.1)
    return network


def run(network: SemiSmdNetwork, batch: Batch) -> list[NetworkOutput]:
    _, rigs, cameras, _, height, width = batch.images_tbn3hw.shape
    memory, outputs = network.empty_memory(rigs, cameras, height, width), []
    rig = (batch.intrinsics_bn33, batch.base_T_cam_bn44)
    for instant, (images, valid) in enumerate(zip(batch.images_tbn3hw, batch.camera_valid_tbn)):
        known = torch.full((rigs,), min(instant, 1))
        outputs.append(network(NetworkInput(images, *rig, valid, memory, known)))
        memory = outputs[-1].memory_bnchw
    return outputs


def without_gradient(network: SemiSmdNetwork, terms: dict[str, Tensor]) -> list[str]:
    network.zero_grad(set_to_none=True)
    torch.stack(list(terms.values())).sum().backward()
    return [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all() or not parameter.grad.any()
    ]


def test_everything_of_a_real_network_learns(network: SemiSmdNetwork) -> None:
    batch = rendered(4, 2)
    terms = semi_supervised_losses(run(network, batch), batch, teacher_of(batch), SemiLossWeights(lidar=1.0))
    assert set(terms) == {*FACTORS, 'coarse_depth', 'coarse_semantics'} - {'coarse'}
    assert all((torch.isfinite(value) and value >= 0) or name == 'confidence' for name, value in terms.items())
    assert without_gradient(network, terms) == []


def test_views_alone_reach_depth_motion_and_matching(network: SemiSmdNetwork) -> None:
    """Without a teacher, photometric terms alone move what makes depth and what makes motion."""
    batch = rendered(4, 2)
    weights = replace(OFF, temporal=1.0, spatial=1.0, spatio_temporal=1.0)
    terms = semi_supervised_losses(run(network, batch), batch, None, weights)
    lacking = without_gradient(network, terms)
    made = ('encoder.', 'decoder.', 'matching.', 'ego_motion.', 'fusion.', 'coarse.', 'heads.dense', 'ground.')
    reached = {name.split('.')[0] + '.' for name, _ in network.named_parameters() if name not in lacking}
    assert {part.split('.')[0] + '.' for part in made} <= reached
    assert not [name for name in lacking if name.startswith(('matching.', 'ego_motion.', 'decoder.'))]


def test_missing_cameras_and_half_precision_stay_finite(network: SemiSmdNetwork) -> None:
    batch = rendered(5, 2)
    valid = batch.camera_valid_tbn.clone()
    valid[0, 0, :3] = 0
    valid[1, 0, 2:] = 0
    batch = replace(batch, camera_valid_tbn=valid)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outputs = run(network, batch)
        terms = semi_supervised_losses(outputs, batch, teacher_of(batch), SemiLossWeights(stride=2))
    assert all(torch.isfinite(value) and value.dtype == torch.float32 for value in terms.values())
    assert not [name for name in without_gradient(network, terms) if name.startswith(('encoder.', 'heads.'))]
