# SPDX-License-Identifier: Apache-2.0
"""Mutated messages through the node's decode path: none may crash it, hang it or pass uncounted.

    python benchmarks/fuzz_decode.py [--messages 100000] [--seed 0] [--only N]

Raw images, JPEGs, PNGs and CameraInfos of a running camera, changed in up to four ways each: sizes, steps and lengths
that do not fit, other encodings, cut and spliced and flipped bytes, headers that claim pictures of gigabytes,
calibrations of NaN. Each goes the way of the live node: message adapter, decoder, colour and resize to the network's
size; a CameraInfo goes through the rig assembler to rectification maps. Every message must be used, or rejected with a
reason; untouched ones must be used. Message N of a seed is always the same: `--only N` repeats it alone and shows the
traceback.

Prints counts by reason, the slowest message (CPU time, limit 1 s) and the growth of the process's peak memory (limit
256 MB). Exit code 0 when all is well.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from mutations import Mutant, camera_info_message, mutate  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402

from semi_smd_ros.nodes.images import ImageDecoder, receive_compressed, receive_raw  # noqa: E402
from semi_smd_ros.nodes.rig_assembler import RigAssembler  # noqa: E402
from semi_smd_ros.rig import CameraModel, RigConfigCamera, RigError  # noqa: E402
from semi_smd_ros.runtime import InputError  # noqa: E402
from semi_smd_ros.runtime.images import to_network_size  # noqa: E402
from semi_smd_ros.runtime.preprocess import prepare_rig  # noqa: E402

# So small that JPEGs are decoded at a reduced size for it.
NETWORK = (40, 24)
MOST_CPU_S = 1.0
MOST_GROWTH_MB = 256
HANGS_AFTER_S = 60
FORWARD = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])


@dataclass
class Verdict:
    """`outcomes` counts messages by kind and what became of them; `failures` are (number, text)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = -1
    growth_mb: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether nothing failed, hung or grew."""
        return not self.failures and self.slowest_s < MOST_CPU_S and self.growth_mb < MOST_GROWTH_MB


class DecodePath:
    """What the node does with one camera's messages."""

    def __init__(self) -> None:
        self._decode = ImageDecoder(NETWORK)
        self._model = CameraModel.from_camera_info(camera_info_message())

    def __call__(self, mutant: Mutant) -> str:
        """'used', or 'rejected: <reason>'; whatever else is wrong is raised."""
        if mutant.kind == 'camera_info':
            return self._calibrate(mutant.message)
        receive = receive_compressed if mutant.kind == 'compressed' else receive_raw
        try:
            image = self._decode(receive(mutant.message), self._model)
        except InputError as error:
            if not error.reason or not str(error):
                raise AssertionError('rejected without a reason') from error
            return f'rejected: {error.reason}'
        small = to_network_size(image, lambda pixels: cv2.resize(pixels, NETWORK))
        if small.shape != (NETWORK[1], NETWORK[0], 3) or small.dtype != np.uint8:
            raise AssertionError(f'the network would get {small.shape} of {small.dtype}')
        return 'used'

    def _calibrate(self, message: object) -> str:
        camera = RigConfigCamera('fuzzed', None, 'fuzzed/image_raw', 'fuzzed/camera_info', None)
        assembler = RigAssembler([camera], 'base_link', lambda *_: FORWARD)
        assembler.add_camera_info(0, message)
        rig, problems = assembler.rig()
        if rig is None:
            if not problems['fuzzed']:
                raise AssertionError('rejected without a reason')
            return 'rejected: calibration'
        try:
            prepared = prepare_rig(rig, *NETWORK)
        except RigError:
            return 'rejected: rectification'
        if not np.isfinite(prepared.rectified.intrinsics_n33).all():
            raise AssertionError('the network would get intrinsics that are not finite')
        return 'used'


def fuzz(messages: int, seed: int, alarm: IO[str] = sys.stderr, progress: bool = False) -> Verdict:
    """Send that many mutants on their way; should one hang, `alarm` is told where, and the process ends."""
    path, verdict = DecodePath(), Verdict()
    # What is loaded at first use is no growth.
    for number in range(100):
        _try(path, mutate(seed - 1, number))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in track(range(messages), 'decoding', console=Console(file=alarm), disable=not progress):
        if number % 1000 == 0:
            faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True, file=alarm)
        mutant = mutate(seed, number)
        began = time.process_time()
        outcome, failure = _try(path, mutant)
        took = time.process_time() - began
        if took > verdict.slowest_s:
            verdict.slowest_s, verdict.slowest = took, number
        if not failure and not mutant.changes and outcome != 'used':
            failure = f'an untouched message was {outcome}'
        if failure:
            verdict.failures.append((number, f'{mutant.kind}, {", ".join(mutant.changes)}: {failure}'))
        verdict.outcomes[f'{mutant.kind} {outcome}'] += 1
    faulthandler.cancel_dump_traceback_later()
    verdict.growth_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return verdict


def _try(path: DecodePath, mutant: Mutant) -> tuple[str, str]:
    try:
        return path(mutant), ''
    # Anything but the errors that the path itself knows is what is looked for here.
    except Exception as error:  # noqa: BLE001
        return 'failed', f'{type(error).__name__}: {error}'


@contextlib.contextmanager
def _decoders_silenced() -> Iterator[IO[str]]:
    """libpng and libjpeg complain of every broken picture on standard error; yields where the rest may write."""
    with os.fdopen(os.dup(2), 'w', encoding='utf-8') as stderr:
        faulthandler.enable(stderr)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            yield stderr
        finally:
            os.dup2(stderr.fileno(), 2)
            os.close(nowhere)
            faulthandler.enable()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--messages', type=int, default=100_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', type=int, help='number of one message')
    arguments = parser.parse_args()
    if arguments.only is not None:
        mutant = mutate(arguments.seed, arguments.only)
        sys.stdout.write(f'{mutant.kind}: {", ".join(mutant.changes) or "untouched"}\n')
        try:
            sys.stdout.write(DecodePath()(mutant) + '\n')
        except Exception:  # noqa: BLE001
            sys.stdout.write(traceback.format_exc())
            return 1
        return 0
    with _decoders_silenced() as alarm:
        verdict = fuzz(arguments.messages, arguments.seed, alarm, progress=True)
    for outcome, count in sorted(verdict.outcomes.items()):
        sys.stdout.write(f'{count:8d}  {outcome}\n')
    sys.stdout.write(
        f'{sum(verdict.outcomes.values()):8d}  messages used or rejected for a reason, but {len(verdict.failures)}\n'
        f'slowest: {verdict.slowest_s * 1e3:.1f} ms CPU (message {verdict.slowest}); '
        f'peak memory grew by {verdict.growth_mb:.1f} MB\n'
    )
    for number, failure in verdict.failures[:20]:
        sys.stdout.write(f'FAIL  message {number}: {failure[:300]}\n')
    return 0 if verdict.is_well else 1


if __name__ == '__main__':
    sys.exit(main())
