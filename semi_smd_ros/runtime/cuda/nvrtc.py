# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ to code for one GPU, by NVIDIA's runtime compiler (NVRTC): neither nvcc nor a GPU is needed for it."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from .driver import CudaError

_HINT = (
    'install the CUDA toolkit (on Jetson: apt install cuda-nvrtc-12-6, or the number of your CUDA), or the wheel for '
    "your driver's CUDA: python3 -m pip install nvidia-cuda-nvrtc-cu12 (CUDA 13: nvidia-cuda-nvrtc)"
)
_NAME = re.compile(r'libnvrtc\.so\.(\d+)[\d.]*')
# What the kernels promise depends on it: no a * b + c in one rounding.
OPTIONS = ('--fmad=false',)


class Nvrtc:
    """One NVRTC library. Raises CudaError where `path` is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._library = ctypes.CDLL(path)
            major, minor = ctypes.c_int(), ctypes.c_int()
            self._check(self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), 'it has no version')
        except (OSError, AttributeError) as error:
            raise CudaError(f'{path} is not an NVRTC library ({error}): {_HINT}') from error
        self.version = (major.value, minor.value)

    def architectures(self) -> tuple[int, ...]:
        """The compute capabilities that it compiles for, such as 87 for 8.7."""
        count = ctypes.c_int()
        self._check(self._library.nvrtcGetNumSupportedArchs(ctypes.byref(count)), 'it does not tell its architectures')
        numbers = (ctypes.c_int * count.value)()
        self._check(self._library.nvrtcGetSupportedArchs(numbers), 'it does not tell its architectures')
        return tuple(numbers)

    def compile(self, name: str, source: str, headers: Mapping[str, str], capability: tuple[int, int]) -> bytes:
        """Code for a GPU of `capability`: its machine code, or PTX of the nearest older one where that is not known.

        Raises CudaError with the compiler's messages.
        """
        wanted = capability[0] * 10 + capability[1]
        known = [architecture for architecture in self.architectures() if architecture <= wanted]
        if not known:
            raise CudaError(
                f'{self.path} (CUDA {self.version[0]}.{self.version[1]}) compiles for no GPU as old as compute '
                f'capability {capability[0]}.{capability[1]}: install an older NVRTC'
            )
        # Machine code runs on just its architecture; PTX on all later ones, once the driver has translated it.
        is_exact = max(known) == wanted
        target = f'--gpu-architecture={"sm" if is_exact else "compute"}_{max(known)}'
        names = (ctypes.c_char_p * len(headers))(*(header.encode() for header in headers))
        texts = (ctypes.c_char_p * len(headers))(*(text.encode() for text in headers.values()))
        program = ctypes.c_void_p()
        made = self._library.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), name.encode(), len(headers), texts, names
        )
        self._check(made, f'{name} cannot be compiled')
        try:
            options = [option.encode() for option in (*OPTIONS, target)]
            code = self._library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
            if code:
                log = self._read(program, 'ProgramLog').decode('utf-8', 'replace').strip('\0\n')
                self._check(code, f'{name} does not compile for {target}:\n{log}\n')
            return self._read(program, 'CUBIN' if is_exact else 'PTX')
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._library, f'nvrtcGet{what}Size')(program, ctypes.byref(size)), f'there is no {what}')
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._library, f'nvrtcGet{what}')(program, buffer), f'there is no {what}')
        return buffer.raw

    def _check(self, code: int, what: str) -> None:
        if code:
            text = self._library.nvrtcGetErrorString
            text.restype = ctypes.c_char_p
            raise CudaError(f'{self.path}: {what}: {text(code).decode()}')


def find_nvrtc(cuda_version: tuple[int, int]) -> Nvrtc:
    """The newest NVRTC on this machine that a driver for `cuda_version` can run code of.

    Looked for where the loader looks, in the CUDA toolkit (CUDA_HOME, /usr/local/cuda) and among Python's packages.
    Raises CudaError where there is none, naming those that are too new.
    """
    found: list[Nvrtc] = []
    refused: list[Nvrtc] = []
    for path in _candidates():
        try:
            library = Nvrtc(path)
        except CudaError:
            continue
        # Within one major version, a driver runs machine code of later minor ones.
        (found if library.version[0] <= cuda_version[0] else refused).append(library)
    if found:
        return max(found, key=lambda library: library.version)
    too_new = ', '.join(f'{library.path} (CUDA {library.version[0]}.{library.version[1]})' for library in refused)
    raise CudaError(
        f'there is no NVRTC of CUDA {cuda_version[0]} or older to compile the kernels with'
        + (f'; too new for this driver: {too_new}' if too_new else '')
        + f': {_HINT}'
    )


def _candidates() -> Iterator[str]:
    yield from ('libnvrtc.so.13', 'libnvrtc.so.12', 'libnvrtc.so.11.2')
    homes = [os.environ.get('CUDA_HOME'), os.environ.get('CUDA_PATH'), '/usr/local/cuda']
    folders = [Path(home) / part for home in homes if home for part in ('lib64', 'lib')]
    folders += [folder for entry in sys.path if entry for folder in Path(entry).glob('nvidia/*/lib')]
    for folder in folders:
        if folder.is_dir():
            yield from (str(path) for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name))
