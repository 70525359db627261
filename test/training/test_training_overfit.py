# SPDX-License-Identifier: Apache-2.0
"""The installation's check on the real scene, shortened; in full it is `semi-smd overfit ddad:SCENE`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from semi_smd_ros.cli.record import record_source
from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.training.overfit import main, overfit

STEPS = 40
FLAT_GROUND = 0.34  # AbsRel of flat ground on these frames


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_real_frames_are_learned_from_pictures_and_lidar(real_scene: Path) -> None:
    found = overfit(f'ddad:{real_scene}', steps=STEPS)
    assert found.steps == STEPS
    assert found.abs_rel < 0.75 * FLAT_GROUND
    assert found.d1 > 0.65
    assert found.cpu_seconds > 0


def test_a_source_without_depth_is_refused(tmp_path: Path) -> None:
    record_source('synthetic:1', tmp_path / 'drive', False, '', 'none', sets=2, width=64, height=48)
    with pytest.raises(DataError, match='has no LiDAR or other depth'):
        overfit(f'rosbag:{tmp_path / "drive"}', steps=1, size=(32, 64))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_it_runs_where_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['synthetic:1?sets=2&width=64&height=48', '--accelerator', 'gpu'])
    assert "accelerator 'gpu', devices 1: No supported gpu backend found" in capsys.readouterr().err


def test_a_source_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['ddad:/nowhere'])
    assert '/nowhere: no such file or folder' in capsys.readouterr().err
