# SPDX-License-Identifier: Apache-2.0
"""From a data source to a recording."""

from __future__ import annotations

from pathlib import Path

from rich.progress import track

from ..datasets.ddad import DdadScene
from ..datasets.recording import write_recording
from ..datasets.sample import DataError


def record_source(source: str, out: Path, sets: int, rate_hz: float, width: int, height: int) -> int:
    """Write the samples of `ddad:PATH` or `synthetic:SEED` as a rosbag2; returns how many.

    Raises DataError for a source that is unknown or cannot be read; an interrupted run leaves no half recording.
    """
    kind, _, where = source.partition(':')
    if kind == 'ddad' and where:
        scene = DdadScene(where)
        return write_recording(track(scene, 'recording', total=len(scene)), out)
    if kind == 'synthetic' and where.isdecimal():
        # Rendering needs torch, which playing and converting recordings do not.
        import torch

        from ..datasets.synthetic_source import synthetic_samples

        # Its many small operations cost more to share among threads than to do.
        torch.set_num_threads(1)
        samples = synthetic_samples(int(where), sets, rate_hz, width, height)
        return write_recording(track(samples, 'rendering', total=sets), out)
    raise DataError(f'source is {source!r}; expected ddad:PATH or synthetic:SEED with a whole number')
