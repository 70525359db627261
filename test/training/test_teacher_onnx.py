# SPDX-License-Identifier: Apache-2.0
"""Exported teachers: what they are fed, where their answers lie, and what is wrong with file or sidecar."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from semi_smd_ros.network.config import CITYSCAPES_CLASSES
from semi_smd_ros.runtime import ModelError
from semi_smd_ros.runtime.labels import nearest
from semi_smd_ros.training.teachers import Execution, open_depth_teacher, open_semantic_teacher
from semi_smd_ros.training.teachers.onnx_teacher import OnnxDepth, OnnxSemantics
from semi_smd_ros.training.teachers.preprocessing import resized

CPU = Execution(batch=2, device='cpu')
NAMES = [*reversed(CITYSCAPES_CLASSES), 'lane marking']


class Brightness(nn.Module):
    """Answers the first channel at half the size, as a model of inverse depth might."""

    def forward(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels[:, :1], 2)


class Distance(nn.Module):
    """Answers depth: 5 m where it is white, nothing where it is black."""

    def forward(self, pixels: Tensor) -> Tensor:
        return 5 * pixels[:, 0]


class Halves(nn.Module):
    """Two outputs: logits of 20 classes, the second where it is bright and the last elsewhere; and the classes."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        bright = nn.functional.avg_pool2d(pixels[:, :1], 4)
        logits = torch.cat([bright * 0, 8 * bright - 4, bright.repeat(1, 17, 1, 1) * 0, 4 - 8 * bright], 1)
        return logits, logits.argmax(1)


def export(
    model: nn.Module, path: Path, shape: tuple[int, int, int], dynamic: tuple[int, ...], outputs: list[str]
) -> Path:
    """`shape`: batch, height, width; `dynamic`: which of the four axes stay open."""
    batch, height, width = shape
    axes = {axis: f'axis_{axis}' for axis in dynamic}
    torch.onnx.export(
        model.eval(), (torch.rand(batch, 3, height, width),), str(path), input_names=['pixels'], output_names=outputs,
        dynamic_axes={'pixels': axes, **{name: axes for name in outputs}} if dynamic else None, dynamo=False,
    )  # fmt: skip
    return path


@pytest.fixture(scope='module')
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of exported models, without sidecars."""
    folder = tmp_path_factory.mktemp('exported')
    export(Brightness(), folder / 'open.onnx', (2, 32, 64), (0, 2, 3), ['answer'])
    export(Brightness(), folder / 'fixed.onnx', (2, 32, 64), (), ['answer'])
    export(Distance(), folder / 'metres.onnx', (1, 32, 64), (0, 2, 3), ['answer'])
    export(Halves(), folder / 'halves.onnx', (1, 32, 64), (0, 2, 3), ['scores', 'indices'])
    return folder


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies a model and writes what is said beside it."""

    def make(model: str, suffix: str = '.yaml', **entries: Any) -> Path:
        path = tmp_path / f'{model}.onnx'
        path.write_bytes((exported / path.name).read_bytes())
        text = json.dumps(entries) if suffix == '.json' else yaml.safe_dump(entries)
        path.with_suffix(suffix).write_text(text)
        return path

    return make


def spot(height: int, width: int, row: float, column: float) -> np.ndarray:
    """(H,W,3) uint8: a red blob on black, centred there (in pixels, centres at whole numbers)."""
    y, x = np.mgrid[:height, :width]
    red = 255 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 9.0**2))
    return np.stack([red, 0 * red, 0 * red], -1).round().astype(np.uint8)


def centre(map_hw: np.ndarray) -> tuple[float, float]:
    y, x = np.mgrid[: map_hw.shape[0], : map_hw.shape[1]]
    return float((y * map_hw).sum() / map_hw.sum()), float((x * map_hw).sum() / map_hw.sum())


PLAIN: dict[str, Any] = {'output': 'disparity', 'mean': [0, 0, 0], 'std': [1, 1, 1]}


@pytest.mark.parametrize('name', ['open', 'fixed'])
def test_the_answer_lies_where_the_picture_has_it(name: str, model: Callable[..., Path]) -> None:
    """Through a smaller input of another aspect, a model that halves it, and back to another size: no pixel is lost."""
    path = model(name, **PLAIN, **({'height': 48, 'width': 80} if name == 'open' else {}))
    images = np.stack([spot(96, 160, 40, 100), spot(96, 160, 60, 50), spot(96, 160, 50, 80)])
    disparity = OnnxDepth(path, CPU).disparity(images)
    assert (disparity.dtype, disparity.shape) == (np.float32, (3, 96, 160))
    for got, image in zip(disparity, images):
        assert centre(got) == pytest.approx(centre(image[..., 0] / 255), abs=0.1)
    small = OnnxDepth(path, CPU).disparity(images, (48, 40))
    for got, image in zip(small, images):
        row, column = centre(image[..., 0] / 255)
        # Pixel centres: (i + 0.5) scaled, as in the engine's own resizing.
        assert centre(got) == pytest.approx(((row + 0.5) / 2 - 0.5, (column + 0.5) / 4 - 0.5), abs=0.1)


def test_nearest_takes_the_pixel_below_the_centre() -> None:
    columns = torch.arange(30.0)[None, None, None]
    for size in (7, 15, 60):
        assert resized(columns, (1, size), 'nearest')[0, 0, 0].tolist() == nearest(size, 30).tolist()


def test_pixels_are_normalised_as_the_sidecar_says(model: Callable[..., Path]) -> None:
    image = np.full((1, 32, 64, 3), (51, 102, 204), np.uint8)
    path = model('open', output='disparity', mean=[0.1, 0, 0], std=[0.5, 1, 1])
    assert np.allclose(OnnxDepth(path, CPU).disparity(image), (0.2 - 0.1) / 0.5, atol=1e-5)
    path = model('open', output='disparity')
    assert np.allclose(OnnxDepth(path, CPU).disparity(image), (0.2 - 0.485) / 0.229, atol=1e-5), 'ImageNet by default'
    path.with_suffix('.yaml').unlink()
    path = model('open', suffix='.json', output='disparity', bgr=True, factor=1.0, mean=[0, 0, 0], std=[1, 1, 1])
    assert np.allclose(OnnxDepth(path, CPU).disparity(image), 204, atol=1e-3)


def test_depth_is_inverted_and_none_is_unknown(model: Callable[..., Path]) -> None:
    image = np.zeros((1, 32, 64, 3), np.uint8)
    image[:, :, 32:] = 255
    path = model('metres', output='depth', mean=[0, 0, 0], std=[1, 1, 1])
    disparity = open_depth_teacher(f'onnx:{path}', CPU).disparity(image)
    assert np.isnan(disparity[0, :, :32]).all()
    assert np.allclose(disparity[0, :, 32:], 0.2)


@pytest.mark.parametrize(('output', 'tensor'), [('logits', 'scores'), ('classes', 'indices')])
def test_classes_by_name(output: str, tensor: str, model: Callable[..., Path]) -> None:
    image = np.zeros((3, 32, 64, 3), np.uint8)
    image[:, :, 32:] = 255
    path = model('halves', **{**PLAIN, 'output': output}, output_tensor=tensor, classes=NAMES)
    classes = open_semantic_teacher(f'onnx:{path}', CPU).classes(image, (64, 128))
    assert (classes.dtype, classes.shape) == (np.uint8, (3, 64, 128))
    second = CITYSCAPES_CLASSES.index(NAMES[1])
    assert (classes[:, :, 72:] == second).all()
    assert (classes[:, :, :56] == 255).all(), 'no class of ours'


def test_what_it_is_not_sure_of_is_ignored(model: Callable[..., Path]) -> None:
    image = np.full((1, 32, 64, 3), 255, np.uint8)
    path = model('halves', **{**PLAIN, 'output': 'logits'}, output_tensor='scores', classes=NAMES)
    sure = np.exp(4) / (np.exp(4) + 18 + np.exp(-4))
    second = CITYSCAPES_CLASSES.index(NAMES[1])
    assert (OnnxSemantics(path, sure - 0.01, CPU).classes(image) == second).all()
    assert (OnnxSemantics(path, sure + 0.01, CPU).classes(image) == 255).all()


def test_the_identity_covers_the_sidecar(model: Callable[..., Path]) -> None:
    first = OnnxDepth(model('open', **PLAIN, name='my teacher'), CPU).identity
    assert (first.kind, first.name) == ('onnx', 'my teacher')
    second = OnnxDepth(model('open', **PLAIN, name='my teacher', bgr=True), CPU).identity
    assert first.sha256 != second.sha256


@pytest.mark.parametrize(
    ('name', 'entries', 'problem'),
    [
        ('open', {}, r'open.yaml: output is None; expected one of disparity, depth'),
        ('open', {'output': 'logits'}, "output is 'logits'; expected one of disparity, depth"),
        ('open', {**PLAIN, 'hight': 3}, 'unknown entries hight; known are output, name, input'),
        ('open', {**PLAIN, 'height': 48}, 'has one of height and width; expected both or neither'),
        ('open', {**PLAIN, 'height': '48', 'width': 3}, "height is '48'; expected a whole number above 0"),
        ('open', {**PLAIN, 'mean': 0}, 'mean is 0; expected three numbers'),
        ('open', {**PLAIN, 'std': [1, 0, 1]}, r'std is \[1, 0, 1\]; expected three numbers above 0'),
        ('open', {**PLAIN, 'resampling': 'area'}, "resampling is 'area'; expected one of bilinear"),
        ('open', {**PLAIN, 'input': 'image'}, 'input is image; the model has pixels'),
        ('fixed', {**PLAIN, 'height': 48, 'width': 64}, 'height is 48; the model takes 32 and nothing else'),
        ('halves', PLAIN, 'lacks output_tensor, and the model has more than one: scores, indices'),
    ],
)
def test_a_sidecar_that_does_not_fit_is_told(
    name: str, entries: dict[str, Any], problem: str, model: Callable[..., Path]
) -> None:
    with pytest.raises(ModelError, match=problem):
        OnnxDepth(model(name, **entries), CPU)


def test_an_answer_of_another_shape_is_told(model: Callable[..., Path]) -> None:
    image = np.zeros((1, 32, 64, 3), np.uint8)
    path = model('halves', **PLAIN, output_tensor='scores')
    with pytest.raises(ModelError, match=r'output scores is float32 \(1, 20, 8, 16\); .* says output: disparity'):
        OnnxDepth(path, CPU).disparity(image)
    few = {**PLAIN, 'output': 'logits', 'output_tensor': 'scores', 'classes': list(CITYSCAPES_CLASSES)}
    with pytest.raises(ModelError, match=r'which is float \(M,19,H,W\)'):
        OnnxSemantics(model('halves', **few), 0.5, CPU).classes(image)
    indices = {**few, 'output': 'classes', 'output_tensor': 'indices'}
    with pytest.raises(ModelError, match='of indices below 19'):
        OnnxSemantics(model('halves', **indices), 0.5, CPU).classes(image)


def test_an_answer_that_is_no_number_is_told(model: Callable[..., Path]) -> None:
    with pytest.raises(ModelError, match=r'open.onnx: 100% of its answer are no numbers'):
        OnnxDepth(model('open', **{**PLAIN, 'std': [1e-320, 1, 1]}), CPU).disparity(np.ones((1, 32, 64, 3), np.uint8))


def test_files_that_are_missing_or_broken_are_told(model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'none.onnx: no such file'):
        OnnxDepth(tmp_path / 'none.onnx', CPU)
    path = model('open', **PLAIN)
    path.with_suffix('.yaml').unlink()
    with pytest.raises(ModelError, match=r'has no sidecar beside it; expected one of open.yaml, open.yml, open.json'):
        OnnxDepth(path, CPU)
    path = model('open', **PLAIN)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match='ONNX Runtime cannot load it'):
        OnnxDepth(path, CPU)
    path.with_suffix('.json').write_text('{}')
    with pytest.raises(ModelError, match=r'has open.yaml and open.json beside it; expected one of'):
        OnnxDepth(path, CPU)
    path.with_suffix('.json').unlink()
    path.with_suffix('.yaml').write_text('output: [')
    with pytest.raises(ModelError, match=r'open.yaml: cannot be read'):
        OnnxDepth(path, CPU)


def test_segmenters_name_their_classes(model: Callable[..., Path]) -> None:
    logits = {**PLAIN, 'output': 'logits', 'output_tensor': 'scores'}
    with pytest.raises(ModelError, match="has no classes; expected the names of the model's classes"):
        OnnxSemantics(model('halves', **logits), 0.5, CPU)
    with pytest.raises(ModelError, match='lack road'):
        OnnxSemantics(model('halves', **logits, classes=NAMES[:18]), 0.5, CPU)
