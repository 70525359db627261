# SPDX-License-Identifier: Apache-2.0
"""A model file run as the vehicle runs it, over a data set's sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..datasets.sample import SurroundSample
from ..rig import Rig
from ..runtime import EngineSpec, SurroundDepth, SurroundDepthPipeline, SurroundFrame, load_engine
from ..runtime.preprocess import decode_reduction
from .mirror import flip_averaged, mirrored_frame, mirrored_rig
from .protocols import Protocol
from .truth import without_masks


class Predictor:
    """The runtime's pipeline around one model; under a protocol with flips a second one for the mirrored rig.

    Raises ModelError for a file that is no model.
    """

    def __init__(self, model: Path, protocol: Protocol, threads: int | None = None) -> None:
        self.model = model
        self._far_m = protocol.max_depth_m
        self.pipeline = SurroundDepthPipeline(load_engine(model, threads))
        # The mirrored rig has its own temporal memory, and an engine holds one.
        self._mirror = SurroundDepthPipeline(load_engine(model, threads)) if protocol.flip else None
        self._mirrored: tuple[Rig, Rig] | None = None

    def reset(self, reason: str) -> None:
        """Forget what was before; the next set is a first one. `reason` is counted."""
        for pipeline in self._pipelines():
            pipeline.reset(reason)

    def __call__(self, frame: SurroundFrame) -> SurroundDepth:
        """Depth of one set. Raises InputError for a picture that does not fit, ModelError for a rig that does not."""
        # Compared with the next set, when a GPU has overwritten what it made.
        depth = self.pipeline.process(frame).on_host()
        if self._mirror is None:
            return depth
        try:
            mirrored = self._mirror.process(mirrored_frame(frame, self._mirrored_rig(frame.rig)))
        except Exception:
            self.pipeline.reset('a set failed')
            raise
        averaged = flip_averaged(depth.depth_nhw, mirrored.depth_nhw, self._far_m)
        return dataclasses.replace(depth, depth_nhw=averaged)

    def close(self) -> None:
        """Free the engines."""
        for pipeline in self._pipelines():
            pipeline.engine.close()

    def _pipelines(self) -> list[SurroundDepthPipeline]:
        return [self.pipeline] if self._mirror is None else [self.pipeline, self._mirror]

    def _mirrored_rig(self, rig: Rig) -> Rig:
        if self._mirrored is None or self._mirrored[0] is not rig:
            self._mirrored = (rig, mirrored_rig(rig))
        return self._mirrored[1]


class FrameMaker:
    """Samples as the frames that the pipelines of `engines` take; without `masks`, the rigs lose their ego masks."""

    def __init__(self, masks: bool, engines: Sequence[EngineSpec]) -> None:
        self._masks = masks
        self._sizes = [(spec.width, spec.height) for spec in engines]
        self._rig: tuple[Rig, Rig] | None = None

    def __call__(self, sample: SurroundSample) -> SurroundFrame:
        """Decode a sample's pictures. Raises InputError for a broken one."""
        rig = self._rig_of(sample)
        images = tuple(
            image.camera_image(stamp, min(decode_reduction(camera.model, *size) for size in self._sizes))
            for image, stamp, camera in zip(sample.images, sample.stamps_ns, rig.cameras, strict=True)
        )
        return SurroundFrame(rig, images, max(sample.stamps_ns))

    def _rig_of(self, sample: SurroundSample) -> Rig:
        # The same rig object for every sample: its fingerprint over all masks is computed once.
        if self._rig is None or self._rig[0] is not sample.rig:
            self._rig = (sample.rig, sample.rig if self._masks else without_masks(sample.rig))
        return self._rig[1]
