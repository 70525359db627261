# SPDX-License-Identifier: Apache-2.0
"""`semi-smd profile`: what a network costs, as a table or as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..network.config import CONFIGS
from ..network.profile import FUSION_PARTS, profile


def run_profile(name: str, cameras: int, threads: int, as_json: bool, console: Console) -> dict[str, Any]:
    """Profile CONFIGS[name], print it, and return it. Raises KeyError for a name that is not there."""
    figures = profile(CONFIGS[name], cameras, threads)
    if as_json:
        sys.stdout.write(json.dumps(figures, indent=2) + '\n')
        return figures
    size = f'{cameras} x {figures["height"]}x{figures["width"]}'
    table = Table(
        title=f'{name}: {size}, ONNX Runtime with {threads} threads', box=SIMPLE_HEAD, title_justify='left',
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column('part')
    for column in ('M parameters', 'GFLOPs', '%', 'ms', '% '):
        table.add_column(column, justify='right')
    rows = [(part, cost['params_m'], cost['gflops'], cost['time_ms']) for part, cost in figures['parts'].items()]
    rows.append(('all', figures['params_m'], figures['gflops'], figures['time_ms']))
    for part, params, gflops, milliseconds in rows:
        shares = (f'{100 * gflops / figures["gflops"]:.1f}', f'{100 * milliseconds / figures["time_ms"]:.1f}')
        table.add_row(part, f'{params:.3f}', f'{gflops:.3f}', shares[0], f'{milliseconds:.1f}', shares[1])
    console.print(table)
    own, apart = figures['fusion_gflops'], figures['fusion_gflops_separate']
    console.print(
        f'fusion of space, time and semantics ({" + ".join(FUSION_PARTS)}): {own:.2f} GFLOPs, '
        f'{100 * own / figures["gflops"]:.1f} %; {figures["fusion_time_ms"]:.1f} ms, '
        f'{100 * figures["fusion_time_ms"] / figures["time_ms"]:.1f} %; with separate blocks {apart:.2f} GFLOPs',
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    return figures
