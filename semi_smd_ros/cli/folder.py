# SPDX-License-Identifier: Apache-2.0
"""Result folders of the commands. What a user has put there is never removed."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path


def timed_folder(parent: Path) -> Path:
    """The absolute path of `parent`/<time>, which does not exist yet."""
    name = datetime.datetime.now().strftime('%Y-%m-%d_%H-%M-%S')
    folder = (parent / name).resolve()
    for number in range(2, 100):
        if not folder.exists():
            break
        folder = folder.with_name(f'{name}_{number}')
    return folder


def own_results(folder: Path, results: Sequence[str], marker: str, writer: str) -> list[Path]:
    """Which of the `results` lie in `folder` from an earlier run, to be replaced.

    Raises FileExistsError when there are such things without the `marker` that a run of `writer` leaves, or `folder`
    is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f'{folder} is a file; name a folder for the results')
    present = [folder / name for name in results if (folder / name).exists()]
    if present and not (folder / marker).is_file():
        names = ', '.join(path.name for path in present)
        raise FileExistsError(f'{folder} holds {names}, which no {writer} has written; name another folder')
    return present


def point_latest(folder: Path) -> None:
    """Let the link `latest` beside `folder` point to it; a `latest` that is no link is left alone."""
    link = folder.parent / 'latest'
    if link.is_symlink() or not link.exists():
        fresh = folder.parent / f'.latest-{os.getpid()}'
        fresh.symlink_to(folder.name)
        fresh.replace(link)
