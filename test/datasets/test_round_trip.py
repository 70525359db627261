# SPDX-License-Identifier: Apache-2.0
"""From a source to a recording and back: the samples are the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from nuscenes_tree import Tree
from rigs import ring
from sample_check import assert_same_rig, assert_same_sample
from typer.testing import CliRunner

from semi_smd_ros.cli.main import app
from semi_smd_ros.cli.record import record_source
from semi_smd_ros.datasets.recording import SAMPLE_TOPIC, write_recording
from semi_smd_ros.datasets.rosbag import SurroundBag
from semi_smd_ros.datasets.sample import DataError, EncodedImage, RawImage, SurroundSample
from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.rig import Rig, transform_from

START = 1_767_268_800 * 10**9
PERIOD = 10**8


def rich_samples(count: int = 3, lens: str = 'rational_polynomial') -> list[SurroundSample]:
    """Samples with everything that a sample can have; cameras not in alphabetical order, stamps apart."""
    rng = np.random.default_rng(1)
    cameras = ring(3, lens=lens).cameras
    mask = np.zeros((96, 160), bool)
    mask[80:] = True
    rig = Rig(tuple(dataclasses.replace(cameras[i], ego_mask=mask if i else None) for i in (2, 0, 1)))
    samples: list[SurroundSample] = []
    for k in range(count):
        depth = rng.uniform(1, 200, (3, 96, 160)).astype(np.float32)
        depth[:, :20], depth[:, 80:] = np.inf, np.nan
        stamps = tuple(START + k * PERIOD + 1_000_001 * c for c in range(3))
        pose = transform_from([4000.1 + k, -300.2, 0.3], [0.01, -0.02, 0.3 + 0.01 * k, 0.9])
        noise = rng.integers(0, 255, (3, 96, 160, 3), np.uint8)
        samples.append(
            SurroundSample(
                rig,
                tuple(EncodedImage(cv2.imencode('.png', n)[1].tobytes(), 'png') for n in noise),
                stamps,
                tuple(rng.uniform(1, 50, (20 + c, 3)).astype(np.float32) for c in range(3)),
                tuple((stamp, pose) for stamp in stamps),
                tuple(depth),
                tuple(rng.integers(0, 19, (3, 96, 160), np.uint8)),
                tuple(rng.random((3, 96, 160)) > 0.9),
                np.array([0.01, -0.02, 0.99975, 0.031]),
                f'street/{k:06d}',
                dataclasses.replace(samples[-1], previous=None) if samples else None,
            )
        )
    return samples


@pytest.mark.parametrize('lens', ['plumb_bob', 'rational_polynomial', 'equidistant'])
@pytest.mark.parametrize(('name', 'raw'), [('drive', False), ('drive.mcap', True), ('drive.mcap', False)])
def test_everything_that_a_sample_has_comes_back(tmp_path: Path, lens: str, name: str, raw: bool) -> None:
    written = rich_samples(lens=lens)
    assert write_recording(written, tmp_path / name, raw=raw) == 3
    assert (tmp_path / name).is_file() == name.endswith('.mcap')
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    with open_source(f'rosbag:{tmp_path / name}') as source:
        read = list(source)
        assert source.skipped == []
        assert len(read) == len(source) == 3
        for got, expected in zip(read, written, strict=True):
            assert_same_sample(got, expected, 'pixels' if raw else 'bytes')
        # Any order gives the same.
        assert_same_sample(source.sequences()[0][1], written[1], 'pixels' if raw else 'bytes')


def test_without_its_own_description_a_recording_synchronises_to_the_same(tmp_path: Path) -> None:
    written = rich_samples()
    write_recording(written, tmp_path / 'drive')
    with open_source(f'rosbag:{tmp_path / "drive"}', slop=0.05) as source:
        read = list(source)
    assert [sample.name for sample in read] == [f'drive/{i:06d}' for i in range(3)]
    order = [1, 2, 0]
    for got, expected in zip(read, written, strict=True):
        assert got.rig.names == ('cam_0', 'cam_1', 'cam_2')
        assert got.stamps_ns == tuple(expected.stamps_ns[i] for i in order)
        assert expected.depth_maps is not None
        assert got.depth_maps is not None
        for i, j in enumerate(order):
            np.testing.assert_array_equal(got.images[i].rgb(), expected.images[j].rgb())
            np.testing.assert_array_equal(got.depth_maps[i], expected.depth_maps[j])
    assert read[0].previous is None
    assert read[2].previous is not None
    assert read[2].previous.stamps_ns == read[1].stamps_ns


def test_the_real_scene(real_scene: Path, tmp_path: Path) -> None:
    address = f'ddad:{real_scene}'
    expected = list(open_source(address))
    assert record_source(address, tmp_path / 'drive.mcap') == {'scene_02': 3}
    with open_source(f'rosbag:{tmp_path / "drive.mcap"}') as source:
        for got, wanted in zip(source, expected, strict=True):
            assert_same_sample(got, wanted)
    write_recording(expected[1:2], tmp_path / 'raw', raw=True)
    with open_source(f'rosbag:{tmp_path / "raw"}') as source:
        (got,) = source
    assert got.previous is not None
    # The moment before is recorded for its pictures.
    previous = dataclasses.replace(got.previous, depth_points=expected[0].depth_points)
    assert_same_sample(dataclasses.replace(got, previous=previous), expected[1], 'pixels')


@pytest.mark.parametrize('raw', [False, True])
def test_nuscenes_with_the_sweeps_before(tmp_path: Path, raw: bool) -> None:
    address = f'nuscenes:{Tree(tmp_path / "tree").write()}?occlusion=none'
    record_source(address, tmp_path / 'drive', raw=raw)
    with open_source(f'rosbag:{tmp_path / "drive"}') as source:
        read = list(source)
    expected = list(open_source(address))
    assert len(read) == len(expected) == 3
    for got, wanted in zip(read, expected, strict=True):
        assert_same_sample(got, wanted, 'pixels' if raw else 'bytes')
    assert read[1].previous is not None
    assert read[1].previous.depth_points is None


@pytest.mark.parametrize('raw', [False, True])
def test_the_synthetic_world(tmp_path: Path, raw: bool) -> None:
    pytest.importorskip('torch', reason='the synthetic world needs torch')
    options = {'sets': 2, 'rate': 10.0, 'width': 96, 'height': 64}
    record_source('synthetic:5', tmp_path / 'drive.mcap', raw=raw, **options)
    with open_source('synthetic:5', **options) as world, open_source(f'rosbag:{tmp_path / "drive.mcap"}') as source:
        read, expected = list(source), list(world)
    assert len(read) == len(expected) == 2
    assert expected[0].depth_maps is not None
    assert expected[0].semantics is not None
    assert expected[0].ground_plane_base is not None
    for got, wanted in zip(read, expected, strict=True):
        assert_same_sample(got, wanted, 'pixels' if raw else 'bytes')


def test_a_recording_of_a_recording_is_the_recording(tmp_path: Path) -> None:
    written = rich_samples(2)
    write_recording(written, tmp_path / 'one.mcap')
    record_source(f'rosbag:{tmp_path / "one.mcap"}', tmp_path / 'two.mcap', raw=True)
    record_source(f'rosbag:{tmp_path / "two.mcap"}', tmp_path / 'three')
    for name, images in (('two.mcap', 'pixels'), ('three', 'pixels')):
        with open_source(f'rosbag:{tmp_path / name}') as source:
            for got, expected in zip(source, written, strict=True):
                assert_same_sample(got, expected, images)


def test_raw_pictures_keep_their_encoding(tmp_path: Path) -> None:
    (sample,) = rich_samples(1)
    bayer = RawImage(bytes(range(160)) * 96, 96, 160, 160, 'bayer_rggb8')
    write_recording([dataclasses.replace(sample, images=(bayer,) * 3)], tmp_path / 'drive', raw=True)
    with open_source(f'rosbag:{tmp_path / "drive"}') as source:
        (read,) = source
    assert read.images[0] == bayer or vars(read.images[0]) == vars(bayer)


def test_several_drives_become_a_folder_and_a_folder_several_sequences(tmp_path: Path) -> None:
    tree = Tree(tmp_path / 'tree').write()
    address = f'nuscenes:{tree}?split=all'
    with pytest.raises(DataError, match=r'has 2 sequences; .*scene-0061, scene-0103'):
        record_source(address, tmp_path / 'all.mcap')
    assert record_source(address, tmp_path / 'all') == {'scene-0061': 3, 'scene-0103': 3}
    with open_source(f'rosbag:{tmp_path / "all"}') as source:
        assert [sequence.name for sequence in source.sequences()] == ['scene-0061', 'scene-0103']
        assert [sample.name for sample in source] == [sample.name for sample in open_source(address)]
    assert record_source(address, tmp_path / 'one.mcap', sequence='scene-0061') == {'scene-0061': 3}
    with pytest.raises(DataError, match='no sequence scene-9; it has scene-0061, scene-0103'):
        record_source(address, tmp_path / 'two.mcap', sequence='scene-9')


def test_a_sequence_that_cannot_be_read_does_not_cost_the_others(tmp_path: Path) -> None:
    tree = Tree(tmp_path / 'tree').write()
    for file in (tree / 'samples').glob('CAM_FRONT/scene-0061*'):
        file.unlink()
    address = f'nuscenes:{tree}?split=all'
    assert record_source(address, tmp_path / 'all') == {'scene-0103': 3}
    assert [entry.name for entry in (tmp_path / 'all').iterdir()] == ['scene-0103']
    for file in (tree / 'samples').glob('CAM_FRONT/*'):
        file.unlink()
    with pytest.raises(DataError, match='none of 2 sequences can be recorded'):
        record_source(address, tmp_path / 'none')
    # What is to be written is checked before a data set is opened, which can take minutes.
    with pytest.raises(DataError, match="is 'some'; expected one of all, points, none"):
        record_source('nuscenes:/nowhere', tmp_path / 'none', truth='some')
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['all', 'tree']


@pytest.mark.parametrize(
    ('truth', 'dense', 'sparse'), [('all', True, True), ('points', False, True), ('none', False, False)]
)
def test_ground_truth_can_stay_away(tmp_path: Path, truth: str, dense: bool, sparse: bool) -> None:
    write_recording(rich_samples(2), tmp_path / 'drive', truth=truth)
    with open_source(f'rosbag:{tmp_path / "drive"}') as source:
        for sample in source:
            assert (sample.depth_points is not None) == sparse
            assert [getattr(sample, n) is not None for n in ('depth_maps', 'semantics', 'moving')] == [dense] * 3
    with pytest.raises(DataError, match="is 'some'; expected one of all, points, none"):
        write_recording(rich_samples(1), tmp_path / 'other', truth='some')


def test_the_command_line_records(tmp_path: Path) -> None:
    tree = Tree(tmp_path / 'tree').write()
    arguments = ['record', f'nuscenes:{tree}?context=none', str(tmp_path / 'drive.mcap'), '--raw', '--truth', 'none']
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert 'scene-0103: 3 sets written to ' in done.output
    with open_source(f'rosbag:{tmp_path / "drive.mcap"}') as source:
        assert [(type(sample.images[0]), sample.depth_points) for sample in source] == [(RawImage, None)] * 3
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, FileExistsError)


def test_nothing_half_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path / 'tree').write()
    from semi_smd_ros.datasets import recording

    written = recording.BagWriter.write

    def interrupted(self: recording.BagWriter, topic: str, msg: object, time_ns: int) -> None:
        written(self, topic, msg, time_ns)
        if topic == SAMPLE_TOPIC:
            raise KeyboardInterrupt

    monkeypatch.setattr(recording.BagWriter, 'write', interrupted)
    for out in ('drive', 'drive.mcap'):
        with pytest.raises(KeyboardInterrupt):
            record_source(f'nuscenes:{tree}', tmp_path / out)
    assert [entry.name for entry in tmp_path.iterdir()] == ['tree']


def test_what_cannot_be_one_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='nothing to record'):
        write_recording([], tmp_path / 'drive')
    one, two = rich_samples(2)
    other = dataclasses.replace(two, rig=Rig(two.rig.cameras, 'base_footprint'), previous=None)
    with pytest.raises(DataError, match='has another rig than the first sample'):
        write_recording([one, other], tmp_path / 'drive')
    assert list(tmp_path.iterdir()) == []


def test_a_vehicle_would_record_the_same_topics(tmp_path: Path) -> None:
    written = rich_samples(1, 'plumb_bob')
    write_recording(written, tmp_path / 'drive', raw=True)
    with SurroundBag(tmp_path / 'drive') as bag:
        assert bag.topics['/cam_0/image_raw'] == 'sensor_msgs/msg/Image'
        infos = bag.camera_infos()
        assert bag.transforms().frames() == {'odom', 'base_link', 'cam_0_optical', 'cam_1_optical', 'cam_2_optical'}
    info = infos['cam_0']
    assert info.distortion_model == 'plumb_bob'
    np.testing.assert_array_equal(info.d, written[0].rig.cameras[1].model.D if info.d.any() else [0.0] * 5)
    assert info.d.any()
    assert (info.roi.width, info.roi.height, info.roi.do_rectify, info.binning_x) == (0, 0, False, 0)
    assert_same_rig(written[0].rig, written[0].rig)
