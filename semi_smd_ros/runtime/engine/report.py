# SPDX-License-Identifier: Apache-2.0
"""To whom engines tell what they do while they are loaded, which may take minutes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger(__name__)
# Told what is being done, and how much of it (0..1, None where that is not known). From any thread.
Progress = Callable[[str, 'float | None'], None]


def no_progress(text: str, share: float | None) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Report:
    """`tell` gets what a user should know, `warn` each fallback with its reason, `progress` how far a build is."""

    tell: Callable[[str], None] = _log.info
    warn: Callable[[str], None] = _log.warning
    progress: Progress = no_progress
