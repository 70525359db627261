# SPDX-License-Identifier: Apache-2.0
"""Model files are what their checksum says; engine plans come from a folder that nobody else can write."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from semi_smd_ros.runtime import ModelError, load_engine
from semi_smd_ros.runtime.engine.trust import (
    check_private_folder,
    private_folder,
    read_checked,
    read_private,
    sidecar_path,
    write_checksum,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / 'm.onnx'
    path.write_bytes(b'weights')
    write_checksum(path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return private_folder(tmp_path / 'home' / 'cache')


def test_the_shipped_model_has_its_checksum() -> None:
    data, digest = read_checked(ROOT / 'models' / 'semi_smd_small.onnx')
    assert hashlib.sha256(data).hexdigest() == digest


def test_a_file_that_fits_is_read(model: Path) -> None:
    digest = hashlib.sha256(b'weights').hexdigest()
    assert read_checked(model) == (b'weights', digest)
    assert sidecar_path(model).read_text() == f'{digest}  m.onnx\n'
    sidecar_path(model).unlink()
    assert read_checked(model, digest.upper())[1] == digest


def test_another_file_is_refused_naming_both_hashes(model: Path) -> None:
    model.write_bytes(b'weights of another')
    with pytest.raises(ModelError) as caught:
        read_checked(model)
    for content in (b'weights', b'weights of another'):
        assert hashlib.sha256(content).hexdigest() in str(caught.value)


def test_the_expected_hash_wins_over_the_checksum_beside_the_model(model: Path) -> None:
    with pytest.raises(ModelError, match='the expected hash says ' + 'a' * 64):
        read_checked(model, 'a' * 64)


@pytest.mark.parametrize('text', ['', 'm.onnx', 'g' * 64, 'é' * 64])
def test_a_checksum_that_is_none_is_refused(model: Path, text: str) -> None:
    sidecar_path(model).write_text(text)
    with pytest.raises(ModelError, match='expected the 64 hexadecimal digits'):
        read_checked(model)


def test_a_model_without_checksum_is_refused_with_the_remedy(model: Path, tiny_model: Path) -> None:
    sidecar_path(model).unlink()
    with pytest.raises(ModelError, match=r'sha256sum m\.onnx > m\.onnx\.sha256'):
        read_checked(model)
    lonely = model.with_name('lonely.onnx')
    lonely.write_bytes(tiny_model.read_bytes())
    with pytest.raises(ModelError, match='has no checksum'):
        load_engine(lonely)
    digest = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert load_engine(lonely, sha256=digest).spec.sha256 == digest


def test_a_model_exchanged_after_the_checksum_is_not_loaded(model: Path, tiny_model: Path) -> None:
    other = model.with_name('other.onnx')
    other.write_bytes(tiny_model.read_bytes()[:-1] + b'!')
    sidecar_path(other).write_text(sidecar_path(tiny_model).read_text())
    with pytest.raises(ModelError, match='damaged or another model'):
        load_engine(other)


def test_a_folder_of_our_own_is_accepted(cache: Path) -> None:
    assert cache.stat().st_mode & 0o777 == 0o700
    check_private_folder(cache)


@pytest.mark.parametrize('mode', [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_is_refused(cache: Path, mode: int) -> None:
    cache.chmod(mode)
    with pytest.raises(ModelError, match=f'mode {mode:o}.*chmod go-w {cache}'):
        check_private_folder(cache)


def test_a_folder_below_one_that_others_can_write_is_refused(cache: Path) -> None:
    cache.parent.chmod(0o777)
    with pytest.raises(ModelError, match=str(cache.parent)):
        check_private_folder(cache)
    cache.parent.chmod(0o1777)  # sticky: others can add files of their own, but not exchange ours
    check_private_folder(cache)


def test_a_link_to_a_folder_is_refused(cache: Path, tmp_path: Path) -> None:
    link = tmp_path / 'link'
    link.symlink_to(cache)
    with pytest.raises(ModelError, match='is not a folder'):
        private_folder(link)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give files away')
def test_a_folder_or_file_of_another_user_is_refused(cache: Path) -> None:
    plan = cache / 'm.plan'
    plan.write_bytes(b'plan')
    write_checksum(plan)
    os.chown(plan, 65534, -1)
    with pytest.raises(ModelError, match='user 65534'):
        read_private(plan)
    os.chown(plan, 0, -1)
    os.chown(cache, 65534, -1)
    with pytest.raises(ModelError, match='belongs to user 65534; expected user 0'):
        read_private(plan)


def test_a_plan_is_read_only_as_a_plain_private_file_that_fits(cache: Path) -> None:
    plan = cache / 'm.plan'
    plan.write_bytes(b'plan')
    with pytest.raises(ModelError, match='no checksum'):
        read_private(plan)
    write_checksum(plan)
    assert read_private(plan)[0] == b'plan'
    plan.chmod(0o666)
    with pytest.raises(ModelError, match='mode 666'):
        read_private(plan)
    link = cache / 'link.plan'
    link.symlink_to(plan)
    with pytest.raises(ModelError, match='not a plain file'):
        read_private(link)
    with pytest.raises(ModelError, match='cannot be read'):
        read_private(cache / 'gone.plan')
