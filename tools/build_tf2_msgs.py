# SPDX-License-Identifier: Apache-2.0
"""Build the message package tf2_msgs and install it into the virtual environment that runs this script.

ROS 2 from wheels has no tf2_msgs. This builds the package in `tools/tf2_msgs` against those wheels, in a temporary
folder, in under 20 seconds; it does nothing where tf2_msgs can be imported already (a robot, a second run).

    python -m pip install -r tools/tf2_msgs/requirements.txt
    python tools/build_tf2_msgs.py

It needs a C++ compiler and Python's headers. Exit code 0: tf2_msgs works. 1: it doesn't; the reason is printed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / 'tf2_msgs'
PREFIX = Path(sys.prefix)
PROBE = """
from rclpy.type_support import check_for_type_support
from tf2_msgs.msg import TFMessage
check_for_type_support(TFMessage)
TFMessage()
"""


class BuildError(RuntimeError):
    """The package can't be built; the message says what is missing and how to get it."""


def probe() -> str:
    """Import tf2_msgs in a fresh process. Returns '' when it works, else the last line of the error.

    The process starts in an empty folder, because `tools/tf2_msgs` in the working directory would shadow the module.
    """
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run([sys.executable, '-c', PROBE], cwd=empty, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ''
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f'exit code {done.returncode}'


def check_tools() -> dict[str, str]:
    """Check everything that the build needs; returns the paths of cmake, ninja and the compiler."""
    if sys.prefix == sys.base_prefix:
        raise BuildError(f'{sys.executable} is not in a virtual environment; expected one with the ROS wheels in it')
    if not (PREFIX / 'share' / 'geometry_msgs' / 'cmake').is_dir():
        raise BuildError(f'no ROS wheels in {PREFIX}; expected ros-rclpy[fastrtps] and ros-geometry-msgs')
    wanted = 'python -m pip install -r tools/tf2_msgs/requirements.txt'
    if not (PREFIX / 'share' / 'rosidl_default_generators').is_dir():
        raise BuildError(f'the message generators are not installed in {PREFIX}; run: {wanted}')
    path = os.pathsep.join([str(PREFIX / 'bin'), os.environ.get('PATH', os.defpath)])
    tools: dict[str, str] = {}
    for name in ('cmake', 'ninja'):
        found = shutil.which(name, path=path)
        if found is None:
            raise BuildError(f'no {name}; run: {wanted}')
        tools[name] = found
    candidates = [os.environ['CXX']] if os.environ.get('CXX') else ['c++', 'g++', 'clang++']
    compiler = next((found for name in candidates if (found := shutil.which(name.split()[0]))), None)
    if compiler is None:
        raise BuildError(f'no C++ compiler (tried {", ".join(candidates)}); on Debian or Ubuntu: sudo apt install g++')
    tools['compiler'] = compiler
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.is_file():
        package = f'python{sys.version_info.major}.{sys.version_info.minor}-dev'
        raise BuildError(f"Python's headers are missing ({header}); on Debian or Ubuntu: sudo apt install {package}")
    return tools


def point_exports_here() -> int:
    """Replace the include paths of the machine that built the wheels by this interpreter's.

    Returns how many files changed. The exports of the Python generators name `/opt/python/cpXY-cpXY/...`, and
    CMake refuses include paths that don't exist.
    """
    try:
        import numpy
    except ImportError as error:
        raise BuildError(f"numpy can't be imported ({error}); pip install numpy") from error
    include = sysconfig.get_path('include')
    changed = 0
    for export in PREFIX.glob('share/*/cmake/export_*__rosidl_generator_pyExport.cmake'):
        text = export.read_text()
        fixed = re.sub(r'/opt/python/[^/\"]+/include/python[0-9.]+', lambda _: include, text)
        fixed = re.sub(r'/opt/python/[^;\"]*/numpy/(?:_core|core)/include', lambda _: numpy.get_include(), fixed)
        if fixed != text:
            export.write_text(fixed)
            changed += 1
    return changed


def build(tools: dict[str, str]) -> None:
    """Configure, compile and install in a temporary folder. Raises BuildError with the end of the output."""
    environment = {key: item for key, item in os.environ.items() if key not in {'PYTHONPATH', 'CMAKE_PREFIX_PATH'}}
    environment['AMENT_PREFIX_PATH'] = str(PREFIX)
    environment['PATH'] = os.pathsep.join([str(PREFIX / 'bin'), environment.get('PATH', os.defpath)])
    with tempfile.TemporaryDirectory(prefix='build_tf2_msgs_') as temporary:
        source, work = Path(temporary) / 'source', Path(temporary) / 'build'
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns('COLCON_IGNORE'))
        configure = [
            tools["cmake"], "-S", str(source), "-B", str(work), "-G", "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}",
            f"-DCMAKE_PREFIX_PATH={PREFIX}",
            f"-DCMAKE_INSTALL_PREFIX={PREFIX}",
            f"-DPython3_EXECUTABLE={sys.executable}",
            "-DPython3_FIND_VIRTUALENV=ONLY",
            "-DBUILD_TESTING=OFF",
        ]  # fmt: skip
        for command in (configure, [tools['cmake'], '--build', str(work)], [tools['cmake'], '--install', str(work)]):
            done = subprocess.run(command, cwd=temporary, env=environment, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                tail = '\n'.join((done.stdout + done.stderr).splitlines()[-40:])
                raise BuildError(f'exit code {done.returncode} from: {" ".join(command)}\n{tail}')


def main() -> int:
    """Build unless tf2_msgs works already; returns the exit code."""
    if not probe():
        sys.stdout.write('tf2_msgs: already there\n')
        return 0
    started = time.monotonic()
    try:
        tools = check_tools()
        point_exports_here()
        build(tools)
        problem = probe()
        if problem:
            raise BuildError(f"built, but it can't be imported: {problem}")
    except BuildError as error:
        sys.stderr.write(f'tf2_msgs: {error}\n')
        return 1
    sys.stdout.write(f'tf2_msgs: built and installed into {PREFIX} in {time.monotonic() - started:.0f} s\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
