# SPDX-License-Identifier: Apache-2.0
"""nuScenes without its data: splits and sample lists as rules, and tables read row by row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from semi_smd_ros.datasets.nuscenes_splits import MINI_VAL_SCENES, VAL_SCENES, in_split, select
from semi_smd_ros.datasets.nuscenes_tables import rows_of


def test_splits_are_the_published_ones() -> None:
    assert (len(VAL_SCENES), len(MINI_VAL_SCENES)) == (150, 2)
    assert sum(VAL_SCENES) == 88_948
    assert in_split('scene-0003', 'v1.0-trainval', 'val')
    assert in_split('scene-0001', 'v1.0-trainval', 'train')
    assert in_split('scene-0553', 'v1.0-mini', 'train'), 'in mini it is a training scene'
    assert in_split('scene-0553', 'v1.0-trainval', 'val')
    assert in_split('scene-0077', 'v1.0-test', 'test')
    assert not in_split('scene-0077', 'v1.0-test', 'val')


def test_the_lists_of_6019_and_5416_samples_are_rules() -> None:
    scenes = [(f'scene-{i:04d}', range(40)) for i in range(149)] + [('scene-9999', range(6019 - 149 * 40))]
    assert sum(len(samples) for _, samples in select(scenes, 'all')) == 6019
    kept = select(scenes, 'vfdepth')
    assert sum(len(samples) for _, samples in kept) == 5416
    assert kept[0] == scenes[0]
    assert len(kept[-1][1]) == 0


def test_rows_are_streamed_whatever_their_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{'token': str(i), 'text': '}, {"]' * (i % 5), 'list': [[1.5, i]]} for i in range(200)]
    path = tmp_path / 'table.json'
    told: list[float] = []
    for block in (700, 997, 1 << 22):
        monkeypatch.setattr('semi_smd_ros.datasets.nuscenes_tables._BLOCK', block)
        for text in (json.dumps(rows), json.dumps(rows, indent=2), '  [\n' + json.dumps(rows)[1:] + '\n\n'):
            path.write_text(text)
            assert list(rows_of(path, lambda what, share: told.append(share))) == rows
    assert told
    assert max(told) <= 1
    path.write_text('[]')
    assert list(rows_of(path)) == []
