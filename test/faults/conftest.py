# SPDX-License-Identifier: Apache-2.0
"""A private ROS domain, and nodes that several tests put faults into one after the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from semi_smd_ros.cli.demo.domain import DomainClaim

DOMAIN = DomainClaim()
# Before rclpy is initialised anywhere: tests never meet another ROS system, nor another test run.
os.environ['ROS_DOMAIN_ID'] = str(DOMAIN.number)
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# As our launch file has it.
os.environ['FASTDDS_BUILTIN_TRANSPORTS'] = 'LARGE_DATA'
PROFILES = str(Path(__file__).parents[2] / 'config' / 'fastdds.xml')
DDS = 'FASTRTPS' if os.environ.get('ROS_DISTRO') == 'humble' else 'FASTDDS'
os.environ[f'{DDS}_DEFAULT_PROFILES_FILE'] = PROFILES

pytest.importorskip('rclpy', reason='rclpy is not installed: install the ROS wheels, or source a ROS 2 installation')
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / 'nodes')]

from watched_node import Ear, WatchedNode, served  # noqa: E402


@pytest.fixture(scope='package')
def ear() -> Iterator[Ear]:
    """Our own ROS node."""
    ear = Ear()
    yield ear
    ear.close()


@pytest.fixture(scope='package')
def serving(ear: Ear, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedNode]:
    """A node that serves three cameras; tests share it, and each must leave it well."""
    yield from served(ear, tmp_path_factory.mktemp('serving'), model=tiny_model, **{'cloud.stride': 1})


@pytest.fixture
def node(serving: WatchedNode) -> Iterator[WatchedNode]:
    """The node that serves, well before the test; after it every fault is ended, and it must be well again."""
    yield serving
    serving.rig.recovers()
    serving.is_well()
    assert 'Traceback' not in serving.log()
