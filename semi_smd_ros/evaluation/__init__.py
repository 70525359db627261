# SPDX-License-Identifier: Apache-2.0
"""Figures of metric depth, under one stated protocol."""

from .metrics import FIGURES, depth_errors, sample_depth, score_points
from .protocols import Protocol, protocol_named
from .tally import Summary, Tally

__all__ = ['FIGURES', 'Protocol', 'Summary', 'Tally', 'depth_errors', 'protocol_named', 'sample_depth', 'score_points']
