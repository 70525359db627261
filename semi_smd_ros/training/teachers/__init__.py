# SPDX-License-Identifier: Apache-2.0
"""Teachers: frozen models that tell relative depth and classes of single pictures, in training only."""

from .execution import Execution
from .interface import DepthTeacher, SemanticTeacher, TeacherIdentity
from .opening import open_depth_teacher, open_semantic_teacher
from .pseudo_labels import PseudoLabels
from .synthetic import SampleLabels, SyntheticTeacher, TeacherErrors

__all__ = [
    'DepthTeacher',
    'Execution',
    'PseudoLabels',
    'SampleLabels',
    'SemanticTeacher',
    'SyntheticTeacher',
    'TeacherErrors',
    'TeacherIdentity',
    'open_depth_teacher',
    'open_semantic_teacher',
]
