# SPDX-License-Identifier: Apache-2.0
"""Write samples as a rosbag2, as a vehicle would have recorded them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer

from .messages import TYPESTORE, camera_info, compressed_image, message, points_message, transform_stamped
from .sample import SurroundSample

MAP_FRAME = 'map'
GROUND_TRUTH_SUFFIX = 'ground_truth/points'


def qos(latched: bool = False) -> Qos:
    """Reliable, keep-last QoS to store with a topic; `latched` makes it transient local, as /tf_static is."""
    forever = QosTime(sec=9223372036, nsec=854775807)
    return Qos(
        QosHistory.KEEP_LAST, 1 if latched else 10, QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        forever, forever, QosLiveliness.AUTOMATIC, forever, False,
    )  # fmt: skip


class BagWriter:
    """A rosbag2 (mcap) that appears under its name only when it is complete.

    Use as a context manager; a body that raises leaves nothing behind. `path` must not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise FileExistsError(f'{self.path} exists already; name a new folder for the recording')
        self._partial = self.path.with_name(self.path.name + '.partial')
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        if self._partial.exists():
            shutil.rmtree(self._partial)
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._writer = Writer(self._partial, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if kind is not None:
            shutil.rmtree(self._partial)
            return
        _rename_bag(self._partial, self.path)

    def write(self, topic: str, msg: Any, time_ns: int) -> None:
        """Serialise a message made by `datasets.messages` and append it."""
        self.write_raw(topic, msg.__msgtype__, bytes(TYPESTORE.serialize_cdr(msg, msg.__msgtype__)), time_ns)

    def write_raw(self, topic: str, msgtype: str, cdr: bytes, time_ns: int) -> None:
        """Append a message that is serialised already; `msgtype` such as 'sensor_msgs/msg/Image'."""
        self.declare(topic, msgtype)
        self._writer.write(self._connections[topic], time_ns, cdr)

    def declare(self, topic: str, msgtype: str) -> None:
        """List a topic in the recording, whether or not a message follows."""
        if topic not in self._connections:
            latched = topic.endswith('/tf_static')
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=TYPESTORE, offered_qos_profiles=[qos(latched)]
            )


def _rename_bag(partial: Path, final: Path) -> None:
    """rosbag2 names the data file after its folder, and metadata.yaml names the file."""
    old, new = f'{partial.name}.mcap', f'{final.name}.mcap'
    (partial / old).rename(partial / new)
    metadata = partial / 'metadata.yaml'
    metadata.write_text(metadata.read_text(encoding='utf-8').replace(old, new), encoding='utf-8')
    partial.rename(final)


def write_recording(samples: Iterable[SurroundSample], path: str | Path) -> int:
    """Write samples as a rosbag2 folder (mcap); returns how many.

    Topics: `/<cam>/image_raw/compressed`, `/<cam>/camera_info`, `/tf_static` (base to cameras), `/tf` (map to
    base, where ego poses are known), `/<cam>/ground_truth/points` (PointCloud2 in the optical frame, where depth
    is known). A message's time in the bag is its stamp.
    """
    count = 0
    with BagWriter(path) as bag:
        for sample in samples:
            if count == 0:
                _write_static(bag, sample)
            _write_sample(bag, sample)
            count += 1
    return count


def _write_static(bag: BagWriter, sample: SurroundSample) -> None:
    first = min(sample.stamps_ns)
    transforms = [
        transform_stamped(sample.rig.base_frame, camera.frame_id, camera.base_T_cam, first)
        for camera in sample.rig.cameras
    ]
    bag.write('/tf_static', message('tf2_msgs/msg/TFMessage')(transforms=transforms), first)


def _write_sample(bag: BagWriter, sample: SurroundSample) -> None:
    for stamp, world_T_base in sample.ego_poses:
        pose = transform_stamped(MAP_FRAME, sample.rig.base_frame, world_T_base, stamp)
        bag.write('/tf', message('tf2_msgs/msg/TFMessage')(transforms=[pose]), stamp)
    for i, (camera, image, stamp) in enumerate(zip(sample.rig.cameras, sample.images, sample.stamps_ns, strict=True)):
        bag.write(f'/{camera.name}/camera_info', camera_info(camera, stamp), stamp)
        bag.write(
            f'/{camera.name}/image_raw/compressed',
            compressed_image(image.data, image.format, stamp, camera.frame_id),
            stamp,
        )
        if sample.depth_points is not None:
            points = points_message(sample.depth_points[i], stamp, camera.frame_id)
            bag.write(f'/{camera.name}/{GROUND_TRUTH_SUFFIX}', points, stamp)
