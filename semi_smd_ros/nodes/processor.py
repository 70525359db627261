# SPDX-License-Identifier: Apache-2.0
"""What the worker thread does with one set of images: decode, run the pipeline, publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ..rig import CameraModel, RectifyMap, Rig, RigError
from ..runtime import CameraImage, InputError, ModelError, SurroundDepth, SurroundDepthPipeline, SurroundFrame
from ..runtime import SynchronizedSet as ImageSet
from ..runtime.preprocess import rectified
from .camera_stats import CameraStats
from .cameras import reject_image
from .counters import SetCounters
from .early_decoder import EarlyDecoder
from .images import ImageDecoder, ReceivedImage
from .outputs import Outputs
from .picture_watch import PictureWatch
from .rig_assembler import RigAssembler
from .throttle import ThrottledLogger

# Stamps that go back by more than this mean that time itself went back; less is jitter.
TIME_WENT_BACK_NS = 1_000_000_000


class SetProcessor:
    """Takes sets in one thread. `process` never raises: a set that fails is dropped, counted and logged.

    `rig_timeout_s`, `min_cameras` and `max_failures` may change at any time. `on_time_back` is called when the stamps
    of sets go back, `on_fatal` with a reason once `max_failures` sets in a row have failed.
    """

    def __init__(
        self,
        pipeline: SurroundDepthPipeline,
        assembler: RigAssembler,
        outputs: Outputs,
        cameras: Sequence[tuple[str, CameraStats]],
        counters: SetCounters,
        log: ThrottledLogger,
        now_ns: Callable[[], int],
        on_time_back: Callable[[], None],
        on_fatal: Callable[[str], None],
    ) -> None:
        self.rig_timeout_s = 1.0
        self.min_cameras = 1
        self.max_failures = 10
        self._pipeline = pipeline
        self._assembler = assembler
        self._outputs = outputs
        self._cameras = tuple(cameras)
        self._counters = counters
        self._log = log
        self._now_ns = now_ns
        self._on_time_back = on_time_back
        self._on_fatal = on_fatal
        spec = pipeline.engine.spec
        self._decode = ImageDecoder((spec.width, spec.height))
        self._decoder = EarlyDecoder(len(self._cameras), self._decode)
        self._watch = PictureWatch(len(self._cameras))
        self._reset_reason: str | None = None
        self._last_stamp_ns: int | None = None
        self._incomplete_since: dict[str, float] = {}
        self._failures = 0

    def request_reset(self, reason: str) -> None:
        """Have the temporal memory wiped before the next set; callable from any thread."""
        self._reset_reason = reason

    def close(self) -> None:
        """End the threads that decode."""
        self._decoder.close()

    def prepare(self, index: int, image: ReceivedImage) -> ReceivedImage:
        """Begin to decode and rectify a compressed image that has just come, for a set that will want it soon.

        Raw ones wait for their set: rectifying them would take the processor from receiving the others, and gains less.
        Called in the node's executor; gives the image to be put into the set.
        """
        model = self._assembler.model(index)
        if not image.is_compressed or image.problem is not None or model is None or not self._outputs.wants_anything:
            return image
        return self._decoder.begin(index, image, model, self._remap(index, model))

    def process(self, images: ImageSet) -> bool:
        """Work on one set; returns False while the rig is not complete, so that the set can be tried again."""
        try:
            return self._process(images)
        except (InputError, RigError) as error:
            self._drop(getattr(error, 'reason', 'rig'), str(error))
        # The worker must outlive whatever an engine or a driver comes up with; the reason is logged and counted.
        except Exception as error:  # noqa: BLE001
            # The next motion would begin at a set that was never published.
            self._pipeline.reset('a set failed')
            is_model = isinstance(error, ModelError)
            self._drop('model' if is_model else 'error', str(error) if is_model else f'{type(error).__name__}: {error}')
            self._failures += 1
            if self._failures >= self.max_failures:
                self._on_fatal(f'{self._failures} sets in a row have failed: {type(error).__name__}: {error}')
        return True

    def _process(self, images: ImageSet) -> bool:
        self._note_time(images.stamp_ns)
        if not self._outputs.wants_anything:
            self._counters.drop('nobody listens')
            self._counters.forgive()
            return True
        rig, problems = self._assembler.rig([s if s is not None else images.stamp_ns for s in images.stamps_ns])
        for name, problem in problems.items():
            self._log.warning((name, 'rig'), f'camera {name}: {problem}; it is left out until then')
        if self._is_worth_waiting(problems):
            return False
        if rig is None:
            text = '; '.join(f'camera {name}: {problem}' for name, problem in problems.items())
            self._counters.drop('rig incomplete', text)
            return True
        self._run(images, rig, problems)
        return True

    def _note_time(self, stamp_ns: int) -> None:
        last, self._last_stamp_ns = self._last_stamp_ns, stamp_ns
        if last is not None and stamp_ns < last - TIME_WENT_BACK_NS:
            self._on_time_back()

    def _is_worth_waiting(self, problems: Mapping[str, str]) -> bool:
        """Whether a camera has lacked its calibration or transform for so short a time that it may still come."""
        now = time.monotonic()
        since = self._incomplete_since = {name: self._incomplete_since.get(name, now) for name in problems}
        return any(now - at < self.rig_timeout_s for at in since.values())

    def _run(self, images: ImageSet, rig: Rig, problems: Mapping[str, str]) -> None:
        reason, self._reset_reason = self._reset_reason, None
        if reason is not None:
            self._pipeline.reset(reason)
        started = time.perf_counter()
        received: tuple[ReceivedImage | None, ...] = images.items
        with self._pipeline.stats.measure('decode'):
            # OpenCV decodes each JPEG in one thread.
            usable_of = partial(self._usable, rig=rig, problems=problems)
            pictures = self._decoder.map(usable_of, range(len(received)), received)
        usable = sum(picture is not None for picture in pictures)
        if usable < self.min_cameras:
            self._drop(
                'too few cameras',
                f'{usable} of {len(pictures)} cameras are usable; expected {self.min_cameras} (sync.min_cameras)',
            )
            return
        depth = self._depth_of(SurroundFrame(rig, pictures, images.stamp_ns))
        # Who has subscribed since the depth was left out gets the next set.
        cloud = self._pipeline.cloud(depth) if depth.has_depth and self._outputs.wants_cloud else None
        with self._pipeline.stats.measure('publish'):
            self._outputs.publish(depth, [None if image is None else image.header for image in received], cloud)
            if cloud is not None:
                self._pipeline.recycle(cloud)
        self._pipeline.stats.add('total', (time.perf_counter() - started) * 1e3)
        self._note_latency(images.stamp_ns)
        self._counters.went_out()
        self._failures = 0
        self._look_at_pictures(depth)
        if depth.memory_reset not in (None, 'first frame'):
            self._log.info(('memory', depth.memory_reset), f'the temporal memory was wiped: {depth.memory_reset}')

    def _depth_of(self, frame: SurroundFrame) -> SurroundDepth:
        outputs = self._outputs
        labels = outputs.wants_labels
        in_cloud = outputs.wants_cloud and self._pipeline.config.cloud.semantics
        depth = self._pipeline.process(frame, depth=outputs.wants_depth, semantics=labels or in_cloud)
        if depth.prev_T_now is not None and not np.isfinite(depth.prev_T_now).all():
            # What made this goes on in the memory.
            self._pipeline.reset('engine gave NaN')
            return replace(depth, prev_T_now=None)
        return depth

    def _usable(
        self, index: int, image: ReceivedImage | None, rig: Rig, problems: Mapping[str, str]
    ) -> CameraImage | None:
        name, stats = self._cameras[index]
        if image is None:
            stats.miss()
            self._log.warning((name, 'missing'), f'{self._called(index)}: no image in a set, which goes on without it')
            return None
        if name in problems:
            return None
        model = rig.cameras[index].model
        try:
            picture = self._decode(image, model)
            remap = self._remap(index, model)
            return picture if remap is None else rectified(picture, remap)
        except InputError as error:
            if image.problem is None:  # those were counted when they came
                reject_image(name, stats, error, self._log)
        # What a decoder or a bridge comes up with costs this camera its picture, not all cameras their set.
        except Exception as error:  # noqa: BLE001
            reject_image(name, stats, InputError('error', f'{type(error).__name__}: {error}'), self._log)
        return None

    def _remap(self, index: int, model: CameraModel) -> RectifyMap | None:
        """The map of camera `index`, if the pipeline has one of this calibration."""
        prepared = self._pipeline.prepared
        if prepared is None or prepared.source.cameras[index].model is not model:
            return None
        return prepared.maps[index]

    def _note_latency(self, stamp_ns: int) -> None:
        """From the newest stamp of the set to now; only where both come from the same clock."""
        latency_ms = (self._now_ns() - stamp_ns) * 1e-6
        if 0 <= latency_ms < 60_000:
            self._pipeline.stats.add('latency', latency_ms)

    def _look_at_pictures(self, depth: SurroundDepth) -> None:
        stamps = [s if valid else None for s, valid in zip(depth.stamps_ns, depth.camera_valid, strict=True)]
        for i, odd in enumerate(self._watch(depth.preview_nhw3, stamps)):
            name, stats = self._cameras[i]
            stats.picture = odd
            if odd:
                self._log.warning((name, 'picture'), f'{self._called(i)}: {odd}')

    def _called(self, index: int) -> str:
        frame = self._assembler.frame_id(index)
        return f'camera {self._cameras[index][0]}' + (f' (frame {frame})' if frame else '')

    def _drop(self, reason: str, problem: str) -> None:
        self._counters.drop(reason, problem)
        self._log.error(('set', reason), f'a set of images is dropped: {problem}')
