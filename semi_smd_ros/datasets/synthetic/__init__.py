# SPDX-License-Identifier: Apache-2.0
"""A synthetic surround world, rendered with torch from nothing but a seed."""

from __future__ import annotations

from .rigs import SyntheticRig, ddad_like_rig, nuscenes_like_rig, random_rig
from .sequence import SyntheticFrame, render_sequence

__all__ = [
    'SyntheticFrame',
    'SyntheticRig',
    'ddad_like_rig',
    'nuscenes_like_rig',
    'random_rig',
    'render_sequence',
]
