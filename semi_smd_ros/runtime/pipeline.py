# SPDX-License-Identifier: Apache-2.0
"""The algorithm: a synchronised set of images in, metric depth and a fused cloud out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ..rig import Rig
from .cloud import CloudConfig, PackedCloud
from .engine import Engine
from .frame import SurroundDepth, SurroundFrame
from .memory import MemoryPolicy
from .preprocess import PreparedRig
from .stages import stages_for
from .stats import StageTimes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineConfig:
    """`max_gap_s`: a longer pause between sets wipes the temporal memory. `cloud`: what the cloud holds.

    `cuda_graph`, read when the pipeline is made: a TensorRT engine's sets are replayed as one CUDA graph.
    """

    max_gap_s: float = 0.5
    cloud: CloudConfig = field(default_factory=CloudConfig)
    cuda_graph: bool = False


class SurroundDepthPipeline:
    """Preprocess, engine, postprocess. The live node and offline replay call this same object.

    `config` may be replaced between sets. `warn` is told, once, what keeps a GPU from more of the work. Not
    thread-safe: one thread calls `process`, `cloud` and `reset`.
    """

    def __init__(
        self, engine: Engine, config: PipelineConfig | None = None, warn: Callable[[str], None] = _log.warning
    ) -> None:
        self.engine = engine
        self.config = config or PipelineConfig()
        self.stats = StageTimes()
        self.memory = MemoryPolicy(self.config.max_gap_s)
        self._prepared: PreparedRig | None = None
        self._stages = stages_for(engine, self.stats, self.config.cuda_graph, warn)

    @property
    def prepared(self) -> PreparedRig | None:
        """What was prepared for the newest rig, for those who rectify before a set is whole; for any thread.

        None where a GPU rectifies: it takes the camera's own bytes.
        """
        return self._prepared if self._stages.rectifies_early else None

    def process(self, frame: SurroundFrame, *, depth: bool = True, semantics: bool = True) -> SurroundDepth:
        """One set. Raises InputError for a bad image, ModelError when the model does not fit the rig.

        Without `depth` (with confidence) or `semantics`, those arrays of the result are empty, (N,0,0): nobody listens.
        A set that fails leaves the memory wiped: the next one starts afresh.
        """
        try:
            prepared = self.warm(frame.rig)
            with self.stats.measure('preprocess'):
                given = self._stages.preprocess(frame, prepared)
            memory_reset = self._admit(frame, prepared)
            with self.stats.measure('engine'):
                made = self._stages.run(given, use_memory=memory_reset is None)
            with self.stats.measure('postprocess'):
                return self._stages.postprocess(frame, prepared, given, made, memory_reset, depth, semantics)
        except Exception:
            self.reset('a set failed')
            raise

    def cloud(self, depth: SurroundDepth) -> PackedCloud:
        """The fused cloud of one result, in the base frame, filtered by `config.cloud`."""
        with self.stats.measure('cloud'):
            return self._stages.cloud(depth, self.config.cloud)

    def recycle(self, cloud: PackedCloud) -> None:
        """Give back a cloud that was sent; the next one takes its memory. The caller keeps no part of it."""
        self._stages.recycle(cloud)

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
                self._prepared = self._stages.prepare(rig)
        return self._prepared

    def _admit(self, frame: SurroundFrame, prepared: PreparedRig) -> str | None:
        self.memory.max_gap_s = self.config.max_gap_s
        reason = self.memory.admit(frame.stamp_ns, prepared.fingerprint)
        if reason is not None:
            self.engine.reset_memory()
        return reason
