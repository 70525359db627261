# SPDX-License-Identifier: Apache-2.0
"""Sources small enough to label in a test, and a teacher that can be checked by eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper
from rigs import ring

from semi_smd_ros.datasets.sample import DataError, EncodedImage, SurroundSample
from semi_smd_ros.datasets.source import SampleSequence, Source
from semi_smd_ros.rig import Rig

START = 1_767_268_800 * 10**9
STEP = 10**8


def picture(camera: int, moment: int, width: int = 160, height: int = 96) -> np.ndarray:
    """(H,W,3) uint8: a slope of red that depends on camera and moment."""
    slope = np.linspace(20 + 10 * camera, 200 - moment % 50, width)
    red = np.tile(slope, (height, 1)).round().astype(np.uint8)
    return np.stack([red, red // 2, red // 4], -1)


def sample(rig: Rig, moment: int, name: str = '', **known: Any) -> SurroundSample:
    images = []
    for i, camera in enumerate(rig.cameras):
        pixels = picture(i, moment, camera.model.width, camera.model.height)
        images.append(EncodedImage(cv2.imencode('.png', pixels[..., ::-1])[1].tobytes(), 'png'))
    # Cameras of one moment have stamps of their own.
    stamps = tuple(START + moment * STEP + i for i in range(len(rig)))
    return SurroundSample(rig, tuple(images), stamps, name=name, **known)


class Drive(SampleSequence):
    """Moments 0, 2, 4, ...; `previous` is the moment between, as sweeps of nuScenes are. Counts what is read."""

    def __init__(self, name: str, count: int, broken: Sequence[int] = (), rig: Rig | None = None, **known: Any) -> None:
        super().__init__(name)
        self.reads = 0
        self._count, self._broken, self._known = count, broken, known
        self._rig = rig or ring(2)

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> SurroundSample:
        self.reads += 1
        if index in self._broken:
            raise DataError('this one is broken')
        return sample(self._rig, 2 * index, self.sample_name(index), **self._known)

    def read_previous(self, index: int) -> SurroundSample | None:
        return sample(self._rig, 2 * index - 1) if index else None


class Drives(Source):
    def __init__(self, *drives: Drive, address: str = 'synthetic:1') -> None:
        super().__init__(address)
        self._drives = drives
        for drive in drives:
            drive.skipped = self.skips

    def sequences(self) -> Sequence[SampleSequence]:
        return self._drives


def write_red_teacher(path: Path) -> Path:
    """An ONNX depth teacher that answers how red each pixel is, 0..1."""
    inputs = [helper.make_tensor_value_info('pixels', TensorProto.FLOAT, ['M', 3, 'H', 'W'])]
    outputs = [helper.make_tensor_value_info('red', TensorProto.FLOAT, ['M', 1, 'H', 'W'])]
    channel = helper.make_tensor('channel', TensorProto.INT64, [1], [0])
    graph = helper.make_graph(
        [helper.make_node('Gather', ['pixels', 'channel'], ['red'], axis=1)], 'red', inputs, outputs, [channel]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9), path)
    path.with_suffix('.yaml').write_text(yaml.safe_dump({'output': 'disparity', 'mean': [0, 0, 0], 'std': [1, 1, 1]}))
    return path
