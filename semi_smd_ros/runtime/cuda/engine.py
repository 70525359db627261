# SPDX-License-Identifier: Apache-2.0
"""What the device path asks of an engine beside the contract of every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from ..engine import Engine
from .driver import CudaContext, DeviceArray, Stream

if TYPE_CHECKING:
    from ..engine.tensorrt import TensorRTEngine

    def _is_one(engine: TensorRTEngine) -> DeviceEngine:
        return engine


class DeviceEngine(Engine, Protocol):
    """An engine whose tensors lie on a GPU, at addresses that hold for its life.

    `slot` (0 or 1): which half of its memory the next `enqueue` reads; what was recorded serves that half alone.
    """

    context: CudaContext
    slot: int

    def device_input(self, name: str) -> DeviceArray:
        """The memory of the contract's input `name` (not of the memory's), for work on a stream to write."""

    def device_output(self, name: str) -> DeviceArray:
        """The memory of the contract's output `name`, good until the next `enqueue`."""

    def enqueue(self, stream: Stream, use_memory: bool) -> None:
        """Put one set on `stream`, from the inputs to the outputs; the temporal memory goes round on the device."""

    def note_run(self) -> None:
        """Go on as after `enqueue`, which was launched again as part of a graph."""


def is_on_device(engine: Any) -> TypeGuard[DeviceEngine]:
    """Whether `engine` is a DeviceEngine."""
    return all(hasattr(engine, name) for name in ('context', 'device_input', 'device_output', 'enqueue'))
