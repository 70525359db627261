# SPDX-License-Identifier: Apache-2.0
"""An evaluation as tables for people and as one mapping for programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rig import FAR_WITHOUT_GROUND_M
from .metrics import BANDS
from .runner import FLAT, MODEL, TRUE_PLANE, Evaluation
from .tally import Summary, plain

_HEADS = ('AbsRel', 'SqRel', 'RMSE', 'RMSElog', 'd1', 'd2', 'd3')
_SCALED = ' (scaled)'
_BEST = f'{FLAT}, far'


@dataclass(frozen=True)
class Table:
    """A title, the columns' heads and rows of as many texts; `note` explains what the heads cannot."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ''

    def markdown(self) -> str:
        """The table in GitHub's markdown, with its title as a heading."""
        lines = [f'## {self.title}', '', *([self.note, ''] if self.note else [])]
        lines.append('| ' + ' | '.join(self.columns) + ' |')
        lines.append('| --- ' + '| ---: ' * (len(self.columns) - 1) + '|')
        lines += ['| ' + ' | '.join(row) + ' |' for row in self.rows]
        return '\n'.join(lines) + '\n'


def methods(evaluation: Evaluation) -> dict[str, Summary]:
    """What has figures, under the name that the tables show."""
    found = {name: summary for name, summary in evaluation.methods.items() if summary is not None}
    if evaluation.best_far is not None:
        far, summary = evaluation.best_far
        found[f'{_BEST} {far:g} m'] = summary
    return found


def tables(evaluation: Evaluation) -> list[Table]:
    """All tables of an evaluation; those without content are left out."""
    result = []
    found = methods(evaluation)
    if found:
        result += [_overall(found), _bands(found), _cameras(found), _answers(found[MODEL])] if MODEL in found else []
    result += [table for table in (_consistency(evaluation), _motion(evaluation)) if table.rows]
    return result


def remarks(evaluation: Evaluation) -> list[str]:
    """What a reader should not overlook, a sentence each."""
    lines = []
    if evaluation.truth == 'none':
        lines.append('No ground truth in this source: no depth figures.')
    elif evaluation.methods[MODEL] is None:
        lines.append('No point of the ground truth is in range and has an answer: no depth figures.')
    if evaluation.blind_missing is not None:
        lines.append(
            f'No blind network beside the model, so what it gains by seeing is not shown: expected '
            f'{evaluation.blind_missing}, the same network trained on black pictures and exported as usual '
            '(models/README.md says how).'
        )
    if evaluation.best_far is not None:
        far = f'{evaluation.best_far[0]:g} m'
        lines.append(f'Of all far values {far} gives flat ground the lowest AbsRel; it was picked on these very data.')
    if evaluation.methods.get(TRUE_PLANE) is not None and evaluation.planes < evaluation.sets_run:
        lines.append(f'The true ground plane is known for {evaluation.planes} of {evaluation.sets_run} sets.')
    if evaluation.protocol.masks:
        masked = ', '.join(evaluation.masked_cameras)
        lines.append(f'Ego masks: {masked}.' if masked else 'Ego masks: the source has none, nothing was masked.')
    resets = ', '.join(f'{reason} {count}' for reason, count in evaluation.memory_resets.items())
    lines.append(f'Temporal memory wiped before: {resets or "no set"}.')
    if evaluation.skipped:
        shown = '; '.join(evaluation.skipped[:3])
        more = f' and {len(evaluation.skipped) - 3} more (metrics.json)' if len(evaluation.skipped) > 3 else ''
        lines.append(f'Could not be read, {len(evaluation.skipped)}: {shown}{more}.')
    return lines


def markdown(evaluation: Evaluation, heading: str, facts: dict[str, str]) -> str:
    """The report as markdown: facts, protocol, tables, remarks."""
    parts = [f'# {heading}\n', '\n'.join(f'- {key}: {value}' for key, value in facts.items()) + '\n']
    parts += [f'{evaluation.protocol.text}\n', *(table.markdown() for table in tables(evaluation))]
    parts.append('\n'.join(f'- {line}' for line in remarks(evaluation)) + '\n')
    return '\n'.join(parts)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything, ready for json.dumps; unknown figures are None."""
    spec, protocol = evaluation.spec, evaluation.protocol
    found = methods(evaluation)
    best = evaluation.best_far
    return {
        'protocol': {
            'name': protocol.name,
            'text': protocol.text,
            'min_depth_m': protocol.min_depth_m,
            'max_depth_m': protocol.max_depth_m,
            'flip': protocol.flip,
            'ego_masks': protocol.masks,
            'pooled_images': protocol.batch,
        },
        'model': {
            'name': spec.name,
            'version': spec.version,
            'input': [spec.height, spec.width],
            'trained_on': spec.trained_on,
            'backend': f'{spec.backend} {spec.precision}',
        },
        'sets': evaluation.sets_run,
        'skipped': evaluation.skipped,
        'truth': evaluation.truth,
        'masked_cameras': list(evaluation.masked_cameras),
        'memory_resets': evaluation.memory_resets,
        'ground_planes_known': evaluation.planes,
        'blind_network_missing': evaluation.blind_missing is not None,
        'best_far_m': None if best is None else best[0],
        'depth': {name: summary.as_json() for name, summary in found.items()},
        'overlap': {name: _agreement(tally) for name, tally in evaluation.overlap.items()},
        'flicker': {name: _agreement(tally) for name, tally in evaluation.flicker.items()},
        'ego_motion': {name: _plain(tally.summary()) for name, tally in evaluation.motion.items()},
        'per_set': [
            {'name': s.name, 'abs_rel': plain(s.abs_rel), 'd1': plain(s.d1)} for s in evaluation.sets
        ],
        'picture_sheet': {label: pick.name for label, pick in evaluation.picks.items()},
    }  # fmt: skip


def _overall(found: dict[str, Summary]) -> Table:
    rows = []
    for name, summary in found.items():
        rows.append([name, *(_number(v) for v in summary.metric['all'][0])])
        rows.append(['  median-scaled', *(_number(v) for v in summary.scaled['all'][0])])
    note = (
        'AbsRel, SqRel (m), RMSE (m), RMSElog: lower is better. d1, d2, d3: share within 1.25, 1.25^2, 1.25^3. Flat '
        f"ground: the vehicle's plane z = 0, and {FAR_WITHOUT_GROUND_M:g} m wherever it lies farther."
    )
    return Table('Depth: metric, and median-scaled below', ('', *_HEADS), rows, note)


def _bands(found: dict[str, Summary]) -> Table:
    def cell(band: int) -> Callable[[Summary, bool], str]:
        return lambda summary, scaled: _pair(summary, 'all', scaled, band)

    points = next(iter(found.values())).points['all']
    rows = [
        [name, _share(points[band] / points[0]), *_cells(found, cell(band))]
        for band, name in enumerate(BANDS, start=1)
        if points[band]
    ]
    return Table('By true distance: AbsRel / d1', ('', 'points', *_columns(found)), rows)


def _cameras(found: dict[str, Summary]) -> Table:
    def cell(camera: str) -> Callable[[Summary, bool], str]:
        return lambda summary, scaled: _pair(summary, camera, scaled, 0)

    cameras = next(iter(found.values())).metric
    rows = [[camera, *_cells(found, cell(camera))] for camera in cameras]
    return Table('By camera: AbsRel / d1', ('', *_columns(found)), rows)


def _answers(model: Summary) -> Table:
    rows = [
        [
            camera,
            str(int(model.points[camera][0])),
            *(_share(shares[camera]) for shares in (model.coverage, model.false_sky, model.sky_found)),
        ]
        for camera in model.metric
    ]
    note = (
        'Points of truth; coverage: the share of them with an answer; false sky: the share called sky; sky found: the '
        'share of the true sky called sky, where the source knows it.'
    )
    return Table("The model's answers", ('', 'points', 'coverage', 'false sky', 'sky found'), rows, note)


def _columns(found: dict[str, Summary]) -> list[str]:
    """The methods that the narrower tables show; the model's own also median-scaled."""
    shown = [name for name in found if not name.startswith(_BEST)]
    return [column for name in shown for column in ((name, f'{name}{_SCALED}') if name == MODEL else (name,))]


def _cells(found: dict[str, Summary], cell: Callable[[Summary, bool], str]) -> list[str]:
    return [cell(found[column.removesuffix(_SCALED)], column.endswith(_SCALED)) for column in _columns(found)]


def _pair(summary: Summary, camera: str, scaled: bool, band: int) -> str:
    if camera not in summary.metric:
        return '-'
    values = [_number(summary.figure(name, camera, scaled, band)) for name in ('abs_rel', 'd1')]
    # Without the zeros before the point five such columns fit on a screen.
    return '/'.join(value.removeprefix('0') for value in values)


def _consistency(evaluation: Evaluation) -> Table:
    rows = []
    for title, tallies in (('overlaps', evaluation.overlap), ('flicker', evaluation.flicker)):
        for network, tally in tallies.items():
            summary = tally.summary()
            if summary is not None:
                shares = [_share(summary[key]) for key in ('within', 'sky')]
                numbers = [_number(summary[key]) for key in ('median', 'mean')]
                rows.append([f'{title}: {network}', *numbers, *shares, f'{summary["images"]:.0f}'])
    return Table(
        'Consistency',
        ('', 'median', 'mean', 'within 25 %', 'other says sky', 'images'),
        rows,
        'Overlaps: depth of one camera carried into its neighbours against their own. Flicker: depth carried to the '
        "set before by the vehicle's known motion against what was said there. |carried - own| / own, also where "
        'something hides the point from the other view: what true depth itself has is shown where it is known.',
    )


def _motion(evaluation: Evaluation) -> Table:
    rows: list[list[str]] = []
    standing: list[str] = []
    for network, tally in evaluation.motion.items():
        summary = tally.summary()
        if summary is None:
            continue
        values = [_number(summary[key]) for key in ('translation_m', 'rotation_deg', 'scale')]
        rows.append([network, *values, f'{summary["sets"]:.0f}'])
        values = [_number(summary[f'standing_{key}']) for key in ('translation_m', 'rotation_deg')]
        standing = ['standing still', *values, '0.000', f'{summary["sets"]:.0f}']
    return Table(
        'Ego-motion between sets: mean errors',
        ('', 'translation, m', 'rotation, deg', 'scale', 'sets'),
        [*rows, standing] if rows else [],
        'Scale: estimated over true distance, 1 is right.',
    )


def _agreement(tally: Any) -> dict[str, Any] | None:
    summary = tally.summary()
    return None if summary is None else {**_plain(summary), 'views': tally.views()}


def _plain(values: dict[str, float] | None) -> dict[str, float | None]:
    return {} if values is None else {name: plain(value) for name, value in values.items()}


def _number(value: float) -> str:
    return '-' if np.isnan(value) else f'{value:.3f}'


def _share(value: float) -> str:
    return '-' if np.isnan(value) else f'{100 * value:.1f} %'
