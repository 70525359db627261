# SPDX-License-Identifier: Apache-2.0
"""The kernels of this folder: compiled when a GPU is there, and launched by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from .driver import CudaContext, DeviceArray, Stream
from .nvrtc import find_nvrtc

HEADER = 'portable.h'


@dataclass(frozen=True)
class KernelInfo:
    """`file` has it; `arguments` are their types as in the module struct (P a pointer); `block` is its threads."""

    file: str
    arguments: str
    block: tuple[int, int, int] = (256, 1, 1)


KERNELS: dict[str, KernelInfo] = {
    'rectify': KernelInfo('rectify.cu', 'PPPPPiPPiii', (32, 8, 1)),
    'finish_depth': KernelInfo('cloud.cu', 'PiPiPPPPii'),
    'finish_labels': KernelInfo('cloud.cu', 'PiPPPPPiiiii'),
    'select_points': KernelInfo('cloud.cu', 'PPPPPPPPi'),
    'enter_voxels': KernelInfo('cloud.cu', 'PPPPPPPPii'),
    'keep_firsts': KernelInfo('cloud.cu', 'PPPPPPPiPPi'),
    'sum_counts': KernelInfo('cloud.cu', 'PiP', (1024, 1, 1)),
    'pack_points': KernelInfo('cloud.cu', 'PPPPPPPiPPiiPPPi'),
}


def source(name: str) -> str:
    """Text of a file of this folder, from wherever the package is installed."""
    return (files(__package__) / name).read_text(encoding='utf-8')


def grid_of(kernel: KernelInfo, threads: tuple[int, ...]) -> tuple[int, int, int]:
    """Blocks in x, y and z for so many threads in each direction."""
    wanted = (*threads, *(1,) * (3 - len(threads)))
    x, y, z = (max(1, -(-size // block)) for size, block in zip(wanted, kernel.block, strict=True))
    return x, y, z


class Launcher(Protocol):
    """Puts kernels on streams."""

    def launch(self, name: str, threads: tuple[int, ...], stream: Any, *arguments: DeviceArray | int) -> None:
        """Run `name` in at least so many threads in x (and y), after what is on `stream`.

        An array stands for its pointer; arguments are those of the kernel in its file.
        """


class Kernels:
    """All kernels, compiled for the GPU of `context`. Raises CudaError where that cannot be done."""

    def __init__(self, context: CudaContext) -> None:
        self._context = context
        compiler = find_nvrtc(context.device.cuda_version)
        headers = {HEADER: source(HEADER)}
        self._modules: list[Any] = []
        self._functions: dict[str, Any] = {}
        # Freed with the context, if not before.
        context.own(self)
        for file in sorted({kernel.file for kernel in KERNELS.values()}):
            code = compiler.compile(file, source(file), headers, context.device.capability)
            with context.active():
                module = context.driver.module_from_buffer(code)
                self._modules.append(module)
                for name, kernel in KERNELS.items():
                    if kernel.file == file:
                        function = module.get_function(name)
                        function.prepare(kernel.arguments)
                        self._functions[name] = function

    def launch(self, name: str, threads: tuple[int, ...], stream: Stream, *arguments: DeviceArray | int) -> None:
        """See Launcher."""
        kernel = KERNELS[name]
        values = [argument if isinstance(argument, int) else argument.pointer for argument in arguments]
        with self._context.active():
            self._functions[name].prepared_async_call(grid_of(kernel, threads), kernel.block, stream.raw, *values)

    def free(self) -> None:
        """Unload the kernels. No work on any stream may use them any more. May be called again."""
        with self._context.active():
            self._functions.clear()
            self._modules.clear()
        self._context.disown(self)
