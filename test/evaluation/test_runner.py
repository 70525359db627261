# SPDX-License-Identifier: Apache-2.0
"""Whole evaluations: real pictures through a real engine and the runtime's pipeline, figures known in advance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from rigs import ring
from tiny_model import write_tiny_model

from semi_smd_ros.datasets.ddad_source import DdadSource
from semi_smd_ros.datasets.sample import EncodedImage, SurroundSample
from semi_smd_ros.datasets.source import Options, SampleSequence, Source
from semi_smd_ros.evaluation.protocols import Protocol, protocol_named
from semi_smd_ros.evaluation.report import as_json, markdown, remarks, tables
from semi_smd_ros.evaluation.runner import BLIND, FLAT, MODEL, TRUE_PLANE, Evaluation, Evaluator
from semi_smd_ros.runtime import CameraImage, SurroundDepthPipeline, SurroundFrame, load_engine

SHIPPED = Path(__file__).parents[2] / 'models' / 'semi_smd_small.onnx'
START, STEP_NS = 1_767_268_800 * 10**9, 10**8
CAMERAS, SETS = 3, 4
BROKEN = 2


class Drive(SampleSequence):
    """A vehicle that drives 0.2 m a set; every picture is of one grey, whose depth the tiny model tells in advance."""

    def __init__(self, name: str, scale: float = 1.0, broken: bool = False) -> None:
        super().__init__(name)
        self._scale, self._broken = scale, broken
        self._rig = ring(CAMERAS)

    def __len__(self) -> int:
        return SETS

    def read(self, index: int) -> SurroundSample:
        stamp = START + index * STEP_NS
        images, maps = [], []
        for camera in range(CAMERAS):
            grey = 51 * (1 + camera)
            pixels = cv2.imencode('.png', np.full((96, 160, 3), grey, np.uint8))[1].tobytes()
            images.append(EncodedImage(pixels[:60] if self._broken and index == BROKEN else pixels, 'png'))
            depth = np.full((96, 160), self._scale * (10 * grey / 255 + 1), np.float32)
            depth[:20] = np.inf
            maps.append(depth)
        pose = np.eye(4)
        pose[0, 3] = 0.2 * index
        plane = np.array([0.0, 0.0, 1.0, 0.0])
        return SurroundSample(
            self._rig, tuple(images), (stamp,) * CAMERAS, ego_poses=((stamp, pose),), depth_maps=tuple(maps),
            ground_plane_base=plane,
        )  # fmt: skip


class Drives(Source):
    def __init__(self, *drives: Drive) -> None:
        super().__init__('drives:test')
        self._drives = drives

    def sequences(self) -> Sequence[SampleSequence]:
        return self._drives


def evaluate(
    source: Source, model: Path, protocol: Protocol | None = None, limit: int | None = None
) -> tuple[Evaluation, int]:
    evaluator = Evaluator(model, protocol or protocol_named('default', source.max_depth_m), threads=1)
    told: list[None] = []
    result = evaluator.run(source, limit, lambda: told.append(None))
    evaluator.close()
    return result, len(told)


def test_figures_that_are_known_in_advance(tiny_model: Path) -> None:
    evaluation, told = evaluate(Drives(Drive('a'), Drive('b', scale=1.3)), tiny_model)
    summary = evaluation.methods[MODEL]
    assert summary is not None
    # The first drive is answered right, the second 23 % too near, in every image of every camera.
    wrong = 1 - 1 / 1.3
    for camera in ('all', 'cam_0', 'cam_2'):
        assert summary.figure('abs_rel', camera) == pytest.approx((0.0 + wrong) / 2, abs=1e-5)
        assert summary.figure('d1', camera) == pytest.approx(0.5)
        assert summary.figure('abs_rel', camera, scaled=True) == pytest.approx(0, abs=1e-5)
    assert (summary.coverage['all'], summary.false_sky['all'], summary.sky_found['all']) == (1.0, 0.0, 0.0)
    assert summary.points['all'][0] == 2 * SETS * CAMERAS * 76 * 160
    assert (evaluation.sets_run, evaluation.truth, evaluation.planes, told) == (8, 'dense', 8, 8)
    assert evaluation.memory_resets == {'first frame': 1, 'new sequence': 1}
    # The vehicle drives 0.2 m a set; the tiny model says 0.1 m, and nothing for the first set of a drive.
    motion = evaluation.motion[MODEL].summary()
    assert motion == pytest.approx(
        {
            'sets': 6, 'translation_m': 0.1, 'rotation_deg': 0.0, 'scale': 0.5,
            'standing_translation_m': 0.2, 'standing_rotation_deg': 0.0,
        },
        abs=1e-6,
    )  # fmt: skip
    assert [s.abs_rel for s in evaluation.sets] == pytest.approx([0.0] * 4 + [wrong] * 4, abs=1e-5)
    assert list(evaluation.picks) == ['best', 'median', 'worst']
    assert evaluation.picks['worst'].abs_rel == pytest.approx(wrong, abs=1e-5)
    flicker = evaluation.flicker[MODEL].summary()
    assert flicker is not None
    assert flicker['images'] == 6 * CAMERAS


def test_what_is_shown_beside(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / 'seeing.onnx')
    alone, _ = evaluate(Drives(Drive('a')), model, limit=1)
    assert alone.methods.keys() == {MODEL, FLAT, TRUE_PLANE}
    assert any(f'expected {tmp_path / "seeing_blind.onnx"}' in line for line in remarks(alone))
    write_tiny_model(tmp_path / 'seeing_blind.onnx')
    beside, _ = evaluate(Drives(Drive('a')), model, limit=1)
    assert beside.blind_missing is None
    model_figures, blind = beside.methods[MODEL], beside.methods[BLIND]
    flat, on_plane = beside.methods[FLAT], beside.methods[TRUE_PLANE]
    assert model_figures is not None
    assert blind is not None
    assert flat is not None
    assert on_plane is not None
    np.testing.assert_array_equal(blind.metric['all'], model_figures.metric['all'])
    # The given plane is the vehicle's own here.
    np.testing.assert_allclose(on_plane.metric['all'], flat.metric['all'])
    assert beside.best_far is not None
    assert beside.best_far[1].figure('abs_rel') <= flat.figure('abs_rel')
    assert beside.best_far[0] == 8.0  # everything is 3 to 7 m away


def test_limit_and_broken_pictures(tiny_model: Path) -> None:
    source = Drives(Drive('a', broken=True), Drive('b'))
    evaluation, told = evaluate(source, tiny_model)
    assert (evaluation.sets_run, told) == (7, 8)
    [message] = evaluation.skipped
    assert message.startswith(f'a/{BROKEN:06d}: ')
    assert evaluation.memory_resets == {'first frame': 1, 'a set skipped': 1, 'new sequence': 1}
    assert any(line.startswith(f'Could not be read, 1: a/{BROKEN:06d}') for line in remarks(evaluation))
    evaluation, told = evaluate(source, tiny_model, limit=5)
    assert (evaluation.sets_run + len(evaluation.skipped), told) == (5, 5)


def test_no_more_is_read_than_asked_for(tiny_model: Path) -> None:
    read: list[int] = []

    class Watched(Drive):
        def read(self, index: int) -> SurroundSample:
            read.append(index)
            return super().read(index)

    evaluate(Drives(Watched('a')), tiny_model, limit=2)
    assert read == [0, 1]


def test_a_report_has_everything(tiny_model: Path) -> None:
    evaluation, _ = evaluate(Drives(Drive('a')), tiny_model, protocol_named('surrounddepth', 200.0), limit=2)
    titles = [table.title for table in tables(evaluation)]
    assert len(titles) == 6
    text = markdown(evaluation, 'Depth evaluation', {'data': 'drives:test'})
    assert evaluation.protocol.text in text
    for title in titles:
        assert f'## {title}' in text
    assert '| cam_1 |' in text
    data = as_json(evaluation)
    assert data['protocol']['text'] == evaluation.protocol.text
    assert data['depth'][MODEL]['overall']['metric']['abs_rel'] == pytest.approx(0, abs=1e-5)
    assert data['depth'][MODEL]['cameras'].keys() == {'cam_0', 'cam_1', 'cam_2'}
    assert data['per_set'][1]['name'] == 'a/000001'


def test_a_source_without_truth_still_tells_consistency(tiny_model: Path) -> None:
    class Blank(Drive):
        def read(self, index: int) -> SurroundSample:
            full = super().read(index)
            return SurroundSample(full.rig, full.images, full.stamps_ns, ego_poses=full.ego_poses)

    evaluation, _ = evaluate(Drives(Blank('a')), tiny_model)
    assert [table.title for table in tables(evaluation)] == ['Consistency', 'Ego-motion between sets: mean errors']
    assert remarks(evaluation)[0] == 'No ground truth in this source: no depth figures.'
    assert as_json(evaluation)['depth'] == {}


def test_truth_out_of_range_is_told(tiny_model: Path) -> None:
    evaluation, _ = evaluate(Drives(Drive('a', scale=1000.0)), tiny_model, limit=1)
    assert (evaluation.truth, evaluation.methods[MODEL], evaluation.picks) == ('dense', None, {})
    assert remarks(evaluation)[0] == 'No point of the ground truth is in range and has an answer: no depth figures.'
    assert as_json(evaluation)['depth'] == {}


def test_the_shipped_model_on_the_real_scene_by_another_way(real_scene: Path) -> None:
    """The scene's own ground truth, the whole prediction resized, one number per image, means by hand."""
    source = DdadSource('ddad:scene', real_scene, Options('ddad:scene', {'occlusion': 'filter'}))
    evaluation, _ = evaluate(source, SHIPPED)
    summary = evaluation.methods[MODEL]
    assert summary is not None
    pipeline = SurroundDepthPipeline(load_engine(SHIPPED, 1))
    by_camera: dict[str, list[tuple[float, float]]] = {}
    for number, sample in enumerate(source):
        pictures = [cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR) for image in sample.images]
        images = tuple(CameraImage(p, 'bgr8', t) for p, t in zip(pictures, sample.stamps_ns, strict=True))
        depth = pipeline.process(SurroundFrame(sample.rig, images, max(sample.stamps_ns)))
        for i, camera in enumerate(sample.rig.cameras):
            truth = np.load(real_scene / 'gt' / f'{number:02d}_{camera.name}.npz')
            finite = np.where(np.isposinf(depth.depth_nhw[i]), np.float32(200), depth.depth_nhw[i])
            resized = cv2.resize(finite, (int(truth['width']), int(truth['height'])), interpolation=cv2.INTER_LINEAR)
            keep = truth['keep'] & (truth['depth'] < 200)
            g = truth['depth'][keep].astype(float)
            d = resized[truth['v'][keep], truth['u'][keep]].clip(0.1, 200).astype(float)
            figures = float(np.mean(np.abs(d - g) / g)), float(np.mean(np.maximum(d / g, g / d) < 1.25))
            by_camera.setdefault(camera.name, []).append(figures)
    # The reader's occlusion filter and the one behind `gt` differ in some points.
    for camera, values in by_camera.items():
        abs_rel, d1 = np.mean(values, axis=0)
        assert summary.figure('abs_rel', camera) == pytest.approx(abs_rel, rel=0.05)
        assert summary.figure('d1', camera) == pytest.approx(d1, abs=0.02)
    abs_rel, d1 = np.mean([np.mean(values, axis=0) for values in by_camera.values()], axis=0)
    assert summary.figure('abs_rel') == pytest.approx(abs_rel, rel=0.03)
    assert summary.figure('d1') == pytest.approx(d1, abs=0.01)
