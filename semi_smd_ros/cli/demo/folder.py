# SPDX-License-Identifier: Apache-2.0
"""The result folder of a demo run. What a user has put there is never removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..folder import own_results, timed_folder
from .protocol import DemoError

# What a run writes. An earlier run's are replaced, and only where its marker says that they are a run's.
RESULTS = ('summary.json', 'pictures', 'output', 'recording', 'logs', 'params.yaml')
MARKER = '.semi_smd_demo'


def prepare_folder(out: Path | None, scene: Path) -> Path:
    """Make the result folder `out`, or out/<time> without one, and return its absolute path.

    Raises FileExistsError when the folder holds things of the same names that no demo wrote, DemoError when the scene
    lies inside of it; then nothing is removed.
    """
    folder = timed_folder(Path('out')) if out is None else out.resolve()
    if folder == scene.resolve() or folder in scene.resolve().parents:
        raise DemoError(f'the scene {scene} lies in the result folder {out}; name another folder')
    folder.mkdir(parents=True, exist_ok=True)
    for path in own_results(folder, RESULTS, MARKER, 'demo'):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / MARKER).touch()
    return folder
