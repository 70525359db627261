# SPDX-License-Identifier: Apache-2.0
"""The rules by which depth is scored: our own, and those of the two papers whose figures people compare with.

The papers' rules are as their public code has them (github.com/weiyithu/SurroundDepth, github.com/42dot/VFDepth).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..datasets.sample import DataError

NAMES = ('default', 'surrounddepth', 'vfdepth')


@dataclass(frozen=True)
class Protocol:
    """One set of rules; `text` says them in full.

    `min_depth_m`..`max_depth_m`: truth outside is left out, predictions are clipped; `open_range` leaves out truth at
    the ends too. `flip`: the answers for the rig and for its mirror image are averaged. `masks`: the rigs' ego masks
    are applied. `batch`: pixels of that many consecutive images of a camera are pooled before they are scored, and a
    last, smaller batch is dropped unless it is the only one. `median_after_clip`, `lower_median`: how the median
    scale is taken. `differs` says what another than the named paper's rule is in force.
    """

    name: str
    min_depth_m: float
    max_depth_m: float
    open_range: bool = False
    flip: bool = False
    masks: bool = True
    batch: int = 1
    median_after_clip: bool = False
    lower_median: bool = False
    differs: str = ''

    @property
    def text(self) -> str:
        """The rules in words, for every report."""
        low, high = f'{self.min_depth_m:g}', f'{self.max_depth_m:g}'
        ends = f'truth strictly between {low} and {high} m' if self.open_range else f'truth from {low} to {high} m'
        pooled = (
            f'pixels of {self.batch} consecutive images of a camera pooled (a last, smaller batch is dropped unless it '
            'is the only one), then mean per camera over batches'
            if self.batch > 1
            else 'per image, then mean per camera'
        )
        median = 'lower median' if self.lower_median else 'median'
        scaled = 'clipped predictions' if self.median_after_clip else 'predictions before clipping'
        sentences = [
            f'Protocol {self.name}: metric (primary), beside it median-scaled ({median} of truth / {median} of '
            f'{scaled}, per {"batch and camera" if self.batch > 1 else "image"})',
            'the runtime pipeline as on the vehicle, temporal memory carried within a sequence and wiped between',
            'no crop',
            'flip averaging: inverse depths of the rig and of its mirror image (own memory), the outer 5 to 10 % of a '
            'row from one of the two' if self.flip else 'no flip averaging',
            'prediction resized to the size of the truth, that is sampled bilinearly at the projection of every truth '
            'point (next to sky: the nearest pixel)',
            f'{ends}, predictions clipped to that, sky counts as {high} m',
            'points without an answer are left out and told as coverage',
            'ego vehicle masked where the source has masks' if self.masks else 'no ego mask',
            f'{pooled}, then mean over cameras',
        ]  # fmt: skip
        if self.name != 'default':
            sentences.append(
                'truth of DDAD and nuScenes is every LiDAR point in view, also those hidden from the camera, unless '
                "the data's address says otherwise; not as in the paper: the network sees the set before too"
            )
        if self.flip:
            sentences.append("nor as in the paper: the mirror image's rig is mirrored too")
        if self.differs:
            sentences.append(self.differs)
        return '; '.join(sentences) + '.'


def protocol_named(name: str, max_depth_m: float, masks: bool | None = None) -> Protocol:
    """The protocol `name` for a source scored to `max_depth_m`; `masks` stands over its own rule on ego masks.

    Raises DataError for an unknown name.
    """
    known = {
        'default': Protocol('default', 0.1, max_depth_m),
        'surrounddepth': Protocol('surrounddepth', 0.1, max_depth_m, open_range=True, flip=True, masks=False),
        'vfdepth': Protocol(
            'vfdepth', 0.0, max_depth_m, open_range=True, batch=4, median_after_clip=True, lower_median=True
        ),
    }
    if name not in known:
        raise DataError(f'protocol is {name!r}; expected one of {", ".join(NAMES)}')
    protocol = known[name]
    if masks is None or masks == protocol.masks:
        return protocol
    differs = '' if name == 'default' else f'not as in the paper: {"ego masks" if masks else "no ego masks"}'
    return replace(protocol, masks=masks, differs=differs)


def source_options(name: str, address: str) -> dict[str, Any]:
    """Options for `open_source` with which a source gives the protocol's samples and truth; the address's own stand.

    Both papers keep LiDAR points that the camera cannot see. SurroundDepth scores all 6019 samples of the nuScenes
    validation set, VFDepth 5416 of them.
    """
    kind, _, rest = address.partition(':')
    wanted = {}
    if name in NAMES[1:] and kind in ('ddad', 'nuscenes'):
        wanted['occlusion'] = 'none'
        if kind == 'nuscenes':
            wanted['select'] = 'vfdepth' if name == 'vfdepth' else 'all'
    return {key: value for key, value in wanted.items() if f'{key}=' not in rest.partition('?')[2]}
