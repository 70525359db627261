# SPDX-License-Identifier: Apache-2.0
"""The C library's memory: what the node asks of it at its start."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='mallopt is glibc')
def test_freed_memory_is_kept_for_the_next_image() -> None:
    # A process of its own, since the setting is for good.
    script = """
import resource
from semi_smd_ros.nodes.allocator import keep_freed_memory
kept = keep_freed_memory()
import numpy as np
def use():
    return [np.ones(4_320_000, np.uint8) for _ in range(6)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    output = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout
    kept, faults = output.split()
    if platform.libc_ver()[0] != 'glibc':
        pytest.skip('no glibc')
    assert kept == 'True'
    # Without it, 60 images are 63000 pages to be cleared.
    assert int(faults) < 1000
