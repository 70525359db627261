# SPDX-License-Identifier: Apache-2.0
"""The demo end to end: separate processes over real DDS, and the same frames offline, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring
from rosbags.highlevel import AnyReader

from semi_smd_ros.cli.demo.report import cloud_rgb, depth_array
from semi_smd_ros.datasets.messages import (
    TYPESTORE,
    camera_info,
    compressed_image,
    message,
    read_xyz,
    stamp_of,
    transform_stamped,
)
from semi_smd_ros.datasets.recording import BagWriter, write_recording
from semi_smd_ros.datasets.replay import bag_rig, frames
from semi_smd_ros.datasets.rosbag import SurroundBag
from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.runtime import SurroundDepthPipeline, load_engine

pytest.importorskip('rclpy', reason='rclpy is not installed: install the ROS wheels, or source a ROS 2 installation')

START = 1_767_268_800 * 10**9
SETS = 5


def recorded_drive(folder: Path) -> Path:
    """Three cameras, five sets; the ground truth is what the tiny model answers for a uniform picture."""
    rig = ring(3)
    samples = []
    for i in range(SETS):
        stamps = tuple(START + i * 10**8 + 3_000_000 * c for c in range(3))
        pictures = [np.full((96, 160, 3), 40 + 30 * c + 5 * i, np.uint8) for c in range(3)]
        images = tuple(EncodedImage(cv2.imencode('.png', picture)[1].tobytes(), 'png') for picture in pictures)
        depths = [10 * (40 + 30 * c + 5 * i) / 255 + 1 for c in range(3)]
        points = tuple(np.array([[0.1, 0.1, 1], [0.3, -0.2, 1]], np.float32) * np.float32(z) for z in depths)
        samples.append(SurroundSample(rig, images, stamps, points))
    write_recording(samples, folder)
    return folder


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'semi_smd_ros.cli.main', *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)


@pytest.fixture(scope='module')
def result(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> tuple[Path, Path]:
    """(recording, result folder) of one run."""
    folder = tmp_path_factory.mktemp('demo')
    drive, out = recorded_drive(folder / 'drive'), folder / 'result'
    done = run('demo', '--scene', str(drive), '--out', str(out), '--model', str(tiny_model))
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'sets in / out / dropped' in done.stdout
    return drive, out


def test_nothing_is_lost_and_the_summary_says_so(result: tuple[Path, Path]) -> None:
    summary = json.loads((result[1] / 'summary.json').read_text())
    assert (summary['sets_in'], summary['sets_out'], summary['sets_dropped']) == (SETS, SETS, 0)
    stages = {'prepare rig', 'decode', 'preprocess', 'engine', 'postprocess', 'cloud', 'publish', 'total', 'end_to_end'}
    assert set(summary['latency_ms']) == stages
    assert all(0 < times['p50'] <= times['p95'] for times in summary['latency_ms'].values())
    # The recording's truth is the tiny model's own answer; flat ground knows nothing of it.
    assert summary['abs_rel'] == pytest.approx(0, abs=1e-3)
    assert summary['d1'] == 1
    assert summary['abs_rel_ground'] > 0.3
    assert summary['coverage'] == 1
    for picture in summary['pictures']:
        assert cv2.imread(picture) is not None
    assert len(summary['pictures']) == 2 * SETS


def test_what_is_published_is_what_the_pipeline_gives_offline(result: tuple[Path, Path], tiny_model: Path) -> None:
    drive, out = result
    published: dict[tuple[str, int], object] = {}
    with AnyReader([out / 'output'], default_typestore=TYPESTORE) as reader:
        for connection, _, data in reader.messages():
            if connection.topic.endswith(('/depth/image', '/depth/camera_info', '/points', '/odometry')):
                msg = reader.deserialize(data, connection.msgtype)
                published[connection.topic, stamp_of(msg)] = msg
    pipeline = SurroundDepthPipeline(load_engine(tiny_model))
    with SurroundBag(drive) as bag:
        rig = bag_rig(bag)
        for frame in frames(bag, rig, 0.06, (80, 48)):
            depth = pipeline.process(frame)
            for i, camera in enumerate(rig.cameras):
                stamp = depth.stamps_ns[i]
                assert stamp is not None
                image = published[f'/{camera.name}/depth/image', stamp]
                assert image.header.frame_id == camera.frame_id  # type: ignore[attr-defined]
                np.testing.assert_array_equal(depth_array(image), depth.depth_nhw[i])
                info = published[f'/{camera.name}/depth/camera_info', stamp]
                assert (info.width, info.height) == (80, 48)  # type: ignore[attr-defined]
                np.testing.assert_array_equal(
                    info.k.reshape(3, 3),  # type: ignore[attr-defined]
                    depth.rectified.cameras[i].model.K,
                )
            message = published['/surround_depth/points', depth.stamp_ns]
            cloud = pipeline.cloud(depth)
            assert bytes(message.data) == cloud.data.tobytes()  # type: ignore[attr-defined]
            assert message.header.frame_id == 'base_link'  # type: ignore[attr-defined]
            assert len(read_xyz(message)) == len(cloud_rgb(message)) == cloud.n_points > 0


def rough_drive(folder: Path) -> Path:
    """As recorders do: tf comes late and CameraInfo once; a JPEG is broken, and one moment lacks a camera."""
    rig = ring(3)
    with BagWriter(folder) as bag:
        for c, cam in enumerate(rig.cameras):
            bag.write(f'/{cam.name}/camera_info', camera_info(cam, START), START + c)
        transforms = [transform_stamped('base_link', cam.frame_id, cam.base_T_cam, START) for cam in rig.cameras]
        for i in range(SETS):
            stamp = START + i * 10**8
            for c, cam in enumerate(rig.cameras):
                if (i, c) == (3, 2):
                    continue
                data = cv2.imencode('.jpg', np.full((96, 160, 3), 90, np.uint8))[1].tobytes()
                broken = data[:60] if (i, c) == (2, 1) else data
                bag.write(
                    f'/{cam.name}/image_raw/compressed',
                    compressed_image(broken, 'jpeg', stamp, cam.frame_id),
                    stamp + c,
                )
            if i == 2:
                bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=transforms), stamp + 50_000_000)
    return folder


def test_a_rough_recording_is_played_whole_and_what_it_lacks_is_told(tmp_path: Path, tiny_model: Path) -> None:
    drive, out = rough_drive(tmp_path / 'drive'), tmp_path / 'result'
    done = run('demo', '--scene', str(drive), '--out', str(out), '--model', str(tiny_model))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((out / 'summary.json').read_text())
    assert (summary['sets_in'], summary['sets_out'], summary['sets_dropped']) == (SETS - 1, SETS - 1, 0)
    assert summary['images_rejected'] == {'cam_1': {'compressed': 1}}
    assert summary['images_in'] == {'cam_0': 5, 'cam_1': 5, 'cam_2': 4}
    assert summary['images_unused'] == {'cam_0': 1, 'cam_1': 1, 'cam_2': 0}
    assert summary['abs_rel'] is None
    for line in ('cam_0 1 of 5', 'camera cam_1 that the node rejected: compressed 1', 'no ground truth'):
        assert line in done.stdout
    with AnyReader([out / 'output'], default_typestore=TYPESTORE) as reader:
        counts = {c.topic: c.msgcount for c in reader.connections}
    assert counts['/cam_1/depth/image'] == SETS - 2
    assert counts['/cam_0/depth/image'] == counts['/surround_depth/points'] == SETS - 1


def test_cameras_that_never_meet_end_the_demo_with_the_reason(tmp_path: Path) -> None:
    rig = ring(2)
    with BagWriter(tmp_path / 'drive') as bag:
        transforms = [transform_stamped('base_link', cam.frame_id, cam.base_T_cam, START) for cam in rig.cameras]
        bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=transforms), START)
        for c, cam in enumerate(rig.cameras):
            stamp = START + c * 3600 * 10**9
            bag.write(f'/{cam.name}/camera_info', camera_info(cam, stamp), stamp)
            bag.write(f'/{cam.name}/image_raw/compressed', compressed_image(b'x', 'jpeg', stamp, cam.frame_id), stamp)
    done = run('demo', '--scene', str(tmp_path / 'drive'), '--out', str(tmp_path / 'result'))
    assert done.returncode == 1
    assert 'no moment at which every camera has an image within 250 ms' in done.stderr


def test_another_base_frame_is_asked_for(tmp_path: Path) -> None:
    done = run(
        'demo', '--scene', str(recorded_drive(tmp_path / 'drive')), '--out', str(tmp_path / 'x'), '--base-frame', 'car'
    )
    assert done.returncode == 1
    assert "frame 'car' unknown; known are" in done.stderr
    assert 'BASE_FRAME=<frame>' in done.stderr


@pytest.mark.parametrize('name', ['pictures', 'logs'])
def test_what_no_demo_has_written_is_never_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / 'mine.txt').write_text('precious')
    drive = recorded_drive(tmp_path.parent / f'{tmp_path.name}_drive')
    done = run('demo', '--scene', str(drive), '--out', str(tmp_path))
    assert done.returncode == 1
    assert f'holds {name}, which no demo has written' in done.stderr
    assert (tmp_path / name / 'mine.txt').read_text() == 'precious'


def test_the_scene_is_never_removed(tmp_path: Path) -> None:
    drive = recorded_drive(tmp_path / 'recording')
    (tmp_path / '.semi_smd_demo').touch()
    done = run('demo', '--scene', str(drive), '--out', str(tmp_path))
    assert done.returncode == 1
    assert 'lies in the result folder' in done.stderr
    assert (drive / 'recording.mcap').is_file()


def test_a_demo_that_is_ended_leaves_no_process_behind(tmp_path: Path, tiny_model: Path) -> None:
    drive, out = recorded_drive(tmp_path / 'drive'), tmp_path / 'result'
    command = [sys.executable, '-m', 'semi_smd_ros.cli.main', 'demo', '--scene', str(drive), '--out', str(out)]
    demo = subprocess.Popen(
        [*command, '--model', str(tiny_model)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def children() -> set[str]:
        found = subprocess.run(['pgrep', '-f', str(tmp_path)], capture_output=True, text=True, check=False)
        return set(found.stdout.split()) - {str(demo.pid)}

    until(lambda: len(children()) >= 2, 'node and recorder')
    demo.kill()
    demo.wait()
    until(lambda: not children(), 'the end of node and recorder')


def until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f'waited {seconds} s for {what}'
        time.sleep(0.1)


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['demo', '--scene', 'nowhere'], 'nowhere: no such file or folder; expected a DGP scene or a rosbag2'),
        (['demo', '--scene', 'text.txt'], 'text.txt: expected a DGP scene'),
        (
            ['record', 'lidar:3', 'x'],
            "source is 'lidar:3'; expected ddad:PATH, nuscenes:PATH, rosbag:PATH or synthetic:SEED",
        ),
        (
            ['record', 'ddad:nowhere', 'x'],
            'nowhere: no such file or folder; expected a scene or data set in the DGP layout',
        ),
    ],
)
def test_a_bad_call_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setenv('PYTHONPATH', str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    Path('text.txt').write_text('hello')
    done = run(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert 'Traceback' not in done.stderr


def test_a_bad_model_ends_the_demo_with_the_nodes_own_words(tmp_path: Path) -> None:
    bad = tmp_path / 'bad.onnx'
    bad.write_bytes(b'not a model')
    out = tmp_path / 'out'
    done = run('demo', '--scene', str(recorded_drive(tmp_path / 'drive')), '--out', str(out), '--model', str(bad))
    assert done.returncode == 1
    assert 'bad.onnx' in done.stderr
    assert 'Traceback' not in done.stderr
