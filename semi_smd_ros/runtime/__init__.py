# SPDX-License-Identifier: Apache-2.0
"""What runs on the vehicle: synchroniser, pipeline, engines. Needs neither ROS nor torch."""

from .cloud import CloudBuilder, CloudConfig, PackedCloud
from .engine import Engine, EngineInputs, EngineOutputs, EngineSpec, ModelError, load_engine
from .frame import SurroundDepth, SurroundFrame
from .images import SUPPORTED_ENCODINGS, CameraImage, InputError, check_layout, decode_compressed, decode_raw
from .labels import label_images
from .pipeline import PipelineConfig, SurroundDepthPipeline
from .synchronizer import SurroundSynchronizer, SynchronizedSet

__all__ = [
    'SUPPORTED_ENCODINGS',
    'CameraImage',
    'CloudBuilder',
    'CloudConfig',
    'Engine',
    'EngineInputs',
    'EngineOutputs',
    'EngineSpec',
    'InputError',
    'ModelError',
    'PackedCloud',
    'PipelineConfig',
    'SurroundDepth',
    'SurroundDepthPipeline',
    'SurroundFrame',
    'SurroundSynchronizer',
    'SynchronizedSet',
    'check_layout',
    'decode_compressed',
    'decode_raw',
    'label_images',
    'load_engine',
]
