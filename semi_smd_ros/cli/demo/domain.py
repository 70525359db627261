# SPDX-License-Identifier: Apache-2.0
"""A ROS domain of one's own, so that two runs on one machine never hear each other."""

from __future__ import annotations

import fcntl
import random
import tempfile
from pathlib import Path
from typing import IO

# Domain ids above 101 would need ports that Linux hands out to others.
DOMAINS = range(1, 102)


class DomainClaim:
    """Holds a domain id from when it is made until `close`, or until the process ends.

    Raises RuntimeError when every id is taken by other runs on this machine.
    """

    def __init__(self) -> None:
        for number in random.sample(DOMAINS, len(DOMAINS)):
            lock = _try_lock(Path(tempfile.gettempdir()) / f'semi_smd_ros_domain_{number}.lock')
            if lock is not None:
                self.number, self._lock = number, lock
                return
        raise RuntimeError(f'all {len(DOMAINS)} ROS domains are in use by other runs; wait for one to end')

    def close(self) -> None:
        """Let others have the id."""
        self._lock.close()


def _try_lock(path: Path) -> IO[str] | None:
    try:
        file = path.open('a', encoding='utf-8')
    except PermissionError:  # another user's run made it
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
