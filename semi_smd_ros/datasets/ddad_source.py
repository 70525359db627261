# SPDX-License-Identifier: Apache-2.0
"""DDAD as a source: one scene, or all scenes of a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .ddad import DdadScene
from .files import read_json_object
from .sample import DataError
from .source import Options, SampleSequence, Source

# The DGP layout numbers its splits.
SPLITS = {'train': '0', 'val': '1', 'test': '2'}
MAX_DEPTH_M = 200.0


class DdadSource(Source):
    """`path`: a scene JSON, a scene's folder, a data set's JSON (`scene_dataset*.json`, `ddad.json`) or its folder.

    Options: `split` (train, val, test or all; without, val where the data set has one, else all), `masks` (folder of
    ego masks, see `files.read_ego_mask`), `occlusion` (filter, or none: keep LiDAR points the camera cannot see).
    Raises DataError where no scene can be read; a scene that cannot be is skipped and counted.
    """

    def __init__(self, address: str, path: Path, options: Options) -> None:
        super().__init__(address, MAX_DEPTH_M)
        split = options.text('split', '', (*SPLITS, 'all'))
        masks = options.text('masks')
        keep_hidden = options.text('occlusion', 'filter', ('filter', 'none')) == 'none'
        options.finish()
        self._scenes: list[DdadScene] = []
        files = _scene_files(path, split)
        for i, file in enumerate(files):
            options.tell('reading scenes', i / len(files))
            try:
                if not file.is_file():
                    raise DataError(f'{file}: no such file, though the data set in {path} names it')
                scene = DdadScene(file, Path(masks).expanduser() if masks else None, not keep_hidden, self.skips)
            except DataError as error:
                if len(files) == 1:
                    raise
                self.skips.add(f'scene {file.parent.name}', error)
                continue
            self._scenes.append(scene)
        if not self._scenes:
            raise DataError(f'{path}: none of its {len(files)} scenes can be read; the first: {self.skipped[0]}')

    def sequences(self) -> Sequence[SampleSequence]:
        return self._scenes


def _scene_files(path: Path, split: str) -> list[Path]:
    """The scene JSONs that are meant, whether they exist or not. Raises DataError."""
    if not path.exists():
        raise DataError(f'{path}: no such file or folder; expected a scene or data set in the DGP layout')
    lists = [path] if path.is_file() else sorted({*path.glob('scene_dataset*.json'), *path.glob('ddad*.json')})
    for file in lists:
        content = read_json_object(file, 'a scene or a list of scenes in the DGP layout')
        if 'scene_splits' in content:
            return _listed(file, content, split)
    found = [path] if path.is_file() else [f for f in sorted(path.glob('scene_*.json')) if f not in lists]
    if not found:
        raise DataError(f'{path}: no scene_*.json and no scene_dataset*.json; expected a scene in the DGP layout')
    if split not in ('', 'all'):
        raise DataError(f'{path}: is a single scene and has no split {split!r}; leave split away')
    return found


def _listed(file: Path, content: dict[str, Any], split: str) -> list[Path]:
    """The scenes of a split as a data set's JSON lists them."""
    try:
        splits = {key: [str(name) for name in entry['filenames']] for key, entry in content['scene_splits'].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f'{file}: expected scene_splits with filenames each (lacks {error})') from error
    names = {number: name for name, number in SPLITS.items()}
    if split == '':
        split = 'val' if splits.get(SPLITS['val']) else 'all'
    listed = [n for names_ in splits.values() for n in names_] if split == 'all' else splits.get(SPLITS[split], [])
    if not listed:
        has = ', '.join(names.get(key, key) for key, scenes in splits.items() if scenes) or 'none'
        raise DataError(f'{file}: has no scenes of split {split}; it has {has}')
    return [file.parent / name for name in dict.fromkeys(listed)]
