# SPDX-License-Identifier: Apache-2.0
"""Every engine of one model in one run: latency in turns, memory, depth against the reference."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from gpu_report import COMPILED, EAGER, ENGINES, ORT_CUDA, TENSORRT, EngineRow, Latency, Parity
from gpu_runtimes import Arrays, OrtCuda, Runtime, TensorRt, Torch, memory_used

from semi_smd_ros.runtime import load_engine
from semi_smd_ros.runtime.cuda.driver import CudaContext
from semi_smd_ros.runtime.engine.samples import read_samples, sample_inputs

REFERENCE = 'ONNX Runtime CPU FP32'
# Engines take turns of so many sets.
BLOCK = 25


def say(text: str) -> None:
    """Progress; a run takes minutes, most of it for building engines."""
    sys.stderr.write(text + '\n')


def measure_engines(
    name: str, network: Any, path: Path, context: CudaContext, options: argparse.Namespace
) -> list[EngineRow]:
    """Every engine of ENGINES for one model: latency in turns, memory, and depth against the reference."""
    plain = OrtCuda(path, ('CPUExecutionProvider',))
    height, width = plain.input_size
    sets = [
        {'images': given.images, 'intrinsics': given.intrinsics, 'base_T_cam': given.base_T_cam,
         'camera_valid': given.camera_valid}
        for given in sample_inputs(read_samples(options.cameras), width, height)
    ]  # fmt: skip
    reference = depths(plain, sets)
    plain.close()
    running: dict[tuple[str, str], tuple[Runtime, float, Parity]] = {}
    skipped: dict[tuple[str, str], str] = {}
    with ExitStack() as closing:
        for engine in ENGINES:
            say(f'{name}: {engine[0]} {engine[1]}')
            try:
                made: list[np.ndarray] = []
                runtime, memory = memory_used(
                    context,
                    lambda engine=engine: make_runtime(*engine, network, path, options.cameras),
                    lambda runtime, made=made: made.extend(depths(runtime, sets)),
                )
                closing.callback(runtime.close)
                running[engine] = runtime, memory, Parity.of(REFERENCE, np.stack(reference), np.stack(made))
            # Whatever a library comes up with, the others are measured.
            except Exception as error:  # noqa: BLE001
                skipped[engine] = f'{type(error).__name__}: {error}'
        times = in_turns({engine: entry[0] for engine, entry in running.items()}, sets[-1], options)
    rows = []
    for engine in ENGINES:
        if engine in running:
            _, memory, parity = running[engine]
            rows.append(EngineRow(name, *engine, '', Latency.of(times[engine]), memory, parity))
        else:
            rows.append(EngineRow(name, *engine, skipped[engine]))
    return rows


def make_runtime(runtime: str, precision: str, network: Any, path: Path, cameras: int) -> Runtime:
    """One engine of ENGINES. Raises CannotRun, ModelError or what its library raises where it cannot be had."""
    if runtime == TENSORRT:
        return TensorRt(load_engine(path, backend='tensorrt', cameras=cameras, precision=precision))
    if runtime in (EAGER, COMPILED):
        return Torch(network, compiled=runtime == COMPILED)
    assert runtime == ORT_CUDA
    return OrtCuda(path)


def depths(runtime: Runtime, sets: Sequence[Arrays]) -> list[np.ndarray]:
    """Depth of consecutive sets, the first without memory."""
    made = []
    for i, arrays in enumerate(sets):
        runtime.put(arrays)
        runtime.run(use_memory=i > 0)
        made.append(np.array(runtime.depth()))
    return made


def in_turns(
    runtimes: dict[tuple[str, str], Runtime], arrays: Arrays, options: argparse.Namespace
) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of every timed call; engines take turns, block by block."""
    times: dict[tuple[str, str], list[float]] = {engine: [] for engine in runtimes}
    for runtime in runtimes.values():
        runtime.put(arrays)
        for _ in range(options.warm_up):
            runtime.run(use_memory=True)
    while any(len(taken) < options.sets for taken in times.values()):
        for engine, runtime in runtimes.items():
            runtime.run(use_memory=True)
            for _ in range(min(BLOCK, options.sets - len(times[engine]))):
                start = time.perf_counter()
                runtime.run(use_memory=True)
                times[engine].append((time.perf_counter() - start) * 1e3)
    return times
