# SPDX-License-Identifier: Apache-2.0
"""The kernels compile for the GPUs of vehicles and desktops, without a warning, by nvcc and by NVRTC."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from semi_smd_ros.runtime.cuda.driver import CudaError
from semi_smd_ros.runtime.cuda.kernels import HEADER, KERNELS, source
from semi_smd_ros.runtime.cuda.nvrtc import Nvrtc, find_nvrtc

FILES = sorted({kernel.file for kernel in KERNELS.values()})
# Turing; Orin; Hopper.
CAPABILITIES = [(7, 5), (8, 7), (9, 0)]


@pytest.fixture
def nvrtc() -> Nvrtc:
    try:
        return find_nvrtc((99, 0))
    except CudaError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize('file', FILES)
@pytest.mark.parametrize('capability', CAPABILITIES, ids=lambda pair: f'sm_{pair[0]}{pair[1]}')
def test_nvcc_compiles_them(file: str, capability: tuple[int, int], tmp_path: Path) -> None:
    nvcc = shutil.which('nvcc')
    if nvcc is None:
        pytest.skip('no nvcc on the PATH')
    for name in (HEADER, file):
        (tmp_path / name).write_text(source(name))
    target = tmp_path / 'kernels.ptx'
    options = ['-ptx', f'-arch=compute_{capability[0]}{capability[1]}', '--fmad=false', '-Werror', 'all-warnings']
    command = [nvcc, *options, '-o', str(target), str(tmp_path / file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_kernels(file, target.read_text())


@pytest.mark.parametrize('file', FILES)
@pytest.mark.parametrize('capability', CAPABILITIES, ids=lambda pair: f'sm_{pair[0]}{pair[1]}')
def test_nvrtc_compiles_them(nvrtc: Nvrtc, file: str, capability: tuple[int, int]) -> None:
    code = nvrtc.compile(file, source(file), {HEADER: source(HEADER)}, capability)
    # Machine code for one GPU, since this NVRTC knows it; the names are in it.
    assert code[:4] == b'\x7fELF'
    assert all(name.encode() in code for name, kernel in KERNELS.items() if kernel.file == file)


def test_a_gpu_newer_than_the_compiler_gets_ptx(nvrtc: Nvrtc) -> None:
    for file in FILES:
        assert_kernels(file, nvrtc.compile(file, source(file), {HEADER: source(HEADER)}, (99, 0)).decode())


def test_what_does_not_compile_is_told_with_the_compilers_reason(nvrtc: Nvrtc) -> None:
    with pytest.raises(CudaError, match=r'wrong\.cu does not compile for --gpu-architecture=sm_87:\n.*undefined_name'):
        nvrtc.compile('wrong.cu', 'extern "C" __global__ void wrong() { undefined_name(); }', {}, (8, 7))
    with pytest.raises(CudaError, match=r'compiles for no GPU as old as compute capability 1\.0'):
        nvrtc.compile('old.cu', '', {}, (1, 0))


def test_a_compiler_that_the_driver_is_too_old_for_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(CudaError, match=r'there is no NVRTC of CUDA 1 or older.*pip install nvidia-cuda-nvrtc'):
        find_nvrtc((1, 0))
    with pytest.raises(CudaError, match='no_library is not an NVRTC library'):
        Nvrtc(str(tmp_path / 'no_library'))


def assert_kernels(file: str, ptx: str) -> None:
    """Every kernel is there, with as many arguments as are passed, and nothing is computed in one rounding for two."""
    entries = dict(re.findall(r'\.entry (\w+)\(([^)]*)\)', ptx))
    expected = {name: kernel for name, kernel in KERNELS.items() if kernel.file == file}
    assert set(entries) == set(expected)
    for name, kernel in expected.items():
        kinds = re.findall(r'\.param \.(u64|u32)', entries[name])
        assert ''.join({'u64': 'P', 'u32': 'i'}[kind] for kind in kinds) == kernel.arguments, name
    assert 'fma.rn.f32' not in ptx
