# SPDX-License-Identifier: Apache-2.0
"""Rectify and resize in one map: against an ideal picture, and against OpenCV's own functions."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from rigs import LENSES, camera

from semi_smd_ros.rig import CameraModel, RectifyMap, rays


def picture_of(directions_n3: np.ndarray) -> np.ndarray:
    """A smooth scene at infinity: brightness as a function of viewing direction alone."""
    x, y, z = (directions_n3 / np.linalg.norm(directions_n3, axis=-1, keepdims=True)).T
    return (127 + 60 * np.sin(9 * x) + 60 * np.cos(8 * y) * z).T


@pytest.mark.parametrize('lens', LENSES)
@pytest.mark.parametrize('shrink', [1, 2, 3.3])
def test_the_result_is_what_an_ideal_pinhole_would_see(lens: str, shrink: float) -> None:
    source = camera(480, 288, lens)
    u, v = np.meshgrid(np.arange(480), np.arange(288))
    seen = picture_of(source.unproject(np.stack([u, v], -1).reshape(-1, 2))).reshape(288, 480)
    width, height = round(480 / shrink), round(288 / shrink)
    remap = RectifyMap(source, width, height)
    ideal = picture_of(rays(remap.model.K, width, height).reshape(-1, 3)).reshape(height, width)
    got = remap(seen.astype(np.float32))
    inner = np.zeros_like(remap.valid_hw)
    inner[3:-3, 3:-3] = remap.valid_hw[3:-3, 3:-3]
    assert inner.mean() > 0.5
    assert np.abs(got - ideal)[inner].max() < 1.5
    assert np.abs(got - ideal)[inner].mean() < 0.15


@pytest.mark.parametrize('lens', ['plumb_bob', 'rational_polynomial'])
def test_same_size_equals_opencv_undistort(lens: str) -> None:
    source = camera(lens=lens)
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (96, 160, 3), np.uint8), (0, 0), 2)
    expected = cv2.undistort(image, source.K, source.D, None, source.K)
    remap = RectifyMap(source, 160, 96)
    inner = cv2.erode(remap.valid_hw.astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(remap(image).astype(int) - expected)[inner].max() <= 2


def test_same_size_equals_opencv_fisheye_undistort() -> None:
    source = camera(lens='equidistant')
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 255, (96, 160, 3), np.uint8), (0, 0), 2)
    expected = cv2.fisheye.undistortImage(image, source.K, source.D, Knew=source.K)
    remap = RectifyMap(source, 160, 96)
    inner = cv2.erode(remap.valid_hw.astype(np.uint8), np.ones((5, 5))) > 0
    assert np.abs(remap(image).astype(int) - expected)[inner].max() <= 2


def test_without_distortion_and_resizing_nothing_changes() -> None:
    image = np.random.default_rng(2).integers(0, 255, (96, 160, 3), np.uint8)
    remap = RectifyMap(camera(), 160, 96)
    assert remap.valid_hw.all()
    np.testing.assert_array_equal(remap(image), image)


@pytest.mark.parametrize('size', [(1936, 1216), (1600, 900), (333, 201)])
def test_shrinking_does_not_shift(size: tuple[int, int]) -> None:
    """A linear ramp stays the same ramp: its value tells the source pixel that a target pixel looks at."""
    width, height = size
    source = camera(width, height)
    ramp = np.tile(np.arange(width, dtype=np.float32), (height, 1))
    small = RectifyMap(source, 320, 192)(ramp)
    expected = (np.arange(320) + 0.5) * width / 320 - 0.5
    # cv2.remap places samples to 1/32 of a (reduced) pixel.
    assert np.abs(small[96, 4:-4] - expected[4:-4]).max() <= max(width / 320, 1) / 32 + 0.02


def test_what_lies_outside_of_the_source_image_is_marked() -> None:
    P = camera().K.copy()
    P[0, 0] = P[1, 1] = 30.0  # a rectified image that asks for more than the lens sees
    lens = LENSES['plumb_bob']
    remap = RectifyMap(CameraModel(160, 96, camera().K, lens, 'plumb_bob', P), 160, 96)
    assert not remap.valid_hw[0, 0]
    assert remap.valid_hw[48, 80]
    np.testing.assert_allclose(remap.model.K, P)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match='image is 100x50; the calibration is for 160x96'):
        RectifyMap(camera(), 80, 48)(np.zeros((50, 100, 3), np.uint8))


@pytest.mark.parametrize('lens', [None, 'plumb_bob'])
@pytest.mark.parametrize('size', [(1600, 900), (1936, 1216), (1280, 720)])
def test_detail_too_fine_for_the_target_is_averaged_away(size: tuple[int, int], lens: str | None) -> None:
    width, height = size
    source = camera(width, height, lens)
    remap = RectifyMap(source, 640, 352)
    for period in (2.0, 2.3, 3.1, 4.0):
        stripes = 128 + 100 * np.cos(2 * np.pi * np.arange(width) / period + 0.3)
        image = np.tile(stripes, (height, 1)).astype(np.float32)
        seen = remap(image)[50:-50, 80:-80]
        averaged = cv2.resize(image, (640, 352), interpolation=cv2.INTER_AREA)[50:-50, 80:-80]
        assert abs(seen.mean() - 128) < 2
        # Of a deviation of 71; sampling without averaging leaves 38 to 58, averaging whole areas 0 to 37.
        assert seen.std() < max(28.0, 1.05 * averaged.std()), period


@pytest.mark.parametrize('lens', [None, *LENSES])
@pytest.mark.parametrize(('shape', 'dtype'), [((900, 1600, 3), np.uint8), ((900, 1600), np.uint16)])
def test_bands_give_what_one_map_gives(lens: str | None, shape: tuple[int, ...], dtype: type) -> None:
    image = np.random.default_rng(3).integers(0, 255, shape).astype(dtype)
    source = camera(1600, 900, lens)
    banded, whole = RectifyMap(source, 640, 352), RectifyMap(source, 640, 352)
    whole._bands = _one_band(source)
    assert len(banded._bands) > 1 or lens == 'rational_polynomial'
    out = np.empty((352, 640, *shape[2:]), dtype)
    assert banded(image, out=out) is out
    np.testing.assert_array_equal(out[banded.valid_hw], whole(image)[banded.valid_hw])
    # Its memory is its own: a second picture doesn't change the first one's result.
    first = banded(image).copy()
    banded(image[::-1])
    np.testing.assert_array_equal(banded(image), first)


def _one_band(source: CameraModel) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('semi_smd_ros.rig.rectify._BAND_BYTES', 10**12)
        bands = RectifyMap(source, 640, 352)._bands
    assert len(bands) == 1
    return bands


def test_where_a_lens_folds_back_nothing_is_seen() -> None:
    # With this barrel distortion the image of a ray comes back towards the centre beyond tan(angle) = 0.816.
    source = CameraModel(160, 96, np.array([[60.0, 0, 80], [0, 60, 48], [0, 0, 1]]), np.array([-0.5, 0, 0, 0, 0]))
    remap = RectifyMap(source, 160, 96)
    u = np.arange(160)
    radius = np.abs(u - remap.model.K[0, 2]) / remap.model.K[0, 0]
    row = remap.valid_hw[48]
    assert row[radius < 0.8].all()
    assert not row[radius > 0.83].any()


@pytest.mark.parametrize(('width', 'height', 'factors'), [(320, 192, (2,)), (160, 96, (2, 4)), (150, 90, (2, 4))])
def test_a_source_that_was_halved_before_gives_the_same_picture(
    width: int, height: int, factors: tuple[int, ...]
) -> None:
    source = camera(640, 384, 'plumb_bob')
    remap = RectifyMap(source, width, height)
    image = np.random.default_rng(3).integers(0, 255, (384, 640, 3), np.uint8)
    expected = remap(image)
    reduced = image
    for factor in factors:
        reduced = cv2.resize(reduced, (640 // factor, 384 // factor), interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(remap(reduced, reduced_by=factor), expected)
    with pytest.raises(ValueError, match=f'image is 640x384; the calibration is for 640x384 reduced by {factor}'):
        remap(image, reduced_by=factor)
    with pytest.raises(ValueError, match=f'expected a divisor of {remap.reduction}'):
        remap(reduced[::2, ::2], reduced_by=2 * factor)


def test_a_source_may_be_reduced_only_where_nothing_is_magnified() -> None:
    assert RectifyMap(camera(640, 384), 321, 192).source_reduction == 1
    assert RectifyMap(camera(640, 384), 320, 192).source_reduction == 2
    assert RectifyMap(camera(640, 384), 160, 96).source_reduction == 4
    # A pixel of 2 would stand for one and a half columns at the right edge.
    assert RectifyMap(camera(641, 384), 160, 96).source_reduction == 1
    assert RectifyMap(camera(642, 384), 160, 96).source_reduction == 2
    # The middle is shrunk by 2, the corners by less than that.
    bent = camera(640, 384, 'plumb_bob')
    assert RectifyMap(bent, 320, 192).reduction == 2
    assert RectifyMap(bent, 320, 192).source_reduction == 1
    P = bent.K.copy()
    P[:2, :2] *= 2
    zoomed = CameraModel(640, 384, bent.K, np.array([-0.01, 0, 0, 0]), 'plumb_bob', P)
    assert RectifyMap(zoomed, 150, 90).source_reduction == 2
