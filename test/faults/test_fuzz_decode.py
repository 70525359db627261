# SPDX-License-Identifier: Apache-2.0
"""A short run of benchmarks/fuzz_decode.py."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'
MESSAGES = 5000
OUTCOMES = (
    *(f'{kind} used' for kind in ('raw', 'compressed', 'camera_info')),
    *(f'raw rejected: {reason}' for reason in ('length', 'encoding', 'step', 'size', 'stamp')),
    *(f'compressed rejected: {reason}' for reason in ('compressed', 'size', 'stamp')),
    'camera_info rejected: calibration',
)


def test_every_mutated_message_is_used_or_rejected_for_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from fuzz_decode import fuzz

    verdict = fuzz(MESSAGES, seed=1)
    assert verdict.is_well, verdict
    assert sum(verdict.outcomes.values()) == MESSAGES
    for outcome in OUTCOMES:
        assert verdict.outcomes[outcome] > 20, (outcome, verdict.outcomes)
