# SPDX-License-Identifier: Apache-2.0
"""The kernels of this folder: compiled when a GPU is there, and launched by name."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from .driver import CudaContext, DeviceArray, Stream
from .driver import CudaError as CudaError  # what making kernels raises
from .driver_calls import DriverCalls
from .nvrtc import find_nvrtc

HEADER = 'portable.h'
_TYPES: dict[str, Any] = {'P': ctypes.c_void_p, 'i': ctypes.c_int}


@dataclass(frozen=True)
class KernelInfo:
    """`file` has it; `arguments` are their types (P a pointer, i an int); `block` is its threads."""

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
        self._call = DriverCalls()
        compiler = find_nvrtc(context.device.cuda_version)
        headers = {HEADER: source(HEADER)}
        self._modules: list[ctypes.c_void_p] = []
        self._functions: dict[str, ctypes.c_void_p] = {}
        # Freed with the context, if not before.
        context.own(self)
        for file in sorted({kernel.file for kernel in KERNELS.values()}):
            self._load(file, compiler.compile(file, source(file), headers, context.device.capability))

    def launch(self, name: str, threads: tuple[int, ...], stream: Stream, *arguments: DeviceArray | int) -> None:
        """See Launcher."""
        kernel = KERNELS[name]
        # The values live as long as this method; the driver copies them during the call.
        _values, pointers = packed(kernel, arguments)
        shape = (*grid_of(kernel, threads), *kernel.block)
        with self._context.active():
            self._call(
                f'kernel {name} cannot be launched', 'cuLaunchKernel',
                self._functions[name], *shape, 0, ctypes.c_void_p(stream.handle), pointers, None,
            )  # fmt: skip

    def free(self) -> None:
        """Unload the kernels. No work on any stream may use them any more. May be called again."""
        modules, self._modules = self._modules, []
        self._functions.clear()
        with self._context.active():
            for module in modules:
                self._call('kernels cannot be unloaded', 'cuModuleUnload', module)
        self._context.disown(self)

    def _load(self, file: str, code: bytes) -> None:
        module = ctypes.c_void_p()
        with self._context.active():
            self._call(f'{file} cannot be loaded', 'cuModuleLoadData', ctypes.byref(module), code)
            self._modules.append(module)
            for name, kernel in KERNELS.items():
                if kernel.file == file:
                    function = self._functions[name] = ctypes.c_void_p()
                    found = ctypes.byref(function)
                    self._call(f'{file} has no {name}', 'cuModuleGetFunction', found, module, name.encode())


def packed(kernel: KernelInfo, arguments: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """Arguments as the driver takes them: the values, which must be kept, and an array of pointers to them.

    Raises ValueError where there are more or fewer than the kernel has.
    """
    if len(arguments) != len(kernel.arguments):
        raise ValueError(f'got {len(arguments)} arguments; expected {len(kernel.arguments)}: {kernel.arguments}')
    values: list[Any] = [
        _TYPES[code](argument if isinstance(argument, int) else argument.pointer)
        for code, argument in zip(kernel.arguments, arguments, strict=True)
    ]
    return values, (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
