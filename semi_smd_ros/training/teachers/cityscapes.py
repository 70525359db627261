# SPDX-License-Identifier: Apache-2.0
"""From a segmenter's own class names to the network's: by name, never by index."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from semi_smd_ros.network.config import CITYSCAPES_CLASSES, IGNORE_CLASS
from semi_smd_ros.runtime import ModelError


def class_lookup(names: Sequence[str], where: str) -> np.ndarray:
    """(len(names),) uint8: the train id of each of a model's classes, 255 for those that Cityscapes does not judge.

    Case, underscores and hyphens do not matter. Raises ModelError, beginning with `where`, when a class of
    CITYSCAPES_CLASSES is not among `names` or is there twice.
    """
    known = [normal(name) for name in names]
    missing = [name for name in CITYSCAPES_CLASSES if name not in known]
    if missing:
        shown = ', '.join(names[:30]) + (', ...' if len(names) > 30 else '')
        raise ModelError(
            f'{where}: its {len(names)} classes ({shown}) lack {", ".join(missing)}; expected a model with the 19 '
            'classes of Cityscapes by name'
        )
    twice = [name for name in CITYSCAPES_CLASSES if known.count(name) > 1]
    if twice:
        raise ModelError(f'{where}: has more than one class called {", ".join(twice)}; expected each once')
    return np.array([CITYSCAPES_CLASSES.index(n) if n in CITYSCAPES_CLASSES else IGNORE_CLASS for n in known], np.uint8)


def normal(name: str) -> str:
    """'Traffic_Light' and 'traffic-light' are 'traffic light'."""
    return re.sub(r'[\s_-]+', ' ', name).strip().lower()
