# SPDX-License-Identifier: Apache-2.0
"""What the node holds from configure to cleanup: engine, publishers, subscriptions, worker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]

from ..runtime import SurroundDepthPipeline, SurroundSynchronizer, SynchronizedSet, load_engine
from . import diagnostics, parameters
from .camera_stats import CameraStats
from .cameras import CameraInput
from .checks import check_camera_count, check_semantics, check_topic_names
from .counters import SetCounters
from .ego_masks import PREFIX as EGO_MASK
from .ego_masks import load_ego_mask
from .engine_report import engine_report
from .images import ReceivedImage
from .outputs import Outputs
from .processor import SetProcessor
from .resources import model_path
from .rig_assembler import RigAssembler
from .tf import TransformSource
from .throttle import ThrottledLogger
from .worker import NewestWorker

# How often the synchroniser is asked for sets that have waited long enough: shares of sync.missing_after.
POLLS = 4
MIN_POLL_S, MAX_POLL_S = 0.01, 1.0


class Session:
    """Everything that lives from configure to cleanup.

    `on_fatal(reason)` is called, in the worker's thread, when the engine fails for good. Whatever cannot be set up is
    raised (RigError, ModelError) after all that was made before it is freed again.
    """

    def __init__(
        self, node: Any, values: dict[str, Any], log: ThrottledLogger, on_fatal: Callable[[str], None]
    ) -> None:
        self._node = node
        self._values = values
        self._log = log
        self._on_fatal = on_fatal
        self._closing = ExitStack()
        self.inputs: list[CameraInput] = []
        self.processor: SetProcessor | None = None
        self._worker: NewestWorker[SynchronizedSet] | None = None
        self._poll_timer: Any = None
        self.counters = SetCounters()
        self._report_camera = diagnostics.CameraReporter()
        try:
            self._set_up()
        except BaseException:
            self._closing.close()
            raise

    def _set_up(self) -> None:
        values, node = self._values, self._node
        self.cameras, base_frame = parameters.rig_config(values)
        names = [camera.name for camera in self.cameras]
        check_topic_names(self.cameras)
        parameters.declare_ego_masks(node, names)
        paths = {name: node.get_parameter(EGO_MASK + name).value for name in names}
        masks = {name: load_ego_mask(name, path) for name, path in paths.items() if path}
        self.engine = load_engine(
            model_path(values['model']),
            values['threads'] or None,
            values['model_sha256'],
            backend=values['backend'],
            cameras=len(names),
            precision=values['precision'],
            plan_folder=Path(values['plan_cache']).expanduser() if values['plan_cache'] else None,
            report=engine_report(
                node.get_logger(), values['diagnostics.log_period'], node.publish_progress, values['diagnostics.period']
            ),
        )
        self._closing.callback(self.engine.close)
        spec = self.engine.spec
        check_camera_count(spec, names)
        if values['semantics']:
            check_semantics(spec)
        self.engine.warm_up(len(names))
        node.get_logger().info(
            f'{spec.name} {spec.version} ({spec.width}x{spec.height}, {spec.precision} on {spec.backend}, '
            f'trained on {spec.trained_on}, SHA-256 {spec.sha256}), {len(names)} cameras: {", ".join(names)}'
        )
        self.pipeline = SurroundDepthPipeline(
            self.engine, parameters.pipeline_config(values), node.get_logger().warning
        )
        self.outputs = Outputs(node, names, base_frame, values['depth_encoding'], values['semantics'])
        self._closing.callback(self.outputs.close)
        self.transforms = TransformSource(node, values['tf.max_age'], self._on_clock_back)
        self._closing.callback(self.transforms.close)
        lookup = self.transforms.lookup
        self.assembler = RigAssembler(self.cameras, base_frame, lookup, masks, values['tf.tolerance'])
        self.synchronizer = SurroundSynchronizer(names)
        self.synchronizer.configure(**parameters.sync_settings(values, len(names)))
        self.synchronizer.onSet(self._on_set)
        self._stats = [CameraStats() for _ in names]

    def apply(self, values: dict[str, Any]) -> None:
        """Take over the parameters that may change while the node runs."""
        self._values = values
        self.pipeline.config = parameters.pipeline_config(values)
        self.transforms.max_age_s = values['tf.max_age']
        self.assembler.tolerance = values['tf.tolerance']
        settings = parameters.sync_settings(values, len(self.cameras))
        self.synchronizer.configure(**settings)
        if self.processor is not None:
            self.processor.rig_timeout_s = values['tf.timeout']
            self.processor.min_cameras = settings['min_streams']
            self.processor.max_failures = values['max_engine_failures']
        if self._poll_timer is not None:
            self._poll_timer.timer_period_ns = int(self._poll_period_s() * 1e9)

    def activate(self) -> None:
        """Subscribe to the cameras and start the worker."""
        named_stats = [(camera.name, stats) for camera, stats in zip(self.cameras, self._stats, strict=True)]
        self.processor = SetProcessor(
            self.pipeline, self.assembler, self.outputs, named_stats, self.counters, self._log,
            self._now_ns, self.transforms.forget_moving, self._on_fatal,
        )  # fmt: skip
        self._worker = NewestWorker(self.processor.process, lambda _, reason: self.counters.drop(reason))
        self._worker.start()
        self.counters.listen()
        for i, camera in enumerate(self.cameras):
            self.inputs.append(
                CameraInput(
                    self._node, i, camera, self._stats[i], self._log,
                    compressed=self._values['image_transport'] == 'compressed',
                    reliability=self._values['image_reliability'],
                    on_image=self._on_image, on_camera_info=self._on_camera_info,
                )
            )  # fmt: skip
        # Steady, so that it goes on while /clock stands still; the synchroniser is told the node's own time.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._poll_timer = self._node.create_timer(self._poll_period_s(), self._poll, clock=steady)
        self.apply(self._values)

    def deactivate(self) -> None:
        """Unsubscribe, finish the set in work, wipe the memory."""
        if self._poll_timer is not None:
            self._node.destroy_timer(self._poll_timer)
            self._poll_timer = None
        for camera in self.inputs:
            camera.close()
        self.inputs = []
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self.processor is not None:
            self.processor.close()
            self.processor = None
        self.synchronizer.reset()
        self.pipeline.reset('deactivated')

    def close(self) -> None:
        """Stop and free everything."""
        try:
            self.deactivate()
        finally:
            self._closing.close()

    def statuses(self, now_ns: int) -> list[Any]:
        """The statuses of cameras, sets and engine."""
        problems = self.assembler.problems([stats.last_stamp_ns for stats in self._stats]) if self.inputs else {}
        ahead_s = [diagnostics.ahead_s(i, self._stats) for i in range(len(self._stats))]
        apart = diagnostics.apart([camera.name for camera in self.cameras], ahead_s)
        cameras = [
            self._report_camera(i, camera, self.assembler, problems, ahead_s[i], now_ns)
            for i, camera in enumerate(self.inputs)
        ]
        return [
            *cameras,
            diagnostics.sets_status(
                self.counters,
                self.synchronizer,
                problems,
                apart,
                self.outputs.wants_anything,
                is_listening=bool(self.inputs),
            ),
            diagnostics.engine_status(self.engine.spec, self.pipeline),
        ]

    # Callbacks, all in the node's executor.

    def _on_image(self, index: int, image: ReceivedImage) -> None:
        # One without a stamp belongs to no set; any other, usable or not, tells that its camera is alive.
        if image.problem is None or image.problem.reason != 'stamp':
            if self.processor is not None and self._worker is not None and not self._worker.is_behind:
                image = self.processor.prepare(index, image)
            self.synchronizer.add(index, image.stamp_ns, image)

    def _on_camera_info(self, index: int, message: Any) -> None:
        if not self.assembler.add_camera_info(index, message):
            return
        if self.assembler.changes(index):
            name = self.cameras[index].name
            self._log.warning(
                (name, 'calibration'),
                f'camera {name} (frame {self.assembler.frame_id(index)}): its CameraInfo has changed: '
                f'{message.width}x{message.height}, K {[round(float(k), 3) for k in message.k]}',
            )
        if self._worker is not None:
            self._worker.wake()

    def _on_set(self, images: SynchronizedSet) -> None:
        if self._worker is not None:
            self.counters.came_in()
            self._worker.submit(images)

    def _on_clock_back(self) -> None:
        self._node.get_logger().warning('the clock went back: sets in the making and moving transforms are forgotten')
        self.synchronizer.reset()

    def _poll(self) -> None:
        for camera in self.inputs:
            camera.refresh()
        # Simulated time that has not begun is zero: from there to its first moment nobody has waited.
        if now_ns := self._now_ns():
            self.synchronizer.poll(now_ns)

    def _poll_period_s(self) -> float:
        # Where only complete sets are taken, a poll settles what the first stamps leave open, after twice the slop.
        waits_s = self._values['sync.missing_after'] or 2 * self._values['sync.slop']
        return float(min(max(waits_s / POLLS, MIN_POLL_S), MAX_POLL_S))

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
