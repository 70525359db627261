# SPDX-License-Identifier: Apache-2.0
"""Build a TensorRT plan from an ONNX file for one number of cameras. Takes a minute or several."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .contract import INPUTS, OUTPUTS, BackendError, check_tensors
from .precision import stays_fp32
from .report import Progress, no_progress
from .tensorrt_api import TensorRT

WORKSPACE_BYTES = 1 << 30
# Seconds between two signs of life of a builder that does not tell its progress.
SILENT_S = 5.0
_METADATA = '[ONNX Layer: '


class BuildError(BackendError):
    """TensorRT has read the model and finds no way to build it as it is asked to."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build: `model` is the ONNX file's content, `where` names it in messages.

    `precision` is fp32, fp16 or int8. With `is_typed` the file's own types decide (see `precision.mixed_precision`);
    else flags do, and the layers that `fp16_scopes` (from the model's metadata) does not name stay in FP32: they must,
    or where TensorRT finds no way to that, without `must_obey`, they do wherever it can.
    """

    model: bytes
    where: str
    cameras: int
    precision: str
    is_typed: bool
    fp16_scopes: tuple[str, ...] = ()
    must_obey: bool = True


@dataclass(frozen=True, eq=False)
class BuiltPlan:
    """A serialised engine, its tensors (name to shape; None is N), and the timing cache to keep for the next build."""

    plan: bytes
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    timing_cache: bytes


def build_plan(
    trt: TensorRT, request: BuildRequest, progress: Progress = no_progress, timing_cache: bytes = b''
) -> BuiltPlan:
    """Build a plan. Raises BackendError with TensorRT's own reasons when it refuses the model, ModelError for one that
    does not keep the contract.
    """
    module = trt.module
    builder = module.Builder(trt.log.adapter)
    kind = 'STRONGLY_TYPED' if request.is_typed else 'EXPLICIT_BATCH'
    network = builder.create_network(trt.bit('NetworkDefinitionCreationFlag', kind))
    progress('reading the model', None)
    _parse(trt, network, request)
    inputs = {(tensor := network.get_input(i)).name: _shape(tensor) for i in range(network.num_inputs)}
    outputs = {(tensor := network.get_output(i)).name: _shape(tensor) for i in range(network.num_outputs)}
    check_tensors(inputs, INPUTS, request.where)
    check_tensors(outputs, OUTPUTS, request.where)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.member('MemoryPoolType', 'WORKSPACE'), WORKSPACE_BYTES)
    # TF32 has the mantissa of FP16: what must stay in FP32 would lose its metric scale.
    config.clear_flag(trt.member('BuilderFlag', 'TF32'))
    if not request.is_typed:
        _set_precision(trt, network, config, request)
    config.add_optimization_profile(_fix_cameras(builder, network, request.cameras))
    if trt.device is None:
        # TensorRT-RTX builds for a GPU that need not be there.
        config.num_compute_capabilities = 1
        config.set_compute_capability(module.ComputeCapability.SM86, 0)
    cache = _take_timing_cache(config, timing_cache)
    with _watched(trt, config, progress):
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BuildError(
            f'{request.where}: TensorRT {trt.version} cannot build it ({request.precision}, {request.cameras} '
            f'cameras): {trt.log.take_errors()}'
        )
    return BuiltPlan(bytes(plan), inputs, outputs, bytes(cache.serialize()))


def _parse(trt: TensorRT, network: Any, request: BuildRequest) -> None:
    parser = trt.module.OnnxParser(network, trt.log.adapter)
    if not parser.parse(request.model):
        reasons = '; '.join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        trt.log.take_errors()
        raise BackendError(
            f'{request.where}: TensorRT {trt.version} cannot read it: {reasons}: export the model again, or use '
            'backend: onnxruntime'
        )


def _fix_cameras(builder: Any, network: Any, cameras: int) -> Any:
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if -1 in tuple(tensor.shape):
            shape = tuple(cameras if size == -1 else size for size in tensor.shape)
            profile.set_shape(tensor.name, shape, shape, shape)
    return profile


def _shape(tensor: Any) -> list[Any]:
    return [None if size == -1 else int(size) for size in tensor.shape]


def _set_precision(trt: TensorRT, network: Any, config: Any, request: BuildRequest) -> None:
    """FP16 and INT8 by flags; layers that must not be, by their own constraints."""
    if request.precision == 'fp32':
        return
    config.set_flag(trt.member('BuilderFlag', 'FP16'))
    if request.precision == 'int8':
        config.set_flag(trt.member('BuilderFlag', 'INT8'))
    kind = 'OBEY' if request.must_obey else 'PREFER'
    config.set_flag(trt.member('BuilderFlag', f'{kind}_PRECISION_CONSTRAINTS'))
    fp32 = trt.member('DataType', 'FLOAT')
    # A constant takes the type of its reader, a cast says its own, quantising has its own.
    fixed = [trt.member('LayerType', kind) for kind in ('CONSTANT', 'CAST', 'QUANTIZE', 'DEQUANTIZE')]
    node = ''
    # From the end: what the parser puts in by itself (broadcasts, shapes) comes before the node that needs it.
    for i in reversed(range(network.num_layers)):
        layer = network.get_layer(i)
        node = onnx_name(layer) or node
        if not stays_fp32(node, request.fp16_scopes):
            continue
        tensors = [layer.get_output(k) for k in range(layer.num_outputs)]
        # Shapes, indices and masks have types of their own.
        if layer.type in fixed or any(tensor.dtype != fp32 for tensor in tensors):
            continue
        if all(tensor.is_execution_tensor for tensor in tensors):
            layer.precision = fp32
            for k in range(layer.num_outputs):
                layer.set_output_type(k, fp32)


def onnx_name(layer: Any) -> str:
    """The name of the ONNX node that a layer was made of: in its metadata, else its own; '' for one of the parser's."""
    text = str(layer.metadata)
    at = text.rfind(_METADATA)
    name = text[at + len(_METADATA) :].split(']')[0] if at >= 0 else str(layer.name)
    return name if at >= 0 or name.startswith('/') else ''


def _take_timing_cache(config: Any, content: bytes) -> Any:
    """The config's timing cache; one that this version or this GPU cannot use is begun anew."""
    for data in (content, b''):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    raise BackendError('TensorRT refuses an empty timing cache; build again without other programs on the GPU')


@contextmanager
def _watched(trt: TensorRT, config: Any, progress: Progress) -> Iterator[None]:
    """Tell the progress of a build: as TensorRT tells it (10 and newer), else how long it has taken."""
    if hasattr(trt.module, 'IProgressMonitor'):
        monitor = _monitor(trt.module, progress)
        config.progress_monitor = monitor
        yield
        if monitor.error is not None:
            raise monitor.error
        return
    begin = time.monotonic()
    done = threading.Event()

    def tell() -> None:
        while not done.wait(SILENT_S):
            progress(f'TensorRT is building ({time.monotonic() - begin:.0f} s so far)', None)

    teller = threading.Thread(target=tell, name='tensorrt_progress', daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def _monitor(module: Any, progress: Progress) -> Any:
    class Monitor(module.IProgressMonitor):
        """Phases are nested; what is told is how far the outermost is, and how far its current step."""

        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.error: BaseException | None = None
            self.share = 0.0
            # Name, parent, number of steps, steps done.
            self.phases: dict[str, tuple[str | None, int, int]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = (parent_phase, max(num_steps, 1), 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            # Nothing may be raised into the builder, not even by Ctrl-C: it is told to stop, and it is raised then.
            try:
                # Phases of one name may run side by side, and the first to end has taken the entry with it.
                parent, steps, _ = self.phases.get(phase_name, (None, 0, 0))
                if steps:
                    self.phases[phase_name] = (parent, steps, min(step + 1, steps))
                    self.share = max(self.share, self._share(phase_name))
                progress(f'TensorRT: {phase_name}', self.share)
            except BaseException as error:  # noqa: BLE001
                self.error = error
                return False
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.phases.pop(phase_name, None)

        def _share(self, phase_name: str) -> float:
            parent, steps, done = self.phases[phase_name]
            if parent is None:
                return done / steps
            grandparent, outer_steps, outer_done = self.phases.get(parent, ('', 1, 0))
            return 0.0 if grandparent is not None else min((outer_done + done / steps) / outer_steps, 1.0)

    return Monitor()
