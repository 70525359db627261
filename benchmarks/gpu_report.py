# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/gpu.py measured: as JSON, judged against the budgets, and as the tables of docs/performance.md."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
BEGIN, END = '<!-- benchmarks/gpu.py: begin -->', '<!-- benchmarks/gpu.py: end -->'
NOT_YET = 'not yet measured'
MODELS = ('small', 'base')
TENSORRT, EAGER, COMPILED, ORT_CUDA = 'TensorRT', 'PyTorch eager', 'torch.compile, CUDA graphs', 'ONNX Runtime CUDA'
# What is compared in one run, in the order of the table.
ENGINES: tuple[tuple[str, str], ...] = (
    (TENSORRT, 'fp32'), (TENSORRT, 'fp16'), (TENSORRT, 'int8'),
    (EAGER, 'fp16'), (COMPILED, 'fp16'), (ORT_CUDA, 'fp32'),
)  # fmt: skip
# On an H200, `base`, six cameras of 352x640.
ENGINE_MS, TIMES_FASTER, END_TO_END_MS = 3.0, 4.0, 8.0
DEVICE, GRAPH = 'TensorRT FP16, device path', 'TensorRT FP16, device path, CUDA graph'
HOST, ORT_HOST = "TensorRT FP16, processor's path", "ONNX Runtime CUDA, processor's path"
PATHS = (DEVICE, GRAPH, HOST, ORT_HOST)


@dataclass(frozen=True)
class Latency:
    """Milliseconds of `n` timed calls."""

    p50: float
    p99: float
    n: int

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Latency:
        """Percentiles of single times. Raises ValueError where there is none."""
        if not len(milliseconds):
            raise ValueError('no time was measured; expected one or more')
        p50, p99 = np.percentile(milliseconds, (50, 99))
        return cls(float(p50), float(p99), len(milliseconds))


@dataclass(frozen=True)
class Parity:
    """By how much depths differ from the reference's, relative to it (median, 99th percentile), where both are finite;
    `finite`: the share of pixels where only one is (sky, or broken)."""

    against: str
    p50: float
    p99: float
    finite: float

    @classmethod
    def of(cls, against: str, reference: np.ndarray, depth: np.ndarray) -> Parity:
        """Compare depths of equal shape. Raises ValueError where there is nothing to compare."""
        if reference.shape != depth.shape:
            raise ValueError(f'depth has shape {depth.shape}; expected {reference.shape}, that of {against}')
        known, both = np.isfinite(reference), np.isfinite(reference) & np.isfinite(depth) & (reference > 0)
        if not both.any():
            raise ValueError(f'no pixel has a depth both here and in the reference ({against}): the path is broken')
        p50, p99 = np.percentile(np.abs(depth[both] / reference[both] - 1), (50, 99))
        return cls(against, float(p50), float(p99), float((known != np.isfinite(depth)).mean()))

    def __str__(self) -> str:
        return f'{100 * self.p50:.3f} % / {100 * self.p99:.3f} % / {100 * self.finite:.3f} %'


@dataclass(frozen=True)
class EngineRow:
    """One engine; either `skipped` says why it could not run, or the rest is measured."""

    model: str
    runtime: str
    precision: str
    skipped: str = ''
    latency: Latency | None = None
    memory_mib: float | None = None
    parity: Parity | None = None


@dataclass(frozen=True)
class EndToEndRow:
    """From six images in host memory to the bytes of the cloud in host memory."""

    model: str
    path: str
    skipped: str = ''
    total: Latency | None = None
    stages: Mapping[str, Latency] = field(default_factory=dict)
    parity: str = ''


@dataclass(frozen=True)
class GpuReport:
    """One run of the benchmark on one machine."""

    machine: Mapping[str, str]
    cameras: int
    engines: tuple[EngineRow, ...]
    end_to_end: tuple[EndToEndRow, ...]
    command: str = 'python benchmarks/gpu.py'
    schema: int = SCHEMA

    def engine(self, model: str, runtime: str, precision: str) -> EngineRow | None:
        """The row of one engine that ran, or None."""
        for row in self.engines:
            if (row.model, row.runtime, row.precision) == (model, runtime, precision) and row.latency is not None:
                return row
        return None


@dataclass(frozen=True)
class Budget:
    """One of the issue's limits; `value` is None where it was not measured."""

    name: str
    value: float | None
    limit: float
    unit: str
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """'kept', 'BROKEN', or that nothing is known."""
        if self.value is None:
            return NOT_YET
        return 'kept' if (self.value >= self.limit if self.at_least else self.value <= self.limit) else 'BROKEN'


def budgets(report: GpuReport | None) -> tuple[Budget, ...]:
    """The limits for `base` on an H200, with what was measured (on whatever GPU)."""
    ours = report and report.engine('base', TENSORRT, 'fp16')
    eager = report and report.engine('base', EAGER, 'fp16')
    engine_ms = ours.latency.p50 if ours and ours.latency else None
    faster = eager.latency.p50 / engine_ms if eager and eager.latency and engine_ms else None
    whole = [row.total.p50 for row in (report.end_to_end if report else ()) if row.model == 'base' and row.total]
    return (
        Budget('engine, FP16, p50', engine_ms, ENGINE_MS, 'ms'),
        Budget('faster than PyTorch eager FP16', faster, TIMES_FASTER, 'x', at_least=True),
        Budget('end to end, best path, p50', min(whole) if whole else None, END_TO_END_MS, 'ms'),
    )


def to_json(report: GpuReport) -> str:
    """The report with its budgets, as JSON; `from_json` reads it."""
    judged = [{**asdict(budget), 'verdict': budget.verdict} for budget in budgets(report)]
    return json.dumps({**asdict(report), 'budgets': judged}, indent=2, allow_nan=False) + '\n'


def from_json(text: str) -> GpuReport:
    """Read what `to_json` wrote. Raises ValueError for anything else, naming what is wrong."""
    try:
        data = json.loads(text)
        if data['schema'] != SCHEMA:
            raise ValueError(f'schema {data["schema"]}; expected {SCHEMA}: measure again with this benchmark')
        engines = tuple(
            EngineRow(**{**row, 'latency': _maybe(Latency, row['latency']), 'parity': _maybe(Parity, row['parity'])})
            for row in data['engines']
        )
        end_to_end = tuple(
            EndToEndRow(
                **{
                    **row,
                    'total': _maybe(Latency, row['total']),
                    'stages': {name: Latency(**stage) for name, stage in row['stages'].items()},
                }
            )
            for row in data['end_to_end']
        )
        return GpuReport(data['machine'], data['cameras'], engines, end_to_end, data['command'])
    except (KeyError, TypeError) as error:
        raise ValueError(f'this is no report of benchmarks/gpu.py: {type(error).__name__}: {error}') from error


def _maybe(kind: type[Any], fields: Mapping[str, Any] | None) -> Any:
    return None if fields is None else kind(**fields)


def tables(report: GpuReport | None) -> str:
    """The markdown between the marks of docs/performance.md; None gives the tables with nothing measured."""
    if report is None:
        machine = f'**{NOT_YET[0].upper()}{NOT_YET[1:]}**: no GPU was at hand.'
    else:
        machine = '; '.join(f'{name} {value}' for name, value in report.machine.items()) + f'. `{report.command}`'
    parts = [machine]
    for model in MODELS:
        title = f'### Engine, `{model}`, {report.cameras if report else 6} cameras'
        header = ('engine', 'precision', 'p50 ms', 'p99 ms', 'GPU memory MiB', 'depth differs: p50 / p99 / sky')
        parts.append(f'{title}\n\n{_table(header, (_engine_cells(report, model, *engine) for engine in ENGINES))}')
    parts.append('### Images in host memory to cloud bytes in host memory\n\n' + _end_to_end(report))
    rows = (
        (
            budget.name,
            f'{"at least" if budget.at_least else "at most"} {budget.limit:g} {budget.unit}',
            NOT_YET if budget.value is None else f'{budget.value:.2f} {budget.unit}',
            '' if budget.value is None else budget.verdict,
        )
        for budget in budgets(report)
    )
    parts.append(
        '### Budgets: `base`, six cameras of 352x640, on an H200\n\n' + _table(('', 'budget', 'measured', ''), rows)
    )
    return '\n\n'.join(parts)


def _engine_cells(report: GpuReport | None, model: str, runtime: str, precision: str) -> tuple[str, ...]:
    name = (runtime, precision.upper())
    rows = (
        []
        if report is None
        else [r for r in report.engines if (r.model, r.runtime, r.precision) == (model, runtime, precision)]
    )
    if not rows:
        return (*name, NOT_YET, '', '', '')
    row = rows[0]
    if row.latency is None:
        return (*name, f'not run: {row.skipped}', '', '', '')
    memory = '' if row.memory_mib is None else f'{row.memory_mib:.0f}'
    parity = '' if row.parity is None else str(row.parity)
    return (*name, f'{row.latency.p50:.2f}', f'{row.latency.p99:.2f}', memory, parity)


def _end_to_end(report: GpuReport | None) -> str:
    header = ('model', 'path', 'p50 ms', 'p99 ms', 'stages, p50 ms', 'results')
    if report is None:
        return _table(header, ((model, path, NOT_YET, '', '', '') for model in MODELS for path in PATHS))
    rows = []
    for row in report.end_to_end:
        if row.total is None:
            rows.append((row.model, row.path, f'not run: {row.skipped}', '', '', ''))
            continue
        stages = ', '.join(f'{name} {time.p50:.2f}' for name, time in row.stages.items())
        rows.append((row.model, row.path, f'{row.total.p50:.2f}', f'{row.total.p99:.2f}', stages, row.parity))
    return _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(
        '| ' + ' | '.join(cell.replace('|', '\\|').replace('\n', ' ') for cell in line) + ' |' for line in lines
    )


def write_tables(page: Path, report: GpuReport | None) -> None:
    """Put the tables between the marks of `page`, whole or not at all. Raises ValueError where it has no marks."""
    text = page.read_text(encoding='utf-8')
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f'{page}: expected one line {BEGIN!r} and after it one line {END!r}, between which to write')
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    part = page.with_name(page.name + '.part')
    part.write_text(f'{before}{BEGIN}\n\n{tables(report)}\n\n{after}', encoding='utf-8')
    os.replace(part, page)
