# SPDX-License-Identifier: Apache-2.0
"""One set of cases for the processor's path and the GPU's: what goes in, and what NumPy and OpenCV make of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from rigs import camera, level_pose

from semi_smd_ros.rig import Rig, RigCamera
from semi_smd_ros.runtime import SUPPORTED_ENCODINGS, CameraImage, CloudConfig, SurroundFrame, decode_raw

CHANNELS = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, '8UC4': 4}
TWO_BYTES = ('mono16', '16UC1', 'yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv')


@dataclass(frozen=True)
class PictureCase:
    """Cameras of `size` (width, height) that send noise in `encodings`, one each, None for a missing image."""

    name: str
    size: tuple[int, int]
    encodings: tuple[str | None, ...]
    lens: str | None = None
    padding: int = 0
    reduction: int = 1

    @property
    def rig(self) -> Rig:
        """The cameras, each looking elsewhere; the second one sees its own vehicle."""
        mask = np.zeros(self.size[::-1], bool)
        mask[-self.size[1] // 5 :, self.size[0] // 3 :] = True
        return Rig(
            tuple(
                RigCamera(f'cam_{i}', f'cam_{i}_optical', camera(*self.size, self.lens), level_pose(1.1 * i, 1.5 + i),
                          mask if i == 1 else None)
                for i in range(len(self.encodings))
            )
        )  # fmt: skip

    def frame(self, stamp_ns: int = 0, rig: Rig | None = None) -> SurroundFrame:
        """A set of noise; another stamp, other noise."""
        rng = np.random.default_rng([stamp_ns, *self.name.encode()])
        images = tuple(
            None if encoding is None else self._image(encoding, rng, stamp_ns) for encoding in self.encodings
        )
        return SurroundFrame(rig or self.rig, images, stamp_ns)

    def _image(self, encoding: str, rng: np.random.Generator, stamp_ns: int) -> CameraImage:
        width, height = (size // self.reduction for size in self.size)
        rows = height * 3 // 2 if encoding in ('nv12', 'nv21') else height
        row_bytes = width * CHANNELS.get(encoding, 2 if encoding in TWO_BYTES else 1)
        data = rng.integers(0, 256, (rows, row_bytes + self.padding), np.uint8)
        image = decode_raw(data.tobytes(), height, width, row_bytes + self.padding, encoding, stamp_ns)
        return replace(image, reduction=self.reduction)


# The network is 80x48 in all of them.
NETWORK = (80, 48)
ENCODINGS = sorted(SUPPORTED_ENCODINGS)
# Pixels that share their colour ask for even sizes.
ANY_SIZE = [e for e in ENCODINGS if not e.startswith(('yuv', 'uyvy', 'yuyv', 'nv'))]
# Halved once, twice, three and four times, not at all; sizes that are odd; lenses, padding, missing images.
PICTURE_CASES = [
    *(PictureCase(f'{e} halved', (176, 106), (e, e), 'plumb_bob') for e in ENCODINGS),
    *(PictureCase(f'{e} quartered', (330, 202), (e, None, e), padding=6) for e in ENCODINGS),
    *(PictureCase(f'{e} odd', (177, 107), (e,)) for e in ANY_SIZE),
    *(PictureCase(f'{e} as it is', (80, 48), (e,)) for e in ('bgr8', 'mono16', 'nv21')),
    *(PictureCase(f'{e} enlarged', (64, 40), (e,), 'equidistant') for e in ('rgb8', 'bayer_gbrg8')),
    PictureCase('eighth', (700, 431), ('bgra8', 'bayer_rggb8'), 'rational_polynomial'),
    PictureCase('sixteenth', (1290, 800), ('mono8',)),
    PictureCase('decoded smaller', (640, 384), ('bgr8', 'bgr8'), reduction=2),
    PictureCase('decoded as small as it gets', (320, 192), ('bgr8',), reduction=4),
    # 16-bit grey may differ by a level, and is left out where whole results are compared.
    PictureCase('all kinds', (320, 194), ('bgr8', 'nv12', None, 'bayer_grbg8', 'mono8', 'uyvy'), 'equidistant'),
    PictureCase('nothing', (160, 96), (None, None)),
]  # fmt: skip

EVERYTHING = CloudConfig(min_range=0, max_range=1e6, min_height=-1e6, max_height=1e6, stride=1)
CLOUD_CASES = {
    'everything': EVERYTHING,
    'default': CloudConfig(),
    'stride 3': replace(EVERYTHING, stride=3),
    'range': replace(EVERYTHING, min_range=3, max_range=7.7),
    'height': replace(EVERYTHING, min_height=0.1, max_height=2.3, stride=2),
    'confidence': replace(EVERYTHING, min_confidence=0.7),
    'labels': replace(EVERYTHING, semantics=True, stride=2),
    'all filters': CloudConfig(1, 9, 0, 5, 0.3, 2, 0.25, True),
    'voxels of 5 cm': replace(EVERYTHING, voxel_size=0.05),
    'voxels of 2 m': replace(EVERYTHING, voxel_size=2.0, stride=2),
    'voxels of 1 km': replace(EVERYTHING, voxel_size=1e3),
    'nothing': replace(EVERYTHING, min_range=9e5),
    'voxels of nothing': replace(EVERYTHING, min_range=9e5, voxel_size=0.1),
}


def hard_depths(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """What an engine might give: also holes, sky, zeros, negatives, and the very ends of filters."""
    rng = np.random.default_rng(seed)
    depth = rng.uniform(0.2, 90, shape).astype(np.float32)
    kind = rng.integers(0, 40, shape)
    odd = [np.nan, np.inf, -np.inf, 0.0, -3.0, 3.0, 7.7, 1e6, 1e-7, np.nextafter(np.float32(7.7), np.float32(9))]
    for i, value in enumerate(odd):
        depth[kind == i] = value
    confidence = rng.random(shape).astype(np.float32)
    confidence[kind == 20] = np.float32(0.7)
    confidence[kind == 21] = np.nan
    return depth, confidence


def smooth_depths(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Depths from 12 m down to 1 m, row by row, as on a street, so that many points share a voxel; some are unknown."""
    rng = np.random.default_rng(seed)
    depth = np.broadcast_to(np.linspace(12, 1, shape[1], dtype=np.float32)[None, :, None], shape)
    depth = depth * rng.uniform(0.99, 1.01, shape).astype(np.float32)
    depth[rng.random(shape) < 0.05] = 0
    return depth
