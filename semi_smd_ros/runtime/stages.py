# SPDX-License-Identifier: Apache-2.0
"""The pipeline's stages, on the processor or on a GPU: where each set's pictures lie is theirs to know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..rig import Rig
from .cloud import CloudBuilder, CloudConfig, PackedCloud
from .engine import Engine, EngineInputs, EngineOutputs
from .frame import SurroundDepth, SurroundFrame
from .labels import mask_labels
from .preprocess import PreparedRig, engine_inputs, prepare_rig, rectify_images
from .stats import StageTimes


class Stages(Protocol):
    """One set goes through `preprocess`, `run` and `postprocess`, in this order; its result may go to `cloud`.

    What one method gives, the next one takes; nobody else looks into it. `rectifies_early`: whether pictures that were
    rectified before their set was whole (`CameraImage.rectified_hw3`) save work.
    """

    rectifies_early: bool

    def prepare(self, rig: Rig) -> PreparedRig:
        """What follows from a rig alone, once per rig."""

    def preprocess(self, frame: SurroundFrame, prepared: PreparedRig) -> Any:
        """Images of a set to the engine's input. Raises InputError."""

    def run(self, given: Any, use_memory: bool) -> Any:
        """The engine. `use_memory` as in `Engine.run`."""

    def postprocess(
        self,
        frame: SurroundFrame,
        prepared: PreparedRig,
        given: Any,
        made: Any,
        memory_reset: str | None,
        depth: bool,
        semantics: bool,
    ) -> SurroundDepth:
        """The result of a set, from what `preprocess` (given) and `run` (made) gave."""

    def cloud(self, depth: SurroundDepth, config: CloudConfig) -> PackedCloud:
        """The fused cloud of one result."""

    def recycle(self, cloud: PackedCloud) -> None:
        """Take back the memory of a cloud that was sent."""


def stages_for(engine: Engine, stats: StageTimes, use_graph: bool, warn: Callable[[str], None]) -> Stages:
    """On the GPU where the engine's tensors lie there, on the processor otherwise; `warn` is told why it is the
    processor though they do."""
    from .cuda.engine import is_on_device

    if is_on_device(engine):
        from .cuda.kernels import CudaError, Kernels
        from .cuda.stages import DeviceStages

        try:
            kernels = Kernels(engine.context)
        except CudaError as error:
            warn(f'the GPU runs the model alone, images and cloud are worked on by the processor: {error}')
        else:
            return DeviceStages(engine, kernels, stats, use_graph)
    return HostStages(engine)


class HostStages:
    """NumPy and OpenCV around an engine that takes and gives arrays of the host."""

    rectifies_early = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._build_cloud = CloudBuilder()

    def prepare(self, rig: Rig) -> PreparedRig:
        """See Stages."""
        return prepare_rig(rig, self._engine.spec.width, self._engine.spec.height)

    def preprocess(self, frame: SurroundFrame, prepared: PreparedRig) -> tuple[np.ndarray, EngineInputs]:
        """See Stages; the rectified images (N,H,W,3) and the engine's inputs."""
        images_nhw3 = rectify_images(frame, prepared)
        return images_nhw3, engine_inputs(frame, prepared, images_nhw3)

    def run(self, given: tuple[np.ndarray, EngineInputs], use_memory: bool) -> EngineOutputs:
        """See Stages."""
        return self._engine.run(given[1], use_memory=use_memory)

    def postprocess(
        self,
        frame: SurroundFrame,
        prepared: PreparedRig,
        given: tuple[np.ndarray, EngineInputs],
        made: EngineOutputs,
        memory_reset: str | None,
        depth: bool,
        semantics: bool,
    ) -> SurroundDepth:
        """See Stages."""
        valid = frame.camera_valid
        known_nhw = prepared.known_nhw
        if not all(valid):
            known_nhw = known_nhw & np.asarray(valid)[:, None, None]
        depth_nhw = confidence_nhw = np.empty((len(valid), 0, 0), np.float32)
        semantics_nhw = np.empty((len(valid), 0, 0), np.uint8)
        if depth:
            has_depth = (made.depth[:, 0] > 0) & known_nhw
            depth_nhw = np.where(has_depth, made.depth[:, 0], np.float32(np.nan))
            confidence_nhw = np.where(has_depth, made.confidence[:, 0], np.float32(0))
        if semantics:
            semantics_nhw = mask_labels(made.semantics, known_nhw)
        return SurroundDepth(
            stamp_ns=frame.stamp_ns,
            stamps_ns=frame.stamps_ns,
            rig=frame.rig,
            rectified=prepared.rectified,
            camera_valid=valid,
            depth_nhw=depth_nhw,
            confidence_nhw=confidence_nhw,
            semantics_nhw=semantics_nhw,
            images_nhw3=given[0],
            prev_T_now=made.ego_motion if memory_reset is None else None,
            memory_reset=memory_reset,
        )

    def cloud(self, depth: SurroundDepth, config: CloudConfig) -> PackedCloud:
        """See Stages."""
        return self._build_cloud(depth, config)

    def recycle(self, cloud: PackedCloud) -> None:
        """See Stages."""
        self._build_cloud.recycle(cloud)
