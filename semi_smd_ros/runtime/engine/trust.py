# SPDX-License-Identifier: Apache-2.0
"""Which files may run: a model is what its checksum says, an engine plan comes from a folder that is ours alone.

A checksum beside the model guards against truncated, stale and mixed-up files; the expected hash in a parameter guards
against whoever can write both. A TensorRT plan is machine code: nothing that anyone else could have written is loaded.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from pathlib import Path

from .contract import ModelError

SIDECAR_SUFFIX = '.sha256'
_HEX = re.compile(r'[0-9a-f]{64}')
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def sidecar_path(path: Path) -> Path:
    """Where the checksum of `path` lies: beside it, in the format of `sha256sum`."""
    return path.with_name(path.name + SIDECAR_SUFFIX)


def write_checksum(path: Path) -> Path:
    """Write the checksum file of `path`, complete or not at all, and return its path."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    target = sidecar_path(path)
    part = target.with_name(target.name + '.part')
    part.write_text(f'{digest}  {path.name}\n', encoding='ascii')
    os.replace(part, target)
    return target


def read_checked(path: Path, sha256: str = '') -> tuple[bytes, str]:
    """The bytes of a model file and their SHA-256, once they are what is expected.

    Expected is `sha256` (64 hexadecimal digits) where given, else the checksum file beside the model. The bytes that
    were checked are returned, so that nobody can exchange the file between the check and the loading.

    Raises ModelError for a file that is missing, has no checksum, or has another; the last names both.
    """
    expected, source = (sha256.strip().lower(), 'the expected hash') if sha256 else _read_sidecar(path)
    if not _HEX.fullmatch(expected):
        raise ModelError(f'{source} is {expected!r:.80}; expected the 64 hexadecimal digits of a SHA-256')
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f'{path}: cannot be read: {error.strerror}; expected an ONNX file') from error
    found = hashlib.sha256(data).hexdigest()
    if not hmac.compare_digest(found, expected):
        raise ModelError(
            f'{path} ({len(data)} bytes) has SHA-256 {found}; {source} says {expected}: it is damaged or another '
            'model; copy both files again, or export the model again'
        )
    return data, found


def _read_sidecar(path: Path) -> tuple[str, str]:
    sidecar = sidecar_path(path)
    try:
        words = sidecar.read_bytes()[:4096].decode('ascii', 'replace').split()
    except FileNotFoundError as error:
        raise ModelError(
            f'{path} has no checksum {sidecar.name} beside it and no expected hash was given; copy it from where the '
            f'model comes from, or, if you trust this file, write it: cd {path.parent} && sha256sum {path.name} > '
            f'{sidecar.name}'
        ) from error
    except OSError as error:
        raise ModelError(f'{sidecar}: cannot be read: {error.strerror}; expected the output of sha256sum') from error
    return (words[0].lower() if words else ''), str(sidecar)


def check_private_folder(folder: Path) -> None:
    """Raise ModelError unless only this user can put files into `folder`.

    The folder must be a real one, owned by this user and writable by nobody else. Whoever can write a folder above
    could exchange it, so each must belong to this user or to root, and be writable by no other unless it is sticky
    (as /tmp is). The message names the folder, what is wrong with it, and the command that mends it.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise ModelError(f'{folder} is not a folder; expected one of your own: mkdir -m 700 {folder}')
    uid, real = os.geteuid(), folder.resolve()
    for place in (real, *real.parents):
        info = place.stat()
        above = place != real
        if info.st_uid != uid and not (above and info.st_uid == 0):
            raise ModelError(
                f'{place} belongs to user {info.st_uid}; expected user {uid}{" or root" if above else ""}: '
                'use a cache folder of your own'
            )
        if info.st_mode & _OTHERS_WRITE and not (above and info.st_mode & stat.S_ISVTX):
            raise ModelError(
                f'{place} can be written by others (mode {stat.S_IMODE(info.st_mode):o}), who could place an engine '
                f'plan there: chmod go-w {place}'
            )


def private_folder(folder: Path) -> Path:
    """Make `folder` if it is missing, for this user alone, check it, and return it. Raises ModelError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f'{folder}: cannot be made: {error.strerror}; use another cache folder') from error
    check_private_folder(folder)
    return folder


def check_private_file(path: Path) -> None:
    """Raise ModelError unless `path` is a regular file that only this user can write, in a folder of that kind."""
    check_private_folder(path.parent)
    try:
        info = path.lstat()
    except OSError as error:
        raise ModelError(f'{path}: cannot be read: {error.strerror}; build the engine plan again') from error
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & _OTHERS_WRITE:
        raise ModelError(
            f'{path} (user {info.st_uid}, mode {stat.S_IMODE(info.st_mode):o}) is not a plain file that only you can '
            'write; delete it and build the engine plan again'
        )


def read_private(path: Path, sha256: str = '') -> tuple[bytes, str]:
    """The bytes of an engine plan and their SHA-256, once `check_private_file` accepts it and it matches its checksum
    as in `read_checked`. Raises ModelError.
    """
    check_private_file(path)
    return read_checked(path, sha256)
