# SPDX-License-Identifier: Apache-2.0
"""Sequences of surround frames from a seed: the synthetic world's front door."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from .capture import Setup, Shots, Studio, take
from .photographs import Photographs
from .rigs import SyntheticRig
from .stage import ScenePlan

VIEWS_AT_ONCE = 192
_PIXELS_AT_ONCE = VIEWS_AT_ONCE * 192 * 320
_START_NS = 1_000_000_000


@dataclass(frozen=True)
class SyntheticFrame:
    """One instant of a sequence, N cameras of H x W pixels.

    Attributes:
        stamp_ns: integer nanoseconds.
        images_nhw3: uint8 RGB after camera effects.
        depth_nhw: float32 depth along each optical axis, metres; +inf sky, NaN on the ego vehicle.
        semantics_nhw: uint8 Cityscapes train ids; 255 on the ego vehicle.
        ego_mask_nhw: bool, True where the ego vehicle covers the view.
        world_T_base: (4, 4) float64, metres.
        ground_plane_base: (4,) float64, (n, d) with n.x + d = 0: the road's plane under the vehicle, base coordinates.
        moving_nhw: bool, True on things that move by themselves.
        exposure_s_n: (N,) float64, how long each camera exposed this picture.
        world_T_base_rows: (2, 4, 4) float64, where the vehicle was when the first and the last row were exposed.

    With a rolling shutter the stamp and `world_T_base` are those of the middle row; row v is exposed
    `(v / (H - 1) - 1/2) * readout_s` later, and the vehicle moves at constant velocity and spin from the first row to
    the last. Depth, semantics and picture of a row are what that row saw, depth along the optical axis it had. With
    global shutters all rows share the stamp. Exposures are centred on these times.
    """

    stamp_ns: int
    images_nhw3: np.ndarray
    depth_nhw: np.ndarray
    semantics_nhw: np.ndarray
    ego_mask_nhw: np.ndarray
    world_T_base: np.ndarray
    ground_plane_base: np.ndarray
    moving_nhw: np.ndarray
    exposure_s_n: np.ndarray
    world_T_base_rows: np.ndarray


def render_sequence(
    seed: int,
    rig: SyntheticRig,
    frames: int = 2,
    rate_hz: float = 10.0,
    device: str = 'cpu',
    photographs: Photographs | None = None,
) -> list[SyntheticFrame]:
    """Render `frames` surround frames of scene `seed` with `rig`.

    Same seed and rig give the same bytes; another seed gives another scene, light, speed and vehicle tilt. On a CPU
    rendering takes one thread, whatever torch is set to: to use more cores, render in several processes.

    Args:
        seed: any integer >= 0.
        rig: the cameras.
        frames: how many frames, at least 1.
        rate_hz: frames per second.
        device: where torch renders.
        photographs: shown on surfaces instead of noise.

    Raises:
        ValueError: frames or rate out of range.
    """
    _check(frames, rate_hz)
    with _rendering():
        studio = Studio.of(seed, rig)
        return [render_frame(studio, k, k / rate_hz, device, photographs) for k in range(frames)]


def render_frame(
    studio: Studio, index: int, seconds: float, device: str = 'cpu', photographs: Photographs | None = None
) -> SyntheticFrame:
    """Frame `index` of a sequence, `seconds` after its start; it depends on no other frame."""
    with _rendering():
        return _frames([studio.setup(index, seconds)], torch.device(device), photographs)[0]


def prepare(scene: int | ScenePlan, rig: SyntheticRig, frames: int = 2, rate_hz: float = 10.0) -> list[Setup]:
    """The host's part of a sequence, for `render_prepared`: numpy only, no device; it may be pickled.

    It takes a processor longer than a GPU needs for the rest, so several worker processes should do it meanwhile.

    Args:
        scene: a seed, or a plan made from one beforehand.
        rig, frames, rate_hz: as for `render_sequence`.

    Raises:
        ValueError: frames or rate out of range.
    """
    _check(frames, rate_hz)
    studio = Studio.of(scene, rig)
    return [studio.setup(k, k / rate_hz) for k in range(frames)]


def render_batch(
    scenes: Sequence[int | ScenePlan],
    rigs: Sequence[SyntheticRig],
    frames: int = 2,
    rate_hz: float = 10.0,
    device: str = 'cpu',
    photographs: Photographs | None = None,
) -> list[list[SyntheticFrame]]:
    """Render the sequences of many scenes in few large tensor operations, as a GPU likes them: one list per scene.

    How many operations there are hardly depends on the number of scenes. Pictures equal those of `render_sequence` on
    the same device within one grey level, and depths within 1e-4 of themselves, but for some pixels in ten thousand
    where two things meet: the order of float32 sums depends on the size of a batch.

    Args:
        scenes: seeds, or plans made from seeds beforehand.
        rigs: the rig of each scene; numbers of cameras may differ, the size of the pictures may not.
        frames, rate_hz, device, photographs: as for `render_sequence`.

    Raises:
        ValueError: frames or rate out of range, or sizes that differ.
    """
    if len(scenes) != len(rigs) or not scenes:
        raise ValueError(f'got {len(scenes)} scenes and {len(rigs)} rigs, expected as many of each and at least one')
    prepared = [prepare(s, r, frames, rate_hz) for s, r in zip(scenes, rigs, strict=True)]
    return render_prepared(prepared, device, photographs)


def render_prepared(
    prepared: Sequence[Sequence[Setup]], device: str = 'cpu', photographs: Photographs | None = None
) -> list[list[SyntheticFrame]]:
    """The sequences that `prepare` made, rendered as by `render_batch`: one list of frames for each.

    At most VIEWS_AT_ONCE views of 192x320 pixels, or as many pixels in other sizes, are rendered together (one frame
    at least). Memory on the device goes with that number: see benchmarks/synthetic.py.

    Raises:
        ValueError: pictures differ in size.
    """
    setups = [setup for sequence in prepared for setup in sequence]
    done: list[SyntheticFrame] = []
    with _rendering():
        for group in _groups(setups):
            done += _frames(group, torch.device(device), photographs)
    frames = iter(done)
    return [[next(frames) for _ in sequence] for sequence in prepared]


def _groups(setups: Sequence[Setup]) -> list[list[Setup]]:
    """Setups that are rendered together."""
    sizes = {setup.covered_nhw.shape[1:] for setup in setups}
    if len(sizes) > 1:
        raise ValueError(f'got views of {len(sizes)} sizes {sorted(sizes)}, expected one; render them apart')
    groups: list[list[Setup]] = []
    pixels = 0
    for setup in setups:
        pixels += setup.covered_nhw.size
        if not groups or pixels > _PIXELS_AT_ONCE:
            groups.append([])
            pixels = setup.covered_nhw.size
        groups[-1].append(setup)
    return groups


@contextmanager
def _rendering() -> Iterator[None]:
    """No gradients, and one thread on the CPU.

    The work is thousands of small operations: shared among threads they take longer, ten times longer beside other
    work, and sums in another order give other bytes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def _check(frames: int, rate_hz: float) -> None:
    if frames < 1 or rate_hz <= 0.0:
        raise ValueError(f'got {frames} frames at {rate_hz} Hz, expected at least 1 frame and a positive rate')


def _frames(
    setups: Sequence[Setup], device: torch.device, photographs: Photographs | None = None
) -> list[SyntheticFrame]:
    """One frame of each setup, from pictures taken together."""
    shots: Shots = take(setups, device, photographs)
    arrays = {
        name: getattr(shots, name).cpu().numpy()
        for name in ('images_vhw3', 'depth_vhw', 'semantics_vhw', 'ego_mask_vhw', 'moving_vhw')
    }
    frames, first = [], 0
    for setup in setups:
        mine = slice(first, first + len(setup.looks))
        first = mine.stop
        frames.append(
            SyntheticFrame(
                stamp_ns=_START_NS + round(setup.seconds * 1e9),
                images_nhw3=arrays['images_vhw3'][mine],
                depth_nhw=arrays['depth_vhw'][mine],
                semantics_nhw=arrays['semantics_vhw'][mine],
                ego_mask_nhw=arrays['ego_mask_vhw'][mine],
                world_T_base=setup.world_T_base,
                ground_plane_base=setup.ground_plane_base,
                moving_nhw=arrays['moving_vhw'][mine],
                exposure_s_n=shots.exposure_s_v[mine],
                world_T_base_rows=setup.world_T_base_rows,
            )
        )
    return frames
