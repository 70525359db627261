# SPDX-License-Identifier: Apache-2.0
"""Paint on roads: of one scene, and of all instants of a batch, looked up per point. Drawn in paint.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .slots import Slots, Table, Value

# What fills up the lists of roads with less paint than others: a line of no strength, a crossing out of reach.
_NO_LINE = (0.0, 1.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0)
_NO_ZEBRA = (1e9, 1e9, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class RoadMarks:
    """Paint on the road, in road coordinates (s along, lat to the left), metres.

    Attributes:
        lines_l8: one row a line: lat, half width, dash period (0 solid), dash share, red, green, blue, wear.
        zebras_z5: one row a crossing: s0, s1, lat0, lat1, period; stripes run along s, period 0 paints all of it.
        wear: 0 fresh .. 1 worn asphalt.
    """

    lines_l8: list[tuple[float, ...]]
    zebras_z5: list[tuple[float, ...]]
    wear: float


class Marks:
    """The paint of all instants, as `RoadMarks` has it."""

    def __init__(self, marks: Sequence[RoadMarks], device: torch.device) -> None:
        self._marks = marks
        self._wear = Table([[m.wear] for m in marks], device)
        self._lines = _tables([m.lines_l8 for m in marks], _NO_LINE, device)
        self._zebras = _tables([m.zebras_z5 for m in marks], _NO_ZEBRA, device)

    def wear(self, slots: Slots) -> Value:
        """How worn the asphalt under these points is, 0..1."""
        return self._wear.at(slots)[0]

    def lines(self, slots: Slots) -> Iterator[Sequence[Value]]:
        """As many lines as the most painted of these roads has, fields as in `RoadMarks`."""
        count = max(len(self._marks[k].lines_l8) for k in slots.instants)
        return (table.at(slots) for table in self._lines[:count])

    def zebras(self, slots: Slots) -> Iterator[Sequence[Value]]:
        """The same for crossings."""
        count = max(len(self._marks[k].zebras_z5) for k in slots.instants)
        return (table.at(slots) for table in self._zebras[:count])


def _tables(
    rows: Sequence[Sequence[tuple[float, ...]]], filler: tuple[float, ...], device: torch.device
) -> list[Table]:
    """One table for the first row of every instant, one for the second, and so on."""
    most = max(len(own) for own in rows)
    return [Table([own[k] if k < len(own) else filler for own in rows], device) for k in range(most)]
