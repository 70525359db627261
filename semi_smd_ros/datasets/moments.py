# SPDX-License-Identifier: Apache-2.0
"""Which pictures of a recording make a sample: as the recording says itself, else as they synchronise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .recording import SAMPLE_TOPIC
from .replay import suggested_slop, synchronized_stamps
from .rosbag import SurroundBag
from .sample import DataError

# Two sets farther apart are no neighbours in time.
MAX_GAP_S = 1.0
Stamps = tuple[int, ...]


@dataclass(frozen=True)
class Moment:
    """One sample: the stamps of its pictures in the rig's order; `previous`: name and stamps of what came before."""

    name: str
    stamps_ns: Stamps
    previous: tuple[str, Stamps] | None
    ground_plane_base: np.ndarray | None = None


def described_samples(bag: SurroundBag) -> list[dict[str, Any]]:
    """What `/ground_truth/sample` says, checked; empty where a recording has no such topic. Raises DataError."""
    described = []
    for _, _, msg in bag.messages((SAMPLE_TOPIC,)):
        try:
            entry = json.loads(msg.data)
            plane = entry.get('ground_plane_base')
            for stamps in (entry['stamps_ns'], *([entry['previous']['stamps_ns']] if entry['previous'] else [])):
                if not stamps or not all(isinstance(stamp, int) for stamp in stamps.values()):
                    raise ValueError('stamps_ns has no whole numbers')
            if plane is not None and np.shape(plane) != (4,):
                raise ValueError('ground_plane_base has no four numbers')
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'{bag.path}: {SAMPLE_TOPIC} says {msg.data!r:.200}; expected JSON with name, stamps_ns '
                f'and previous ({type(error).__name__}: {error})'
            ) from error
        described.append(entry)
    return described


def named_moments(bag: SurroundBag, described: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Moment]:
    """The samples that the recording describes, stamps in the order of the cameras `names`. Raises DataError."""
    moments = []
    for entry in described:
        previous, plane = entry['previous'], entry.get('ground_plane_base')
        try:
            before = None if previous is None else (str(previous['name']), _in_order(previous['stamps_ns'], names))
            name, stamps = str(entry['name']), _in_order(entry['stamps_ns'], names)
        except KeyError as error:
            raise DataError(f'{bag.path}: {SAMPLE_TOPIC} lacks {error} in {dict(entry)!r:.200}') from error
        moments.append(Moment(name, stamps, before, None if plane is None else np.asarray(plane, np.float64)))
    return moments


def synchronised_moments(order: Sequence[tuple[int, int]], cameras: int, slop_s: float | None) -> list[Moment]:
    """The complete sets among pictures (camera, stamp), in the order recorded; `slop_s` None: what their rate asks."""
    moments: list[Moment] = []
    for _, found in synchronized_stamps(order, cameras, suggested_slop(order, cameras) if slop_s is None else slop_s):
        stamps = tuple(stamp for stamp in found.stamps_ns if stamp is not None)
        before = moments[-1].stamps_ns if moments else None
        near = before is not None and 0 <= max(stamps) - max(before) <= MAX_GAP_S * 1e9
        moments.append(Moment('', stamps, ('', before) if near and before is not None else None))
    return moments


def _in_order(stamps: Mapping[str, int], names: Sequence[str]) -> Stamps:
    return tuple(stamps[name] for name in names)
