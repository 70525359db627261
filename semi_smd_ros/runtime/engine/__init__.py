# SPDX-License-Identifier: Apache-2.0
"""Engines: what runs a model file, behind one contract."""

from __future__ import annotations

from pathlib import Path

from .contract import Engine, EngineInputs, EngineOutputs, EngineSpec, ModelError

__all__ = ['Engine', 'EngineInputs', 'EngineOutputs', 'EngineSpec', 'ModelError', 'load_engine']


def load_engine(path: str | Path, threads: int | None = None, sha256: str = '') -> Engine:
    """Load a model file once it is what `sha256`, or the checksum file beside it, says (see `trust`).

    Raises ModelError for a file that is missing, truncated, not the expected one, not ONNX, or off the contract.
    """
    from .onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, threads, sha256)
