# SPDX-License-Identifier: Apache-2.0
"""What every stage beside the engine costs, against the least that it could cost on this machine in this run.

    python benchmarks/stages.py [--json]

Six 1600x900 images, a network of 640x352. CPU time, median of 15 runs that take turns; compare the ratios, since the
milliseconds are those of one machine and its load. OpenCV runs in one thread, for the stages and for what they are
compared with. Ends with 1 where a limit is broken.
"""

from __future__ import annotations

import argparse
import array
import dataclasses
import sys

import cv2
import numpy as np
from measure import Figure, cpu_ms, show

from semi_smd_ros.rig import CameraModel, Rig, RigCamera
from semi_smd_ros.runtime import (
    CameraImage,
    CloudBuilder,
    CloudConfig,
    SurroundDepth,
    SurroundFrame,
    decode_compressed,
    decode_raw,
)
from semi_smd_ros.runtime.preprocess import PreparedRig, engine_inputs, prepare_rig, rectify_images

CAMERAS, WIDTH, HEIGHT = 6, 1600, 900
NET_WIDTH, NET_HEIGHT = 640, 352


def surround_frame(count: int = CAMERAS) -> SurroundFrame:
    """`count` distorted cameras around a vehicle, with noise that no cache can shortcut."""
    rng = np.random.default_rng(0)
    cameras = []
    for i in range(count):
        yaw = 2 * np.pi * i / count
        pose = np.eye(4)
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        pose[:3, :3] = turn @ [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
        pose[2, 3] = 1.5
        K = np.array([[1260.0, 0, 800], [0, 1260, 450], [0, 0, 1]])
        model = CameraModel(WIDTH, HEIGHT, K, np.array([-0.1, 0.02, 0, 0, 0]))
        cameras.append(RigCamera(f'camera_{i}', f'camera_{i}', model, pose))
    images = tuple(CameraImage(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8), 'bgr8', 0) for _ in range(count))
    return SurroundFrame(Rig(tuple(cameras)), images, 0)


def plain_map(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """A fixed-point map that only resizes: the bare `cv2.remap` that rectifying is compared with."""
    u, v = np.meshgrid(np.arange(width) * WIDTH / width, np.arange(height) * HEIGHT / height)
    return cv2.convertMaps(u.astype(np.float32), v.astype(np.float32), cv2.CV_16SC2)


def street(prepared: PreparedRig, images_nhw3: np.ndarray) -> SurroundDepth:
    """Sky, walls at 30 m, a flat ground below, the vehicle's own bonnet in the lowest rows."""
    row = np.arange(NET_HEIGHT, dtype=np.float32)
    depth = np.full(NET_HEIGHT, np.inf, np.float32)
    depth[120:] = 30
    depth[200:] = np.clip(1.5 * 500 / (row[200:] - 175), 1, 30)
    depth[330:] = np.nan
    depth_nhw = np.broadcast_to(depth[None, :, None], (CAMERAS, NET_HEIGHT, NET_WIDTH)).copy()
    confidence = np.full_like(depth_nhw, 0.5)
    rig = prepared.source
    semantics = np.zeros((CAMERAS, NET_HEIGHT // 4, NET_WIDTH // 4), np.uint8)
    return SurroundDepth(
        0, (0,) * CAMERAS, rig, prepared.rectified, (True,) * CAMERAS, depth_nhw, confidence, semantics, images_nhw3,
        None, None,
    )  # fmt: skip


def input_figures(frame: SurroundFrame, prepared: PreparedRig) -> list[Figure]:
    """From message bytes to the network's input."""
    pixels = [image.pixels for image in frame.images if image is not None]
    messages = [array.array('B', image.tobytes()) for image in pixels]
    jpegs = [cv2.imencode('.jpg', image)[1].tobytes() for image in pixels]
    maps = [plain_map(NET_WIDTH, NET_HEIGHT) for _ in range(CAMERAS)]
    images_nhw3 = rectify_images(frame, prepared)

    def decode_and_rectify() -> np.ndarray:
        decoded = [decode_raw(data, HEIGHT, WIDTH, 3 * WIDTH, 'bgr8', 0) for data in messages]
        return rectify_images(SurroundFrame(frame.rig, tuple(decoded), 0), prepared)

    times = cpu_ms(
        remaps=lambda: [cv2.remap(p, *m, cv2.INTER_LINEAR) for p, m in zip(pixels, maps, strict=True)],
        rectify=decode_and_rectify,
        to_float=lambda: engine_inputs(frame, prepared, images_nhw3),
        jpeg=lambda: [decode_compressed(data, 'jpeg', 0) for data in jpegs],
    )
    least = times['remaps']
    return [
        Figure('six bare cv2.remap', least, 'ms'),
        Figure('decode, rectify, resize', times['rectify'], 'ms'),
        Figure('  of six bare remaps', times['rectify'] / least, 'x', 1.5),
        Figure('to float planes', times['to_float'], 'ms'),
        Figure('  everything before the engine', (times['rectify'] + times['to_float']) / least, 'x'),
        Figure('decode six JPEGs of noise', times['jpeg'], 'ms', note='libjpeg; real pictures take half of it'),
    ]


def cloud_figures(prepared: PreparedRig, images_nhw3: np.ndarray) -> list[Figure]:
    """From depth to the bytes of a PointCloud2."""
    scene = street(prepared, images_nhw3)
    full = dataclasses.replace(scene, depth_nhw=np.full_like(scene.depth_nhw, 20.0))
    every = CloudConfig(stride=1, min_height=-1e3, max_height=1e3)
    voxels = CloudConfig(stride=1, voxel_size=0.2)
    build = [CloudBuilder() for _ in range(4)]
    packed = np.frombuffer(CloudBuilder()(full, every).data, np.uint8)
    thinned = build[3](scene, voxels)

    def sent(index: int, depth: SurroundDepth, config: CloudConfig) -> None:
        # As in the node, where a cloud's memory is free once it has been published.
        build[index].recycle(build[index](depth, config))

    times = cpu_ms(
        copy=packed.copy,
        every=lambda: sent(0, full, every),
        labelled=lambda: sent(1, full, dataclasses.replace(every, semantics=True)),
        default=lambda: sent(2, scene, CloudConfig()),
        voxels=lambda: sent(3, scene, voxels),
    )
    return [
        Figure('one copy of the cloud', times['copy'], 'ms', note=f'{packed.size / 1e6:.1f} MB, every pixel'),
        Figure('depth to cloud bytes', times['every'], 'ms'),
        Figure('  of one copy', times['every'] / times['copy'], 'x', 3.0),
        Figure('  with labels', times['labelled'] / times['copy'], 'x'),
        Figure('a street, default filters', times['default'], 'ms', note='every second pixel and row'),
        Figure('a street, voxels of 0.2 m', times['voxels'], 'ms', note=f'{len(thinned.data) / 1e6:.1f} MB'),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    frame = surround_frame()
    prepared = prepare_rig(frame.rig, NET_WIDTH, NET_HEIGHT)
    figures = [*input_figures(frame, prepared), *cloud_figures(prepared, rectify_images(frame, prepared))]
    return show(figures, arguments.json)


if __name__ == '__main__':
    sys.exit(main())
