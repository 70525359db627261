# SPDX-License-Identifier: Apache-2.0
"""What each stage of the live path costs, beside the least that it could cost on this machine in this run.

    python benchmarks/stages.py [--json]

Six 1600x900 images and the shipped model. CPU time of the process, median of 15 runs; compare the ratios, since the
milliseconds are those of one machine and its load.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from semi_smd_ros.rig import CameraModel, Rig, RigCamera
from semi_smd_ros.runtime import (
    CameraImage,
    CloudConfig,
    EngineInputs,
    PipelineConfig,
    SurroundDepthPipeline,
    SurroundFrame,
    SurroundSynchronizer,
    decode_compressed,
    load_engine,
)
from semi_smd_ros.runtime.preprocess import engine_inputs, prepare_rig, rectify_images

MODEL = Path(__file__).resolve().parents[1] / 'models' / 'semi_smd_small.onnx'
CAMERAS, WIDTH, HEIGHT, RUNS = 6, 1600, 900, 15


def cpu_ms(work: Callable[[], Any]) -> float:
    """Median CPU milliseconds of one call, all threads counted."""
    work()
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        times.append((time.process_time() - start) * 1e3)
    return statistics.median(times)


def wall_ms(work: Callable[[], Any]) -> float:
    """Median wall-clock milliseconds of one call."""
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def surround_frame() -> SurroundFrame:
    """Six distorted cameras around a vehicle, with noise that no cache can shortcut."""
    rng = np.random.default_rng(0)
    cameras = []
    for i in range(CAMERAS):
        yaw = 2 * np.pi * i / CAMERAS
        pose = np.eye(4)
        turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        pose[:3, :3] = turn @ [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
        pose[2, 3] = 1.5
        K = np.array([[1260.0, 0, 800], [0, 1260, 450], [0, 0, 1]])
        model = CameraModel(WIDTH, HEIGHT, K, np.array([-0.1, 0.02, 0, 0, 0]))
        cameras.append(RigCamera(f'camera_{i}', f'camera_{i}', model, pose))
    images = tuple(CameraImage(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8), 'bgr8', 0) for _ in range(CAMERAS))
    return SurroundFrame(Rig(tuple(cameras)), images, 0)


def synchronizer_us() -> float:
    """CPU microseconds of one message, six streams in order."""
    messages = [(camera, frame * 10**8 + camera * 10**6) for frame in range(3000) for camera in range(CAMERAS)]

    def run() -> None:
        synchronizer = SurroundSynchronizer([str(i) for i in range(CAMERAS)])
        for camera, stamp in messages:
            synchronizer.add(camera, stamp, None)

    return cpu_ms(run) * 1e3 / len(messages)


def measure() -> dict[str, float]:
    """Every figure, by name."""
    frame = surround_frame()
    engine = load_engine(MODEL)
    spec = engine.spec
    prepared = prepare_rig(frame.rig, spec.width, spec.height)
    rectified = rectify_images(frame, prepared)
    pipeline = SurroundDepthPipeline(engine, PipelineConfig(cloud=CloudConfig(stride=1, max_height=100)))
    depth = pipeline.process(frame)
    cloud_bytes = np.frombuffer(pipeline.cloud(depth).data, np.uint8)
    jpegs = [cv2.imencode('.jpg', image.pixels)[1].tobytes() for image in frame.images if image is not None]
    maps = [cv2.convertMaps(*_plain_map(spec.width, spec.height), cv2.CV_16SC2) for _ in range(CAMERAS)]
    pixels = [image.pixels for image in frame.images if image is not None]
    inputs: EngineInputs = engine_inputs(frame, prepared, rectified)
    return {
        'synchronizer_us_per_message': synchronizer_us(),
        'decode_jpeg_ms': cpu_ms(lambda: [decode_compressed(data, 'jpeg', 0) for data in jpegs]),
        'preprocess_ms': cpu_ms(lambda: engine_inputs(frame, prepared, rectify_images(frame, prepared))),
        'six_remaps_ms': cpu_ms(
            lambda: [cv2.remap(p, *m, cv2.INTER_LINEAR) for p, m in zip(pixels, maps, strict=True)]
        ),
        'engine_ms_wall': wall_ms(lambda: engine.run(inputs, use_memory=False)),
        'cloud_ms': cpu_ms(lambda: pipeline.cloud(depth)),
        'cloud_copy_ms': cpu_ms(cloud_bytes.copy),
        'cloud_megabytes': cloud_bytes.size / 1e6,
    }


def _plain_map(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    u, v = np.meshgrid(np.arange(width) * WIDTH / width, np.arange(height) * HEIGHT / height)
    return u.astype(np.float32), v.astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')
    figures = measure()
    if parser.parse_args().json:
        sys.stdout.write(json.dumps(figures, indent=2) + '\n')
        return 0
    preprocess = figures['preprocess_ms'] / figures['six_remaps_ms']
    cloud = figures['cloud_ms'] / figures['cloud_copy_ms']
    sys.stdout.write(
        f'synchroniser          {figures["synchronizer_us_per_message"]:8.2f} us a message\n'
        f'decode six JPEGs      {figures["decode_jpeg_ms"]:8.1f} ms\n'
        f'preprocess            {figures["preprocess_ms"]:8.1f} ms = {preprocess:.1f} x six bare cv2.remap\n'
        f'engine (wall)         {figures["engine_ms_wall"]:8.1f} ms\n'
        f'cloud, every pixel    {figures["cloud_ms"]:8.1f} ms = {cloud:.1f} x one copy of its '
        f'{figures["cloud_megabytes"]:.1f} MB\n'
    )
    return 0


if __name__ == '__main__':
    sys.exit(main())
