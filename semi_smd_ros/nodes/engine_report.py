# SPDX-License-Identifier: Apache-2.0
"""What the node's log says while an engine is loaded: a first build of a TensorRT engine takes minutes."""

from __future__ import annotations

import time
from typing import Any

from ..runtime.engine import Report


def engine_report(logger: Any, period_s: float) -> Report:
    """A report to the node's log; of the progress, a line every `period_s`."""
    told = time.monotonic()

    def progress(text: str, share: float | None) -> None:
        nonlocal told
        if time.monotonic() - told >= period_s:
            told = time.monotonic()
            logger.info(text if share is None else f'{text} ({share:.0%})')

    return Report(logger.info, logger.warning, progress)
