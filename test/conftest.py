# SPDX-License-Identifier: Apache-2.0
"""What every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_model import write_tiny_model

REAL_SCENE = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'ddad_scene_02'


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
