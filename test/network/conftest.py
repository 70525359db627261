# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the network's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from network_fixtures import CARD, one_thread, seeded_network

from semi_smd_ros.network.export import export_onnx
from semi_smd_ros.network.model import SemiSmdNetwork


@pytest.fixture(scope='session', autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope='session')
def network() -> SemiSmdNetwork:
    return seeded_network()


@pytest.fixture(scope='session')
def onnx_path(network: SemiSmdNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded network as the file that a vehicle would get."""
    path = tmp_path_factory.mktemp('export') / 'network.onnx'
    export_onnx(network, path, CARD)
    return path
