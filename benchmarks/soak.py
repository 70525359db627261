# SPDX-License-Identifier: Apache-2.0
"""Does the node leak, and does it lose count? Six cameras at 10 Hz with faults mixed in, for as long as you like.

    python benchmarks/soak.py [--minutes 30] [--out soak.csv]

The node runs in a process of its own with a tiny model, over real DDS. Every 20 s another fault begins and lasts for
10 s: cameras that die, lose images, repeat stamps or pictures, flood, change size or encoding. Every 5 s a row with the
node's resident memory and its counts, from /diagnostics, is written to the CSV; a line is printed every minute.

Passes when resident memory grows by less than 2 %, when in every row the counts add up (sets: in = out + dropped + in
work; images: received = without a stamp + used + pending + dropped), when every set that was published was heard (but
for two that may be on their way), and when the node ends with 0. All ten faults once are a round of 200 s. The first
round is warm-up: what each fault needs is got when it is first met. Growth is from the median of the second round to
that of the last 200 s, so that both saw the same faults. Statistics of bounded length (2000 arrivals a camera) fill
meanwhile, and count as growth.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / 'test' / part) for part in ('', 'nodes', 'faults'))]

from semi_smd_ros.cli.demo.domain import DomainClaim  # noqa: E402

NAMES = ('front', 'front_left', 'front_right', 'rear', 'rear_left', 'rear_right')
FAULT_EVERY_S, FAULT_LASTS_S, SAMPLE_EVERY_S, TELL_EVERY_S = 20.0, 10.0, 5.0, 60.0
ROUND_S = 10 * FAULT_EVERY_S
# A warm-up, a round to compare with, and one to compare.
LEAST_MINUTES = 3 * ROUND_S / 60
MOST_GROWTH = 0.02
DROPS = ('incomplete', 'late', 'duplicate', 'overflow', 'jump', 'reset')


def faults(rig: Any, dice: random.Random) -> list[tuple[str, Callable[[], None]]]:
    """Every fault by name; each picks its camera anew."""
    from test_message_faults import as_encoding

    def camera() -> Any:
        return rig.cameras[dice.choice(NAMES)]

    def several_die(count: int) -> None:
        for name in dice.sample(NAMES, count):
            rig.cameras[name].dies()

    def all_drop() -> None:
        for one in rig.cameras.values():
            one.loses(0.1)

    return [
        ('a camera dies', lambda: camera().dies()),
        ('all cameras lose a tenth of their images', all_drop),
        ('a camera repeats its stamp', lambda: camera().repeats_its_stamp()),
        ('a camera is black', lambda: camera().shows_only(0)),
        ('a camera floods at 50 Hz', lambda: camera().sends_at(50)),
        ('two cameras die', lambda: several_die(2)),
        ('a camera sends an unknown encoding', lambda: camera().spoils(as_encoding('secret'))),
        ('a camera changes its size', lambda: camera().resizes(0.5, info=True)),
        ('a clock is an hour ahead', lambda: camera().is_off_by(3600 * 10**9)),
        ('all cameras die', lambda: several_die(len(NAMES))),
    ]


def row_of(node: Any, elapsed_s: float, fault: str) -> dict[str, Any]:
    """What is known now, from one message of /diagnostics."""
    values, *cameras = node.values_of('sets', *(f'camera {name}' for name in NAMES))
    row: dict[str, Any] = {'seconds': round(elapsed_s, 1), 'rss_kb': node.memory_kb(), 'fault': fault}
    row |= {key: int(values[key]) for key in ('in', 'out', 'dropped', 'in work')}
    row |= {key: int(values[f'synchronizer: {key}']) for key in ('used', 'pending', *DROPS)}
    row['images in'] = int(values['synchronizer: in'])
    row['received'] = sum(int(camera['received']) for camera in cameras)
    row['without a stamp'] = sum(int(camera.get('rejected: stamp', 0)) for camera in cameras)
    row['lost by the middleware'] = sum(int(camera['lost by the middleware']) for camera in cameras)
    row['sent'] = sum(camera.sent for camera in node.rig.cameras.values())
    row['sets heard'] = node.sets_heard
    return row


def problems_of(row: dict[str, Any]) -> list[str]:
    """What does not add up in one row."""
    found = []
    if row['in'] != row['out'] + row['dropped'] + row['in work'] or not 0 <= row['in work'] <= 2:
        found.append('sets')
    if row['images in'] != row['used'] + row['pending'] + sum(row[reason] for reason in DROPS):
        found.append('images of the synchroniser')
    if row['received'] != row['without a stamp'] + row['images in']:
        found.append('images received')
    return found


def soak(minutes: float, out: Path) -> bool:
    """Run and judge; the CSV appears under its name when the time is over."""
    from rig_simulator import SimulatedRig
    from tiny_model import write_tiny_model
    from watched_node import Ear, WatchedNode

    folder = Path(tempfile.mkdtemp(prefix='soak_'))
    ear = Ear()
    rig = SimulatedRig(ear.node, 'soak', NAMES)
    rig.place(NAMES)
    schedule = faults(rig, random.Random(0))
    assert len(schedule) * FAULT_EVERY_S == ROUND_S
    node = WatchedNode(ear, rig, folder, model=write_tiny_model(folder / 'tiny.onnx'))
    rig.start()
    partial = out.with_name(out.name + '.partial')
    rows: list[dict[str, Any]] = []
    amiss: list[str] = []
    try:
        node.serves(*NAMES)
        with partial.open('w', newline='', encoding='utf-8') as file:
            for row in _watch(node, minutes * 60, itertools.cycle(schedule)):
                if not rows:
                    writer = csv.DictWriter(file, list(row))
                    writer.writeheader()
                rows.append(row)
                amiss += [f'{problem} at {row["seconds"]} s: {row}' for problem in problems_of(row)]
                writer.writerow(row)
                file.flush()
        rig.recovers()
        node.serves(*NAMES)
        # No more images: what is out now has been heard, or is lost.
        for camera in rig.cameras.values():
            camera.dies()
        node.is_silent()
        node.says('sets', b'\x02', 'no set for')
        rows.append(row_of(node, minutes * 60, 'end'))
        code = node.process.stop()
        log = node.log()
    finally:
        rig.close()
        node.close()
        ear.close()
    partial.rename(out)
    return _judge(rows, amiss, code, log)


def _watch(node: Any, seconds: float, schedule: Any) -> Any:
    """Begin and end faults; yields a row every few seconds."""
    began = told = time.monotonic()
    sample_at, fault_at, fault = began, began + FAULT_EVERY_S, ''
    while (now := time.monotonic()) < began + seconds:
        if node.process.popen.poll() is not None:
            raise RuntimeError(f'the node ended with {node.process.popen.returncode}:\n{node.log()[-2000:]}')
        if fault and now > fault_at + FAULT_LASTS_S:
            node.rig.recovers()
            fault, fault_at = '', fault_at + FAULT_EVERY_S
        elif not fault and now > fault_at:
            fault, begin = next(schedule)
            begin()
        if now >= sample_at:
            sample_at += SAMPLE_EVERY_S
            row = row_of(node, now - began, fault)
            if now >= told:
                told += TELL_EVERY_S
                _tell(
                    f'{row["seconds"]:7.0f} s  {row["rss_kb"] / 1024:7.1f} MB  sets: {row["in"]} in, {row["out"]} out, '
                    f'{row["dropped"]} dropped; images: {row["received"]} of {row["sent"]} received  {fault}'
                )
            yield row
        time.sleep(0.05)


def _judge(rows: list[dict[str, Any]], amiss: list[str], code: int, log: str) -> bool:
    last = rows.pop()
    end_s = rows[-1]['seconds']
    before = statistics.median(row['rss_kb'] for row in rows if ROUND_S <= row['seconds'] < 2 * ROUND_S)
    after = statistics.median(row['rss_kb'] for row in rows if row['seconds'] > end_s - ROUND_S)
    growth = after / before - 1
    unheard = last['out'] - last['sets heard']
    checks = {
        f'resident memory {before / 1024:.1f} MB (median of {ROUND_S:.0f}..{2 * ROUND_S:.0f} s, after all faults once) '
        f'-> {after / 1024:.1f} MB (of {end_s - ROUND_S:.0f}..{end_s:.0f} s): {growth:+.2%} (limit {MOST_GROWTH:.0%})':
            growth < MOST_GROWTH,
        f'counts add up in {len(rows)} rows; {last["in"]} sets in = {last["out"]} out + {last["dropped"]} dropped':
            not amiss and last['in'] == last['out'] + last['dropped'],
        f'{last["received"]} images received = {last["used"]} used + {last["pending"]} pending + '
        f'{sum(last[reason] for reason in DROPS)} dropped; {last["sent"] - last["received"]} of {last["sent"]} sent '
        f'were lost on the way': not problems_of(last),
        f'{last["sets heard"]} clouds heard of {last["out"]} published': abs(unheard) <= 2,
        f'the node ended with {code}, without a traceback': code == 0 and 'Traceback' not in log,
    }  # fmt: skip
    for problem in amiss[:5]:
        _tell(f'amiss: {problem}')
    for text, is_well in checks.items():
        _tell(f'{"pass" if is_well else "FAIL"}  {text}')
    return all(checks.values())


def _tell(text: str) -> None:
    sys.stdout.write(text + '\n')
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=30.0)
    parser.add_argument('--out', type=Path, default=Path('soak.csv'), help='CSV with a row every 5 s')
    arguments = parser.parse_args()
    if arguments.minutes < LEAST_MINUTES:
        parser.error(f'--minutes is {arguments.minutes:g}; expected {LEAST_MINUTES:g} or more, or nothing is learned')
    domain = DomainClaim()
    os.environ |= {
        'ROS_DOMAIN_ID': str(domain.number),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA',
        'FASTDDS_DEFAULT_PROFILES_FILE': str(ROOT / 'config' / 'fastdds.xml'),
    }
    return 0 if soak(arguments.minutes, arguments.out) else 1


if __name__ == '__main__':
    sys.exit(main())
