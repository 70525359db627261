# SPDX-License-Identifier: Apache-2.0
"""Labels on the disk: what is written is what is read, at any size; folders that must not be mixed."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from label_sources import START, STEP, Drive, Drives, picture, write_red_teacher
from rigs import LENSES, ring

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.training.teachers import Execution, PseudoLabels, SyntheticTeacher, TeacherErrors
from semi_smd_ros.training.teachers.label_files import (
    label_path,
    read_classes,
    read_disparity,
    write_classes,
    write_disparity,
)
from semi_smd_ros.training.teachers.labelling import LabelRun, label, stored_size
from semi_smd_ros.training.teachers.onnx_teacher import OnnxDepth
from semi_smd_ros.training.teachers.read_ahead import read_ahead

NO_ERRORS = TeacherErrors(scale=0, shift=0, coarse=0, fine=0, grain=0, blur=0, wrong=0, ignored=0)


@pytest.fixture(scope='module')
def teacher(tmp_path_factory: pytest.TempPathFactory) -> OnnxDepth:
    return OnnxDepth(write_red_teacher(tmp_path_factory.mktemp('teacher') / 'red.onnx'), Execution(4, 'cpu'))


def run(teacher: OnnxDepth, **changes: Any) -> LabelRun:
    return dataclasses.replace(LabelRun(teacher, None, longest=80), **changes)


@pytest.mark.parametrize('scale', [1e-4, 1.0, 3e5])
def test_disparity_survives_the_disk(tmp_path: Path, scale: float) -> None:
    rng = np.random.default_rng(0)
    disparity = (scale * (rng.random((30, 40)) - 0.7)).astype(np.float32)
    disparity[:5] = np.nan
    write_disparity(tmp_path / 'a' / 'x.png', disparity)
    again = read_disparity(tmp_path / 'a' / 'x.png')
    assert again.dtype == np.float32
    assert np.array_equal(np.isnan(again), np.isnan(disparity))
    assert np.nanmax(np.abs(again - disparity)) < 1e-5 * scale
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['x.png']
    shown = cv2.imread(str(tmp_path / 'a' / 'x.png'), cv2.IMREAD_UNCHANGED)
    assert (shown.dtype, shown.shape, shown.max(), shown[:5].max()) == (np.uint16, (30, 40), 65535, 0)


@pytest.mark.parametrize('value', [0.25, np.nan])
def test_a_picture_of_one_value_survives_the_disk(tmp_path: Path, value: float) -> None:
    write_disparity(tmp_path / 'x.png', np.full((4, 6), value, np.float32))
    assert np.array_equal(read_disparity(tmp_path / 'x.png'), np.full((4, 6), value), equal_nan=True)
    with pytest.raises(ValueError, match='expected finite numbers'):
        write_disparity(tmp_path / 'x.png', np.array([[0, np.inf]], np.float32))


def test_files_that_are_no_labels_are_told(tmp_path: Path) -> None:
    classes = np.arange(20, dtype=np.uint8).reshape(4, 5)
    write_classes(tmp_path / 'c.png', classes)
    assert np.array_equal(read_classes(tmp_path / 'c.png'), classes)
    with pytest.raises(DataError, match='not a whole PNG of uint16'):
        read_disparity(tmp_path / 'c.png')
    write_disparity(tmp_path / 'd.png', np.eye(8, dtype=np.float32))
    whole = (tmp_path / 'd.png').read_bytes()
    (tmp_path / 'd.png').write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r'd.png: \d+ bytes, not a whole PNG of uint16; delete it and label again'):
        read_disparity(tmp_path / 'd.png')
    cv2.imwrite(str(tmp_path / 'd.png'), np.eye(8, dtype=np.uint16))
    with pytest.raises(DataError, match='does not say scale and offset'):
        read_disparity(tmp_path / 'd.png')


def test_labels_are_those_of_their_picture(tmp_path: Path, teacher: OnnxDepth) -> None:
    source = Drives(Drive('one', 2), Drive('../..', 1))
    heard: list[int] = []
    count = label(source, tmp_path / 'labels', run(teacher), lambda: heard.append(1))
    assert (count.made, count.found, count.skipped, len(heard)) == (3, 0, (), 3)
    labels = PseudoLabels(tmp_path / 'labels')
    assert (labels.has_disparity, labels.has_classes) == (True, False)
    for sequence, index, camera in (('one', 0, 0), ('one', 1, 1), ('../..', 0, 1)):
        stamp = START + 2 * index * STEP + camera
        got = labels.disparity(sequence, stamp, ring(2).names[camera])
        assert got.shape == (48, 80)
        red = picture(camera, 2 * index)[..., 0] / 255
        expected = cv2.resize(red, (80, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(got - expected).max() < 0.01
        assert labels.disparity(sequence, stamp, ring(2).names[camera], (96, 160)).shape == (96, 160)
        half = labels.disparity(sequence, stamp, ring(2).names[camera], (24, 40))
        assert np.allclose(half, got.reshape(24, 2, 40, 2).mean((1, 3)), atol=1e-5)
    both = labels.disparity_set('one', (START, START + 1), ring(2).names, (24, 40))
    assert both.shape == (2, 24, 40)
    assert not list(tmp_path.glob('*.png')), 'no name leads out of the folder'


def test_what_is_missing_is_told(tmp_path: Path, teacher: OnnxDepth) -> None:
    label(Drives(Drive('one', 1)), tmp_path, run(teacher))
    labels = PseudoLabels(tmp_path)
    name = ring(2).names[0]
    with pytest.raises(DataError, match=f'no disparity for sequence two, camera {name} at {START} ns; labels of synth'):
        labels.disparity('two', START, name)
    with pytest.raises(DataError, match=r'holds no classes; label again with a teacher for it \(--semantics\)'):
        labels.classes('one', START, name)
    with pytest.raises(DataError, match=r'manifest.json: no such file; expected a folder written by `semi-smd label`'):
        PseudoLabels(tmp_path / 'none')
    manifest = json.loads((tmp_path / 'manifest.json').read_text())
    (tmp_path / 'manifest.json').write_text(json.dumps({**manifest, 'format': 9}))
    with pytest.raises(DataError, match='format 9; this program reads 1: label again'):
        PseudoLabels(tmp_path)


def test_a_second_run_reads_only_what_lacks(tmp_path: Path, teacher: OnnxDepth) -> None:
    label(Drives(Drive('one', 5)), tmp_path, run(teacher, limit=2))
    drive = Drive('one', 5)
    name = ring(2).names[1]
    label_path(tmp_path, 'one', START + 1, name, 'disparity').unlink()
    untouched = label_path(tmp_path, 'one', START, ring(2).names[0], 'disparity').stat().st_mtime_ns
    count = label(Drives(drive), tmp_path, run(teacher))
    assert (count.made, count.found, drive.reads) == (4, 1, 4)
    assert PseudoLabels(tmp_path).disparity('one', START + 1, name).shape == (48, 80)
    again = label_path(tmp_path, 'one', START, ring(2).names[0], 'disparity').stat().st_mtime_ns
    assert again == untouched, 'the other camera of that moment was still there'


def test_half_a_line_of_the_log_is_no_harm(tmp_path: Path, teacher: OnnxDepth) -> None:
    label(Drives(Drive('one', 2)), tmp_path, run(teacher))
    log = tmp_path / 'done.jsonl'
    log.write_bytes(log.read_bytes()[:-9])
    count = label(Drives(Drive('one', 2)), tmp_path, run(teacher))
    assert (count.made, count.found) == (1, 1)
    assert len([json.loads(line) for line in log.read_text().splitlines()]) == 2
    log.write_text('nonsense\n')
    with pytest.raises(DataError, match=r'done.jsonl: cannot be read .*; delete it'):
        label(Drives(Drive('one', 2)), tmp_path, run(teacher))


def test_two_drives_of_one_name_are_two(tmp_path: Path, teacher: OnnxDepth) -> None:
    source = Drives(Drive('same', 1), Drive('same', 2))
    assert label(source, tmp_path, run(teacher, limit=1)).made == 1
    count = label(source, tmp_path, run(teacher))
    assert (count.made, count.found) == (2, 1)


def test_what_cannot_be_read_is_skipped_and_tried_again(tmp_path: Path, teacher: OnnxDepth) -> None:
    count = label(Drives(Drive('one', 3, broken=[1])), tmp_path, run(teacher))
    assert (count.made, count.skipped) == (2, ('one/000001: this one is broken',))
    assert label(Drives(Drive('one', 3)), tmp_path, run(teacher)).made == 1


def test_context_is_labelled_on_demand(tmp_path: Path, teacher: OnnxDepth) -> None:
    name = ring(2).names[0]
    label(Drives(Drive('one', 2)), tmp_path / 'without', run(teacher))
    with pytest.raises(DataError, match='to its end, with --context for pictures between the sets'):
        PseudoLabels(tmp_path / 'without').disparity('one', START + STEP, name)
    label(Drives(Drive('one', 2)), tmp_path / 'with', run(teacher, context=True))
    assert PseudoLabels(tmp_path / 'with').disparity('one', START + STEP, name).shape == (48, 80)


def test_other_labels_are_not_mixed_in(tmp_path: Path, teacher: OnnxDepth) -> None:
    label(Drives(Drive('one', 1)), tmp_path, run(teacher))
    other = run(teacher, depth=SyntheticTeacher(0))
    with pytest.raises(DataError, match=r'its labels have depth .*"red.onnx".*; this run has .*"ground truth with err'):
        label(Drives(Drive('one', 1)), tmp_path, other)
    with pytest.raises(DataError, match=r'its labels have longest 80; this run has 64: name another folder'):
        label(Drives(Drive('one', 1)), tmp_path, run(teacher, longest=64))
    with pytest.raises(DataError, match=r'its labels have source "synthetic:1"; this run has "rosbag:/.*drive"'):
        label(Drives(Drive('one', 1), address='rosbag:drive'), tmp_path, run(teacher))


def test_one_writer_at_a_time_and_nobody_elses_folder(tmp_path: Path, teacher: OnnxDepth) -> None:
    label(Drives(Drive('one', 1)), tmp_path / 'mine', run(teacher))
    with (tmp_path / 'mine' / '.lock').open('w') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DataError, match='another process is labelling into it'):
            label(Drives(Drive('one', 2)), tmp_path / 'mine', run(teacher))
    assert label(Drives(Drive('one', 2)), tmp_path / 'mine', run(teacher)).made == 1
    (tmp_path / 'theirs').mkdir()
    (tmp_path / 'theirs' / 'thesis.tex').touch()
    with pytest.raises(FileExistsError, match=r'holds thesis.tex but no manifest.json; name another folder'):
        label(Drives(Drive('one', 1)), tmp_path / 'theirs', run(teacher))
    assert [path.name for path in (tmp_path / 'theirs').iterdir()] == ['thesis.tex']


@pytest.mark.parametrize('lens', LENSES)
def test_labels_lie_on_the_rectified_picture(tmp_path: Path, teacher: OnnxDepth, lens: str) -> None:
    """The teacher sees the picture without distortion; truth is taken there as well; what looks past it is unknown."""
    rig = ring(1, lens=lens)
    model = rig.cameras[0].model
    u, v = np.meshgrid(np.arange(160), np.arange(96))
    depth = (5 + u / 10 + v / 5).astype(np.float32)
    bands = (u // 40).astype(np.uint8)
    drive = Drive('bent', 1, rig=rig, depth_maps=(depth,), semantics=(bands,))
    truth = SyntheticTeacher(0, NO_ERRORS)
    label(Drives(drive), tmp_path / 'truth', LabelRun(truth, truth, longest=160))
    label(Drives(drive), tmp_path / 'seen', run(teacher, longest=160))
    labels, name = PseudoLabels(tmp_path / 'truth'), rig.names[0]
    disparity, classes = labels.disparity('bent', START, name), labels.classes('bent', START, name)
    rays = np.column_stack([(u.ravel() - model.K[0, 2]) / model.K[0, 0], (v.ravel() - model.K[1, 2]) / model.K[1, 1]])
    pixels, _ = model.project(np.column_stack([rays, np.ones(len(rays))]))
    inside = (pixels >= 1).all(1) & (pixels <= [158, 94]).all(1) & np.isfinite(disparity.ravel())
    assert inside.mean() > 0.5
    moved = np.abs(pixels - np.column_stack([u.ravel(), v.ravel()]))[inside].max()
    assert moved > 2, 'a lens that bends nothing proves nothing'
    expected = 5 + pixels[inside, 0] / 10 + pixels[inside, 1] / 5
    # Half a pixel of the nearest neighbour.
    assert np.abs(1 / disparity.ravel()[inside] - expected).max() < 0.16
    far_from_border = np.abs(pixels[inside, 0] % 40 - 20) < 19
    assert (classes.ravel()[inside] == pixels[inside, 0].round() // 40)[far_from_border].all()
    assert np.array_equal(np.isnan(disparity), classes == 255)
    red = PseudoLabels(tmp_path / 'seen').disparity('bent', START, name).ravel()[inside]
    assert np.abs(red - np.interp(pixels[inside, 0], u[0], picture(0, 0)[0, :, 0]) / 255).max() < 0.01


def test_the_synthetic_teacher_needs_dense_truth(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='its source has no dense depth for every pixel'):
        label(Drives(Drive('one', 1)), tmp_path / 'depth', LabelRun(SyntheticTeacher(0), None))
    with pytest.raises(DataError, match='its source has no classes for every pixel'):
        label(Drives(Drive('one', 1)), tmp_path / 'classes', LabelRun(None, SyntheticTeacher(0)))


def test_stored_sizes_keep_the_aspect_and_never_grow() -> None:
    assert stored_size(1216, 1936, 640) == (402, 640)
    assert stored_size(1936, 1216, 640) == (640, 402)
    assert stored_size(96, 160, 640) == (96, 160)


def test_reading_ahead_keeps_order_bounds_and_errors() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for i in range(6):
            begun.append(i)
            if i == 4:
                raise DataError('four')
            yield i

    with closing(read_ahead(items(), 2)) as ahead:
        for expected in range(4):
            assert next(ahead) == expected
            assert len(begun) <= expected + 4
        with pytest.raises(DataError, match='four'):
            next(ahead)
    begun.clear()
    with closing(read_ahead(items(), 2)) as ahead:
        assert next(ahead) == 0
    assert len(begun) <= 4
