# SPDX-License-Identifier: Apache-2.0
"""The synthetic world as a source: `synthetic:SEED` is one drive, as a vehicle with such cameras would record it.

Options: `sets` (moments, 24), `rate` (per second, 10), `width` and `height` (pixels, 640 x 400), `rig` (ddad, nuscenes
or random), `lens` (none: rectified pictures; raw: lenses with distortion), `readout` (seconds a rolling shutter takes,
0 for a global one), `points` (sparse depths per picture, 1500).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import torch

from ..rig import CameraModel, Rig, RigCamera
from .sample import DataError, EncodedImage, SurroundSample
from .source import Options, SampleSequence, Skipped, Source
from .synthetic import (
    Studio,
    SyntheticFrame,
    SyntheticRig,
    ddad_like_rig,
    nuscenes_like_rig,
    random_rig,
    raw_rig,
    render_frame,
)

JPEG_QUALITY = 88
MAX_TRUTH_DEPTH_M = 200.0
# Stamps of a recording should look like a drive, not like 1970: 2026-01-01 12:00 UTC.
DRIVE_START_NS = 1_767_268_800 * 10**9


class SyntheticSource(Source):
    """One drive through the scene of a seed; nothing is rendered before it is asked for."""

    def __init__(self, address: str, seed: int, options: Options) -> None:
        super().__init__(address, MAX_TRUTH_DEPTH_M)
        sets = options.integer('sets', 24, 1)
        rate = options.number('rate', 10.0, 0.1)
        width, height = options.integer('width', 640, 64), options.integer('height', 400, 48)
        kind = options.text('rig', 'ddad', ('ddad', 'nuscenes', 'random'))
        lens = options.text('lens', 'none', ('none', 'raw'))
        readout = options.number('readout', 0.0, 0.0, 0.1)
        points = options.integer('points', 1500, 0)
        options.finish()
        rig = _rig(kind, lens, readout, seed, height, width)
        self._sequence = SyntheticDrive(seed, rig, sets, rate, points, self.skips)

    def sequences(self) -> Sequence[SampleSequence]:
        """The one drive."""
        return (self._sequence,)


class SyntheticDrive(SampleSequence):
    """`sets` moments of scene `seed`, `rate_hz` apart. Any moment can be read by itself."""

    def __init__(
        self, seed: int, rig: SyntheticRig, sets: int, rate_hz: float, points: int, skipped: Skipped | None = None
    ) -> None:
        super().__init__(f'synthetic_{seed}', skipped)
        self._seed, self._rig, self._sets, self._rate_hz, self._points = seed, rig, sets, rate_hz, points
        self._studio: Studio | None = None
        self._real: Rig | None = None

    def __len__(self) -> int:
        return self._sets

    def read(self, index: int) -> SurroundSample:
        """Render moment `index`."""
        seconds = index / self._rate_hz
        with _one_thread():
            if self._studio is None or self._real is None:
                self._studio = Studio.of(self._seed, self._rig)
                self._real = surround_rig(self._rig, self._studio.covered_nhw)
            frame = render_frame(self._studio, index, seconds)
        stamp_ns = DRIVE_START_NS + round(seconds * 1e9)
        rng = np.random.default_rng([self._seed, index])
        return surround_sample(frame, self._real, stamp_ns, rng, self._points)


def surround_rig(rig: SyntheticRig, ego_mask_nhw: np.ndarray | None = None) -> Rig:
    """A synthetic rig as a Rig; a camera's optical frame is called `<camera>_optical_frame`."""
    masks = [None] * len(rig.names) if ego_mask_nhw is None else list(ego_mask_nhw)
    return Rig(
        tuple(
            RigCamera(name, f'{name}_optical_frame', model, base_T_cam, mask)
            for name, model, base_T_cam, mask in zip(
                rig.names, rig.camera_models(), rig.base_T_cam_n44, masks, strict=True
            )
        )
    )


def surround_sample(
    frame: SyntheticFrame, rig: Rig, stamp_ns: int, rng: np.random.Generator, points: int
) -> SurroundSample:
    """One frame with JPEG images, all it knows, and at most `points` sparse depths per camera.

    Raises DataError when an image cannot be encoded.
    """
    return SurroundSample(
        rig=rig,
        images=tuple(EncodedImage(_jpeg(image), 'jpeg') for image in frame.images_nhw3),
        stamps_ns=(stamp_ns,) * len(rig),
        depth_points=tuple(
            random_points(depth_hw, camera.model, rng, points)
            for depth_hw, camera in zip(frame.depth_nhw, rig.cameras, strict=True)
        ),
        ego_poses=((stamp_ns, frame.world_T_base),),
        depth_maps=tuple(frame.depth_nhw),
        semantics=tuple(frame.semantics_nhw),
        moving=tuple(frame.moving_nhw),
        ground_plane_base=frame.ground_plane_base,
    )


def random_points(depth_hw: np.ndarray, camera: CameraModel, rng: np.random.Generator, count: int) -> np.ndarray:
    """At most `count` points (M,3) float32 of the optical frame at random pixels of known depth up to 200 m."""
    rows, columns = np.nonzero(depth_hw <= MAX_TRUTH_DEPTH_M)
    chosen = np.sort(rng.permutation(len(rows))[:count])
    rows, columns = rows[chosen], columns[chosen]
    rays = camera.unproject(np.column_stack([columns, rows]))
    return (rays / rays[:, 2:] * depth_hw[rows, columns, None]).astype(np.float32)


def _rig(kind: str, lens: str, readout_s: float, seed: int, height: int, width: int) -> SyntheticRig:
    rng = np.random.default_rng(seed)
    if kind == 'ddad':
        rig = ddad_like_rig(height, width)
    elif kind == 'nuscenes':
        rig = nuscenes_like_rig(height, width)
    else:
        rig = random_rig(rng, height, width, cameras=int(rng.integers(1, 13)))
    if lens == 'raw':
        try:
            return raw_rig(rig, rng, readout_s)
        except ValueError as error:
            raise DataError(f'lens=raw with pictures of {width}x{height}: {error}') from error
    return rig.with_readout(readout_s)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Rendering is thousands of small operations, which cost more to share among threads than to do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _jpeg(image_hw3: np.ndarray) -> bytes:
    done, data = cv2.imencode('.jpg', image_hw3[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise DataError(f'an image of shape {image_hw3.shape} could not be encoded as JPEG')
    return data.tobytes()
