# SPDX-License-Identifier: Apache-2.0
"""Projection, distortion and intrinsics, against formulas written out here and against OpenCV."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import LENSES, camera

from semi_smd_ros.rig import CameraModel, RigError
from semi_smd_ros.rig.camera import scale_intrinsics


def distort(model: str, D: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """The lens models as the CameraInfo documentation defines them."""
    if model == 'equidistant':
        r = np.hypot(x, y)
        theta = np.arctan(r)
        bent = theta * (1 + D[0] * theta**2 + D[1] * theta**4 + D[2] * theta**6 + D[3] * theta**8)
        return (x * bent / r, y * bent / r) if r > 0 else (x, y)
    r2 = x * x + y * y
    k1, k2, p1, p2, k3 = D[:5]
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    if model == 'rational_polynomial':
        radial /= 1 + D[5] * r2 + D[6] * r2**2 + D[7] * r2**3
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


@pytest.mark.parametrize('lens', LENSES)
@given(x=st.floats(-0.7, 0.7), y=st.floats(-0.4, 0.4), z=st.floats(0.5, 90.0))
def test_project_follows_the_lens_formula(lens: str, x: float, y: float, z: float) -> None:
    model = camera(lens=lens)
    uv, valid = model.project(np.array([[x * z, y * z, z]]))
    xd, yd = distort(lens, model.D, x, y)
    expected = [model.K[0, 0] * xd + model.K[0, 2], model.K[1, 1] * yd + model.K[1, 2]]
    np.testing.assert_allclose(uv[0], expected, atol=1e-6)
    inside = -0.5 <= expected[0] < model.width - 0.5 and -0.5 <= expected[1] < model.height - 0.5
    assert valid[0] == inside


@pytest.mark.parametrize('lens', [None, *LENSES])
def test_unproject_inverts_project(lens: str | None) -> None:
    model = camera(lens=lens)
    uv = np.random.default_rng(0).uniform([2, 2], [model.width - 3, model.height - 3], (500, 2))
    back, valid = model.project(model.unproject(uv) * 7.0)
    assert valid.all()
    np.testing.assert_allclose(back, uv, atol=1e-4)


def test_points_behind_or_folded_back_by_the_lens_are_not_visible() -> None:
    model = CameraModel(160, 96, camera().K, np.array([-0.4, 0.0, 0.0, 0.0, 0.0]))
    # The radial polynomial r(1 - 0.4 r^2) turns back at r = 0.91: a ray at r = 1.5 lands inside the image.
    folded = np.array([[1.5 * 4, 0.0, 4.0]])
    uv, valid = model.project(np.vstack([folded, [[0.0, 0.0, -3.0]], [[0.1, 0.0, 3.0]]]))
    assert 0 < uv[0, 0] < 160
    assert valid.tolist() == [False, False, True]


@given(sx=st.floats(0.1, 4.0), sy=st.floats(0.1, 4.0), x=st.floats(-2, 2), y=st.floats(-2, 2))
def test_scaled_intrinsics_keep_the_image_edges(sx: float, sy: float, x: float, y: float) -> None:
    """Edges of an image lie half a pixel outside the outermost centres, before and after resizing."""
    K = camera().K
    before, after = K @ [x, y, 1], scale_intrinsics(K, sx, sy) @ [x, y, 1]
    np.testing.assert_allclose((before[:2] + 0.5) * [sx, sy], after[:2] + 0.5, atol=1e-9)


def test_scaled_intrinsics_agree_with_opencv_resize() -> None:
    ramp = np.tile(np.arange(64, dtype=np.float32), (48, 1))
    small = cv2.resize(ramp, (16, 12), interpolation=cv2.INTER_AREA)
    K = scale_intrinsics(np.array([[50.0, 0, 20.0], [0, 50.0, 22.0], [0, 0, 1]]), 0.25, 0.25)
    # The value of a ramp at a resized pixel is the original column there.
    np.testing.assert_allclose(np.interp(K[0, 2], np.arange(16), small[0]), 20.0, atol=1e-5)


def info(**changes: object) -> SimpleNamespace:
    fields: dict[str, object] = {
        'width': 160, 'height': 96, 'distortion_model': 'plumb_bob', 'd': [0.0] * 5,
        'k': [80.0, 0, 80, 0, 80, 48, 0, 0, 1], 'p': [80.0, 0, 80, 0, 0, 80, 48, 0, 0, 0, 1, 0],
        'binning_x': 0, 'binning_y': 0, 'roi': SimpleNamespace(width=0, height=0),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def test_camera_info_is_read() -> None:
    model = CameraModel.from_camera_info(info(d=[-0.1, 0.01, 0, 0, 0]))
    assert model.is_distorted
    assert model.K[1, 2] == 48
    assert not CameraModel.from_camera_info(info(distortion_model='', d=[])).is_distorted


@pytest.mark.parametrize(
    ('changes', 'says'),
    [
        ({'k': [0.0] * 9}, 'uncalibrated'),
        ({'width': 0}, '0x96'),
        ({'distortion_model': 'fov'}, "'fov' is unknown"),
        ({'d': [0.1, 0.2]}, '2 coefficients'),
        ({'d': [float('nan')] * 5}, 'finite'),
        ({'k': [float('inf'), 0, 80, 0, 80, 48, 0, 0, 1]}, 'finite'),
        ({'binning_x': 2}, 'binning'),
        ({'roi': SimpleNamespace(width=50, height=40)}, 'region of interest is 50x40'),
    ],
)
def test_a_bad_camera_info_is_refused_with_the_reason(changes: dict[str, object], says: str) -> None:
    with pytest.raises(RigError, match=says):
        CameraModel.from_camera_info(info(**changes))
