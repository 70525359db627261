# SPDX-License-Identifier: Apache-2.0
"""Which scenes and samples of nuScenes a split or a paper's protocol means, as rules.

The official splits are lists of scene names. Two sample lists are in use for surround-view depth:

- 6019 samples (SurroundDepth and others): every key frame of the 150 validation scenes, `split=val`.
- 5416 samples (VFDepth and others): the first nine tenths of that list, 5417, in batches of four of which the last,
  incomplete one is dropped: `select=vfdepth`.

Checked on the lists that both projects publish: VFDepth's is the beginning of SurroundDepth's, token for token, and
cut at floor(0.9 * 6019). Not checked on the tables themselves: that their order, by scene and time, is the list's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

SPLITS = ('val', 'train', 'test', 'all')
SELECTIONS = ('all', 'vfdepth')
_VFDEPTH_SHARE = 0.9
_VFDEPTH_BATCH = 4

# Numbers of the scenes, which are called scene-0003 and so on. Whatever trainval has besides is train.
_VAL = (
    '3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 632-638 770-771 775 '
    '777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 1059-1073'
)
_MINI_VAL = '103 916'

Item = TypeVar('Item')


def _numbers(ranges: str) -> frozenset[int]:
    pairs = [part.split('-') for part in ranges.split()]
    return frozenset(n for pair in pairs for n in range(int(pair[0]), int(pair[-1]) + 1))


VAL_SCENES = _numbers(_VAL)
MINI_VAL_SCENES = _numbers(_MINI_VAL)


def in_split(scene: str, version: str, split: str) -> bool:
    """Whether scene `scene` of tables `version` (v1.0-mini, ...) belongs to `split`."""
    if split == 'all':
        return True
    if version == 'v1.0-test' or split == 'test':
        return version == 'v1.0-test' and split == 'test'
    match = re.fullmatch(r'scene-(\d{4})', scene)
    val = MINI_VAL_SCENES if version == 'v1.0-mini' else VAL_SCENES
    return (match is not None and int(match[1]) in val) == (split == 'val')


def select(scenes: Sequence[tuple[str, Sequence[Item]]], selection: str) -> list[tuple[str, Sequence[Item]]]:
    """(scene, samples) of `scenes` that `selection` keeps, in the order given."""
    if selection == 'all':
        return list(scenes)
    total = sum(len(samples) for _, samples in scenes)
    left = int(_VFDEPTH_SHARE * total) // _VFDEPTH_BATCH * _VFDEPTH_BATCH
    kept = []
    for name, samples in scenes:
        kept.append((name, samples[:left]))
        left -= len(kept[-1][1])
    return kept
