# SPDX-License-Identifier: Apache-2.0
"""Metrics of metric depth, under one stated protocol."""

from .metrics import PROTOCOL, DepthScores, score_depth, summarise

__all__ = ['PROTOCOL', 'DepthScores', 'score_depth', 'summarise']
