# SPDX-License-Identifier: Apache-2.0
"""What a run writes down: `log.jsonl` for programs, TensorBoard and PNG files for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch.utils.tensorboard import SummaryWriter

LOG_FILE = 'log.jsonl'


class RunLog:
    """Writes into a run's folder. Use as a context manager.

    A resumed run takes up at `step`: what was written later, by steps that will be done again, is dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        forget_later(folder / LOG_FILE, step)
        self.board = SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1 if step else None)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.board.close()

    def entry(self, step: int, minutes: float, values: dict[str, Any]) -> None:
        """A line of `log.jsonl`."""
        with (self.folder / LOG_FILE).open('a', encoding='utf-8') as file:
            file.write(json.dumps({'step': step, 'minutes': minutes, **values}) + '\n')

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        """Curves in TensorBoard, one for each value."""
        for name, value in values.items():
            self.board.add_scalar(f'{group}/{name}', value, step)

    def picture(self, name: str, picture_hw3: np.ndarray, step: int) -> None:
        """A BGR picture, in TensorBoard and as pictures/<name>_<step>.png."""
        path = self.folder / 'pictures' / f'{name}_{step:07d}.png'
        path.parent.mkdir(exist_ok=True)
        if not cv2.imwrite(str(path), picture_hw3):
            raise OSError(f'{path}: the picture could not be written')
        self.board.add_image(name, picture_hw3[..., ::-1].copy(), step, dataformats='HWC')
        self.board.flush()


def forget_later(path: Path, step: int) -> None:
    """Drop the lines of a log that are of steps after `step`, and one that was cut off."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding='utf-8').splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # the run was killed while it wrote
            continue
        if entry['step'] <= step:
            kept.append(line + '\n')
    part = path.with_suffix('.part')
    part.write_text(''.join(kept), encoding='utf-8')
    part.replace(path)
