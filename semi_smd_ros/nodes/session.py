# SPDX-License-Identifier: Apache-2.0
"""What the node holds from configure to cleanup: engine, publishers, subscriptions, worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.exceptions import NameValidationException
from rclpy.validate_topic_name import validate_topic_name

from ..rig import RigConfigCamera, RigError
from ..runtime import (
    EngineSpec,
    ModelError,
    SurroundDepthPipeline,
    SurroundSynchronizer,
    SynchronizedSet,
    load_engine,
)
from . import diagnostics, parameters
from .cameras import CameraInput
from .images import ReceivedImage
from .outputs import Outputs
from .processor import SetCounters, SetProcessor, reject_image
from .resources import model_path
from .rig_assembler import RigAssembler
from .tf import TransformSource
from .throttle import ThrottledLogger
from .worker import NewestWorker


class Session:
    """Everything that lives from configure to cleanup."""

    def __init__(self, node: Any, values: dict[str, Any], log: ThrottledLogger) -> None:
        self._node = node
        self._values = values
        self._log = log
        self.cameras, base_frame = parameters.rig_config(values)
        self._names = [camera.name for camera in self.cameras]
        check_topic_names(self.cameras)
        engine = load_engine(model_path(values['model']), values['threads'] or None)
        check_camera_count(engine.spec, self._names)
        engine.warm_up(len(self._names))
        spec = engine.spec
        node.get_logger().info(
            f'{spec.name} {spec.version} ({spec.width}x{spec.height}, {spec.backend}, trained on {spec.trained_on}), '
            f'{len(self._names)} cameras: {", ".join(self._names)}'
        )
        self.engine = engine
        self.pipeline = SurroundDepthPipeline(engine, parameters.pipeline_config(values))
        self.outputs = Outputs(node, self._names, base_frame)
        self.transforms = TransformSource(node)
        self.assembler = RigAssembler(self.cameras, base_frame, self.transforms.lookup)
        self.synchronizer = SurroundSynchronizer(self._names, values['sync.slop'], values['sync.queue_size'])
        self.synchronizer.registerCallback(self._on_set)
        self.counters = SetCounters()
        self.inputs: list[CameraInput] = []
        self.processor: SetProcessor | None = None
        self._report_camera = diagnostics.CameraReporter()
        self._worker: NewestWorker[SynchronizedSet] | None = None

    def activate(self) -> None:
        """Subscribe to the cameras and start the worker."""
        self.inputs = [
            CameraInput(
                self._node, i, camera,
                compressed=self._values['image_transport'] == 'compressed',
                reliable=self._values['image_reliability'] == 'reliable',
                on_image=self._on_image, on_camera_info=self._on_camera_info,
            )
            for i, camera in enumerate(self.cameras)
        ]  # fmt: skip
        stats = [(camera.camera.name, camera.stats) for camera in self.inputs]
        self.processor = SetProcessor(self.pipeline, self.assembler, self.outputs, stats, self.counters, self._log)
        self._worker = NewestWorker(self.processor.process, lambda _, reason: self.counters.drop(reason))
        self._worker.start()

    def deactivate(self) -> None:
        """Unsubscribe, finish the set in work, wipe the memory."""
        for camera in self.inputs:
            camera.close()
        self.inputs = []
        self.synchronizer.reset()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        self.processor = None
        self.pipeline.reset('deactivated')

    def close(self) -> None:
        """Stop and free everything."""
        self.deactivate()
        self.transforms.close()
        self.outputs.close()
        self.engine.close()

    def statuses(self, now_ns: int) -> list[Any]:
        """The statuses of cameras, sets and engine."""
        self.assembler.rig()
        problems = self.assembler.problems() if self.inputs else {}
        cameras = [
            self._report_camera(i, camera, self.assembler, problems, now_ns) for i, camera in enumerate(self.inputs)
        ]
        return [
            *cameras,
            diagnostics.sets_status(self.counters, self.synchronizer, problems),
            diagnostics.engine_status(self.engine.spec, self.pipeline),
        ]

    def _on_image(self, index: int, image: ReceivedImage) -> None:
        if image.problem is not None:
            camera = self.inputs[index]
            reject_image((camera.camera.name, camera.stats), image.problem, self._log)
        self.synchronizer.add(index, image.stamp_ns, image)

    def _on_camera_info(self, index: int, message: Any) -> None:
        if self.assembler.add_camera_info(index, message) and self._worker is not None:
            self._worker.wake()

    def _on_set(self, images: SynchronizedSet) -> None:
        if self._worker is not None:
            self.counters.came_in()
            self._worker.submit(images)


def check_camera_count(spec: EngineSpec, names: Sequence[str]) -> None:
    """Raise ModelError when a model cannot take this many cameras; the rest of the rig is checked once it is known."""
    wanted = f'{spec.cameras}' if spec.cameras is not None else f'at most {spec.max_cameras}'
    if len(names) > spec.max_cameras or spec.cameras not in (None, len(names)):
        raise ModelError(
            f'model {spec.name} takes {wanted} cameras; the rig has {len(names)} ({", ".join(names)}): '
            'set another model, or fewer cameras'
        )


def check_topic_names(cameras: Sequence[RigConfigCamera]) -> None:
    """Raise RigError, naming the camera, when a name or topic cannot be a topic."""
    for camera in cameras:
        for topic in (camera.image_topic, camera.camera_info_topic, f'{camera.name}/depth/image'):
            try:
                validate_topic_name(topic)
            except NameValidationException as error:
                raise RigError(f'camera {camera.name!r}: {topic!r} cannot be a topic: {error}') from error
