# SPDX-License-Identifier: Apache-2.0
"""Original or stand-in: which one serves, and what is said about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from semi_smd_ros.nodes import ros

BROKEN = {
    'ImportError': 'raise ImportError("numpy.core.multiarray failed to import")',
    'AttributeError': 'raise AttributeError("_ARRAY_API not found")',
    'fails at the first picture': (
        'class CvBridge:\n    def imgmsg_to_cv2(self, message, desired_encoding):\n        raise KeyError(16)'
    ),
    'wrong answer': (
        'import numpy\nclass CvBridge:\n    def imgmsg_to_cv2(self, message, desired_encoding):\n'
        '        return numpy.zeros((1, 1, 3), numpy.uint8)'
    ),
}
WORKING = """
import numpy
class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        return numpy.frombuffer(message.data, numpy.uint8).reshape(1, 1, 3)
"""
SCRIPT = """
import sys
from semi_smd_ros.nodes import ros
class Logger:
    def info(self, text): print('INFO', text)
    def warning(self, text): print('WARNING', text)
ros.report(Logger())
print('MODULE', ros.cv_bridge.__name__)
"""


def run_with(package: str, folder: Path) -> str:
    """Output of a process in which `cv_bridge` is `package` (source text)."""
    (folder / 'cv_bridge').mkdir()
    (folder / 'cv_bridge' / '__init__.py').write_text(package)
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2]), os.environ.get('PYTHONPATH', '')])
    done = subprocess.run(
        ['env', f'PYTHONPATH={path}', sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize('how', BROKEN)
def test_a_broken_original_is_told_and_replaced(how: str, tmp_path: Path) -> None:
    said = run_with(BROKEN[how], tmp_path)
    assert 'MODULE semi_smd_ros.nodes.backports.cv_bridge' in said
    assert 'WARNING cv_bridge is installed but does not work' in said
    assert "'numpy<2'" in said


def test_a_working_original_is_used(tmp_path: Path) -> None:
    said = run_with(WORKING, tmp_path)
    assert 'MODULE cv_bridge' in said
    assert 'cv_bridge from ros' in said
    assert 'WARNING' not in said


def test_the_choice_is_known_for_all_three() -> None:
    assert set(ros.SOURCES) == {'message_filters', 'tf2_ros', 'cv_bridge'}
    assert all(source.origin in ('ros', 'backport') for source in ros.SOURCES.values())
