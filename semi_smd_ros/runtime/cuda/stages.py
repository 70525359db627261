# SPDX-License-Identifier: Apache-2.0
"""The pipeline's stages on a GPU: bytes go in, what somebody reads comes back, everything between stays there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...rig import Rig
from ..cloud import CloudBuilder, CloudConfig, PackedCloud
from ..engine import ModelError
from ..frame import SurroundDepth, SurroundFrame
from ..labels import nearest
from ..preprocess import PreparedRig, prepare_rig
from ..stats import StageTimes
from .driver import DeviceArray, PinnedArray
from .engine import DeviceEngine
from .graph import GraphCache
from .kernels import Launcher
from .point_cloud import DeviceCloudBuilder
from .rectifier import DeviceRectifier
from .result import DeviceSet, DeviceSurroundDepth


class DeviceStages:
    """Stages around an engine whose tensors lie on a GPU; see runtime/stages.py.

    Two streams: what is computed, and what comes back to the host while the cloud is being made; a third one, the
    rectifier's, brings the cameras' bytes. `use_graph`: what is computed is replayed as a CUDA graph.
    """

    rectifies_early = False

    def __init__(self, engine: DeviceEngine, kernels: Launcher, stats: StageTimes, use_graph: bool) -> None:
        self._engine = engine
        self._kernels = kernels
        self._stats = stats
        context = self._context = engine.context
        self._work, self._back = context.stream(), context.stream()
        # Start, rectified, engine done, finished: as the GPU's clock has them.
        self._marks = [context.event() for _ in range(4)]
        images = engine.device_input('images')
        self._rectifier = DeviceRectifier(context, kernels, images)
        n, _, height, width = images.shape
        valid, ego = engine.device_input('camera_valid'), engine.device_output('ego_motion')
        self._valid, self._ego = (context.pinned_array(array.shape, array.dtype) for array in (valid, ego))
        labels = engine.device_output('semantics')
        self._depth = context.device_array((n, height, width), np.float32)
        self._confidence = context.device_array((n, height, width), np.float32)
        self._labels = context.device_array(labels.shape, np.uint8)
        self._label_rows, self._label_columns = (context.device_array((size,), np.int32) for size in labels.shape[1:])
        for array, of in ((self._label_rows, height), (self._label_columns, width)):
            array.put(nearest(array.shape[0], of), self._work)
        self._pinned: dict[int, PinnedArray] = {}
        self._graphs = GraphCache(context) if use_graph else None
        self._cloud = DeviceCloudBuilder(
            context, kernels, self._rectifier.pictures, self._depth, self._confidence, self._labels
        )
        self._host_cloud = CloudBuilder()
        self._set = 0

    def prepare(self, rig: Rig) -> PreparedRig:
        """See Stages."""
        shape = self._engine.device_input('images').shape
        if len(rig) != shape[0]:
            raise ModelError(
                f'the engine is built for {shape[0]} cameras; the rig has {len(rig)}: build it for this rig'
            )
        prepared = prepare_rig(rig, shape[3], shape[2])
        self._rectifier.prepare(prepared)
        for name, values in (
            ('intrinsics', prepared.rectified.intrinsics_n33),
            ('base_T_cam', prepared.rectified.base_T_cam_n44),
        ):
            self._engine.device_input(name).put(values, self._work)
        return prepared

    def preprocess(self, frame: SurroundFrame, prepared: PreparedRig) -> None:
        """See Stages; begins the copies and, without a graph, the work on what has come across."""
        # Idle already, unless a set failed half-way.
        self._work.synchronize()
        self._set += 1
        self._valid.array[:] = frame.camera_valid
        if self._rectifier.upload(frame, prepared) and self._graphs is not None:
            self._graphs.clear()
        self._engine.device_input('camera_valid').copy_from(self._valid.array, self._work)
        self._marks[0].record(self._work)
        if self._graphs is None:
            self._rectifier.rectify(self._work)
            self._marks[1].record(self._work)

    def run(self, given: None, use_memory: bool) -> np.ndarray:
        """See Stages; waits for the engine, and gives the ego-motion (4,4)."""
        if self._graphs is None:
            self._engine.enqueue(self._work, use_memory)
            self._marks[2].record(self._work)
            self._finish()
        else:
            self._rectifier.wait(self._work)
            self._graphs.run(self._engine, self._work, use_memory, self._everything)
        self._marks[3].record(self._work)
        self._engine.device_output('ego_motion').copy_to(self._ego.array, self._work)
        self._work.synchronize()
        self._note_times()
        return self._ego.array.astype(np.float64)

    def postprocess(
        self,
        frame: SurroundFrame,
        prepared: PreparedRig,
        given: None,
        made: np.ndarray,
        memory_reset: str | None,
        depth: bool,
        semantics: bool,
    ) -> SurroundDepth:
        """See Stages; depth and labels that were asked for begin to come back."""
        is_current = partial(self._is_set, self._set)
        nothing = np.empty((len(frame.images), 0, 0), np.float32)
        arrays: dict[str, Any] = {
            'depth_nhw': self._fetch(self._depth, begin=True) if depth else nothing,
            'confidence_nhw': self._fetch(self._confidence) if depth else nothing,
            'semantics_nhw': self._fetch(self._labels, begin=True) if semantics else nothing.astype(np.uint8),
            'images_nhw3': self._fetch(self._rectifier.pictures),
        }
        result = DeviceSurroundDepth(
            stamp_ns=frame.stamp_ns,
            stamps_ns=frame.stamps_ns,
            rig=frame.rig,
            rectified=prepared.rectified,
            camera_valid=frame.camera_valid,
            **arrays,
            prev_T_now=made if memory_reset is None else None,
            memory_reset=memory_reset,
        )
        result.on_device = DeviceSet(is_current, self._fetch(self._rectifier.previews), depth, semantics)
        return result

    def cloud(self, depth: SurroundDepth, config: CloudConfig) -> PackedCloud:
        """See Stages; a result that does not lie on the GPU any more is packed on the host."""
        source = depth.on_device if isinstance(depth, DeviceSurroundDepth) else None
        if source is None or not source.has_depth or not source.is_current():
            return self._host_cloud(depth, config)
        return self._cloud(depth.rectified, config, source.has_labels, self._work)

    def recycle(self, cloud: PackedCloud) -> None:
        """See Stages."""
        self._cloud.recycle(cloud)

    def _everything(self, use_memory: bool) -> None:
        self._rectifier.rectify(self._work, wait=False)
        self._engine.enqueue(self._work, use_memory)
        self._finish()

    def _finish(self) -> None:
        """Depth that is known, and labels, from what the engine gave."""
        depth, confidence, labels = (self._engine.device_output(name) for name in ('depth', 'confidence', 'semantics'))
        n, height, width = self._depth.shape
        seen = self._rectifier.known, self._rectifier.camera_valid
        self._kernels.launch(
            'finish_depth', (n * height * width,), self._work,
            depth, int(depth.dtype == np.float16), confidence, int(confidence.dtype == np.float16), *seen,
            self._depth, self._confidence, height * width, n * height * width,
        )  # fmt: skip
        _, rows, columns = labels.shape
        self._kernels.launch(
            'finish_labels', (n * rows * columns,), self._work,
            labels, labels.dtype.itemsize, *seen, self._label_rows, self._label_columns, self._labels,
            rows, columns, height, width, n * rows * columns,
        )  # fmt: skip

    def _fetch(self, array: DeviceArray, begin: bool = False) -> Callable[[], np.ndarray]:
        """A function that brings `array` of this set to the host; with `begin`, it is on its way already."""
        pinned = self._pinned.get(id(array))
        if pinned is None:
            pinned = self._pinned[id(array)] = self._context.pinned_array(array.shape, array.dtype)
        if begin:
            array.copy_to(pinned.array, self._back)

        def fetch(number: int = self._set) -> np.ndarray:
            if not self._is_set(number):
                raise RuntimeError(
                    'the arrays of this result were on the GPU and the next set has overwritten them: read them before '
                    'the pipeline processes another set'
                )
            if not begin:
                array.copy_to(pinned.array, self._back)
            self._back.synchronize()
            return pinned.array.copy()

        return fetch

    def _is_set(self, number: int) -> bool:
        return number == self._set

    def _note_times(self) -> None:
        start, *ends = self._marks if self._graphs is None else (self._marks[0], self._marks[3])
        names = ('gpu rectify', 'gpu engine', 'gpu finish') if self._graphs is None else ('gpu graph',)
        for name, end in zip(names, ends, strict=True):
            self._stats.add(name, end.since_ms(start))
            start = end
