# SPDX-License-Identifier: Apache-2.0
"""`semi-smd build-engine` as a user calls it, with a skeleton of TensorRT (see test_tensorrt_plan.py) and without."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring
from test_tensorrt_plan import Bench, write_named

from semi_smd_ros.cli.main import main
from semi_smd_ros.datasets.recording import write_recording
from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.runtime.cuda.driver import CudaError, find_device
from semi_smd_ros.runtime.engine.trust import write_checksum

START = 1_767_268_800 * 10**9


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, 'argv', ['semi-smd', 'build-engine', *arguments])
    try:
        return main()
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = write_named(tmp_path / 'tiny.onnx')
    write_checksum(path)
    return path


def test_it_builds_tells_what_it_costs_and_keeps_the_plan(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'plans').mkdir(mode=0o700)
    bench = Bench(tmp_path / 'plans', monkeypatch, '10.3.0')
    arguments = (str(model), '--cameras', '2', '--cache', str(tmp_path / 'plans'))
    assert run(monkeypatch, *arguments) == 0
    said = ' '.join(capsys.readouterr().out.split())
    assert 'fp16 against FP32 on the frames of the package: depth error' in said
    assert 'tiny 0.0.1, 2 cameras, fp16, TensorRT 10.3.0 on Orin: built in' in said
    assert len(list((tmp_path / 'plans').glob('tiny-fp16-2x48x80-*.plan'))) == 1
    assert run(monkeypatch, *arguments) == 0
    assert 'building' not in capsys.readouterr().out
    assert len(bench.parsed) == 1
    assert run(monkeypatch, *arguments, '--rebuild') == 0
    assert len(bench.parsed) == 2
    assert not bench.newest.is_open


def test_frames_of_a_recording_give_the_number_of_cameras(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = []
    for i in range(3):
        greys = [60 + 40 * camera + 10 * i for camera in range(2)]
        pictures = [cv2.imencode('.png', np.full((96, 160, 3), grey, np.uint8))[1].tobytes() for grey in greys]
        stamps = (START + i * 10**8,) * 2
        samples.append(SurroundSample(ring(2), tuple(EncodedImage(data, 'png') for data in pictures), stamps))
    write_recording(samples, tmp_path / 'drive')
    (tmp_path / 'plans').mkdir(mode=0o700)
    Bench(tmp_path / 'plans', monkeypatch, '11.4.0.106')
    arguments = (str(model), '--frames', f'rosbag:{tmp_path / "drive"}', '--cache', str(tmp_path / 'plans'))
    assert run(monkeypatch, *arguments) == 0
    record = json.loads(next((tmp_path / 'plans').glob('tiny*.json')).read_text())
    assert record['key']['cameras'] == 2
    assert record['judged by'] == f'rosbag:{tmp_path / "drive"}'
    assert run(monkeypatch, *arguments, '--cameras', '3') == 1
    assert 'has 2 cameras; expected 3, as --cameras says' in capsys.readouterr().err


def test_mistakes_are_told_in_one_sentence(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, says in (
        ((str(model), '--precision', 'fp8'), "precision is 'fp8'; expected one of fp16, fp32, int8"),
        ((str(tmp_path / 'gone.onnx'),), 'gone.onnx: no such model file'),
        ((str(model), '--frames', 'rosbag:/nowhere'), '/nowhere'),
    ):
        assert run(monkeypatch, *arguments) == 1
        told = capsys.readouterr().err
        assert says in told
        assert told.startswith('semi-smd: ')
        assert told.count('\n') == 1


def test_without_a_driver_it_is_told(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        find_device()
        pytest.skip('there is a GPU')
    except CudaError as error:
        reason = str(error)
    assert run(monkeypatch, str(model)) == 1
    assert capsys.readouterr().err == f'semi-smd: {reason}\n'
