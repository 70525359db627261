# SPDX-License-Identifier: Apache-2.0
"""What the node says while an engine is loaded: a first build of a TensorRT engine takes minutes.

The executor is busy with configuring then, so that its timers do not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..runtime.engine import Report


def engine_report(logger: Any, log_period_s: float, publish: Callable[[str], None], period_s: float) -> Report:
    """A report to the node's log, and to `publish`; of the progress, once in each period."""
    logged = published = time.monotonic()

    def progress(text: str, share: float | None) -> None:
        nonlocal logged, published
        now, text = time.monotonic(), text if share is None else f'{text} ({share:.0%})'
        if now - published >= period_s:
            published = now
            publish(text)
        if now - logged >= log_period_s:
            logged = now
            logger.info(text)

    return Report(logger.info, logger.warning, progress)
