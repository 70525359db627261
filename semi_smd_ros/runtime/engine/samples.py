# SPDX-License-Identifier: Apache-2.0
"""Frames to judge an engine by: a few consecutive sets that ship with the package, or that come from any source.

The file `sample_frames.npz` holds rectified pictures (JPEG) of consecutive moments of one rig, with their calibration.
`tools/make_sample_frames.py` makes it from any source; what ships are moments of the synthetic demo drive.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ...rig import CameraModel, Rig, RigCamera
from ..frame import SurroundFrame
from ..images import CameraImage, decode_compressed
from ..preprocess import engine_inputs, prepare_rig, rectify_images
from .contract import Engine, EngineInputs, EngineOutputs, ModelError

SAMPLES = Path(__file__).with_name('sample_frames.npz')
QUALITY = 85


def write_samples(path: Path, frames: Sequence[SurroundFrame], width: int, height: int) -> None:
    """Store frames of one rig as rectified pictures of `width` x `height`."""
    prepared = prepare_rig(frames[0].rig, width, height)
    arrays: dict[str, np.ndarray] = {
        'names': np.array(prepared.rectified.names),
        'intrinsics': prepared.rectified.intrinsics_n33,
        'base_T_cam': prepared.rectified.base_T_cam_n44,
        'stamps_ns': np.array([frame.stamp_ns for frame in frames]),
        'size': np.array([width, height]),
    }
    for k, frame in enumerate(frames):
        for i, picture_hw3 in enumerate(rectify_images(frame, prepared)):
            settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
            _, data = cv2.imencode('.jpg', cv2.cvtColor(picture_hw3, cv2.COLOR_RGB2BGR), settings)
            arrays[f'jpeg_{k}_{i}'] = data.ravel()
    np.savez(path, allow_pickle=False, **arrays)


def read_samples(cameras: int, path: Path = SAMPLES) -> list[SurroundFrame]:
    """The stored frames for a rig of `cameras`: the first of the stored ones, or all of them and again from the first.

    Raises ModelError for a file that is missing or broken.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        width, height = (int(size) for size in arrays['size'])
        stored = len(arrays['names'])
        rig = Rig(
            tuple(
                RigCamera(
                    f'{arrays["names"][i % stored]}_{i}',
                    '',
                    CameraModel(width, height, arrays['intrinsics'][i % stored], np.zeros(0)),
                    arrays['base_T_cam'][i % stored],
                )
                for i in range(cameras)
            )
        )
        frames = []
        for k, stamp in enumerate(arrays['stamps_ns']):
            pictures = [arrays[f'jpeg_{k}_{i % stored}'].tobytes() for i in range(cameras)]
            images: tuple[CameraImage, ...] = tuple(decode_compressed(data, 'jpeg', int(stamp), 1) for data in pictures)
            frames.append(SurroundFrame(rig, images, int(stamp)))
    except (EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f'{path}: no sample frames can be read ({error}): install the package again') from error
    return frames


def sample_inputs(frames: Iterable[SurroundFrame], width: int, height: int) -> list[EngineInputs]:
    """What a network of `width` x `height` is fed for `frames` of one rig, as the pipeline does it."""
    inputs: list[EngineInputs] = []
    prepared = None
    for frame in frames:
        prepared = prepared or prepare_rig(frame.rig, width, height)
        made = engine_inputs(frame, prepared, rectify_images(frame, prepared))
        inputs.append(EngineInputs(made.images.copy(), made.intrinsics, made.base_T_cam, made.camera_valid))
    return inputs


def run_samples(engine: Engine, inputs: Iterable[EngineInputs]) -> list[EngineOutputs]:
    """The answers to consecutive sets, the first without memory. The engine has no memory afterwards."""
    answers = []
    for k, given in enumerate(inputs):
        got = engine.run(given, use_memory=k > 0)
        answers.append(
            EngineOutputs(got.depth.copy(), got.confidence.copy(), got.semantics.copy(), got.ego_motion.copy())
        )
    engine.reset_memory()
    return answers
