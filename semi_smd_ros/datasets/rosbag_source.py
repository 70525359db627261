# SPDX-License-Identifier: Apache-2.0
"""A user's own drives as a data set: any rosbag2 with images, camera_info and tf."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .drive import Drive, DriveOptions
from .rosbag import SurroundBag, is_rosbag
from .sample import DataError
from .source import OTHER_MAX_DEPTH_M, Options, SampleSequence, Source


class RosbagSource(Source):
    """`path`: a rosbag2 (folder, .mcap or .db3), or a folder of such, each of which is a sequence.

    Options: `cameras` (names with commas between, for example front,left: these and no others; without, all that have
    CameraInfo and a place in tf, and other image topics are left out and counted as skipped), `base_frame` (the
    vehicle's frame, base_link), `world_frame` (ego poses are in it; without, odom, map, world or earth, whichever tf
    has), `odometry` (a topic of nav_msgs/Odometry to take ego poses from, for drives without them in tf), `slop`
    (seconds within which pictures belong together; without, as the recording itself names its samples, else what its
    frame rate suggests), `max_depth` (metres, 200). Keeps its files open until `close`. Raises DataError for a
    recording that cannot be read.
    """

    def __init__(self, address: str, path: Path, options: Options) -> None:
        super().__init__(address, options.number('max_depth', OTHER_MAX_DEPTH_M, 1.0))
        slop = options.number('slop', 0.0, 0.0, 10.0)
        how = DriveOptions(
            options.text('base_frame', 'base_link'),
            options.text('world_frame'),
            options.text('odometry'),
            slop or None,
            tuple(name for name in options.text('cameras').split(',') if name),
        )
        options.finish()
        self._bags: list[SurroundBag] = []
        self._drives: list[Drive] = []
        files = _recordings(path)
        try:
            for file in files:
                try:
                    bag = SurroundBag(file, how.cameras, self.skips.add)
                    self._bags.append(bag)
                    self._drives.append(Drive(bag, _name(file), how, self.skips, options.tell))
                except DataError as error:
                    if len(files) == 1:
                        raise
                    self.skips.add(f'recording {file.name}', error)
            if not self._drives:
                raise DataError(
                    f'{path}: none of its {len(files)} recordings can be read; the first: {self.skipped[0]}'
                )
        except BaseException:
            self.close()
            raise

    def sequences(self) -> Sequence[SampleSequence]:
        return self._drives

    def close(self) -> None:
        while self._bags:
            self._bags.pop().close()


def _name(file: Path) -> str:
    """What the drive is called; in a folder's name a dot is part of it, for example of a date."""
    resolved = file.resolve()
    return resolved.name if resolved.is_dir() else resolved.stem


def _recordings(path: Path) -> list[Path]:
    """The recording that `path` is, or those it holds. Raises DataError."""
    if not path.is_dir() or (path / 'metadata.yaml').is_file():
        return [path]
    found = sorted(entry for entry in path.iterdir() if is_rosbag(entry))
    if not found:
        raise DataError(f'{path}: no rosbag2 in it; expected metadata.yaml, a .mcap or .db3, or folders that hold one')
    return found
