# SPDX-License-Identifier: Apache-2.0
"""How soon is the node gone after a signal, and how soon does it serve again after a restart?

    python benchmarks/signals.py [--signals 30] [--restarts 10] [--json]

Over real DDS, beside three cameras at 10 Hz and with a tiny model. SIGINT and SIGTERM in turn, each at a random moment
of the 5 s after the process's first line: imports, configuring, inference. Then restarts amid the stream, half of them
after SIGKILL, timed from the start of the process to its first cloud. For a machine that does nothing else; ends with 1
where a limit is broken, an exit code is not 0 or a traceback is seen.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import Figure, show

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / 'test' / part) for part in ('', 'nodes', 'faults'))]

from semi_smd_ros.cli.demo.domain import DomainClaim  # noqa: E402

LEAVES_WITHIN_S, SERVES_WITHIN_S = 2.0, 5.0
LATEST_S = 5.0
# What the process before has sent is heard by then.
ON_ITS_WAY_S = 0.5


def catches_sigterm(pid: int) -> bool:
    """Whether the process has got to its first line: Python by itself never catches SIGTERM."""
    status = Path(f'/proc/{pid}/status').read_text(encoding='utf-8')
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith('SigCgt')), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def leave(node: Any, number: int) -> float:
    """Seconds from the signal to the end of the process. Raises RuntimeError where it does not end well."""
    sent = time.monotonic()
    node.process.popen.send_signal(number)
    code = node.process.popen.wait(timeout=10 * LEAVES_WITHIN_S)
    took = time.monotonic() - sent
    if code or 'Traceback' in node.log():
        raise RuntimeError(f'the node ended with {code}; expected 0 and no traceback:\n{node.log()}')
    return took


def signalled(node: Any, count: int, dice: random.Random) -> list[float]:
    """Times to leave, at random moments after the start."""
    took = []
    for i in range(count):
        node.start()
        node.waits_for(lambda: catches_sigterm(node.process.popen.pid), 'its first line')
        time.sleep(dice.uniform(0, LATEST_S))
        took.append(leave(node, (signal.SIGINT, signal.SIGTERM)[i % 2]))
    return took


def restarted(node: Any, count: int) -> list[float]:
    """Times to serve, from the start of the process on."""
    took = []
    for i in range(count):
        begin, started = node.sets_heard, time.monotonic()
        node.start()
        node.waits_for(lambda begin=begin: node.sets_heard > begin, 'a set')
        took.append(time.monotonic() - started)
        if i % 2:
            node.process.popen.kill()
            node.process.popen.wait()
        else:
            leave(node, signal.SIGTERM)
        time.sleep(ON_ITS_WAY_S)
    return took


def measure(signals: int, restarts: int) -> list[Figure]:
    """All figures."""
    from rig_simulator import SimulatedRig
    from tiny_model import write_tiny_model
    from watched_node import NAMES, Ear, WatchedNode

    with tempfile.TemporaryDirectory() as folder:
        ear = Ear()
        rig = SimulatedRig(ear.node, 'signals', NAMES)
        rig.place(NAMES)
        node = WatchedNode(ear, rig, Path(folder), model=write_tiny_model(Path(folder) / 'tiny.onnx'))
        rig.start()
        try:
            node.serves(*NAMES)
            leave(node, signal.SIGINT)
            left = signalled(node, signals, random.Random(0))
            time.sleep(ON_ITS_WAY_S)
            served = restarted(node, restarts)
        finally:
            rig.close()
            node.close()
            ear.close()
    return [
        Figure('a signal to the end, worst', max(left), 's', LEAVES_WITHIN_S, f'of {len(left)}'),
        Figure('a signal to the end, mean', sum(left) / len(left), 's'),
        Figure('a start to the first cloud, worst', max(served), 's', SERVES_WITHIN_S, f'of {len(served)}'),
        Figure('a start to the first cloud, mean', sum(served) / len(served), 's'),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--signals', type=int, default=30)
    parser.add_argument('--restarts', type=int, default=10)
    parser.add_argument('--json', action='store_true', help='print the figures as JSON')
    arguments = parser.parse_args()
    if min(arguments.signals, arguments.restarts) < 1:
        parser.error('--signals and --restarts are counts; expected 1 or more')
    domain = DomainClaim()
    os.environ |= {
        'ROS_DOMAIN_ID': str(domain.number),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
        'FASTDDS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
    }
    return show(measure(arguments.signals, arguments.restarts), arguments.json)


if __name__ == '__main__':
    sys.exit(main())
