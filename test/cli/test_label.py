# SPDX-License-Identifier: Apache-2.0
"""`semi-smd label` as a user calls it, killed and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper
from rigs import ring

from semi_smd_ros.cli.main import main
from semi_smd_ros.datasets.recording import write_recording
from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.network.config import CITYSCAPES_CLASSES
from semi_smd_ros.training.teachers import PseudoLabels

REPOSITORY = Path(__file__).resolve().parents[2]
START = 1_767_268_800 * 10**9
SETS = 400  # more than a process can label before it is killed
CAMERAS = 2


def red(moment: int, camera: int) -> int:
    return 40 + moment % 100 + 50 * camera


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording whose pictures are of one red each."""
    samples = []
    for i in range(SETS):
        pictures = [np.full((48, 80, 3), (0, 0, red(i, camera)), np.uint8) for camera in range(CAMERAS)]
        encoded = tuple(EncodedImage(cv2.imencode('.png', one)[1].tobytes(), 'png') for one in pictures)
        samples.append(SurroundSample(ring(CAMERAS, 80, 48), encoded, (START + i * 10**8,) * CAMERAS))
    folder = tmp_path_factory.mktemp('drive') / 'bag'
    write_recording(samples, folder)
    return folder


@pytest.fixture(scope='module')
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers how red each pixel is; and as logits: road where it is over 100 of 255, sky below."""
    folder = tmp_path_factory.mktemp('teacher')
    pixels = helper.make_tensor_value_info('pixels', TensorProto.FLOAT, ['M', 3, 'H', 'W'])
    answer = helper.make_tensor_value_info('answer', TensorProto.FLOAT, ['M', 'K', 'H', 'W'])
    first = helper.make_tensor('first', TensorProto.INT64, [1], [0])
    weights = np.zeros((19, 3, 1, 1), np.float32)
    weights[[0, 10], 0] = [[[100]], [[-100]]]
    bias = np.full(19, -100, np.float32)
    bias[[0, 10]] = [-100 * 100 / 255, 100 * 100 / 255]
    constants = [helper.make_tensor(n, TensorProto.FLOAT, a.shape, a) for n, a in (('w', weights), ('b', bias))]
    nodes = {
        'depth': [helper.make_node('Gather', ['pixels', 'first'], ['answer'], axis=1)],
        'classes': [helper.make_node('Conv', ['pixels', 'w', 'b'], ['answer'])],
    }
    plain = {'mean': [0, 0, 0], 'std': [1, 1, 1]}
    said = {
        'depth': {'output': 'disparity', **plain},
        'classes': {'output': 'logits', 'classes': list(CITYSCAPES_CLASSES), **plain},
    }
    for name, [node] in nodes.items():
        graph = helper.make_graph([node], name, [pixels], [answer], [first] if name == 'depth' else constants)
        opset = [helper.make_opsetid('', 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / f'{name}.onnx')
        (folder / f'{name}.yaml').write_text(yaml.safe_dump(said[name]))
    return folder


def arguments(drive: Path, teacher: Path, folder: Path) -> list[str]:
    teachers = ['--depth', f'onnx:{teacher / "depth.onnx"}', '--semantics', f'onnx:{teacher / "classes.onnx"}']
    return ['label', f'rosbag:{drive}', str(folder), *teachers, '--device', 'cpu']


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, 'argv', ['semi-smd', *words])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


def finished(folder: Path) -> int:
    log = folder / 'done.jsonl'
    return log.read_bytes().count(b'\n') if log.exists() else 0


def test_a_killed_run_goes_on_where_it_stopped(
    drive: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, whole = tmp_path / 'killed', tmp_path / 'whole'
    command = [sys.executable, '-m', 'semi_smd_ros.cli.main', *arguments(drive, teacher, folder)]
    process = subprocess.Popen(command, env={**os.environ, 'PYTHONPATH': str(REPOSITORY)}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while finished(folder) < 3:
        assert process.poll() is None, 'it ended before it could be killed'
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = finished(folder)
    assert 3 <= before < SETS, 'it must be killed in the middle'
    # What lies under its final name is whole.
    for path in folder.rglob('*.png'):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob('*.png')}

    limit = before + 5
    assert run(monkeypatch, *arguments(drive, teacher, folder), '--limit', str(limit)) == 0
    assert f'5 sets labelled, {before} were there' in capsys.readouterr().out
    finished_stamps = [START + i * 10**8 for i in range(before)]
    for path, written in kept.items():
        if int(path.name.partition('.')[0]) in finished_stamps:
            assert path.stat().st_mtime_ns == written, 'what was done is left alone'
    assert run(monkeypatch, *arguments(drive, teacher, whole), '--limit', str(limit)) == 0
    files = {path.relative_to(whole) for path in whole.rglob('*') if path.is_file()}
    assert len(files) == limit * CAMERAS * 2 + 3, 'with manifest, log and lock'
    assert {path.relative_to(folder) for path in folder.rglob('*') if path.is_file()} == files
    for name in files - {Path('done.jsonl')}:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name

    labels = PseudoLabels(folder)
    for moment in (0, before, limit - 1):
        for camera, name in enumerate(ring(CAMERAS).names):
            stamp = START + moment * 10**8
            disparity = labels.disparity('bag', stamp, name, (24, 40))
            assert np.allclose(disparity, red(moment, camera) / 255, atol=1e-5)
            expected = 'road' if red(moment, camera) > 100 else 'sky'
            classes = labels.classes('bag', stamp, name, (24, 40))
            if abs(red(moment, camera) - 100) > 3:
                assert (classes == CITYSCAPES_CLASSES.index(expected)).all()


def test_a_limit_can_be_raised_but_teachers_cannot_be_changed(
    drive: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'labels'
    words = arguments(drive, teacher, folder)
    assert run(monkeypatch, *words, '--limit', '2') == 0
    assert run(monkeypatch, *words, '--limit', '5') == 0
    assert '3 sets labelled, 2 were there' in capsys.readouterr().out
    manifest = json.loads((folder / 'manifest.json').read_text())
    assert manifest['source'] == f'rosbag:{drive}'
    assert manifest['depth']['name'] == 'depth.onnx'
    assert manifest['semantics']['options'] == {'threshold': 0.5}
    words[words.index('--semantics') + 1] += '?threshold=0.9'
    assert run(monkeypatch, *words) == 1
    told = capsys.readouterr().err
    assert '"threshold": 0.5' in told
    assert '"threshold": 0.9' in told
    assert 'name another folder' in told


def test_the_synthetic_world_is_labelled_by_its_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ('label', 'synthetic:7?sets=1&width=64&height=48', str(tmp_path / 'labels'))
    assert run(monkeypatch, *words, '--depth', 'synthetic:1', '--semantics', 'synthetic:1') == 0
    labels = PseudoLabels(tmp_path / 'labels')
    [line] = (tmp_path / 'labels' / 'done.jsonl').read_text().splitlines()
    done = json.loads(line)
    assert len(done['pictures']) == 6
    for camera, stamp in done['pictures']:
        disparity = labels.disparity(done['sequence'], stamp, camera)
        classes = labels.classes(done['sequence'], stamp, camera)
        assert disparity.shape == classes.shape == (48, 64)
        sky, road = classes == CITYSCAPES_CLASSES.index('sky'), classes == CITYSCAPES_CLASSES.index('road')
        if sky.sum() > 20 and road.sum() > 20:
            assert np.nanmedian(disparity[sky]) < np.nanmedian(disparity[road])


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('synthetic:1',), 'no teacher is named; expected --depth, --semantics or both'),
        (('synthetic:1', '--depth', 'torch:x'), "depth teacher is 'torch:x'; expected transformers:FOLDER, onnx:FILE"),
        (('synthetic:1', '--semantics', 'onnx:'), "semantic teacher is 'onnx:'; expected transformers:FOLDER"),
        (('synthetic:1', '--depth', 'synthetic:x'), "teacher is 'synthetic:x'; expected synthetic:SEED"),
        (('synthetic:1', '--depth', 'synthetic:1?a=b'), 'unknown option a'),
        (('synthetic:1', '--depth', 'transformers:/nowhere?output=metres'), "option output is 'metres'; expected one"),
        (('synthetic:1', '--semantics', 'transformers:/nowhere?threshold=2'), "option threshold is '2'; expected a"),
        (('synthetic:1', '--depth', 'transformers:/nowhere'), '/nowhere: no such folder; expected a model saved'),
        (('ddad:/nowhere', '--depth', 'synthetic:1'), '/nowhere: no such file or folder'),
        (('kitti:/x', '--depth', 'synthetic:1'), "source is 'kitti:/x'; expected ddad:PATH"),
    ],
)
def test_what_cannot_be_labelled_is_told_in_a_sentence(
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, *rest = words
    assert run(monkeypatch, 'label', source, str(tmp_path / 'labels'), *rest) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith('semi-smd: ')
    assert not (tmp_path / 'labels').exists()
