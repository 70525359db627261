# SPDX-License-Identifier: Apache-2.0
"""`synthetic:SEED` as a source, and what `semi-smd synth` writes."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from semi_smd_ros.cli.synth import synth
from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.sources import open_source
from semi_smd_ros.datasets.synthetic import ddad_like_rig, render_sequence
from semi_smd_ros.datasets.synthetic.preview import contact_sheet

SMALL = 'sets=3&width=96&height=64'


def test_samples_hold_all_that_is_known() -> None:
    source = open_source(f'synthetic:7?{SMALL}&rig=ddad&lens=raw')
    sequence = source.sequences()[0]
    samples = list(source)
    assert len(source) == len(sequence) == len(samples) == 3
    assert source.skipped == []
    assert [sample.previous is None for sample in samples] == [True, False, False]
    second = samples[1]
    assert second.previous is not None
    assert second.previous.stamp_ns == samples[0].stamp_ns == second.stamp_ns - 100_000_000
    for camera, image, depth, semantics, moving, points in zip(
        second.rig.cameras,
        second.images,
        second.depth_maps or (),
        second.semantics or (),
        second.moving or (),
        second.depth_points or (),
        strict=True,
    ):
        assert camera.model.is_distorted
        assert camera.ego_mask is not None
        assert image.rgb().shape == (64, 96, 3)
        np.testing.assert_array_equal(np.isnan(depth), camera.ego_mask)
        np.testing.assert_array_equal(semantics == 255, camera.ego_mask)
        assert moving.shape == depth.shape
        # Sparse points lie where the dense truth has them, in the distorted picture's own pixels.
        uv, valid = camera.model.project(points)
        pixel = np.rint(uv).astype(int)
        assert valid.all()
        assert np.abs(uv - pixel).max() < 0.01
        np.testing.assert_allclose(points[:, 2], depth[pixel[:, 1], pixel[:, 0]], rtol=1e-5)
    stamp, pose = second.ego_poses[0]
    assert stamp == second.stamp_ns
    assert np.linalg.norm(pose[:3, 3] - samples[0].ego_poses[0][1][:3, 3]) < 4.0
    assert second.ground_plane_base is not None
    assert second.ground_plane_base[2] > 0.9


def test_any_sample_can_be_read_by_itself() -> None:
    alone = open_source(f'synthetic:8?{SMALL}&rig=random').sequences()[0][2]
    last = list(open_source(f'synthetic:8?{SMALL}&rig=random'))[2]
    assert alone.name == last.name
    for one, two in zip(alone.images, last.images, strict=True):
        assert one.data == two.data
    for one, two in zip(alone.depth_points or (), last.depth_points or (), strict=True):
        np.testing.assert_array_equal(one, two)


def test_wrong_addresses_are_refused() -> None:
    for address, message in (
        ('synthetic:seven', 'whole number'),
        ('synthetic:7?rig=tank', 'expected one of ddad, nuscenes, random'),
        ('synthetic:7?sets=0', 'from 1'),
        ('synthetic:7?color=red', 'unknown option color'),
    ):
        with pytest.raises(DataError, match=message):
            open_source(address)


def test_a_drive_is_written_whole(tmp_path: Path) -> None:
    out = synth(5, tmp_path / 'drive', False, Console(file=io.StringIO()), sets=2, width=64, height=48, rig='raw')
    pictures = sorted(path.name for path in out.glob('*.png'))
    with np.load(out / '000001.npz') as truth:
        names = [str(name) for name in truth['names']]
        assert pictures == sorted(f'{k:06d}_{name}.png' for k in range(2) for name in names)
        assert truth['depth_nhw'].shape == (len(names), 48, 64)
        assert truth['distortion_n'].shape[0] == len(names)
        assert str(truth['distortion_model']) in ('plumb_bob', 'rational_polynomial', 'equidistant')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['drive']
    with pytest.raises(FileExistsError, match='name another'):
        synth(5, out, False, Console(file=io.StringIO()))
    with pytest.raises(DataError, match='expected one of ddad'):
        synth(5, tmp_path / 'other', False, Console(file=io.StringIO()), rig='tank')


def test_a_contact_sheet_is_written_and_an_interruption_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = synth(5, tmp_path / 'new' / 'sheet.png', True, Console(file=io.StringIO()), sets=4, width=64, height=48)
    sheet = cv2.imread(str(out))
    assert sheet.shape[1] >= 3 * 64
    assert sheet.shape[0] > 4 * 3 * 48
    before = out.read_bytes()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('semi_smd_ros.cli.synth.render_frame', interrupted)
    for preview, name in ((True, 'sheet.png'), (False, 'drive')):
        with pytest.raises(KeyboardInterrupt):
            synth(6, out.parent / name, preview, Console(file=io.StringIO()), sets=1, width=64, height=48)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ['sheet.png']
    with pytest.raises(FileExistsError, match='name another file'):
        synth(6, out.parent, True, Console(file=io.StringIO()), sets=1)


def test_the_sheet_marks_the_own_vehicle_in_the_truth_and_not_in_the_picture() -> None:
    frame = next(
        frame
        for seed in range(20)
        for frame in render_sequence(seed, ddad_like_rig(48, 80), frames=1)
        if frame.ego_mask_nhw[0].any()
    )
    sheet = contact_sheet([frame])
    top = sheet.shape[0] - 3 * (48 + 4)
    picture, depth = (sheet[top + k * 52 : top + k * 52 + 48, :80] for k in (0, 1))
    np.testing.assert_array_equal(picture, frame.images_nhw3[0])
    covered = depth[frame.ego_mask_nhw[0]]
    assert {tuple(colour) for colour in np.unique(covered, axis=0)} <= {(25, 25, 25), (200, 200, 200)}
    with pytest.raises(ValueError, match='no frames'):
        contact_sheet([])
    with pytest.raises(ValueError, match='2 titles for 1 frames'):
        contact_sheet([frame], ['one', 'two'])
