# SPDX-License-Identifier: Apache-2.0
"""From images in host memory to cloud bytes in host memory, along every path of the pipeline."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from gpu_engines import say
from gpu_report import DEVICE, GRAPH, HOST, ORT_HOST, PATHS, EndToEndRow, Latency
from gpu_runtimes import CannotRun
from stages import surround_frame

from semi_smd_ros.runtime import CloudBuilder, Engine, PipelineConfig, SurroundDepthPipeline, SurroundFrame, load_engine
from semi_smd_ros.runtime.preprocess import prepare_rig, rectify_images


def measure_paths(name: str, path: Path, options: argparse.Namespace) -> list[EndToEndRow]:
    """From six 1600x900 bgr8 images in host memory to cloud bytes in host memory, along every path."""
    cameras = options.cameras

    def tensorrt() -> Engine:
        return load_engine(path, backend='tensorrt', cameras=cameras, precision='fp16')

    make: dict[str, Callable[[], SurroundDepthPipeline]] = {
        DEVICE: lambda: SurroundDepthPipeline(tensorrt()),
        GRAPH: lambda: SurroundDepthPipeline(tensorrt(), PipelineConfig(cuda_graph=True)),
        HOST: lambda: SurroundDepthPipeline(OnHost(tensorrt())),
        ORT_HOST: lambda: SurroundDepthPipeline(ort_cuda_engine(path)),
    }
    rows = []
    for title in PATHS:
        say(f'{name}: {title}')
        try:
            rows.append(measure_path(name, title, make[title](), surround_frame(options.cameras), options))
        except Exception as error:  # noqa: BLE001  (as above)
            rows.append(EndToEndRow(name, title, f'{type(error).__name__}: {error}'))
    return rows


def ort_cuda_engine(path: Path) -> Engine:
    """ONNX Runtime on the GPU. Raises CannotRun where it would run on the CPU."""
    engine = load_engine(path, backend='onnxruntime')
    if 'CUDA' not in engine.spec.backend:
        raise CannotRun(f'it runs as {engine.spec.backend}: install onnxruntime-gpu')
    return engine


class OnHost:
    """An engine without its device tensors, so that the pipeline takes the processor's path around it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.spec = engine.spec
        self.run, self.check_rig = engine.run, engine.check_rig
        self.warm_up, self.reset_memory, self.close = engine.warm_up, engine.reset_memory, engine.close


def measure_path(
    name: str, title: str, pipeline: SurroundDepthPipeline, frame: SurroundFrame, options: argparse.Namespace
) -> EndToEndRow:
    """Time a pipeline that is closed afterwards; the depth images are brought to the host as well."""
    try:
        times = []
        for i in range(options.warm_up + options.sets):
            if i == options.warm_up:
                pipeline.stats.clear()
            now = SurroundFrame(frame.rig, frame.images, i * 100_000_000)
            start = time.perf_counter()
            result = pipeline.process(now, semantics=False)
            cloud = pipeline.cloud(result)
            depth_nhw = result.depth_nhw
            times.append((time.perf_counter() - start) * 1e3)
            last = bytes(cloud.data) if i == options.warm_up + options.sets - 1 else b''
            pipeline.recycle(cloud)
        prepared = prepare_rig(frame.rig, pipeline.engine.spec.width, pipeline.engine.spec.height)
        same_pictures = np.array_equal(result.images_nhw3, rectify_images(frame, prepared))
        same_cloud = last == bytes(CloudBuilder()(result.on_host(), pipeline.config.cloud).data)
        parity = (
            f'pictures {"equal" if same_pictures else "DIFFER"}, cloud {"equal" if same_cloud else "DIFFERS"} '
            f"(processor's path); {np.isfinite(depth_nhw).mean():.0%} of depth known"
        )
        stages = {stage: Latency.of(taken) for stage, taken in pipeline.stats.times().items()}
        return EndToEndRow(name, title, '', Latency.of(times[options.warm_up :]), stages, parity)
    finally:
        pipeline.engine.close()
