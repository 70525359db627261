# SPDX-License-Identifier: Apache-2.0
"""Sources by address: what each address means, and every way in which what it names can be amiss."""

from __future__ import annotations

import json
import os
import shutil
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from semi_smd_ros.datasets.files import check_image
from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.source import SampleSequence
from semi_smd_ros.datasets.sources import open_source


@pytest.mark.parametrize(
    ('address', 'says'),
    [
        ('drive', 'expected ddad:PATH, nuscenes:PATH, rosbag:PATH or synthetic:SEED'),
        ('kitti:/data', "source is 'kitti:/data'; expected ddad:PATH"),
        ('ddad:', 'expected ddad:PATH'),
        ('synthetic:seven', 'expected synthetic:SEED with a whole number'),
        ('synthetic:7?sets=none', "option sets is 'none'; expected a number"),
        ('synthetic:7?sets=2.5', 'expected a whole number'),
        ('rosbag:/nowhere?max_depth=inf', "option max_depth is 'inf'; expected a number"),
        ('ddad:/nowhere?split', 'its options cannot be read'),
        ('ddad:/nowhere?splat=1', 'unknown option splat; expected split, masks, occlusion'),
        ('ddad:/nowhere', '/nowhere: no such file or folder'),
        ('rosbag:/nowhere', '/nowhere: no such file or folder; expected a rosbag2'),
        ('rosbag:/nowhere?slop=-1', 'expected a number from 0 to 10'),
        ('nuscenes:/nowhere', r'/nowhere: holds no folder v1.0-\*'),
    ],
)
def test_an_address_that_means_nothing_is_told(address: str, says: str) -> None:
    if address.startswith('synthetic:7'):
        pytest.importorskip('torch', reason='the synthetic world needs torch')
    with pytest.raises(DataError, match=says):
        open_source(address)


def test_code_stands_over_the_address(real_scene: Path) -> None:
    with pytest.raises(DataError, match='has no scenes of split test; it has train, val'):
        open_source(f'ddad:{real_scene}?split=val', split='test')
    assert len(open_source(f'ddad:{real_scene}?split=val', split=None)) == 3


@pytest.mark.parametrize(
    ('address', 'scenes'), [('ddad:~/what? a scene', 1), ('ddad:~/what? a scene?split=val', 1), ('ddad:{home}/~', 1)]
)
def test_names_that_look_like_something_else(
    address: str, scenes: int, real_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    for name in ('what? a scene', '~'):
        os.symlink(real_scene, tmp_path / name)
    assert len(open_source(address.format(home=tmp_path)).sequences()) == scenes


def test_what_was_read_is_let_go(real_scene: Path, tmp_path: Path) -> None:
    """A data set has hundreds of scenes: neither their last samples nor their ego masks may stay in memory."""
    assert cv2.imwrite(str(tmp_path / 'CAMERA_01.png'), np.eye(1216, 1936, dtype=np.uint8) * 255)
    [sequence] = open_source(f'ddad:{real_scene}', masks=tmp_path).sequences()

    def last_one(sequence: SampleSequence) -> tuple[weakref.ref[object], weakref.ref[object]]:
        *_, last = sequence
        assert last.rig.cameras[0].ego_mask is not None
        return weakref.ref(last.images[0]), weakref.ref(last.rig)

    assert [reference() for reference in last_one(sequence)] == [None, None]


def test_ddad_by_scene_by_data_set_and_by_list(real_scene: Path) -> None:
    scene = real_scene / 'scene_02'
    file = next(scene.glob('scene_*.json'))
    for path in (real_scene, real_scene / 'scene_dataset_v1.0.json', scene, file):
        source = open_source(f'ddad:{path}')
        assert source.max_depth_m == 200
        assert [sample.name for sample in source] == [f'scene_02/{i:06d}' for i in range(3)]
        assert source.skipped == []
    with pytest.raises(DataError, match="is a single scene and has no split 'val'"):
        open_source(f'ddad:{scene}?split=val')


def test_scenes_missing_from_an_excerpt_are_counted(real_scene: Path, tmp_path: Path) -> None:
    (tmp_path / 'scene_02').symlink_to(real_scene / 'scene_02')
    file = next((real_scene / 'scene_02').glob('scene_*.json')).name
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / 'scene_b.json').write_text('{"data": [')
    listed = ['000001/scene_a.json', f'scene_02/{file}', 'broken/scene_b.json']
    splits = {'0': {'filenames': ['000002/scene_t.json']}, '1': {'filenames': listed}}
    (tmp_path / 'ddad.json').write_text(json.dumps({'scene_splits': splits}))
    source = open_source(f'ddad:{tmp_path}')
    assert len(source.sequences()) == 1
    assert len(source) == 3
    assert len(source.skipped) == 2
    assert 'scene_a.json: no such file, though the data set' in source.skipped[0]
    assert 'scene_b.json: expected a scene in the DGP layout' in source.skipped[1]
    with pytest.raises(DataError, match=r'scene_t.json: no such file'):
        open_source(f'ddad:{tmp_path}?split=train')


def test_ddad_masks_and_occlusion(real_scene: Path, tmp_path: Path) -> None:
    (tmp_path / 'scene_02').mkdir()
    mask = np.zeros((1216, 1936), np.uint8)
    mask[1000:] = 255
    cv2.imwrite(str(tmp_path / 'scene_02' / 'CAMERA_05.png'), mask)
    source = open_source(f'ddad:{real_scene}?masks={tmp_path}&occlusion=none')
    first = source.sequences()[0][0]
    masks = {camera.name: camera.ego_mask for camera in first.rig.cameras}
    np.testing.assert_array_equal(masks['CAMERA_05'], mask > 0)
    assert masks['CAMERA_01'] is None
    filtered = open_source(f'ddad:{real_scene}').sequences()[0][0]
    assert first.depth_points is not None
    assert filtered.depth_points is not None
    for every, kept in zip(first.depth_points, filtered.depth_points, strict=True):
        assert 0.8 * len(every) < len(kept) < len(every)


def test_a_camera_absent_from_the_calibration_is_told(real_scene: Path, tmp_path: Path) -> None:
    shutil.copytree(real_scene / 'scene_02', tmp_path / 's', symlinks=True)
    (file,) = (tmp_path / 's' / 'calibration').glob('*.json')
    data = json.loads(file.read_text())
    at = data['names'].index('CAMERA_07')
    for key in ('names', 'intrinsics', 'extrinsics'):
        data[key].pop(at)
    file.write_text(json.dumps(data))
    with pytest.raises(DataError, match=rf'{file.name}: no camera CAMERA_07'):
        open_source(f'ddad:{tmp_path / "s"}')


@pytest.mark.parametrize('key', ['pose', 'filename'])
def test_a_datum_without_a_key_skips_its_sample(real_scene: Path, tmp_path: Path, key: str) -> None:
    shutil.copytree(real_scene / 'scene_02', tmp_path / 's', symlinks=True)
    (file,) = (tmp_path / 's').glob('scene_*.json')
    data = json.loads(file.read_text())
    first = data['samples'][0]['datum_keys']
    datum = next(d for d in data['data'] if d['key'] in first and 'image' in d['datum'])
    del datum['datum']['image'][key]
    file.write_text(json.dumps(data))
    source = open_source(f'ddad:{tmp_path / "s"}')
    assert len(list(source)) == 2
    assert len(source.skipped) == 1
    assert key in source.skipped[0]


def test_a_sample_without_its_calibration_is_skipped(real_scene: Path, tmp_path: Path) -> None:
    shutil.copytree(real_scene / 'scene_02', tmp_path / 's', symlinks=True)
    (file,) = (tmp_path / 's').glob('scene_*.json')
    data = json.loads(file.read_text())
    del data['samples'][1]['calibration_key']
    data['samples'][2]['calibration_key'] = 'gone'
    file.write_text(json.dumps(data))
    source = open_source(f'ddad:{tmp_path / "s"}')
    assert len(list(source)) == 1
    assert 'has calibration_key None; expected the name of a file' in source.skipped[0]
    assert 'gone.json: expected a DGP calibration' in source.skipped[1]


def test_pictures_are_checked_by_header_and_end() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for ending, kind in (('.jpg', 'jpeg'), ('.png', 'png')):
        data = cv2.imencode(ending, pixels)[1].tobytes()
        assert check_image(data, (64, 48), 'x') == kind
        for cut in (len(data) - 1, len(data) // 2, 30, 9, 3):
            with pytest.raises(DataError, match=r'x: '):
                check_image(data[:cut], (64, 48), 'x')
        with pytest.raises(DataError, match='the image is 64x48; its calibration says 48x64'):
            check_image(data, (48, 64), 'x')
    padded = cv2.imencode('.jpg', pixels)[1].tobytes() + bytes(100)
    assert check_image(padded, (64, 48), 'x') == 'jpeg'
    with pytest.raises(DataError, match='starts with nothing; expected a JPEG or PNG'):
        check_image(b'', (64, 48), 'x')
