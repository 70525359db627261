# SPDX-License-Identifier: Apache-2.0
"""The cache of engine plans with real files, folders and processes: what is taken, what is built again, who waits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from semi_smd_ros.runtime import ModelError
from semi_smd_ros.runtime.engine.contract import BackendError
from semi_smd_ros.runtime.engine.plan_cache import PlanCache, PlanKey, StoredPlan, default_folder

ROOT = Path(__file__).parents[2]
KEY = PlanKey('tiny', 'a' * 64, '10.3.0', 'Orin', (8, 7), 16, 'fp16', True, 6, 48, 80)
PLAN = StoredPlan(b'\x00plan' * 1000, {'seconds': 1.0, 'metadata': {'name': 'tiny'}})


class Caller:
    """Counts the builds; opens plans that begin like one."""

    def __init__(self, folder: Path) -> None:
        self.told: list[str] = []
        self.cache = PlanCache(folder, self.told.append)
        self.builds = 0

    def __call__(self, key: PlanKey = KEY, plan: StoredPlan = PLAN, **options: bool) -> StoredPlan:
        def build() -> StoredPlan:
            self.builds += 1
            return plan

        def opened(stored: StoredPlan) -> StoredPlan | None:
            return stored if stored.plan.startswith(b'\x00plan') else None

        return self.cache.obtain(key, opened, build, **options)


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A folder that nobody else can write."""
    folder = tmp_path / 'plans'
    folder.mkdir(mode=0o700)
    return folder


def test_a_plan_is_built_once_and_read_from_then_on(private: Path) -> None:
    first, second = Caller(private), Caller(private)
    assert first().plan == second().plan == PLAN.plan
    assert (first.builds, second.builds) == (1, 0)
    assert second().record['metadata'] == {'name': 'tiny'}
    assert second(rebuild=True).plan == PLAN.plan
    assert second.builds == 1
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in private.iterdir()}
    assert modes == {'.plan': 0o600, '.json': 0o600, '.lock': 0o600}


@pytest.mark.parametrize(
    'change',
    [
        {'model_sha256': 'b' * 64}, {'tensorrt': '10.3.1'}, {'gpu': 'Xavier'}, {'capability': (7, 2)},
        {'multiprocessors': 8},
        {'precision': 'fp32'}, {'is_typed': False}, {'cameras': 5}, {'height': 96}, {'width': 96}, {'recipe': 0},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_whatever_a_plan_depends_on_makes_another_one(private: Path, change: dict[str, object]) -> None:
    caller = Caller(private)
    caller()
    caller(replace(KEY, **change))  # type: ignore[arg-type]
    assert caller.builds == 2
    caller()
    assert caller.builds == 2


def test_a_strange_name_makes_a_plain_file_name(private: Path) -> None:
    key = replace(KEY, name='../../etc/passwd\n' + 'x' * 500)
    Caller(private)(key)
    assert {path.parent for path in private.parent.rglob('*.plan')} == {private}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    path.rename(path.with_suffix('.elsewhere'))
    path.symlink_to(path.with_suffix('.elsewhere'))


@pytest.mark.parametrize('suffix', ['.plan', '.json'])
@pytest.mark.parametrize(
    ('damage', 'says'),
    [
        (truncate, 'has SHA-256|Expecting'),
        (flip, 'has SHA-256|is damaged'),
        (Path.unlink, 'cannot be read'),
        (link, 'not a plain file'),
        (lambda path: path.chmod(0o666), 'not a plain file that only you can write'),
    ],
    ids=['truncated', 'flipped', 'missing', 'link', 'writable'],
)
def test_what_is_damaged_is_built_again_with_a_message(
    private: Path, suffix: str, damage: Callable[[Path], None], says: str
) -> None:
    Caller(private)()
    damage(next(private.glob(f'*{suffix}')))
    caller = Caller(private)
    assert caller().plan == PLAN.plan
    assert caller.builds == 1
    assert len(caller.told) == 1
    assert re.search(says, caller.told[0]), caller.told
    again = Caller(private)
    again()
    assert (again.builds, again.told) == (0, [])


def test_a_record_with_one_other_digit_is_not_taken(private: Path) -> None:
    caller = Caller(private)
    caller()
    place = caller.cache.path(KEY).with_suffix('.json')
    place.write_text(place.read_text().replace('"seconds": 1.0', '"seconds": 2.0'))
    caller()
    assert caller.builds == 2
    assert caller.told[0].endswith('.json is damaged')


def test_the_record_of_another_plan_is_not_taken(private: Path) -> None:
    caller = Caller(private)
    caller()
    caller(replace(KEY, precision='fp32'))
    place = caller.cache.path(KEY)
    other = caller.cache.path(replace(KEY, precision='fp32'))
    os.replace(other, place)
    os.replace(other.with_suffix('.json'), place.with_suffix('.json'))
    caller()
    assert caller.builds == 3
    assert 'is the record of another plan' in caller.told[0]


def test_a_plan_that_tensorrt_cannot_use_is_built_again(private: Path) -> None:
    caller = Caller(private)
    caller.cache.write(KEY, StoredPlan(b'of another version', {}))
    assert caller().plan == PLAN.plan
    assert 'TensorRT 10.3.0 cannot use this plan on Orin: built again' in caller.told[0]
    with pytest.raises(ModelError, match='the plan that it has just built'):
        caller(replace(KEY, cameras=3), StoredPlan(b'useless', {}))


def test_a_refusal_is_remembered_until_it_is_built_anew(private: Path) -> None:
    caller = Caller(private)
    refused = StoredPlan(b'', {'refused': 'FP16 is refused'})

    def opened(stored: StoredPlan) -> StoredPlan:
        if 'refused' in stored.record:
            raise BackendError(stored.record['refused'])
        return stored

    def not_again() -> StoredPlan:
        raise AssertionError

    for build in (lambda: refused, not_again):
        with pytest.raises(BackendError, match='FP16 is refused'):
            caller.cache.obtain(KEY, opened, build)
    assert caller.cache.obtain(KEY, opened, lambda: PLAN, rebuild=True).plan == PLAN.plan


def test_a_folder_that_others_can_write_is_refused(private: Path) -> None:
    caller = Caller(private)
    caller()
    private.chmod(0o777)
    with pytest.raises(ModelError, match='can be written by others'):
        caller()
    with pytest.raises(ModelError, match='can be written by others'):
        PlanCache(private, print)
    assert caller.builds == 1


def test_the_default_folder_is_made_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    assert PlanCache(None, print).folder == default_folder() == tmp_path / 'cache' / 'semi_smd_ros' / 'plans'
    assert default_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert default_folder() == tmp_path / '.cache' / 'semi_smd_ros' / 'plans'
    monkeypatch.delenv('HOME')
    monkeypatch.setattr(os, 'getuid', lambda: 4_000_000)
    with pytest.raises(ModelError, match=r'no folder to keep engine plans in .*set plan_cache'):
        default_folder()


def test_the_timing_cache_is_shared_by_plans_of_one_builder(private: Path) -> None:
    caller = Caller(private)
    assert caller.cache.read_timing(KEY) == b''
    caller.cache.write_timing(KEY, b'measured\nthings')
    assert caller.cache.read_timing(replace(KEY, cameras=5, precision='fp32')) == b'measured\nthings'
    assert caller.cache.read_timing(replace(KEY, gpu='Xavier')) == b''
    assert caller.told == []
    for damage in (truncate, lambda path: path.chmod(0o622)):
        caller.cache.write_timing(KEY, b'measured')
        damage(next(private.glob('timing-*')))
        assert caller.cache.read_timing(KEY) == b''
        assert 'the timing cache is begun anew' in caller.told[-1]
    assert len(caller.told) == 2


PROGRAM = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from semi_smd_ros.runtime.engine.plan_cache import *
key = PlanKey('tiny', 'a' * 64, '10.3.0', 'Orin', (8, 7), 16, 'fp16', True, 6, 48, 80)
def tell(text): print('told', text, flush=True)
def build():
    print('building', flush=True)
    {build}
    return StoredPlan(b'plan', {{}})
cache = PlanCache(Path({folder!r}), tell)
print('got', cache.obtain(key, lambda stored: stored, build).plan.decode(), flush=True)
"""


def start(folder: Path, build: str) -> subprocess.Popen[str]:
    code = PROGRAM.format(root=str(ROOT), folder=str(folder), build=build)
    return subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_processes_build_once(private: Path, tmp_path: Path) -> None:
    go = tmp_path / 'go'
    first = start(private, f'while not os.path.exists({str(go)!r}): time.sleep(0.05)')
    assert line(first) == 'building'
    second = start(private, 'pass')
    assert line(second).startswith('told another process is building tiny-fp16-6x48x80-')
    go.touch()
    assert first.communicate(timeout=30)[0].splitlines() == ['got plan']
    assert second.communicate(timeout=30)[0].splitlines() == ['got plan']


@pytest.mark.parametrize('end', ['killed', 'raises'])
def test_a_builder_that_dies_leaves_nothing_behind(private: Path, end: str) -> None:
    first = start(private, 'time.sleep(60)' if end == 'killed' else 'raise SystemExit(3)')
    assert line(first) == 'building'
    if end == 'killed':
        first.kill()
    first.communicate(timeout=30)
    assert [path.suffix for path in private.iterdir()] == ['.lock']
    said = start(private, 'pass').communicate(timeout=30)[0].splitlines()
    assert said == ['building', 'got plan']


def test_a_full_disk_costs_the_next_start_a_build_and_no_more(private: Path) -> None:
    """A limit of the process on file sizes, which fails writes as a full disk does."""
    limited = 'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2, 2))'
    said = start(private, limited).communicate(timeout=30)[0].splitlines()
    assert said[0] == 'building'
    assert 'cannot be kept (File too large): it is built again at the next start' in said[1]
    assert said[2] == 'got plan'
    assert {path.suffix for path in private.iterdir()} == {'.lock'}
    assert start(private, 'pass').communicate(timeout=30)[0].splitlines() == ['building', 'got plan']


def test_the_record_can_be_read_by_people(private: Path) -> None:
    caller = Caller(private)
    caller()
    record = json.loads(caller.cache.path(KEY).with_suffix('.json').read_text())
    assert record['key']['gpu'] == 'Orin'
    assert caller.cache.path(KEY).name.startswith('tiny-fp16-6x48x80-')
