# SPDX-License-Identifier: Apache-2.0
"""What is said while an engine is built: on /diagnostics in its period, in the log in its own."""

from __future__ import annotations

import pytest

from semi_smd_ros.nodes import engine_report as module
from semi_smd_ros.nodes.diagnostics import WARN, configuring_status


class Logger:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    warning = info


def test_progress_is_told_once_in_each_period(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, 'monotonic', lambda: now)
    logger, published = Logger(), []
    report = module.engine_report(logger, 5.0, published.append, 1.0)
    for tenth in range(101):
        now = 100.0 + tenth / 10
        report.progress('building', None if tenth < 20 else tenth / 100)
    assert len(published) == 10
    assert published[0] == 'building'
    assert published[-1] == 'building (100%)'
    assert len(logger.lines) == 2
    report.warn('no GPU')
    assert logger.lines[-1] == 'no GPU'


def test_diagnostics_say_what_the_node_waits_for() -> None:
    status = configuring_status('TensorRT: Building engine (40%)')
    assert (status.name, status.level) == ('node', WARN)
    assert status.message == 'the node is being configured: TensorRT: Building engine (40%)'
