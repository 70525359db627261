# SPDX-License-Identifier: Apache-2.0
"""The disk fills up under a recording: it says so, and no half recording passes for a whole one."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_harness import raw_image
from sensor_msgs.msg import Image
from watched_node import TIMEOUT_S, Ear

MEGABYTE = 2**20
WRITER = """
import sys
from semi_smd_ros.datasets.recording import BagWriter
with BagWriter(sys.argv[1]) as bag:
    for i in range(100):
        bag.write_raw('/noise', 'std_msgs/msg/String', bytes(100_000), i)
"""
Disk = tuple[Path, Callable[[], None] | None]


def limit_files() -> None:
    """In a child, before it becomes its program: files end after a megabyte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE, MEGABYTE))


@pytest.fixture(params=['No space left', 'File too large'])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A folder with room for a megabyte, and what a child must do for that before it starts."""
    if request.param == 'File too large':
        yield tmp_path, limit_files
        return
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(tmp_path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip('only root can mount a small file system')
    yield tmp_path, None
    subprocess.run(['umount', '--lazy', str(tmp_path)], check=True)


@pytest.mark.parametrize('name', ['recording', 'recording.mcap'])
def test_a_bag_writer_leaves_nothing_behind(disk: Disk, name: str) -> None:
    folder, prepare = disk
    command = [sys.executable, '-c', WRITER, str(folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=prepare, check=False)
    assert done.returncode == 1
    assert 'OSError' in done.stderr
    assert list(folder.iterdir()) == []


def test_the_recorder_says_so_and_leaves_nothing_behind(ear: Ear, disk: Disk) -> None:
    folder, prepare = disk
    publisher = ear.node.create_publisher(Image, '/front/depth/image', 5)
    image = raw_image(np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8), 'bgr8')
    recorder = subprocess.Popen(
        [sys.executable, '-m', 'semi_smd_ros.cli.demo.recorder', str(folder / 'recording'), 'front'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while recorder.poll() is None and time.monotonic() < deadline:
            publisher.publish(image)
            time.sleep(0.05)
        output, errors = recorder.communicate(timeout=1)
    finally:
        recorder.kill()
        ear.node.destroy_publisher(publisher)
    assert recorder.returncode == 1
    assert '"ready"' in output
    assert f'cannot record to {folder / "recording"}' in errors
    assert 'Traceback' not in errors
    assert list(folder.iterdir()) == []
