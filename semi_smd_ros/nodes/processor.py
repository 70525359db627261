# SPDX-License-Identifier: Apache-2.0
"""What the worker thread does with one set of images: decode, run the pipeline, publish."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

from ..rig import Rig, RigError
from ..runtime import (
    CameraImage,
    InputError,
    ModelError,
    SurroundDepthPipeline,
    SurroundFrame,
    SynchronizedSet,
)
from .cameras import CameraStats
from .images import ImageDecoder, ReceivedImage
from .outputs import Outputs
from .rig_assembler import RigAssembler
from .throttle import ThrottledLogger


class SetCounters:
    """Where the sets went: every one that came in is published, or dropped for a reason. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in = 0
        self._out = 0
        self._dropped: Counter[str] = Counter()
        self.last_problem = ''

    def came_in(self) -> None:
        """Count one complete set."""
        with self._lock:
            self._in += 1

    def went_out(self) -> None:
        """Count one published set."""
        with self._lock:
            self._out += 1
            self.last_problem = ''

    def drop(self, reason: str, problem: str = '') -> None:
        """Count one set that was not published."""
        with self._lock:
            self._dropped[reason] += 1
            self.last_problem = problem or self.last_problem

    def summary(self) -> tuple[int, int, dict[str, int]]:
        """(in, out, dropped by reason)."""
        with self._lock:
            return self._in, self._out, dict(self._dropped)


class SetProcessor:
    """Takes sets in one thread. `process` never raises: a set that fails is dropped, counted and logged."""

    def __init__(
        self,
        pipeline: SurroundDepthPipeline,
        assembler: RigAssembler,
        outputs: Outputs,
        cameras: Sequence[tuple[str, CameraStats]],
        counters: SetCounters,
        log: ThrottledLogger,
    ) -> None:
        self._pipeline = pipeline
        self._assembler = assembler
        self._outputs = outputs
        self._cameras = tuple(cameras)
        self._counters = counters
        self._log = log
        self._decode = ImageDecoder()
        self._reset_reason: str | None = None

    def request_reset(self, reason: str) -> None:
        """Have the temporal memory wiped before the next set; callable from any thread."""
        self._reset_reason = reason

    def process(self, images: SynchronizedSet) -> bool:
        """Work on one set; returns False while the rig is not complete, so that the set can be tried again."""
        rig = self._assembler.rig()
        if rig is None:
            for name, problem in self._assembler.problems().items():
                self._log.warning((name, 'rig'), f'camera {name}: {problem}; nothing is published until then')
            return False
        try:
            self._run(images, rig)
        except (InputError, RigError, ModelError) as error:
            reason = getattr(error, 'reason', 'model' if isinstance(error, ModelError) else 'rig')
            self._drop(reason, str(error))
        # The worker must outlive whatever an engine or a driver comes up with; the reason is logged and counted.
        except Exception as error:  # noqa: BLE001
            self._drop('error', f'{type(error).__name__}: {error}')
        return True

    def _run(self, images: SynchronizedSet, rig: Rig) -> None:
        reason, self._reset_reason = self._reset_reason, None
        if reason is not None:
            self._pipeline.reset(reason)
        started = time.perf_counter()
        received: tuple[ReceivedImage, ...] = images.items
        with self._pipeline.stats.measure('decode'):
            pictures = tuple(self._usable(i, rig, image) for i, image in enumerate(received))
        if all(picture is None for picture in pictures):
            self._drop('no usable image', 'no camera of the set has a usable image')
            return
        depth = self._pipeline.process(SurroundFrame(rig, pictures, images.stamp_ns))
        cloud = self._pipeline.cloud(depth) if self._outputs.wants_cloud else None
        with self._pipeline.stats.measure('publish'):
            self._outputs.publish(depth, [image.header for image in received], cloud)
        self._pipeline.stats.add('total', (time.perf_counter() - started) * 1e3)
        self._counters.went_out()

    def _usable(self, index: int, rig: Rig, image: ReceivedImage) -> CameraImage | None:
        try:
            return self._decode(image, rig.cameras[index].model)
        except InputError as error:
            if image.problem is None:  # those were counted when they came
                reject_image(self._cameras[index], error, self._log)
            return None

    def _drop(self, reason: str, problem: str) -> None:
        self._counters.drop(reason, problem)
        self._log.error(('set', reason), f'a set of images is dropped: {problem}')


def reject_image(camera: tuple[str, CameraStats], error: InputError, log: ThrottledLogger) -> None:
    """Count one camera's unusable image and say why, naming the camera."""
    name, stats = camera
    stats.reject(error.reason, str(error))
    log.warning((name, error.reason), f'camera {name}: image rejected: {error}')
