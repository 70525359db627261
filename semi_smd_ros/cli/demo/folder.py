# SPDX-License-Identifier: Apache-2.0
"""The result folder of a demo run. What a user has put there is never removed."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path

from .protocol import DemoError

# What a run writes. An earlier run's are replaced, and only where its marker says that they are a run's.
RESULTS = ('summary.json', 'pictures', 'output', 'recording', 'logs', 'params.yaml')
MARKER = '.semi_smd_demo'


def prepare_folder(out: Path | None, scene: Path) -> Path:
    """Make the result folder `out`, or out/<time> without one, and return its absolute path.

    Raises DemoError, and removes nothing, when the folder holds things of the same names that no demo wrote, or when
    the scene lies inside of it.
    """
    if out is None:
        folder = Path('out') / datetime.datetime.now().strftime('%Y-%m-%d_%H-%M-%S')
        folder.mkdir(parents=True)
        (folder / MARKER).touch()
        return folder.resolve()
    folder = out.resolve()
    if folder == scene.resolve() or folder in scene.resolve().parents:
        raise DemoError(f'the scene {scene} lies in the result folder {out}; name another folder')
    folder.mkdir(parents=True, exist_ok=True)
    present = [name for name in RESULTS if (folder / name).exists()]
    if present and not (folder / MARKER).is_file():
        raise DemoError(f'{out} holds {", ".join(present)}, which no demo has written; name another folder')
    for name in present:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / MARKER).touch()
    return folder


def point_latest(folder: Path) -> None:
    """Let the link `latest` beside `folder` point to it; a `latest` that is no link is left alone."""
    link = folder.parent / 'latest'
    if link.is_symlink() or not link.exists():
        fresh = folder.parent / f'.latest-{os.getpid()}'
        fresh.symlink_to(folder.name)
        fresh.replace(link)
