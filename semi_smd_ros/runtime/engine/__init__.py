# SPDX-License-Identifier: Apache-2.0
"""Engines: what runs a model file, behind one contract."""

from __future__ import annotations

from .backends import BACKENDS, load_engine
from .contract import BackendError, Engine, EngineInputs, EngineOutputs, EngineSpec, ModelError
from .precision import PRECISIONS
from .report import Report

__all__ = [
    'BACKENDS',
    'PRECISIONS',
    'BackendError',
    'Engine',
    'EngineInputs',
    'EngineOutputs',
    'EngineSpec',
    'ModelError',
    'Report',
    'load_engine',
]
