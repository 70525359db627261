# SPDX-License-Identifier: Apache-2.0
"""A synthetic surround world, rendered with torch from nothing but a seed."""

from __future__ import annotations

from .capture import Studio
from .photographs import Photographs
from .rigs import SyntheticRig, ddad_like_rig, nuscenes_like_rig, random_rig, raw_rig
from .sequence import SyntheticFrame, prepare, render_batch, render_frame, render_prepared, render_sequence
from .stage import ScenePlan

__all__ = [
    'Photographs',
    'ScenePlan',
    'Studio',
    'SyntheticFrame',
    'SyntheticRig',
    'ddad_like_rig',
    'nuscenes_like_rig',
    'prepare',
    'random_rig',
    'raw_rig',
    'render_batch',
    'render_frame',
    'render_prepared',
    'render_sequence',
]
