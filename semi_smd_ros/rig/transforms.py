# SPDX-License-Identifier: Apache-2.0
"""A transform tree with interpolation in time: tf's bookkeeping without ROS."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .camera import RigError

# Transforms kept of one frame, and frames: ten seconds at 1 kHz, and far more frames than a vehicle has. Whatever
# somebody publishes, memory stays bounded.
MAX_HISTORY = 10_000
MAX_FRAMES = 1_000


class TransformError(LookupError):
    """A transform that cannot be given; the message names the frames."""


class FrameMissing(TransformError):
    """A frame that nobody has published, or that is not connected to the other."""


class TransformExtrapolation(TransformError):
    """A stamp outside of what the tree has seen."""


def transform_from(translation_xyz: npt.ArrayLike, quaternion_xyzw: npt.ArrayLike) -> np.ndarray:
    """(4,4) transform from a translation in metres and a quaternion (normalised here).

    Raises RigError for a quaternion of zeros or one that is not finite.
    """
    q = np.asarray(quaternion_xyzw, dtype=np.float64)
    norm = np.linalg.norm(q)
    if q.shape != (4,) or not np.isfinite(norm) or norm < 1e-6:
        raise RigError(f'rotation is {q.tolist()}; expected a quaternion x, y, z, w of length 1')
    x, y, z, w = q / norm
    transform = np.eye(4)
    transform[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    transform[:3, 3] = translation_xyz
    return transform


def quaternion_from(rotation_33: np.ndarray) -> np.ndarray:
    """Quaternion x, y, z, w (w >= 0) of a rotation matrix; stable for every angle (Shepperd's method)."""
    r = np.asarray(rotation_33, dtype=np.float64)
    squares = np.array([r[0, 0], r[1, 1], r[2, 2], np.trace(r)])
    largest = int(np.argmax(squares))
    if largest == 3:
        q = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + squares[3]])
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q = np.empty(4)
        q[i] = 1 + r[i, i] - r[j, j] - r[k, k]
        q[j] = r[j, i] + r[i, j]
        q[k] = r[k, i] + r[i, k]
        q[3] = r[k, j] - r[j, k]
    q /= np.linalg.norm(q)
    return q if q[3] >= 0 else -q


def interpolate(a: np.ndarray, b: np.ndarray, fraction: float) -> np.ndarray:
    """Between transforms `a` (0) and `b` (1): translation linear, rotation by slerp."""
    qa, qb = quaternion_from(a[:3, :3]), quaternion_from(b[:3, :3])
    dot = float(qa @ qb)
    if dot < 0:
        qb, dot = -qb, -dot
    angle = np.arccos(min(dot, 1.0))
    if angle < 1e-6:
        q = (1 - fraction) * qa + fraction * qb
    else:
        q = (np.sin((1 - fraction) * angle) * qa + np.sin(fraction * angle) * qb) / np.sin(angle)
    return transform_from((1 - fraction) * a[:3, 3] + fraction * b[:3, 3], q)


@dataclass
class _Edge:
    """History of one child's transform to its parent, ordered by stamp; a static edge has one entry."""

    parent: str
    static: bool
    stamps_ns: list[int] = field(default_factory=list)
    transforms: list[np.ndarray] = field(default_factory=list)

    def insert(self, stamp_ns: int, transform: np.ndarray, oldest_ns: int, most: int) -> None:
        at = bisect.bisect_left(self.stamps_ns, stamp_ns)
        if at < len(self.stamps_ns) and self.stamps_ns[at] == stamp_ns:
            self.transforms[at] = transform
        else:
            self.stamps_ns.insert(at, stamp_ns)
            self.transforms.insert(at, transform)
        keep = max(bisect.bisect_left(self.stamps_ns, oldest_ns), len(self.stamps_ns) - most)
        del self.stamps_ns[:keep], self.transforms[:keep]

    def at(self, stamp_ns: int | None, child: str) -> np.ndarray:
        if self.static:
            return self.transforms[-1]
        if stamp_ns is None:
            return self.transforms[-1]
        i = bisect.bisect_left(self.stamps_ns, stamp_ns)
        if i < len(self.stamps_ns) and self.stamps_ns[i] == stamp_ns:
            return self.transforms[i]
        if i == 0 or i == len(self.stamps_ns):
            raise TransformExtrapolation(
                f'{self.parent} -> {child} at {stamp_ns} ns is outside of what is known '
                f'({self.stamps_ns[0]} to {self.stamps_ns[-1]} ns)'
            )
        before, after = self.stamps_ns[i - 1], self.stamps_ns[i]
        return interpolate(self.transforms[i - 1], self.transforms[i], (stamp_ns - before) / (after - before))


class TransformTree:
    """Parent-child transforms, static or over time, and the path between any two frames. Thread-safe.

    Of every moving frame the last `cache_time_s` seconds are kept, and at most `max_history` transforms.
    """

    def __init__(self, cache_time_s: float = 10.0, max_history: int = MAX_HISTORY) -> None:
        self._cache_ns = int(cache_time_s * 1e9)
        self._max_history = max_history
        self._edges: dict[str, _Edge] = {}
        self._lock = threading.RLock()

    def set_transform(
        self,
        parent: str,
        child: str,
        parent_T_child: np.ndarray,
        stamp_ns: int | None = None,
        static: bool = False,
    ) -> None:
        """Store that `parent_T_child` (4,4) takes points of `child` into `parent`, for all time or at a stamp.

        Raises RigError when the frames are empty or equal, a moving transform comes without a stamp, or there are
        too many frames.
        """
        if not parent or not child or parent == child:
            raise RigError(f'transform from {parent!r} to {child!r}; expected two different, non-empty frames')
        if not static and stamp_ns is None:
            raise RigError(f'{parent} -> {child} is not static and has no stamp; expected one in nanoseconds')
        transform = np.array(parent_T_child, dtype=np.float64)
        if transform.shape != (4, 4) or not np.isfinite(transform).all():
            raise RigError(f'{parent} -> {child} is {transform.tolist()}; expected a finite 4x4 matrix')
        with self._lock:
            edge = self._edges.get(child)
            if edge is None and len(self._edges) >= MAX_FRAMES:
                raise RigError(f'{parent} -> {child} would be one of more than {MAX_FRAMES} frames; expected fewer')
            if edge is None or edge.parent != parent or edge.static != static:
                edge = self._edges[child] = _Edge(parent, static)
            if static:
                edge.stamps_ns, edge.transforms = [0], [transform]
            else:
                assert stamp_ns is not None
                newest = max(stamp_ns, edge.stamps_ns[-1] if edge.stamps_ns else stamp_ns)
                edge.insert(stamp_ns, transform, newest - self._cache_ns, self._max_history)

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> np.ndarray:
        """`target_T_source` (4,4) at a stamp, or at the latest stamp that all moving parts of the path have.

        Raises FrameMissing (naming the frame that is unknown or not connected) or TransformExtrapolation.
        """
        with self._lock:
            target_path, source_path = self._path(target), self._path(source)
            known = self.frames()
            unknown = [frame for frame in (target, source) if frame not in known and target != source]
            if unknown:
                raise FrameMissing(f'frame {" and ".join(map(repr, unknown))} unknown; known are {sorted(known)}')
            common = next((frame for frame in source_path if frame in target_path), None)
            if common is None:
                raise FrameMissing(
                    f'frames {target!r} and {source!r} are not connected: '
                    f'{target!r} hangs on {target_path[-1]!r}, {source!r} on {source_path[-1]!r}'
                )
            up = source_path[: source_path.index(common)]
            down = target_path[: target_path.index(common)]
            if stamp_ns is None:
                stamp_ns = self._latest((*up, *down))
            return np.linalg.inv(self._chain(down, stamp_ns)) @ self._chain(up, stamp_ns)

    def latest_stamp(self, target: str, source: str) -> int | None:
        """The latest stamp (ns) that all moving parts between two frames have; None where nothing moves."""
        with self._lock:
            target_path, source_path = self._path(target), self._path(source)
            return self._latest(sorted(set(target_path) ^ set(source_path)))

    def _latest(self, frames: Sequence[str]) -> int | None:
        moving = [edge for edge in map(self._edges.get, frames) if edge is not None and not edge.static]
        return min((edge.stamps_ns[-1] for edge in moving), default=None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._edges.clear()

    def frames(self) -> set[str]:
        """Every frame that has been named as a parent or a child."""
        with self._lock:
            return set(self._edges) | {edge.parent for edge in self._edges.values()}

    def _path(self, frame: str) -> list[str]:
        path = [frame]
        while path[-1] in self._edges:
            parent = self._edges[path[-1]].parent
            if parent in path:
                raise TransformError(f'the transforms form a loop: {" -> ".join([*path, parent])}')
            path.append(parent)
        return path

    def _chain(self, frames: list[str], stamp_ns: int | None) -> np.ndarray:
        root_T_frame = np.eye(4)
        for frame in frames:
            root_T_frame = self._edges[frame].at(stamp_ns, frame) @ root_T_frame
        return root_T_frame
