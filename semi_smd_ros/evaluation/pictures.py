# SPDX-License-Identifier: Apache-2.0
"""Pictures for people: depth mosaics, error maps and bird's-eye views."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

NEAR_M, FAR_M = 2.0, 80.0
_BACKGROUND = (24, 24, 24)
_SKY, _UNKNOWN, _FALSE_SKY = (60, 40, 30), (90, 90, 90), (255, 0, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_depth(depth_hw: np.ndarray) -> np.ndarray:
    """Depth in metres as a BGR picture: near red, far blue on a logarithmic scale, sky dark, unknown grey."""
    known = np.isfinite(depth_hw)
    with np.errstate(invalid='ignore', divide='ignore'):
        scale = 1 - (np.log(depth_hw) - np.log(NEAR_M)) / (np.log(FAR_M) - np.log(NEAR_M))
    # The ends of the turbo map are nearly black; the middle 90 % stays readable.
    index = (20 + 220 * np.clip(np.where(known, scale, 0), 0, 1)).astype(np.uint8)
    picture = cv2.applyColorMap(index, cv2.COLORMAP_TURBO)
    picture[np.isposinf(depth_hw)] = _SKY
    picture[np.isnan(depth_hw)] = _UNKNOWN
    return picture


def colour_error(image_hw3: np.ndarray, uv_n2: np.ndarray, predicted_n: np.ndarray, truth_n: np.ndarray) -> np.ndarray:
    """Errors at pixels `uv_n2` as a BGR picture over the darkened RGB image.

    White is right, red too near (full at half the true depth), blue too far (full at twice), magenta false sky;
    points without an answer are grey, those at NaN pixels left out. Nearer points are drawn over farther ones.
    """
    height, width = image_hw3.shape[:2]
    picture = cv2.cvtColor(image_hw3, cv2.COLOR_RGB2BGR) // 4
    # Few points are drawn as squares, or nobody would see them; dense truth fills the picture pixel by pixel.
    reach = 0 if len(uv_n2) > height * width / 4 else 1
    in_view = ~np.isnan(uv_n2).any(axis=1)
    order = np.argsort(-truth_n, kind='stable')
    order = order[in_view[order]]
    column, row = np.rint(uv_n2[order]).astype(int).T
    colours = error_colours(predicted_n[order], truth_n[order])
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            picture[(row + down).clip(0, height - 1), (column + right).clip(0, width - 1)] = colours
    return picture


def error_colours(predicted_n: np.ndarray, truth_n: np.ndarray) -> np.ndarray:
    """(N,3) uint8 BGR of predictions (NaN unknown, +inf sky) for true depths; see `colour_error`."""
    with np.errstate(invalid='ignore', divide='ignore'):
        doublings = np.log2(predicted_n / truth_n)
    away = np.nan_to_num(np.clip(doublings, -1, 1))[:, None]
    fade = (255 * (1 - np.abs(away))).astype(np.uint8)
    full = np.full_like(fade, 255)
    colours = np.where(away < 0, np.hstack([fade, fade, full]), np.hstack([full, fade, fade]))
    colours[np.isposinf(predicted_n)] = _FALSE_SKY
    colours[np.isnan(predicted_n)] = _UNKNOWN
    return colours


def left_to_right(base_T_cam_n44: np.ndarray) -> np.ndarray:
    """Order of the cameras by viewing direction, from rear left over the front to rear right."""
    forward = base_T_cam_n44[:, :2, 2]
    return np.argsort(-np.arctan2(forward[:, 1], forward[:, 0]), kind='stable')


def mosaic(
    images_nhw3: np.ndarray,
    depth_nhw: np.ndarray,
    names: Sequence[str],
    base_T_cam_n44: np.ndarray,
    title: str,
    errors_nhw3: np.ndarray | None = None,
) -> np.ndarray:
    """One set as a BGR picture: RGB images over their depths, ordered from rear left to rear right.

    `errors_nhw3`: error maps (BGR, from `colour_error`) to put below the depths.
    """
    order = left_to_right(base_T_cam_n44)
    columns = []
    for i in order:
        image = cv2.cvtColor(images_nhw3[i], cv2.COLOR_RGB2BGR)
        _label(image, names[i])
        rows = [image, colour_depth(depth_nhw[i])]
        columns.append(np.vstack(rows if errors_nhw3 is None else [*rows, errors_nhw3[i]]))
    gap = np.full((columns[0].shape[0], 4, 3), _BACKGROUND, np.uint8)
    body = np.hstack([part for column in columns for part in (column, gap)][:-1])
    legend = _depth_legend(body.shape[1], with_errors=errors_nhw3 is not None)
    return np.vstack([_title_bar(body.shape[1], title), body, legend])


def birds_eye(
    xyz_n3: np.ndarray, rgb_n3: np.ndarray, title: str, half_size_m: float = 40.0, pixels: int = 800
) -> np.ndarray:
    """A cloud from above as a BGR picture, forward up: once in the cameras' colours, once coloured by height."""
    inside = (np.abs(xyz_n3[:, :2]) < half_size_m).all(axis=1)
    # Low points first, so that what stands on the ground is drawn over it.
    order = np.argsort(xyz_n3[inside, 2], kind='stable')
    xyz, rgb = xyz_n3[inside][order], rgb_n3[inside][order]
    column = np.clip(((half_size_m - xyz[:, 1]) / (2 * half_size_m) * pixels).astype(int), 0, pixels - 2)
    row = np.clip(((half_size_m - xyz[:, 0]) / (2 * half_size_m) * pixels).astype(int), 0, pixels - 2)
    height = np.clip((xyz[:, 2] + 0.5) / 4.5, 0, 1)
    by_height = cv2.applyColorMap((20 + 220 * height).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)[:, 0]
    panels = []
    for colours, name in ((rgb[:, ::-1], 'camera colours'), (by_height, 'height above ground: -0.5 m blue, 4 m red')):
        panel = np.full((pixels, pixels, 3), _BACKGROUND, np.uint8)
        for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
            panel[row + dr, column + dc] = colours
        _draw_scale(panel, half_size_m)
        _label(panel, name)
        panels.append(panel)
    gap = np.full((pixels, 6, 3), _BACKGROUND, np.uint8)
    body = np.hstack([panels[0], gap, panels[1]])
    return np.vstack([_title_bar(body.shape[1], title), body])


def _draw_scale(panel: np.ndarray, half_size_m: float) -> None:
    middle = panel.shape[0] // 2
    scale = panel.shape[0] / (2 * half_size_m)
    for metres in range(10, int(half_size_m) + 1, 10):
        cv2.circle(panel, (middle, middle), round(metres * scale), (110, 110, 110), 1, cv2.LINE_AA)
        cv2.putText(panel, f'{metres} m', (middle + 4, middle - round(metres * scale) + 14), _FONT, 0.4, (200,) * 3, 1)
    # Base is below the rear axle: a car of 4.5 m by 1.9 m reaches 3.5 m ahead of it.
    corners = (
        (round(middle - 0.95 * scale), round(middle - 3.5 * scale)),
        (round(middle + 0.95 * scale), round(middle + 1.0 * scale)),
    )
    cv2.rectangle(panel, *corners, (255, 255, 255), 1)


def _label(picture: np.ndarray, text: str) -> None:
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.45, 1)
    picture[: height + 9, : width + 10] = picture[: height + 9, : width + 10] // 3
    cv2.putText(picture, text, (5, height + 4), _FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)


def _title_bar(width: int, text: str) -> np.ndarray:
    bar = np.full((26, width, 3), _BACKGROUND, np.uint8)
    cv2.putText(bar, text, (6, 18), _FONT, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
    return bar


def _depth_legend(width: int, with_errors: bool = False) -> np.ndarray:
    bar = np.full((34, width, 3), _BACKGROUND, np.uint8)
    span = min(width - 20, 700)
    depths = np.exp(np.linspace(np.log(NEAR_M), np.log(FAR_M), span)).astype(np.float32)
    bar[4:16, 10 : 10 + span] = colour_depth(np.tile(depths, (12, 1)))
    for metres in (2, 5, 10, 20, 40, 80):
        at = 10 + round((np.log(metres) - np.log(NEAR_M)) / (np.log(FAR_M) - np.log(NEAR_M)) * (span - 1))
        cv2.putText(bar, f'{metres} m', (min(at, width - 45), 29), _FONT, 0.4, (220, 220, 220), 1, cv2.LINE_AA)
    if with_errors and width >= 2 * span:
        start = 60 + span
        ratios = np.exp2(np.linspace(-1, 1, 400))
        bar[4:16, start : start + 400] = error_colours(ratios, np.ones(400))
        for ratio, name in ((-1, 'half the true depth'), (0, 'right'), (1, 'twice; magenta: false sky; grey: none')):
            at = start + round((ratio + 1) / 2 * 399)
            cv2.putText(bar, name, (at, 29), _FONT, 0.4, (220, 220, 220), 1, cv2.LINE_AA)
    return bar
