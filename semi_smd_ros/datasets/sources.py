# SPDX-License-Identifier: Apache-2.0
"""Every source by its address: ddad:PATH, nuscenes:PATH, rosbag:PATH, synthetic:SEED."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .sample import DataError
from .source import Options, Source

FORMS = 'ddad:PATH, nuscenes:PATH, rosbag:PATH or synthetic:SEED, options as in ddad:PATH?split=val'


def open_source(address: str, on_progress: Callable[[str, float], None] | None = None, **options: Any) -> Source:
    """Open `address`; `options` in code stand over those in the address, and None means not given.

    ddad:PATH       a scene JSON, its folder, or a data set in the DGP layout; split=, masks=, occlusion=
    nuscenes:PATH   the folder that holds v1.0-*; version=, split=, select=, context=, masks=, occlusion=
    rosbag:PATH     a rosbag2 folder, .mcap or .db3, or a folder of such; cameras=, base_frame=, world_frame=,
                    odometry=, slop=, max_depth=
    synthetic:SEED  the synthetic world from a whole number; see `synthetic_source`

    A leading ~ is the home folder, as in a shell, which leaves it alone behind a colon. `on_progress` is told what is
    being read and how much of it is done (0 to 1) where opening takes long.
    Raises DataError for an address or option that is unknown and for data that cannot be read.
    """
    kind, where, in_address = parse_address(address, _OPENERS, 'source', FORMS)
    given = {name: value for name, value in options.items() if value is not None}
    return _OPENERS[kind](address, where, Options(address, {**in_address, **given}, on_progress))


def parse_address(address: str, kinds: Collection[str], what: str, forms: str) -> tuple[str, str, dict[str, str]]:
    """Kind, place and options of KIND:PLACE?NAME=VALUE&...; a leading ~ of the place is the home folder.

    Raises DataError, saying that `what` was expected to be one of `forms`, for a kind that is not in `kinds`, no place,
    or options that cannot be read.
    """
    kind, _, rest = address.partition(':')
    where, query = _split(rest)
    if kind not in kinds or not where:
        raise DataError(f'{what} is {address!r}; expected {forms}')
    pairs = [pair.partition('=') for pair in query.split('&') if pair]
    if not all(name and equals for name, equals, _ in pairs):
        raise DataError(f'{what} is {address!r}: its options cannot be read; expected {forms}')
    return kind, where, {name: value for name, _, value in pairs}


def absolute_address(address: str) -> str:
    """The address of the same source from any working directory. Raises DataError for one that is no source's."""
    kind, where, options = parse_address(address, _OPENERS, 'source', FORMS)
    if kind != 'synthetic':
        where = os.path.abspath(where)
    query = '&'.join(f'{name}={value}' for name, value in options.items())
    return f'{kind}:{where}' + (f'?{query}' if query else '')


def _split(rest: str) -> tuple[str, str]:
    """Path and options; a question mark in the name of something that exists is no mark of options."""
    path = os.path.expanduser(rest)
    if '?' in rest and not os.path.exists(path):
        path, _, query = path.rpartition('?')
        return path, query
    return path, ''


def _ddad(address: str, where: str, options: Options) -> Source:
    from .ddad_source import DdadSource

    return DdadSource(address, Path(where), options)


def _nuscenes(address: str, where: str, options: Options) -> Source:
    from .nuscenes import NuScenesSource

    return NuScenesSource(address, Path(where), options)


def _rosbag(address: str, where: str, options: Options) -> Source:
    from .rosbag_source import RosbagSource

    return RosbagSource(address, Path(where), options)


def _synthetic(address: str, where: str, options: Options) -> Source:
    if not where.isdecimal():
        raise DataError(f'source is {address!r}; expected synthetic:SEED with a whole number')
    # Rendering needs torch, which no other source does.
    from .synthetic_source import SyntheticSource

    return SyntheticSource(address, int(where), options)


_OPENERS: dict[str, Callable[[str, str, Options], Source]] = {
    'ddad': _ddad,
    'nuscenes': _nuscenes,
    'rosbag': _rosbag,
    'synthetic': _synthetic,
}
