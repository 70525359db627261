# SPDX-License-Identifier: Apache-2.0
"""The algorithm: a synchronised set of images in, metric depth and a fused cloud out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..rig import Rig
from .cloud import CloudBuilder, CloudConfig, PackedCloud
from .engine import Engine, EngineOutputs
from .frame import SurroundDepth, SurroundFrame
from .labels import mask_labels
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

    `config` may be replaced between sets. Not thread-safe: one thread calls `process`, `cloud` and `reset`.
    """

    def __init__(self, engine: Engine, config: PipelineConfig | None = None) -> None:
        self.engine = engine
        self.config = config or PipelineConfig()
        self.stats = StageTimes()
        self.memory = MemoryPolicy(self.config.max_gap_s)
        self._prepared: PreparedRig | None = None
        self._build_cloud = CloudBuilder()

    @property
    def prepared(self) -> PreparedRig | None:
        """What was prepared for the newest rig; for any thread."""
        return self._prepared

    def process(self, frame: SurroundFrame, *, depth: bool = True, semantics: bool = True) -> SurroundDepth:
        """One set. Raises InputError for a bad image, ModelError when the model does not fit the rig.

        Without `depth` (with confidence) or `semantics`, those arrays of the result are empty, (N,0,0): nobody listens.
        A set that fails leaves the memory wiped: the next one starts afresh.
        """
        try:
            prepared = self.warm(frame.rig)
            with self.stats.measure('preprocess'):
                images_nhw3 = rectify_images(frame, prepared)
                inputs = engine_inputs(frame, prepared, images_nhw3)
            memory_reset = self._admit(frame, prepared)
            with self.stats.measure('engine'):
                outputs = self.engine.run(inputs, use_memory=memory_reset is None)
            with self.stats.measure('postprocess'):
                return _postprocess(frame, prepared, images_nhw3, outputs, memory_reset, depth, semantics)
        except Exception:
            self.reset('a set failed')
            raise

    def cloud(self, depth: SurroundDepth) -> PackedCloud:
        """The fused cloud of one result, in the base frame, filtered by `config.cloud`."""
        with self.stats.measure('cloud'):
            return self._build_cloud(depth, self.config.cloud)

    def recycle(self, cloud: PackedCloud) -> None:
        """Give back a cloud that was sent; the next one takes its memory. The caller keeps no part of it."""
        self._build_cloud.recycle(cloud)

    def reset(self, reason: str) -> None:
        """Wipe the temporal memory; the next set is a first frame. `reason` is counted and reported."""
        self.engine.reset_memory()
        self.memory.reset(reason)

    def warm(self, rig: Rig) -> PreparedRig:
        """Prepare the maps of a rig, unless that is done: before its first set, or with it.

        Raises ModelError when the model does not fit the rig.
        """
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
    frame: SurroundFrame,
    prepared: PreparedRig,
    images_nhw3: np.ndarray,
    outputs: EngineOutputs,
    memory_reset: str | None,
    with_depth: bool,
    with_semantics: bool,
) -> SurroundDepth:
    valid = frame.camera_valid
    known_nhw = prepared.known_nhw
    if not all(valid):
        known_nhw = known_nhw & np.asarray(valid)[:, None, None]
    depth_nhw = confidence_nhw = np.empty((len(valid), 0, 0), np.float32)
    semantics_nhw = np.empty((len(valid), 0, 0), np.uint8)
    if with_depth:
        has_depth = (outputs.depth[:, 0] > 0) & known_nhw
        depth_nhw = np.where(has_depth, outputs.depth[:, 0], np.float32(np.nan))
        confidence_nhw = np.where(has_depth, outputs.confidence[:, 0], np.float32(0))
    if with_semantics:
        semantics_nhw = mask_labels(outputs.semantics, known_nhw)
    return SurroundDepth(
        stamp_ns=frame.stamp_ns,
        stamps_ns=tuple(None if image is None else image.stamp_ns for image in frame.images),
        rig=frame.rig,
        rectified=prepared.rectified,
        camera_valid=valid,
        depth_nhw=depth_nhw,
        confidence_nhw=confidence_nhw,
        semantics_nhw=semantics_nhw,
        images_nhw3=images_nhw3,
        prev_T_now=outputs.ego_motion if memory_reset is None else None,
        memory_reset=memory_reset,
    )
