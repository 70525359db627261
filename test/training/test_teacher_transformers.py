# SPDX-License-Identifier: Apache-2.0
"""Adapters of transformers against the library's own processors and post-processing, on tiny models from the disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from teacher_models import save_depth_anything, save_dpt, save_mask2former, save_segformer

from semi_smd_ros.network.config import CITYSCAPES_CLASSES
from semi_smd_ros.runtime import ModelError
from semi_smd_ros.training.teachers import Execution, open_depth_teacher, open_semantic_teacher
from semi_smd_ros.training.teachers.transformers_depth import TransformersDepth
from semi_smd_ros.training.teachers.transformers_model import LoadedModel
from semi_smd_ros.training.teachers.transformers_semantics import TransformersSemantics, mask_shares

CPU = Execution(batch=2, device='cpu')
HEIGHT, WIDTH = 121, 193


@pytest.fixture(scope='module', autouse=True)
def one_thread() -> Iterator[None]:
    """These models are too small for more than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='module')
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('models')
    return {
        'depth': save_depth_anything(folder / 'depth'),
        'metric': save_depth_anything(folder / 'metric', 'metric'),
        'segformer': save_segformer(folder / 'segformer'),
        'mask2former': save_mask2former(folder / 'mask2former'),
    }


@pytest.fixture(scope='module')
def images() -> np.ndarray:
    """Three pictures with structure at several scales; three, so that batches of two don't come out even."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (3, 6, 9, 3)).astype(np.uint8)
    smooth = [cv2.resize(one, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for one in coarse]
    return np.stack(smooth)


@pytest.mark.parametrize('name', ['depth', 'segformer', 'mask2former'])
def test_a_model_sees_what_the_library_would_show_it(name: str, models: dict[str, Path], images: np.ndarray) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(models[name], local_files_only=True)
    expected = processor(list(images), return_tensors='pt')['pixel_values']
    seen = loaded(models[name]).preprocessing(torch.from_numpy(images))
    assert seen.shape == expected.shape
    # The library rounds resized rows, then columns, to whole numbers of 0..255, which are worth 0.0175 at most.
    assert float((seen - expected).abs().max()) < 0.025
    assert float((seen - expected).mean().abs()) < 0.001


def loaded(folder: Path) -> LoadedModel:
    if 'depth' in folder.name or 'metric' in folder.name:
        return TransformersDepth(folder, execution=CPU)._loaded
    return TransformersSemantics(folder, execution=CPU)._loaded


def official(folder: Path, auto: Any, images: np.ndarray) -> tuple[Any, Any]:
    """The library's processor, for what comes after the model, and what its model gives for the same input."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    model = auto.from_pretrained(folder, local_files_only=True).float().eval()
    with torch.inference_mode():
        return processor, model(loaded(folder).preprocessing(torch.from_numpy(images)))


def test_depth_is_what_the_library_gives(models: dict[str, Path], images: np.ndarray) -> None:
    processor, output = official(models['depth'], transformers.AutoModelForDepthEstimation, images)
    teacher = TransformersDepth(models['depth'], execution=CPU)
    for size, tolerance in (((70, 112), 1e-4), ((HEIGHT, WIDTH), 0.05)):
        processed = processor.post_process_depth_estimation(output, [size] * 3)
        expected = torch.stack([one['predicted_depth'] for one in processed]).numpy()
        disparity = teacher.disparity(images, size)
        assert (disparity.dtype, disparity.shape) == (np.float32, (3, *size))
        # At the model's own size nothing is resized; beyond, the library overshoots (bicubic) and this does not.
        assert np.abs(disparity - expected).mean() < tolerance * expected.std()


def test_a_metric_model_is_inverted(models: dict[str, Path], images: np.ndarray) -> None:
    teacher = open_depth_teacher(f'transformers:{models["metric"]}', CPU)
    as_disparity = open_depth_teacher(f'transformers:{models["metric"]}?output=disparity', CPU)
    assert teacher.identity.options['output'] == 'depth'
    # At the model's own size, 70 x 112 for these pictures, nothing is resized.
    size = (70, 112)
    assert np.allclose(teacher.disparity(images, size), 1 / as_disparity.disparity(images, size), rtol=1e-4)


@pytest.mark.parametrize('name', ['segformer', 'mask2former'])
def test_classes_are_what_the_library_gives_by_name(name: str, models: dict[str, Path], images: np.ndarray) -> None:
    auto = {'segformer': 'AutoModelForSemanticSegmentation', 'mask2former': 'AutoModelForUniversalSegmentation'}[name]
    processor, output = official(models[name], getattr(transformers, auto), images)
    # Through this size the library takes masks in any case.
    size = (384, 384)
    indices = torch.stack(processor.post_process_semantic_segmentation(output, [size] * 3)).numpy()
    # The models' labels are ours in reverse.
    expected = len(CITYSCAPES_CLASSES) - 1 - indices
    classes = TransformersSemantics(models[name], 0.0, execution=CPU).classes(images, size)
    assert (classes.dtype, classes.shape) == (np.uint8, (3, *size))
    assert len(np.unique(expected)) > 2
    assert (classes == expected).mean() > 0.999


@pytest.mark.parametrize('name', ['segformer', 'mask2former'])
def test_what_the_model_is_not_sure_of_is_ignored(name: str, models: dict[str, Path], images: np.ndarray) -> None:
    ignored = []
    for threshold in (0.0, 0.3, 0.6, 1.0):
        teacher = open_semantic_teacher(f'transformers:{models[name]}?threshold={threshold}', CPU)
        ignored.append((teacher.classes(images[:1], (40, 64)) == 255).mean())
    assert ignored[0] == 0
    assert ignored[-1] > 0.9
    assert 0 < ignored[1] < ignored[2] or 0 < ignored[2] < ignored[3]
    assert ignored == sorted(ignored)


def test_what_no_query_claims_is_unsure_and_overlaps_do_not_pass_one() -> None:
    classes = torch.tensor([[[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]])  # two queries of class 0; the last is no object
    masks = torch.tensor([[[[9.0, -9.0]], [[9.0, -9.0]]]])  # both claim the first of two pixels
    scores = mask_shares(classes, masks, (1, 2))
    assert float(scores[0, 0, 0, 0]) == pytest.approx(1, abs=1e-3)
    assert float(scores[0, :, 0, 1].sum()) < 0.01


def test_batches_do_not_matter(models: dict[str, Path], images: np.ndarray) -> None:
    one = TransformersDepth(models['depth'], execution=Execution(1, 'cpu')).disparity(images)
    three = TransformersDepth(models['depth'], execution=Execution(3, 'cpu')).disparity(images)
    assert np.abs(one - three).max() < 1e-3 * one.std()


def test_half_precision_is_near(models: dict[str, Path], images: np.ndarray) -> None:
    full = TransformersDepth(models['depth'], execution=CPU).disparity(images)
    half = TransformersDepth(models['depth'], execution=Execution(2, 'cpu', 'bfloat16')).disparity(images)
    assert half.dtype == np.float32
    assert np.corrcoef(full.ravel(), half.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ('name', 'tensor'), [('depth', 'head.conv3.weight'), ('segformer', 'decode_head.classifier.weight')]
)
def test_an_overflow_is_told(
    name: str, tensor: str, models: dict[str, Path], tmp_path: Path, images: np.ndarray
) -> None:
    folder = Path(shutil.copytree(models[name], tmp_path / name))
    weights = load_file(folder / 'model.safetensors')
    weights[tensor] = torch.full_like(weights[tensor], torch.inf)
    save_file(weights, folder / 'model.safetensors', {'format': 'pt'})
    if name == 'depth':
        answer: Callable[[np.ndarray], np.ndarray] = TransformersDepth(folder, execution=CPU).disparity
    else:
        answer = TransformersSemantics(folder, execution=CPU).classes
    with pytest.raises(ModelError, match=rf'{name}: \d+% of its answer are no numbers; expected finite ones'):
        answer(images)


def test_the_height_can_be_chosen(models: dict[str, Path], images: np.ndarray) -> None:
    teacher = TransformersDepth(models['depth'], height=121, execution=CPU)
    seen = teacher._loaded.preprocessing(torch.from_numpy(images))
    assert seen.shape[2:] == (126, 196), 'multiples of 14 nearest to 121 x 193'
    assert teacher.disparity(images).shape == (3, HEIGHT, WIDTH)
    assert teacher.identity.options['height'] == 121


def test_the_identity_is_that_of_the_weights(models: dict[str, Path], tmp_path: Path) -> None:
    identity = TransformersDepth(models['depth'], execution=CPU).identity
    assert (identity.kind, identity.name, len(identity.sha256)) == ('transformers', 'depth_anything depth', 64)
    copy = Path(shutil.copytree(models['depth'], tmp_path / 'depth'))
    assert TransformersDepth(copy, execution=CPU).identity == identity
    weights = bytearray((copy / 'model.safetensors').read_bytes())
    weights[-1] ^= 1
    (copy / 'model.safetensors').write_bytes(weights)
    assert TransformersDepth(copy, execution=CPU).identity.sha256 != identity.sha256


@pytest.mark.parametrize('bad', [np.zeros((4, 6, 3), np.uint8), np.zeros((1, 4, 6, 3), np.float32)])
def test_pictures_of_another_kind_are_refused(models: dict[str, Path], bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r'expected uint8 \(M,H,W,3\) RGB'):
        TransformersDepth(models['depth'], execution=CPU).disparity(bad)


def _edit(name: str, **entries: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **entries}))

    return change


def _pickled(folder: Path) -> None:
    (folder / 'model.safetensors').rename(folder / 'pytorch_model.bin')


def _truncated(folder: Path) -> None:
    data = (folder / 'model.safetensors').read_bytes()
    (folder / 'model.safetensors').write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (_pickled, r'its weights are pickled \(pytorch_model.bin\).*expected \*.safetensors'),
        (_truncated, r'transformers .* cannot load it'),
        (lambda folder: (folder / 'preprocessor_config.json').unlink(), 'preprocessor_config.json: no such file'),
        (lambda folder: (folder / 'config.json').unlink(), 'config.json: no such file'),
        (lambda folder: (folder / 'model.safetensors').unlink(), 'no .*safetensors in it'),
        (lambda folder: shutil.rmtree(folder), 'no such folder'),
        (lambda folder: (folder / 'preprocessor_config.json').write_text('{'), 'cannot be read as JSON'),
        (_edit('config.json', fusion_hidden_size=10), 'tensors of the model are not in its weights or have another'),
        (_edit('config.json', model_type='nonesuch'), 'cannot load it'),
        (_edit('preprocessor_config.json', do_pad=True), 'do_pad is true, which this program does not do'),
        (_edit('preprocessor_config.json', resample=7), r'resample is 7; known are 0 \(nearest\)'),
        (_edit('preprocessor_config.json', size={'edge': 3}), "size is {'edge': 3}; expected"),
        (_edit('preprocessor_config.json', size=None), 'size is None; expected'),
        (_edit('preprocessor_config.json', image_mean=[1]), r'image_mean is \[1\]; expected three numbers'),
        (_edit('preprocessor_config.json', ensure_multiple_of=4), 'set ensure_multiple_of to 14'),
    ],
)
def test_a_folder_that_cannot_be_used_is_told(
    models: dict[str, Path], tmp_path: Path, change: Callable[[Path], None], problem: str
) -> None:
    folder = Path(shutil.copytree(models['depth'], tmp_path / 'depth'))
    change(folder)
    with pytest.raises(ModelError, match=problem) as caught:
        TransformersDepth(folder, execution=CPU)
    assert str(folder) in str(caught.value)


def test_a_segmenter_of_other_classes_is_refused(tmp_path: Path) -> None:
    folder = save_segformer(tmp_path / 'indoor', {0: 'Road', 1: 'wall', 2: 'sofa'})
    with pytest.raises(ModelError, match=r'3 classes \(Road, wall, sofa\) lack sidewalk, building, fence'):
        TransformersSemantics(folder, execution=CPU)


def test_more_classes_than_ours_are_ignored(tmp_path: Path, images: np.ndarray) -> None:
    names = ['lane marking', *(name.replace(' ', '_').upper() for name in CITYSCAPES_CLASSES), 'Ego-Vehicle']
    folder = save_segformer(tmp_path / 'more', dict(enumerate(names)))
    teacher = TransformersSemantics(folder, 0.0, execution=CPU)
    assert teacher._lookup.tolist() == [255, *range(19), 255]
    assert set(np.unique(teacher.classes(images))) <= {*range(19), 255}


def test_a_model_for_something_else_is_refused(models: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match='models of type segformer do not tell what they predict'):
        TransformersDepth(models['segformer'], execution=CPU)
    with pytest.raises(ModelError, match='is a segformer model; expected one for depth estimation'):
        TransformersDepth(models['segformer'], 'depth', execution=CPU)
    with pytest.raises(ModelError, match='lack road'):
        TransformersSemantics(models['depth'], execution=CPU)


def test_a_model_that_comes_in_both_kinds_is_asked_for(tmp_path: Path, images: np.ndarray) -> None:
    folder = save_dpt(tmp_path / 'dpt')
    with pytest.raises(ModelError, match=r'models of type dpt do not tell what they predict; say it: .*\?output='):
        open_depth_teacher(f'transformers:{folder}', CPU)
    disparity = open_depth_teacher(f'transformers:{folder}?output=disparity', CPU).disparity(images)
    assert disparity.shape == (3, HEIGHT, WIDTH)
    depth = open_depth_teacher(f'transformers:{folder}?output=depth', CPU).disparity(images, (64, 64))
    known = np.isfinite(depth)
    assert np.allclose((1 / depth)[known], TransformersDepth(folder, 'disparity').disparity(images, (64, 64))[known])


def _without(folder: Path, unwanted: str) -> None:
    weights = load_file(folder / 'model.safetensors')
    assert weights.pop(unwanted) is not None
    save_file(weights, folder / 'model.safetensors', {'format': 'pt'})


def test_what_only_training_needs_may_lack_and_nothing_else(
    models: dict[str, Path], tmp_path: Path, images: np.ndarray
) -> None:
    expected = TransformersDepth(models['depth'], execution=CPU).disparity(images)
    folder = Path(shutil.copytree(models['depth'], tmp_path / 'depth'))
    _without(folder, 'backbone.embeddings.mask_token')
    assert np.array_equal(TransformersDepth(folder, execution=CPU).disparity(images), expected)
    _without(folder, 'head.conv1.bias')
    with pytest.raises(ModelError, match=r'1 tensors of the model are not in its weights .*\(head.conv1.bias\)'):
        TransformersDepth(folder, execution=CPU)


@pytest.mark.parametrize(
    ('execution', 'problem'),
    [
        (Execution(device='warp'), "device 'warp' cannot be used"),
        (Execution(device='cpu', dtype='int8'), "dtype is 'int8'; expected one of float32"),
    ],
)
def test_how_it_runs_is_checked(models: dict[str, Path], execution: Execution, problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        TransformersDepth(models['depth'], execution=execution)
