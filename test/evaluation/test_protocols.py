# SPDX-License-Identifier: Apache-2.0
"""How scores are averaged, by hand-made cases in which the order matters."""

from __future__ import annotations

import json

import numpy as np
import pytest

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.evaluation import Tally, protocol_named
from semi_smd_ros.evaluation.protocols import source_options


def add(tally: Tally, camera: str, errors: list[float], truth: float = 20.0) -> None:
    """One image whose points have these relative errors."""
    tally.add(camera, truth * (1 + np.array(errors)), np.full(len(errors), truth))


def abs_rel(tally: Tally, camera: str = 'all') -> float:
    summary = tally.summary()
    assert summary is not None
    return summary.figure('abs_rel', camera)


def test_default_is_the_mean_per_image_then_camera_then_rig() -> None:
    tally = Tally(protocol_named('default', 200.0))
    add(tally, 'front', [0.1] * 90)
    add(tally, 'front', [0.3] * 10)
    add(tally, 'rear', [0.8])
    assert abs_rel(tally, 'front') == pytest.approx(0.2)
    assert abs_rel(tally) == pytest.approx((0.2 + 0.8) / 2)


def test_vfdepth_pools_the_pixels_of_four_images_of_a_camera() -> None:
    tally = Tally(protocol_named('vfdepth', 200.0))
    for errors in ([0.1] * 70, [0.2] * 10, [0.3] * 10, [0.4] * 10):  # one batch: 0.16, whereas images have 0.25
        add(tally, 'front', errors)
    for errors in ([0.5], [0.5], [0.5], [0.5]):
        add(tally, 'front', errors)
    add(tally, 'front', [9.0])  # a last, smaller batch is dropped
    assert abs_rel(tally) == pytest.approx((0.16 + 0.5) / 2)


def test_vfdepth_scores_fewer_than_four_images_as_one_batch() -> None:
    tally = Tally(protocol_named('vfdepth', 200.0))
    add(tally, 'front', [0.1] * 30)
    add(tally, 'front', [0.5] * 10)
    assert abs_rel(tally) == pytest.approx(0.2)
    assert abs_rel(tally) == pytest.approx(0.2)


def test_images_without_answers_cost_coverage_and_no_error() -> None:
    tally = Tally(protocol_named('default', 200.0))
    add(tally, 'front', [0.1])
    tally.add('front', np.array([np.nan]), np.array([5.0]))
    tally.add('front', np.array([1.0]), np.array([500.0]))
    summary = tally.summary()
    assert summary is not None
    assert (summary.figure('abs_rel'), summary.coverage['all']) == (pytest.approx(0.1), 0.5)
    assert Tally(protocol_named('default', 200.0)).summary() is None


def test_sky_is_told_apart_from_errors() -> None:
    tally = Tally(protocol_named('default', 200.0))
    add(tally, 'front', [0.1])
    tally.add_sky('front', np.array([np.inf, np.inf, 30.0, np.nan]))
    tally.add_sky('rear', np.array([np.inf]))  # sees nothing but sky
    summary = tally.summary()
    assert summary is not None
    assert summary.sky_found['front'] == pytest.approx(2 / 3)
    assert set(summary.metric) == {'front', 'all'}


def test_json_has_no_numbers_that_json_lacks() -> None:
    tally = Tally(protocol_named('default', 200.0))
    add(tally, 'front', [0.1])
    summary = tally.summary()
    assert summary is not None
    overall = json.loads(json.dumps(summary.as_json(), allow_nan=False))['overall']
    assert overall['bands']['20-40 m']['metric']['abs_rel'] == pytest.approx(0.1)
    assert overall['bands']['over 80 m'] == {
        'points': 0, 'metric': dict.fromkeys(overall['metric']), 'median_scaled': dict.fromkeys(overall['metric'])
    }  # fmt: skip
    assert overall['sky_found'] is None


def test_the_three_protocols_differ_as_published() -> None:
    default, surround, vf = (protocol_named(name, 80.0) for name in ('default', 'surrounddepth', 'vfdepth'))
    assert (default.flip, default.masks, default.batch, default.min_depth_m) == (False, True, 1, 0.1)
    assert (surround.flip, surround.masks, surround.batch, surround.min_depth_m) == (True, False, 1, 0.1)
    assert (vf.flip, vf.masks, vf.batch, vf.min_depth_m) == (False, True, 4, 0.0)
    assert 'no ego mask' in surround.text
    assert 'flip averaging: inverse depths' in surround.text
    assert 'no flip averaging' in default.text
    assert 'pixels of 4 consecutive images' in vf.text
    assert all('80 m' in p.text and 'no crop' in p.text for p in (default, surround, vf))
    with pytest.raises(DataError, match="protocol is 'kitti'; expected one of default, surrounddepth, vfdepth"):
        protocol_named('kitti', 80.0)


def test_masks_are_a_flag_and_a_papers_rule_is_not_changed_silently() -> None:
    assert 'no ego mask' in protocol_named('default', 200.0, masks=False).text
    assert 'not as in the paper: ego masks' in protocol_named('surrounddepth', 200.0, masks=True).text
    assert protocol_named('vfdepth', 200.0, masks=True) == protocol_named('vfdepth', 200.0)


def test_a_protocols_samples_are_asked_of_the_source() -> None:
    assert source_options('default', 'nuscenes:/x') == {}
    assert source_options('surrounddepth', 'nuscenes:/x') == {'occlusion': 'none', 'select': 'all'}
    assert source_options('vfdepth', 'nuscenes:/x?select=all') == {'occlusion': 'none'}
    assert source_options('vfdepth', 'ddad:/x') == {'occlusion': 'none'}
    assert source_options('vfdepth', 'synthetic:0') == {}
