# SPDX-License-Identifier: Apache-2.0
"""From a model file to a running TensorRT engine: the cached plan, or one that is built, checked and cached now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..cuda.driver import CudaContext, CudaError
from ..frame import SurroundFrame
from .contract import BackendError, EngineInputs, EngineOutputs, ModelError, read_metadata
from .model_file import onnx_metadata
from .plan_cache import PlanCache, PlanKey, StoredPlan
from .plan_check import FP16_BOUND, INT8_DOUBTFUL, DepthDifference, compare, fp32_answers, is_refused, worst_scope
from .report import Report
from .samples import read_samples, run_samples, sample_inputs
from .tensorrt import TensorRTEngine, open_plan
from .tensorrt_api import TensorRT, load_tensorrt
from .tensorrt_build import BuildError, BuildRequest, BuiltPlan, build_plan


@dataclass(frozen=True)
class PlanOptions:
    """How a plan is built. `folder`: the cache (None: the default one). `rebuild`: take no cached plan.

    `frames`: consecutive sets of one rig by which a lower precision is judged, and INT8 calibrated; None takes those
    that ship with the package. `source` names them in the record.
    """

    cameras: int
    precision: str = 'fp16'
    folder: Path | None = None
    rebuild: bool = False
    frames: Sequence[SurroundFrame] | None = field(default=None, repr=False)
    source: str = 'the frames of the package'


def open_tensorrt(
    data: bytes,
    digest: str,
    path: Path,
    options: PlanOptions,
    report: Report,
) -> TensorRTEngine:
    """The engine of a model file's content (`digest`: its SHA-256).

    Raises BackendError where TensorRT is missing or refuses the model, ModelError for a model or a cache folder that
    cannot be used.
    """
    metadata = read_metadata(onnx_metadata(data, str(path)), str(path))
    if options.cameras > int(metadata['max_cameras']):
        raise ModelError(
            f'model {metadata["name"]} takes at most {metadata["max_cameras"]} cameras; the rig has {options.cameras}'
        )
    trt = load_tensorrt()
    try:
        context = CudaContext()
    except CudaError as error:
        raise BackendError(str(error)) from error
    try:
        key = plan_key(trt, metadata, digest, options)
        cache = PlanCache(options.folder, report.tell)

        def build() -> StoredPlan:
            return _Maker(trt, context, key, data, metadata, path, options, cache, report).make()

        def opened(stored: StoredPlan) -> TensorRTEngine | None:
            if reason := stored.record.get('refused'):
                raise BackendError(
                    f'{reason}. To try again: semi-smd build-engine --rebuild, or delete {cache.path(key)}'
                )
            return open_plan(trt, context, stored, path)

        return cache.obtain(key, opened, build, options.rebuild)
    except CudaError as error:
        context.close()
        raise BackendError(f'{path}: {error}') from error
    except BaseException:
        context.close()
        raise


def plan_key(trt: TensorRT, metadata: dict[str, Any], digest: str, options: PlanOptions) -> PlanKey:
    """What the plan of a model depends on, with this TensorRT on this GPU."""
    device = trt.device
    return PlanKey(
        name=str(metadata['name']),
        model_sha256=digest,
        tensorrt=trt.version,
        gpu=device.name if device is not None else 'no GPU',
        capability=device.capability if device is not None else (0, 0),
        multiprocessors=device.multiprocessors if device is not None else 0,
        precision=options.precision,
        is_typed=takes_types(trt, options.precision),
        cameras=options.cameras,
        height=int(metadata['height']),
        width=int(metadata['width']),
    )


def takes_types(trt: TensorRT, precision: str) -> bool:
    """Whether precision comes from the types in the ONNX file (the only way in 11), or from flags (the only in 8.6).

    10 can do both. Types say exactly what is computed in FP16, but writing them into the file needs the package onnx;
    with flags, what INT8 leaves can be FP16.
    """
    if not trt.can_be_strongly_typed or not trt.has_precision_flags:
        return trt.can_be_strongly_typed
    return precision == 'fp32' or (precision == 'fp16' and find_spec('onnx') is not None)


class _Maker:
    """Builds one plan and judges it."""

    def __init__(
        self,
        trt: TensorRT,
        context: CudaContext,
        key: PlanKey,
        data: bytes,
        metadata: dict[str, Any],
        path: Path,
        options: PlanOptions,
        cache: PlanCache,
        report: Report,
    ) -> None:
        self.trt, self.context, self.key, self.data, self.metadata = trt, context, key, data, metadata
        self.path, self.options, self.cache, self.report = path, options, cache, report
        self.scopes: tuple[str, ...] = tuple(metadata.get('fp16_scopes', ()))

    def make(self) -> StoredPlan:
        """A plan with its record; one that FP16 spoils is only a record that says so."""
        key = self.key
        begin = time.monotonic()
        self.report.tell(
            f'building a TensorRT {key.tensorrt} engine of {self.path} for {key.cameras} cameras in {key.precision} on '
            f'{key.gpu}: this takes minutes, once; it is kept in {self.cache.folder}'
        )
        # What the plan will be held against comes first: it takes seconds, and may show what is missing.
        reference = None if key.precision == 'fp32' else fp32_answers(self.data, self.path, self._judged())
        request = BuildRequest(
            self._model(), str(self.path), key.cameras, key.precision, key.is_typed, self.scopes
        )  # fmt: skip
        built = self._build(request)
        self.cache.write_timing(key, built.timing_cache)
        record: dict[str, Any] = {
            'key': asdict(key),
            'metadata': self.metadata,
            'seconds': round(time.monotonic() - begin, 1),
        }
        stored = StoredPlan(built.plan, record)
        if reference is None:
            return stored
        self.report.progress(f'comparing {key.precision} with FP32', None)
        difference = self._difference(stored, reference)
        record |= {'judged by': self.options.source, 'difference from FP32': difference.as_json()}
        self.report.tell(f'{key.precision} against FP32 on {self.options.source}: {difference}')
        if key.precision == 'fp16' and is_refused(difference):
            return StoredPlan(b'', {**record, 'refused': self._refusal(difference, reference)})
        if key.precision == 'int8' and difference.p99 > INT8_DOUBTFUL:
            self.report.tell(
                f'INT8 costs more than {INT8_DOUBTFUL:.0%} of depth: calibrate on frames of your own cameras'
            )
        return stored

    def _build(self, request: BuildRequest) -> BuiltPlan:
        timing, progress = self.cache.read_timing(self.key), self.report.progress
        with self.context.active():
            try:
                return build_plan(self.trt, request, progress, timing)
            except BuildError as error:
                if request.is_typed or request.precision == 'fp32':
                    raise
                self.report.tell(f'{error}; it is built again with FP32 as a preference, and judged by what comes out')
            return build_plan(self.trt, replace(request, must_obey=False), progress, timing)

    def _model(self) -> bytes:
        """The model in the precision that is asked for, where its file has to tell it."""
        if self.key.precision == 'fp32':
            return self.data
        if not self.scopes:
            raise BackendError(
                f'{self.path}: its metadata names no fp16_scopes, parts that bear less than FP32: export it again with '
                'this release, or use precision fp32'
            )
        if self.key.precision == 'int8':
            from .quantise import quantised

            if self.options.frames is None:
                self.report.tell(
                    'INT8 is calibrated on the frames of the package: semi-smd build-engine --frames takes yours'
                )
            self.report.progress('calibrating INT8', None)
            return quantised(self.data, self.path, self.scopes, self._calibrating())
        if self.key.is_typed:
            from .mixed_precision import mixed_precision

            return mixed_precision(self.data, self.scopes)
        return self.data

    @cached_property
    def _inputs(self) -> list[EngineInputs]:
        key, given = self.key, self.options.frames
        frames = read_samples(key.cameras) if given is None else given
        if not frames or len(frames[0].rig) != key.cameras:
            raise ModelError(f'{self.options.source}: expected sets of {key.cameras} cameras, those that are built for')
        return sample_inputs(frames, key.width, key.height)

    def _calibrating(self) -> list[EngineInputs]:
        """The sets on which INT8 is calibrated: those before the ones by which it is judged, if there are enough."""
        judged = len(self._judged())
        return self._inputs[:-judged] if len(self._inputs) > judged else self._inputs

    def _judged(self) -> list[EngineInputs]:
        """The sets by which a plan is judged: all of them, for INT8 the last quarter of four or more."""
        count = len(self._inputs)
        return self._inputs[-(count // 4) :] if self.key.precision == 'int8' and count >= 4 else self._inputs

    def _difference(self, stored: StoredPlan, reference: list[EngineOutputs]) -> DepthDifference:
        engine = open_plan(self.trt, self.context, stored, self.path)
        if engine is None:
            raise BackendError(f'{self.path}: TensorRT {self.trt.version} cannot use the plan that it has just built')
        try:
            return compare(reference, run_samples(engine, self._judged()))
        finally:
            engine.release()

    def _refusal(self, difference: DepthDifference, reference: list[EngineOutputs]) -> str:
        text = (
            f'{self.path}: FP16 is refused, it differs from FP32 by more than {FP16_BOUND:.0%} at the 99th percentile: '
            f'{difference}'
        )
        self.report.progress('looking for what does not bear FP16', None)
        try:
            scope, its = worst_scope(self.data, self.path, self.scopes, self._judged(), reference)
            text += f'; the worst part is {scope or "none"} ({its.p99:.2%} alone)'
        except BackendError as error:
            text += f'; the worst part is not known ({error})'
        return f'{text}; use precision fp32'
