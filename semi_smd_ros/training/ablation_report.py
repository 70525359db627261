# SPDX-License-Identifier: Apache-2.0
"""The table of an ablation, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semi_smd_ros.training.ablation import AblationConfig
from semi_smd_ros.training.evaluate import SYNTHETIC_PROTOCOL

BEGIN, END = '<!-- written by semi-smd ablate: begin -->', '<!-- written by semi-smd ablate: end -->'
COLUMNS = {
    'abs_rel': ('AbsRel', 3),
    'd1': ('d<1.25', 3),
    'seen_abs_rel': ('AbsRel, seen', 3),
    'seen_d1': ('d<1.25, seen', 3),
    'overlap_within': ('overlap within 1.25', 3),
    'ego_translation_m': ('ego-motion, m', 3),
    'ego_rotation_deg': ('ego-motion, deg', 3),
}
BASELINES = {'abs_rel': 'abs_rel_ground', 'd1': 'd1_ground', 'seen_abs_rel': 'seen_abs_rel_ground',
             'seen_d1': 'seen_d1_ground', 'ego_translation_m': 'ego_still_translation_m',
             'ego_rotation_deg': 'ego_still_rotation_deg'}  # fmt: skip
Results = Sequence[Mapping[str, Any]]


def summary(config: AblationConfig, results: Results) -> list[dict[str, Any]]:
    """One entry per variant that has results: figures as mean and spread (half the range of two seeds, else the
    standard deviation), in the config's order."""
    rows = []
    for variant in config.variants:
        mine = [result for result in results if result['variant'] == variant.name]
        if not mine:
            continue
        figures = {}
        for name in COLUMNS:
            values = [result['figures'][name] for result in mine if name in result['figures']]
            if values:
                spread = (max(values) - min(values)) / 2 if len(values) == 2 else float(np.std(values))
                figures[name] = {'mean': float(np.mean(values)), 'spread': spread, 'values': values}
        rows.append(
            {
                'variant': variant.name,
                'title': variant.title,
                'note': variant.note,
                'seeds': [result['seed'] for result in mine],
                'gflops': mine[0]['gflops'],
                'minutes': float(np.mean([result['minutes'] for result in mine])),
                'figures': figures,
            }
        )
    return rows


def markdown(config: AblationConfig, results: Results, command: str) -> str:
    """Table, what it was made with, and how the figures are meant."""
    rows = summary(config, results)
    stage = config.train.stages[-1]
    lines = [
        f'| variant | {" | ".join(title for title, _ in COLUMNS.values())} | GFLOPs |',
        f'| --- |{" ---: |" * (len(COLUMNS) + 1)}',
    ]
    for row in rows:
        cells = []
        for name, (_, digits) in COLUMNS.items():
            figure = row['figures'].get(name)
            cells.append('' if figure is None else f'{figure["mean"]:.{digits}f} ± {figure["spread"]:.{digits}f}')
        lines.append(f'| {row["title"]} | {" | ".join(cells)} | {row["gflops"]:.2f} |')
    cells = []
    for name, (_, digits) in COLUMNS.items():
        values = [r['figures'][BASELINES[name]] for r in results if BASELINES.get(name) in r['figures']]
        cells.append(f'{np.mean(values):.{digits}f}' if values else '')
    lines.append(f'| *no network: flat ground, standing still* | {" | ".join(cells)} | |')
    notes = [f'- {row["title"]}: {row["note"]}.' for row in rows if row['note']]
    missing = len(config.variants) * len(config.seeds) - len(results)
    unfinished = [f'{missing} of the runs are not finished; the table is of those that are.', ''] if missing else []
    seeds = ', '.join(str(seed) for seed in config.seeds)
    seen = min(config.test_scenes, config.train.views)
    minutes = sum(result['minutes'] for result in results)
    about = (
        f'Command: `{command}`. Seeds {seeds}; mean over seeds ± spread (half the difference of two). Every run: '
        f'{config.train.steps} steps of {stage.batch} frame pair(s) of six cameras at {stage.height}x{stage.width}, '
        f'drawn from the same {config.train.views} rendered pairs; no ground-truth depth, pose or class, but a teacher '
        'made of the truth: disparity of unknown scale and shift in every picture, blurred and noisy, and classes with '
        f'errors. Figures on {config.test_scenes} other scenes; "seen": on {seen} of those whose pictures (never their '
        f'truth) were trained on. {minutes:.0f} minutes of training in all.'
    )
    protocol = (
        f'Protocol: {SYNTHETIC_PROTOCOL}. Overlap: share of depths carried into a neighbour that agree within 1.25.'
    )
    return '\n'.join([*unfinished, *lines, '', *notes, *([''] if notes else []), about, '', protocol, ''])


def write_report(path: Path, text: str) -> None:
    """Put `text` between the marks of an existing file, or make the file."""
    marked = f'{BEGIN}\n\n{text}\n{END}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        whole = path.read_text(encoding='utf-8')
        if BEGIN not in whole or END not in whole:
            raise FileExistsError(f'{path} has no marks of an earlier report ({BEGIN} ... {END}); name another file')
        before, _, rest = whole.partition(BEGIN)
        path.write_text(before + marked.rstrip('\n') + rest.partition(END)[2], encoding='utf-8')
    else:
        path.write_text(f'# Ablation\n\n{marked}', encoding='utf-8')


def write_json(path: Path, config: AblationConfig, results: Results, command: str) -> None:
    """Everything that the table was made of."""
    content = {
        'command': command,
        'protocol': SYNTHETIC_PROTOCOL,
        'summary': summary(config, results),
        'runs': list(results),
    }
    part = path.with_suffix('.part')
    part.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    part.replace(path)
