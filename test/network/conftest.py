# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the network's tests."""

from __future__ import annotations

import pytest
from network_fixtures import seeded_network

from semi_smd_ros.network.model import SemiSmdNetwork


@pytest.fixture(scope='session')
def network() -> SemiSmdNetwork:
    return seeded_network()
