# SPDX-License-Identifier: Apache-2.0
"""`semi-smd build-engine`: a TensorRT plan built, judged and cached before a vehicle needs it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from ..datasets.sample import DataError
from ..datasets.sources import open_source
from ..nodes.resources import model_path
from ..runtime import ModelError, SurroundFrame
from ..runtime.engine import PRECISIONS, Report
from ..runtime.engine.tensorrt_plan import PlanOptions, open_tensorrt
from ..runtime.engine.trust import read_checked


def run_build(
    model: str,
    precision: str,
    cameras: int | None,
    cache: Path | None,
    frames: str,
    sets: int,
    rebuild: bool,
    console: Console,
) -> dict[str, Any]:
    """Build the plan, unless it is in the cache, and run it once; returns its record.

    Raises ModelError for a model, a cache or a TensorRT that cannot be used, DataError for frames that cannot be read.
    """
    if precision not in PRECISIONS:
        raise ModelError(f'precision is {precision!r}; expected one of {", ".join(PRECISIONS)}')
    path = model_path(model)
    if not path.is_file():
        raise ModelError(f'{path}: no such model file; expected an ONNX file, for example models/semi_smd_small.onnx')
    data, digest = read_checked(path)
    given = None
    if frames:
        given = read_frames(frames, sets)
        if cameras is not None and cameras != len(given[0].rig):
            raise DataError(f'{frames} has {len(given[0].rig)} cameras; expected {cameras}, as --cameras says')
        cameras = len(given[0].rig)
    options = PlanOptions(
        cameras or 6, precision, cache, rebuild or given is not None, given, frames or PlanOptions.source
    )
    columns = (TextColumn('{task.description}'), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task('opening', total=None)

        def tell(text: str) -> None:
            progress.console.print(text, highlight=False, markup=False)

        def show(text: str, share: float | None) -> None:
            progress.update(task, description=text[:48], total=None if share is None else 1.0, completed=share or 0.0)

        engine = open_tensorrt(data, digest, path, options, Report(tell, tell, show))
        try:
            progress.update(task, description='running it', total=None)
            begin = time.perf_counter()
            engine.warm_up(options.cameras)
            seconds = time.perf_counter() - begin
        finally:
            engine.close()
    record = engine.record
    console.print(
        f'{engine.spec.name} {engine.spec.version}, {options.cameras} cameras, {precision}, {engine.spec.backend}: '
        f'built in {record["seconds"]} s, warmed up in {seconds:.1f} s',
        highlight=False,
        markup=False,
    )
    console.print(json.dumps(record['key']), highlight=False, markup=False)
    return record


def read_frames(address: str, sets: int) -> Sequence[SurroundFrame]:
    """The first consecutive sets of a source's first sequence. Raises DataError where it has none."""
    with open_source(address) as source:
        sequences = source.sequences()
        samples = list(islice(sequences[0], sets)) if sequences else []
    if not samples:
        raise DataError(f'{address}: no set can be read; expected a source as semi-smd record takes it')
    rig = samples[0].rig
    return [
        SurroundFrame(
            rig,
            tuple(image.camera_image(stamp) for image, stamp in zip(sample.images, sample.stamps_ns, strict=True)),
            sample.stamp_ns,
        )
        for sample in samples
    ]
