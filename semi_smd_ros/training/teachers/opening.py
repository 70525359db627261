# SPDX-License-Identifier: Apache-2.0
"""Every teacher by its address: transformers:FOLDER, onnx:FILE, synthetic:SEED."""

from __future__ import annotations

from pathlib import Path

from semi_smd_ros.datasets.sample import DataError
from semi_smd_ros.datasets.source import Options
from semi_smd_ros.datasets.sources import parse_address

from .execution import Execution
from .interface import DepthTeacher, SemanticTeacher
from .synthetic import SyntheticTeacher
from .transformers_semantics import DEFAULT_THRESHOLD

FORMS = 'transformers:FOLDER, onnx:FILE or synthetic:SEED'
KINDS = ('transformers', 'onnx', 'synthetic')


def open_depth_teacher(address: str, execution: Execution | None = None) -> DepthTeacher | SyntheticTeacher:
    """A depth teacher.

    transformers:FOLDER  options output= (disparity or depth, where the model does not tell) and height= (of the
                         pictures for the model, aspect kept; without, as preprocessor_config.json says)
    onnx:FILE            with its sidecar, see `onnx_sidecar`
    synthetic:SEED       the truth with errors

    Raises DataError for an address or option that is unknown, ModelError for a model that cannot be used.
    """
    kind, where, given = parse_address(address, KINDS, 'depth teacher', FORMS)
    options = Options(address, given)
    if kind == 'synthetic':
        return _synthetic(address, where, options)
    if kind == 'onnx':
        from .onnx_teacher import OnnxDepth

        options.finish()
        return OnnxDepth(Path(where), execution)
    from .transformers_depth import OUTPUTS, TransformersDepth

    output, height = options.text('output', '', OUTPUTS), options.integer('height', 0, 0, 8192)
    options.finish()
    return TransformersDepth(Path(where), output, height or None, execution)


def open_semantic_teacher(address: str, execution: Execution | None = None) -> SemanticTeacher | SyntheticTeacher:
    """A semantic teacher; addresses, options and errors as for a depth teacher, but no output=.

    threshold= (0.5): pixels of whose class the model is less sure get 255.
    """
    kind, where, given = parse_address(address, KINDS, 'semantic teacher', FORMS)
    options = Options(address, given)
    if kind == 'synthetic':
        return _synthetic(address, where, options)
    threshold = options.number('threshold', DEFAULT_THRESHOLD, 0.0, 1.0)
    if kind == 'onnx':
        from .onnx_teacher import OnnxSemantics

        options.finish()
        return OnnxSemantics(Path(where), threshold, execution)
    from .transformers_semantics import TransformersSemantics

    height = options.integer('height', 0, 0, 8192)
    options.finish()
    return TransformersSemantics(Path(where), threshold, height or None, execution)


def _synthetic(address: str, where: str, options: Options) -> SyntheticTeacher:
    options.finish()
    if not where.isdecimal():
        raise DataError(f'teacher is {address!r}; expected synthetic:SEED with a whole number')
    return SyntheticTeacher(int(where))
