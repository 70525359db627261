# SPDX-License-Identifier: Apache-2.0
"""The algorithm: a synchronised set of images in, metric depth and a fused cloud out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..rig import Rig
from .cloud import CloudBuilder, CloudConfig, PackedCloud
from .engine import Engine, EngineOutputs
from .frame import SurroundDepth, SurroundFrame
from .memory import MemoryPolicy
from .preprocess import PreparedRig, engine_inputs, prepare_rig, rectify_images
from .stats import StageTimes


@dataclass(frozen=True)
class PipelineConfig:
    """`max_gap_s`: a longer pause between sets wipes the temporal memory. `cloud`: what the cloud holds."""

    max_gap_s: float = 0.5
    cloud: CloudConfig = field(default_factory=CloudConfig)


class SurroundDepthPipeline:
    """Preprocess, engine, postprocess. The live node and offline replay call this same object.

    Not thread-safe: one thread calls `process`, `cloud` and `reset`.
    """

    def __init__(self, engine: Engine, config: PipelineConfig | None = None) -> None:
        self.engine = engine
        self.config = config or PipelineConfig()
        self.stats = StageTimes()
        self.memory = MemoryPolicy(self.config.max_gap_s)
        self._prepared: PreparedRig | None = None
        self._build_cloud = CloudBuilder()

    def process(self, frame: SurroundFrame) -> SurroundDepth:
        """One set. Raises InputError for a bad image, ModelError when the model does not fit the rig.

        A set that fails leaves the memory wiped: the next one starts afresh.
        """
        try:
            prepared = self._prepare(frame.rig)
            with self.stats.measure('preprocess'):
                images_nhw3 = rectify_images(frame, prepared)
                inputs = engine_inputs(frame, prepared, images_nhw3)
            memory_reset = self._admit(frame, prepared)
            with self.stats.measure('engine'):
                outputs = self.engine.run(inputs, use_memory=memory_reset is None)
            with self.stats.measure('postprocess'):
                return self._postprocess(frame, prepared, images_nhw3, outputs, memory_reset)
        except Exception:
            self.reset('a set failed')
            raise

    def cloud(self, depth: SurroundDepth) -> PackedCloud:
        """The fused cloud of one result, in the base frame, filtered by `config.cloud`."""
        with self.stats.measure('cloud'):
            return self._build_cloud(depth, self.config.cloud)

    def reset(self, reason: str) -> None:
        """Wipe the temporal memory; the next set is a first frame. `reason` is counted and reported."""
        self.engine.reset_memory()
        self.memory.reset(reason)

    def _prepare(self, rig: Rig) -> PreparedRig:
        if self._prepared is None or self._prepared.fingerprint != rig.fingerprint():
            self.engine.check_rig(rig)
            # Once per rig; a stage of its own, so that it doesn't pass for the cost of a set.
            with self.stats.measure('prepare rig'):
                self._prepared = prepare_rig(rig, self.engine.spec.width, self.engine.spec.height)
        return self._prepared

    def _admit(self, frame: SurroundFrame, prepared: PreparedRig) -> str | None:
        self.memory.max_gap_s = self.config.max_gap_s
        reason = self.memory.admit(frame.stamp_ns, prepared.fingerprint)
        if reason is not None:
            self.engine.reset_memory()
        return reason

    def _postprocess(
        self,
        frame: SurroundFrame,
        prepared: PreparedRig,
        images_nhw3: np.ndarray,
        outputs: EngineOutputs,
        memory_reset: str | None,
    ) -> SurroundDepth:
        valid = frame.camera_valid
        depth = outputs.depth[:, 0]
        unknown = ~prepared.known_nhw | ~np.asarray(valid)[:, None, None] | ~(depth > 0)
        return SurroundDepth(
            stamp_ns=frame.stamp_ns,
            stamps_ns=tuple(None if image is None else image.stamp_ns for image in frame.images),
            rig=frame.rig,
            rectified=prepared.rectified,
            camera_valid=valid,
            depth_nhw=np.where(unknown, np.float32(np.nan), depth),
            confidence_nhw=np.where(unknown, np.float32(0), outputs.confidence[:, 0]),
            semantics_nhw=outputs.semantics,
            images_nhw3=images_nhw3,
            prev_T_now=outputs.ego_motion if memory_reset is None else None,
            memory_reset=memory_reset,
        )
