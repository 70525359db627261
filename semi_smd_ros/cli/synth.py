# SPDX-License-Identifier: Apache-2.0
"""`semi-smd synth`: look at the synthetic world, or write a drive through it as pictures and truth."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from ..datasets.sample import DataError
from ..datasets.synthetic import (
    Photographs,
    Studio,
    SyntheticFrame,
    SyntheticRig,
    ddad_like_rig,
    nuscenes_like_rig,
    random_rig,
    raw_rig,
    render_frame,
)
from ..datasets.synthetic.preview import contact_sheet

RIGS = ('ddad', 'nuscenes', 'random', 'raw')


def synth(
    seed: int,
    out: Path | None,
    preview: bool,
    console: Console,
    sets: int | None = None,
    rate_hz: float = 10.0,
    width: int = 320,
    height: int = 192,
    rig: str = '',
    photographs: Path | None = None,
) -> Path:
    """Write a contact sheet of varied frames, or the frames of one drive; returns what was written.

    With `preview`, one PNG: the first frames of `sets` scenes from `seed` on, beside depth and semantics, with rigs of
    all kinds. Otherwise a folder: `<set>_<camera>.png`, and `<set>.npz` with depth, semantics, masks, calibration and
    poses. An interrupted run leaves neither.

    Args:
        seed: of the scene, or of the first scene.
        out: file or folder to write; must not exist, but a contact sheet replaces an older file. Without,
            out/synth/<seed>.png or out/synth/<seed>.
        preview: the contact sheet.
        console: where progress shows.
        sets: moments of the drive (24), or scenes on the sheet (8).
        rate_hz: moments a second.
        width, height: of each picture, pixels.
        rig: ddad, nuscenes, random or raw (random, with lens distortion and often a rolling shutter); empty for a
            DDAD-like drive, and for all kinds in turn on a sheet.
        photographs: a folder of them, shown on surfaces instead of noise.

    Raises:
        DataError: an unknown rig, or a folder without usable photographs.
        FileExistsError: the folder exists, or a folder has the contact sheet's name.
    """
    if rig not in ('', *RIGS):
        raise DataError(f'rig is {rig!r}; expected one of {", ".join(RIGS)}')
    shown = None if photographs is None else Photographs.read(photographs)
    out = out or Path('out', 'synth', f'{seed}.png' if preview else str(seed))
    sets = sets or (8 if preview else 24)
    if out.is_dir() if preview else out.exists():
        raise FileExistsError(f'{out} exists; name another {"file" if preview else "folder"}')
    # Rendering is thousands of small operations, which cost more to share among threads than to do.
    torch.set_num_threads(1)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f'.{out.name}.{os.getpid()}.part')
    try:
        if preview:
            _write_sheet(part, seed, sets, width, height, rig, console, shown)
        else:
            part.mkdir()
            _write_drive(part, seed, make_rig(rig or 'ddad', seed, height, width), sets, rate_hz, console, shown)
        os.replace(part, out)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
    return out


def make_rig(kind: str, seed: int, height: int, width: int) -> SyntheticRig:
    """The rig of this kind that belongs to a seed; at most six cameras, so that sheets stay readable."""
    rng = np.random.default_rng(seed)
    if kind == 'ddad':
        return ddad_like_rig(height, width)
    if kind == 'nuscenes':
        return nuscenes_like_rig(height, width)
    rig = random_rig(rng, height, width, cameras=int(rng.integers(3, 7)))
    return raw_rig(rig, rng) if kind == 'raw' else rig


def describe(studio: Studio, frame: SyntheticFrame, kind: str) -> str:
    """One line about a frame: scene, rig and exposures."""
    scene, rig = studio.stage.scene, studio.rig
    text = f'seed {studio.stage.seed}: {scene.kind}, {kind} rig'
    if rig.distortion:
        text += f' ({rig.distortion[0][0]})'
    if rig.readout_s > 0.0:
        text += f', rolling shutter {rig.readout_s * 1e3:.0f} ms'
    exposures = ' '.join(f'{seconds * 1e3:.1f}' for seconds in frame.exposure_s_n)
    return f'{text}; exposures {exposures} ms'


def _write_sheet(
    path: Path,
    seed: int,
    scenes: int,
    width: int,
    height: int,
    kind: str,
    console: Console,
    photographs: Photographs | None,
) -> None:
    frames, titles = [], []
    for index in track(range(scenes), 'rendering', console=console):
        own = seed + index
        own_kind = kind or RIGS[index % len(RIGS)]
        studio = Studio.of(own, make_rig(own_kind, own, height, width))
        frame = render_frame(studio, 0, 0.0, photographs=photographs)
        frames.append(frame)
        titles.append(describe(studio, frame, own_kind))
    _write_png(path, contact_sheet(frames, titles))


def _write_drive(
    folder: Path,
    seed: int,
    rig: SyntheticRig,
    sets: int,
    rate_hz: float,
    console: Console,
    photographs: Photographs | None,
) -> None:
    studio = Studio.of(seed, rig)
    models = rig.camera_models()
    for index in track(range(sets), 'rendering', console=console):
        frame = render_frame(studio, index, index / rate_hz, photographs=photographs)
        for name, image in zip(rig.names, frame.images_nhw3, strict=True):
            _write_png(folder / f'{index:06d}_{name}.png', image)
        np.savez_compressed(
            folder / f'{index:06d}.npz',
            names=np.array(rig.names),
            stamp_ns=frame.stamp_ns,
            depth_nhw=frame.depth_nhw,
            semantics_nhw=frame.semantics_nhw,
            ego_mask_nhw=frame.ego_mask_nhw,
            moving_nhw=frame.moving_nhw,
            exposure_s_n=frame.exposure_s_n,
            world_T_base=frame.world_T_base,
            world_T_base_rows=frame.world_T_base_rows,
            ground_plane_base=frame.ground_plane_base,
            base_T_cam_n44=rig.base_T_cam_n44,
            intrinsics_n33=rig.intrinsics_n33,
            distortion_model=models[0].distortion_model,
            distortion_n=np.stack([model.D for model in models]),
            readout_s=rig.readout_s,
        )


def _write_png(path: Path, image_hw3: np.ndarray) -> None:
    done, data = cv2.imencode('.png', image_hw3[..., ::-1])
    if not done:
        raise OSError(f'{path}: a picture of shape {image_hw3.shape} could not be encoded as PNG')
    path.write_bytes(data.tobytes())
