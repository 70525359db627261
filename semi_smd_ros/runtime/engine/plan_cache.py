# SPDX-License-Identifier: Apache-2.0
"""Where built TensorRT plans are kept: a private folder, complete files only, one builder at a time.

A plan is two files: `<stem>.plan`, and `<stem>.json` that tells what it was built of and the plan's SHA-256. The second
is written last, so that a plan without its record, or with another one, is not taken. Whatever cannot be used is built
again, with a message; a folder that others can write is refused (see `trust`), for a plan is machine code.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from .contract import ModelError
from .trust import check_private_file, check_private_folder, private_folder, read_private

# Counts up when plans are built in another way, so that those of an older release are not taken.
RECIPE = 1
LOCK_POLL_S = 0.2
# Seconds between two words to somebody who waits for another process.
WAIT_TOLD_S = 5.0
T = TypeVar('T')


@dataclass(frozen=True)
class PlanKey:
    """All that a plan depends on. `is_typed`: precision by the types in the ONNX file, not by flags.

    `multiprocessors` tells GPUs of one name apart.
    """

    name: str
    model_sha256: str
    tensorrt: str
    gpu: str
    capability: tuple[int, int]
    multiprocessors: int
    precision: str
    is_typed: bool
    cameras: int
    height: int
    width: int
    recipe: int = RECIPE

    @property
    def stem(self) -> str:
        """Name of the files: what a person wants to see, and a hash of everything."""
        digest = _sha256(json.dumps(asdict(self), sort_keys=True).encode())[:16]
        name = ''.join(letter if letter.isalnum() or letter in '-_.' else '_' for letter in self.name)[:80]
        return f'{name}-{self.precision}-{self.cameras}x{self.height}x{self.width}-{digest}'

    @property
    def builder(self) -> str:
        """Name of the timing cache: measurements of one TensorRT version on one GPU."""
        return f'timing-{_sha256(f"{self.tensorrt} {self.gpu} {self.capability} {self.multiprocessors}".encode())[:16]}'


@dataclass(frozen=True, eq=False)
class StoredPlan:
    """A plan and its record: metadata and tensors of the model, and what the check at build time found."""

    plan: bytes
    record: dict[str, Any]


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/semi_smd_ros/plans`, or `~/.cache/semi_smd_ros/plans`.

    Raises ModelError for a user without a home.
    """
    base = os.environ.get('XDG_CACHE_HOME', '')
    try:
        root = Path(base) if os.path.isabs(base) else Path.home() / '.cache'
    except RuntimeError as error:
        raise ModelError(f'there is no folder to keep engine plans in ({error}): set plan_cache, or --cache') from error
    return root / 'semi_smd_ros' / 'plans'


class PlanCache:
    """Plans in `folder` (None: the default one), which is made for this user alone. Raises ModelError for one that
    others can write. `tell` is called with what a user should know."""

    def __init__(self, folder: Path | None, tell: Callable[[str], None]) -> None:
        self.folder = private_folder(folder or default_folder())
        self._tell = tell

    def obtain(
        self,
        key: PlanKey,
        open_plan: Callable[[StoredPlan], T | None],
        build: Callable[[], StoredPlan],
        rebuild: bool = False,
    ) -> T:
        """What `open_plan` makes of the stored plan, or of the one that `build` makes where none can be used.

        `open_plan` returns None for a plan that it cannot use, and raises for one that nobody could. `rebuild` takes
        no stored plan. One process builds; others that want the same plan wait for it.
        """
        check_private_folder(self.folder)
        with self.lock(key):
            stored = None if rebuild else self.read(key)
            opened = open_plan(stored) if stored is not None else None
            if opened is not None:
                return opened
            if stored is not None:
                self._tell(f'{self.path(key)}: TensorRT {key.tensorrt} cannot use this plan on {key.gpu}: built again')
            built = build()
            try:
                self.write(key, built)
            except OSError as error:
                self._tell(f'{self.path(key)}: cannot be kept ({error.strerror}): it is built again at the next start')
            opened = open_plan(built)
            if opened is None:
                raise ModelError(
                    f'TensorRT {key.tensorrt} cannot use the plan that it has just built for {key.gpu}: check that '
                    'only one version of TensorRT is installed'
                )
            return opened

    def path(self, key: PlanKey) -> Path:
        """The plan's file."""
        return self.folder / f'{key.stem}.plan'

    def read(self, key: PlanKey) -> StoredPlan | None:
        """The stored plan; None, once it was told why, for one that is missing in part, damaged or foreign."""
        path, place = self.path(key), self.path(key).with_suffix('.json')
        if not path.exists() and not place.exists():
            return None
        try:
            check_private_file(place)
            record = json.loads(place.read_text(encoding='utf-8'))
            expected = json.loads(json.dumps(asdict(key)))
            if not isinstance(record, dict) or record.pop('record_sha256', '') != _sha256(_canonical(record)):
                raise ModelError(f'{place} is damaged')
            if record.get('key') != expected:
                raise ModelError(f'{place} is the record of another plan')
            plan, _ = read_private(path, str(record['plan_sha256']))
        except (ModelError, OSError, KeyError, ValueError) as error:
            self._tell(f'the engine plan is built again: {error}')
            return None
        return StoredPlan(plan, record)

    def write(self, key: PlanKey, stored: StoredPlan) -> None:
        """Keep a plan. Raises OSError; what was there before, or nothing, is then there still."""
        record = {**stored.record, 'key': asdict(key), 'plan_sha256': _sha256(stored.plan)}
        record['record_sha256'] = _sha256(_canonical(record))
        self._replace(self.path(key), stored.plan)
        self._replace(self.path(key).with_suffix('.json'), json.dumps(record, indent=1).encode())

    def read_timing(self, key: PlanKey) -> bytes:
        """The timing cache of this TensorRT and GPU, or b'' where there is none to be had."""
        path = self.folder / f'{key.builder}.cache'
        if not path.exists():
            return b''
        try:
            check_private_file(path)
            content = path.read_bytes()
        except (ModelError, OSError) as error:
            self._tell(f'the timing cache is begun anew: {error}')
            return b''
        digest, _, timing = content.partition(b'\n')
        if digest.decode('ascii', 'replace') != _sha256(timing):
            self._tell(f'the timing cache is begun anew: {path} is damaged')
            return b''
        return timing

    def write_timing(self, key: PlanKey, timing: bytes) -> None:
        """Keep the timing cache for the next build; where that is not possible the next build takes longer."""
        if timing:
            with suppress(OSError):
                self._replace(self.folder / f'{key.builder}.cache', _sha256(timing).encode() + b'\n' + timing)

    @contextmanager
    def lock(self, key: PlanKey) -> Iterator[None]:
        """Keep other processes from building this plan. The kernel lets go of it when a process ends, however."""
        path = self.folder / f'{key.stem}.lock'
        begin = told = time.monotonic()
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), 'wb') as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() - told >= WAIT_TOLD_S or told == begin:
                        self._tell(f'another process is building {key.stem}; waiting for it')
                        told = time.monotonic()
                    time.sleep(LOCK_POLL_S)
            yield

    def _replace(self, path: Path, content: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=f'.{path.name}.')
        try:
            with open(handle, 'wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def _canonical(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
