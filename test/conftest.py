# SPDX-License-Identifier: Apache-2.0
"""What every room's tests share."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from semi_smd_ros.runtime.cuda.driver import CudaError, find_device

REAL_SCENE = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'ddad_scene_02'


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line('markers', 'gpu: needs an NVIDIA GPU and pycuda; skipped elsewhere, with the reason')


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker('gpu') is not None and (reason := no_gpu()):
        pytest.skip(reason)


@cache
def no_gpu() -> str:
    """Why tests marked gpu cannot run here; '' where they can."""
    try:
        find_device()
    except CudaError as error:
        return str(error)
    return '' if find_spec('pycuda') else 'pycuda is not installed'


@pytest.fixture(scope='session')
def real_scene() -> Path:
    """The real six-camera DDAD scene that lies beside the checkout; it is not part of the project."""
    if not REAL_SCENE.is_dir():
        pytest.skip(f'the real scene is not at {REAL_SCENE}')
    return REAL_SCENE


@pytest.fixture(scope='session')
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of the engine contract, 80x48."""
    return write_tiny_model(tmp_path_factory.mktemp('model') / 'tiny.onnx')
