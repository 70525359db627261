# SPDX-License-Identifier: Apache-2.0
"""`semi-smd evaluate` as a user calls it, and what it leaves on the disk."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring

from semi_smd_ros.cli import evaluate as command
from semi_smd_ros.cli.folder import timed_folder
from semi_smd_ros.cli.main import main
from semi_smd_ros.datasets.recording import write_recording
from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample

START = 1_767_268_800 * 10**9
RESULTS = {'.semi_smd_evaluation', 'metrics.json', 'report.md', 'sheet.jpg'}


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of three cameras whose sparse ground truth is what the tiny model answers."""
    samples = []
    for i in range(3):
        greys = [40 + 30 * c + 5 * i for c in range(3)]
        pictures = [cv2.imencode('.png', np.full((96, 160, 3), grey, np.uint8))[1].tobytes() for grey in greys]
        points = tuple(
            np.array([[0.1, 0.1, 1], [0.3, -0.2, 1]], np.float32) * np.float32(10 * grey / 255 + 1) for grey in greys
        )
        stamps = (START + i * 10**8,) * 3
        samples.append(SurroundSample(ring(3), tuple(EncodedImage(p, 'png') for p in pictures), stamps, points))
    folder = tmp_path_factory.mktemp('drive') / 'bag'
    write_recording(samples, folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, 'argv', ['semi-smd', 'evaluate', *arguments])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


def test_a_recording_is_scored(
    drive: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, '--data', f'rosbag:{drive}', '--model', str(tiny_model), '--limit', '2') == 0
    shown = capsys.readouterr().out
    [folder] = [path for path in (tmp_path / 'out' / 'evaluate').iterdir() if not path.is_symlink()]
    assert (tmp_path / 'out' / 'evaluate' / 'latest').resolve() == folder
    assert {path.name for path in folder.iterdir()} == RESULTS
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert metrics['depth']['model']['overall']['metric']['abs_rel'] == pytest.approx(0, abs=1e-5)
    assert metrics['depth']['model']['overall']['points'] == 2 * 3 * 2
    assert metrics['model']['sha256'] == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert metrics['command'] == (
        f'semi-smd evaluate --data rosbag:{drive} --model {tiny_model} --protocol default --limit 2'
    )
    assert (metrics['sets'], metrics['skipped'], metrics['data']) == (2, [], f'rosbag:{drive}')
    assert metrics['protocol']['text'].startswith('Protocol default: metric (primary)')
    for text in ('Protocol default', 'flat ground', 'No blind network beside the model', 'by camera'):
        assert text.lower() in shown.lower()
    report = (folder / 'report.md').read_text()
    assert metrics['protocol']['text'] in report
    assert '![' in report
    picture = cv2.imread(str(folder / 'sheet.jpg'))
    assert picture is not None
    # Three rows of 48 pixels per set, three cameras of 80 in width.
    assert picture.shape[1] == 3 * 80 + 2 * 4


def test_a_folder_is_replaced_only_if_it_is_ours(
    drive: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'scores'
    arguments = ('--data', f'rosbag:{drive}', '--model', str(tiny_model), '--limit', '1', '--out', str(out))
    assert run(monkeypatch, *arguments) == 0
    (out / 'notes.txt').write_text('mine')
    assert run(monkeypatch, *arguments, '--no-masks') == 0
    assert {path.name for path in out.iterdir()} == RESULTS | {'notes.txt'}
    assert 'no ego mask' in (out / 'report.md').read_text()
    (out / '.semi_smd_evaluation').unlink()
    capsys.readouterr()
    assert run(monkeypatch, *arguments) == 1
    assert 'which no evaluation has written; name another folder' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [out]


def test_an_interrupted_run_leaves_nothing(
    drive: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the last file is written: nothing half done stays."""

    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, 'sheet', interrupted)
    assert run(monkeypatch, '--data', f'rosbag:{drive}', '--model', str(tiny_model), '--out', str(tmp_path / 'x')) != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--data', 'kitti:/x'), "source is 'kitti:/x'; expected ddad:PATH"),
        (('--data', 'ddad:/nowhere'), '/nowhere'),
        (('--data', 'rosbag:{drive}', '--protocol', 'kitti'), "protocol is 'kitti'; expected one of default"),
        (('--data', 'rosbag:{drive}', '--model', 'none.onnx'), 'none.onnx: no such model file'),
        # The model is looked at before the data.
        (('--data', 'ddad:/nowhere', '--model', 'none.onnx'), 'none.onnx: no such model file'),
        (('--data', 'rosbag:{drive}', '--out', '{drive}/metadata.yaml'), 'metadata.yaml is a file; name a folder'),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_a_sentence(
    arguments: tuple[str, ...],
    message: str,
    drive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *(argument.format(drive=drive) for argument in arguments)) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_data_of_which_nothing_can_be_read_have_no_report(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = cv2.imencode('.png', np.zeros((90, 160, 3), np.uint8))[1].tobytes()
    sample = SurroundSample(ring(2), (EncodedImage(picture, 'png'),) * 2, (START,) * 2)
    write_recording([sample], tmp_path / 'drive')
    out = tmp_path / 'scores'
    data = f'rosbag:{tmp_path / "drive"}'
    assert run(monkeypatch, '--data', data, '--model', str(tiny_model), '--out', str(out)) == 1
    shown = capsys.readouterr().err
    assert 'no set could be evaluated, 1 could not be read; the first: ' in shown
    assert 'the image is 160x90; its calibration says 160x96' in shown
    assert not out.exists()


def test_timed_folders_do_not_collide(tmp_path: Path) -> None:
    first = timed_folder(tmp_path)
    first.mkdir()
    assert timed_folder(tmp_path) != first
