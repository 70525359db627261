# SPDX-License-Identifier: Apache-2.0
"""A private ROS domain for the whole session, one node of ours in it, and nodes under test in their own processes."""

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
os.environ['FASTDDS_BUILTIN_TRANSPORTS'] = 'LARGE_DATA'

pytest.importorskip('rclpy', reason='rclpy is not installed: install the ROS wheels, or source a ROS 2 installation')
sys.path.insert(0, str(Path(__file__).parent))

from ros_harness import OFTEN, Bench, Scene, start_node  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402


@pytest.fixture(scope='session')
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the tiny model, 80x48."""
    return write_tiny_model(tmp_path_factory.mktemp('model') / 'tiny.onnx')


@pytest.fixture(scope='session')
def bench() -> Iterator[Bench]:
    """Our side of every test: one rclpy node, spinning in a thread."""
    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture(scope='session')
def running(bench: Bench, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A node in its own process that serves two cameras; tests that use it leave it serving."""
    scene = Scene(bench, 'running', ['left', 'right'])
    scene.send_tf()
    folder = tmp_path_factory.mktemp('running')
    process = start_node(folder, scene, model=str(tiny), cameras='[left, right]', **OFTEN)
    scene.until(lambda: scene.clouds, 'a cloud')
    yield scene
    assert process.stop() == 0, process.log()
