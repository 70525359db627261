# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a model on a source of samples, from the pictures to the figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.sample import SurroundSample
from ..datasets.source import Source
from ..runtime import EngineSpec, InputError, SurroundDepth
from .baselines import (
    FAR_CANDIDATES_M,
    blind_model_path,
    flat_ground,
    true_ground_plane,
)
from .consistency import AgreementTally, FlickerMeter, RawLookup, overlap_agreements
from .ego_motion import MotionTally, true_motion
from .metrics import sample_depth
from .prediction import FrameMaker, Predictor
from .protocols import Protocol
from .sheet import CameraErrors, Pick, SheetMaker, draw_set
from .tally import Summary, Tally
from .truth import CameraTruth, TruthReader, thinning

MODEL, BLIND, TRUTH = 'model', 'blind network', 'truth itself'
FLAT, TRUE_PLANE = 'flat ground', 'flat ground, true plane'


@dataclass(frozen=True)
class SetScore:
    """One set's metric figures: means over its cameras."""

    name: str
    abs_rel: float
    d1: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that came out.

    `methods`: figures by name, None where there was no truth; the model's own first. `best_far`: the far value with
    which flat ground has the lowest AbsRel on these data, and its figures. `overlap`, `flicker`: by network, and of
    dense truth itself. `motion`: by network. `skipped`: a message for every sample, or context of one, that could not
    be read. `memory_resets`: sets by the reason why they had no memory. `planes`: for how many sets the true ground
    plane was known. `truth`: 'dense' (or how it was thinned), 'sparse' or 'none'. `blind_missing`: where the blind
    network should lie, or None if it ran.
    """

    protocol: Protocol
    spec: EngineSpec
    methods: dict[str, Summary | None]
    best_far: tuple[float, Summary] | None
    overlap: dict[str, AgreementTally]
    flicker: dict[str, AgreementTally]
    motion: dict[str, MotionTally]
    sets: list[SetScore]
    sets_run: int
    skipped: list[str]
    masked_cameras: tuple[str, ...]
    memory_resets: dict[str, int]
    planes: int
    truth: str
    blind_missing: Path | None
    picks: dict[str, Pick]


class Evaluator:
    """Runs a model and everything it is shown beside. Raises ModelError for a file that is no model."""

    def __init__(self, model: Path, protocol: Protocol, threads: int | None = None) -> None:
        self.protocol = protocol
        self.networks = {MODEL: Predictor(model, protocol, threads)}
        blind = blind_model_path(model)
        self.blind_missing = None if blind.is_file() else blind
        if self.blind_missing is None:
            self.networks[BLIND] = Predictor(blind, protocol, threads)
        self._tallies = {name: Tally(protocol) for name in (*self.networks, FLAT, TRUE_PLANE)}
        self._far_tallies = {far: Tally(protocol) for far in FAR_CANDIDATES_M}
        self._flicker_meters = {name: FlickerMeter() for name in (*self.networks, TRUTH)}
        self._overlap = {name: AgreementTally() for name in self._flicker_meters}
        self._flicker = {name: AgreementTally() for name in self._flicker_meters}
        self._look_up = RawLookup()
        self._motion = {name: MotionTally() for name in self.networks}
        specs = [network.pipeline.engine.spec for network in self.networks.values()]
        self._make_frame = FrameMaker(protocol.masks, specs)
        self._read_truth = TruthReader(protocol.masks)
        self._sheet = SheetMaker()
        self._sets: list[SetScore] = []
        self._skipped: list[str] = []
        self._masked: dict[str, None] = {}
        self._truth = 'none'
        self._planes = self._sets_run = 0
        self._last_stamps: tuple[int, ...] | None = None

    def run(self, source: Source, limit: int | None, on_set: Callable[[], None]) -> Evaluation:
        """Evaluate the first `limit` samples of `source` (all without); `on_set` is called after each."""
        for sequence in source.sequences():
            self._forget('new sequence')
            for sample in sequence:
                try:
                    self._evaluate(sample)
                except InputError as error:
                    self._skipped.append(f'{sample.name}: {error}')
                    self._forget('a set skipped')
                on_set()
                if limit is not None and self._sets_run + len(self._skipped) >= limit:
                    return self._result(source)
        return self._result(source)

    def close(self) -> None:
        """Free the engines."""
        for network in self.networks.values():
            network.close()

    def _forget(self, reason: str) -> None:
        """The next set is a first one."""
        self._last_stamps = None
        for network in self.networks.values():
            network.reset(reason)
        for meter in self._flicker_meters.values():
            meter.reset()

    def _evaluate(self, sample: SurroundSample) -> None:
        """One set: depth from every network, compared with the truth, with its neighbours and with the set before."""
        depths = self._run_networks(sample)
        motion = None if sample.previous is None else true_motion(sample.previous, sample)
        for name, depth in depths.items():
            self._compare_with_itself(name, sample, depth)
            self._motion[name].add(depth.prev_T_now, motion)
        true_depth = self._look_up.true_depth(sample, depths[MODEL])
        if true_depth is not None:
            self._compare_with_itself(TRUTH, sample, true_depth)
        truths = self._read_truth(sample)
        if truths is not None:
            self._truth = _describe_truth(sample)
            self._score(sample, depths, truths)
        if self.protocol.masks:
            self._masked |= {camera.name: None for camera in sample.rig.cameras if camera.ego_mask is not None}
        self._sets_run += 1

    def _compare_with_itself(self, name: str, sample: SurroundSample, depth: SurroundDepth) -> None:
        """Between neighbouring cameras, and with the set before."""
        for camera, other, agreement in overlap_agreements(depth):
            self._overlap[name].add(f'{camera} in {other}', agreement)
        for camera, agreement in self._flicker_meters[name](sample, depth):
            self._flicker[name].add(camera, agreement)

    def _run_networks(self, sample: SurroundSample) -> dict[str, SurroundDepth]:
        if sample.previous is not None and sample.previous.stamps_ns != self._last_stamps:
            self._show_context(sample.previous)
        frame = self._make_frame(sample)
        self._last_stamps = sample.stamps_ns
        return {name: network(frame) for name, network in self.networks.items()}

    def _show_context(self, previous: SurroundSample) -> None:
        """Let the networks see what came before a sample and is no sample itself: the vehicle would have seen it.

        nuScenes, for example, has samples at 2 Hz and pictures at 12 Hz.
        """
        try:
            frame = self._make_frame(previous)
        except InputError:
            # What cannot be read lies before the set that is scored, and the networks go on without memory.
            self._forget('context unreadable')
            return
        depths = {name: network(frame) for name, network in self.networks.items()}
        true_depth = self._look_up.true_depth(previous, depths[MODEL])
        for name, depth in {**depths, **({} if true_depth is None else {TRUTH: true_depth})}.items():
            self._flicker_meters[name].reset()
            self._flicker_meters[name](previous, depth)

    def _score(self, sample: SurroundSample, depths: dict[str, SurroundDepth], truths: tuple[CameraTruth, ...]) -> None:
        plane = true_ground_plane(sample, truths)
        self._planes += plane is not None
        errors: list[CameraErrors] = []
        figures = []
        for i, (camera, truth) in enumerate(zip(sample.rig.cameras, truths, strict=True)):
            z = truth.points_n3[:, 2]
            uv, answers = depth_at(depths[MODEL], i, truth.points_n3)
            errors.append((answers, z, uv))
            scores = self._tallies[MODEL].add(camera.name, answers, z)
            if scores is not None and scores.coverage > 0:
                figures.append(scores.metric[0, [0, 4]])
            if BLIND in depths:
                self._tallies[BLIND].add(camera.name, depth_at(depths[BLIND], i, truth.points_n3)[1], z)
            # The ground is judged where the model answers, so that both are asked for the same points.
            silent = np.isnan(answers)
            self._tallies[FLAT].add(camera.name, _silenced(flat_ground(truth, camera.base_T_cam), silent), z)
            for far, tally in self._far_tallies.items():
                tally.add(camera.name, _silenced(flat_ground(truth, camera.base_T_cam, far_m=far), silent), z)
            if plane is not None:
                on_plane = flat_ground(truth, camera.base_T_cam, plane)
                self._tallies[TRUE_PLANE].add(camera.name, _silenced(on_plane, silent), z)
            self._tallies[MODEL].add_sky(camera.name, depth_at(depths[MODEL], i, truth.sky_n3)[1])
        abs_rel, d1 = np.mean(figures, axis=0) if figures else (float('nan'), float('nan'))
        self._sets.append(SetScore(sample.name, float(abs_rel), float(d1)))
        self._sheet.add(
            sample.name, float(abs_rel), lambda: draw_set(depths[MODEL], errors, f'{sample.name}: image, depth, error')
        )

    def _result(self, source: Source) -> Evaluation:
        far = {value: summary for value, tally in self._far_tallies.items() if (summary := tally.summary())}
        best = min(far, key=lambda value: far[value].figure('abs_rel'), default=None)
        return Evaluation(
            protocol=self.protocol,
            spec=self.networks[MODEL].pipeline.engine.spec,
            methods={name: tally.summary() for name, tally in self._tallies.items()},
            best_far=None if best is None else (best, far[best]),
            overlap=self._overlap,
            flicker=self._flicker,
            motion=self._motion,
            sets=self._sets,
            sets_run=self._sets_run,
            skipped=[*source.skipped, *self._skipped],
            masked_cameras=tuple(self._masked),
            memory_resets=dict(self.networks[MODEL].pipeline.memory.resets),
            planes=self._planes,
            truth=self._truth,
            blind_missing=self.blind_missing,
            picks=self._sheet.picks(),
        )


def depth_at(depth: SurroundDepth, index: int, points_n3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N,2) in the rectified image of camera `index` (NaN out of view) and depths there (NaN unknown, +inf
    sky) of points of its optical frame."""
    uv, inside = depth.rectified.cameras[index].model.project(points_n3)
    answers = np.where(inside, sample_depth(depth.depth_nhw[index], np.nan_to_num(uv)), np.nan)
    return np.where(inside[:, None], uv, np.nan), answers


def _describe_truth(sample: SurroundSample) -> str:
    if sample.depth_maps is None:
        return 'sparse'
    stride = max(thinning(camera.model) for camera in sample.rig.cameras)
    return 'dense' if stride == 1 else f'dense, 1 of {stride**2} pixels'


def _silenced(predicted_n: np.ndarray, silent_n: np.ndarray) -> np.ndarray:
    return np.where(silent_n, np.nan, predicted_n)
