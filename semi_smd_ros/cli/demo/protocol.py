# SPDX-License-Identifier: Apache-2.0
"""How the demo's processes talk to the one that started them: one JSON object a line on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any

NODE_NAME = 'surround_depth'
POINTS_TOPIC = f'/{NODE_NAME}/points'
ODOMETRY_TOPIC = f'/{NODE_NAME}/odometry'


class DemoError(RuntimeError):
    """The demo could not be run to its end; the message says why and where the logs are."""


def say(event: str, **values: Any) -> None:
    """Send one event to the parent process."""
    sys.stdout.write(json.dumps({'event': event, **values}) + '\n')
    sys.stdout.flush()


def hear(line: str) -> dict[str, Any] | None:
    """One event, or None for a line that is none (a library's own output)."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and 'event' in event else None
