# SPDX-License-Identifier: Apache-2.0
"""A folder of pseudo-labels while it is written: who made them, what is done, and one writer at a time."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import IO, Any

from semi_smd_ros.datasets.sample import DataError

from .label_files import CLASSES, DISPARITY, KINDS, label_path, write_atomically

FORMAT = 1
MANIFEST, DONE, LOCK = 'manifest.json', 'done.jsonl', '.lock'
TEACHERS = {DISPARITY: 'depth', CLASSES: 'semantics'}  # the manifest's entry for each kind of label


def read_manifest(folder: Path) -> dict[str, Any]:
    """What made the labels in `folder`. Raises DataError where there are none, or they are of another format."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataError(f'{path}: no such file; expected a folder written by `semi-smd label`') from error
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read: {error}') from error
    if not isinstance(manifest, dict) or manifest.get('format') != FORMAT:
        found = manifest.get('format') if isinstance(manifest, dict) else manifest
        raise DataError(f'{path}: format {found!r:.40}; this program reads {FORMAT}: label again')
    return manifest


class LabelFolder:
    """Opens `folder` to add labels made as `manifest` says, or to go on with those in it.

    Raises DataError when it holds labels made in another way, or when another process writes there; FileExistsError
    when it holds something else. Use as a context manager.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self._manifest = {'format': FORMAT, **manifest}
        self._kinds = [kind for kind in KINDS if manifest[TEACHERS[kind]] is not None]
        self._done: dict[str, tuple[str, list[tuple[str, int]]]] = {}
        self._lock: IO[str] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> LabelFolder:
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f'{self.folder} is a file; name a folder for the labels')
        self.folder.mkdir(parents=True, exist_ok=True)
        is_ours = (self.folder / MANIFEST).exists()
        others = [] if is_ours else [entry.name for entry in self.folder.iterdir() if not _may_precede(entry.name)]
        if others:
            raise FileExistsError(
                f'{self.folder} holds {", ".join(sorted(others)[:5])} but no {MANIFEST}; name another folder'
            )
        self._lock = (self.folder / LOCK).open('w')
        try:
            # The system lets go of it when the process ends, in whatever way.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise DataError(f'{self.folder}: another process is labelling into it; wait for it or stop it') from error
        try:
            self._open()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._log, self._lock):
            if file is not None:
                file.close()

    def is_done(self, sample: str) -> bool:
        """Whether all labels of this sample are there."""
        sequence, pictures = self._done.get(sample, ('', []))
        return bool(pictures) and all(self.has(sequence, stamp_ns, camera) for camera, stamp_ns in pictures)

    def has(self, sequence: str, stamp_ns: int, camera: str) -> bool:
        """Whether the labels of one picture are there."""
        return all(label_path(self.folder, sequence, stamp_ns, camera, kind).is_file() for kind in self._kinds)

    def mark_done(self, sample: str, sequence: str, pictures: list[tuple[str, int]]) -> None:
        """Note that the labels of these (camera, stamp) are written."""
        assert self._log is not None
        entry = {'sample': sample, 'sequence': sequence, 'pictures': pictures}
        self._log.write(json.dumps(entry).encode('utf-8') + b'\n')
        self._log.flush()
        self._done[sample] = (sequence, pictures)

    def _open(self) -> None:
        if (self.folder / MANIFEST).exists():
            self._check(read_manifest(self.folder))
        else:
            text = json.dumps(self._manifest, indent=2) + '\n'
            write_atomically(self.folder / MANIFEST, text.encode('utf-8'))
        path = self.folder / DONE
        data = path.read_bytes() if path.exists() else b''
        # A process that was killed may leave half a line.
        whole = data[: data.rfind(b'\n') + 1]
        try:
            for line in whole.splitlines():
                entry = json.loads(line)
                pictures = [(str(camera), int(stamp)) for camera, stamp in entry['pictures']]
                self._done[str(entry['sample'])] = (str(entry['sequence']), pictures)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'{path}: cannot be read ({error}); delete it, and what is there is labelled anew'
            ) from error
        self._log = path.open('r+b' if path.exists() else 'w+b')
        self._log.truncate(len(whole))
        self._log.seek(len(whole))

    def _check(self, found: dict[str, Any]) -> None:
        for name in sorted({*self._manifest, *found}):
            there, here = found.get(name), json.loads(json.dumps(self._manifest.get(name)))
            if there != here:
                raise DataError(
                    f'{self.folder}: its labels have {name} {_shown(there)}; this run has {_shown(here)}: name another '
                    'folder, or run with what that one was made with'
                )


def _may_precede(name: str) -> bool:
    """What a run leaves that was killed before it had written its manifest."""
    return name in (LOCK, MANIFEST + '.part')


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
