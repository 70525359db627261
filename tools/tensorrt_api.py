# SPDX-License-Identifier: Apache-2.0
"""Write down what TensorRT's Python bindings offer, version by version: test/runtime/tensorrt_api.json.

The tests compare every use of TensorRT in `semi_smd_ros.runtime.engine` with it, on machines without TensorRT. Each
wheel of bindings is unpacked and imported in a process of its own. Its libraries are not needed: a few C functions that
return nothing stand in for them, and what is written down are names, arguments and results, from the bindings' own
signatures. Needs a C compiler and Python 3.11 on Linux, as the wheels do:

    pip download --no-deps --python-version 3.11 --only-binary :all: tensorrt-bindings==8.6.1
    pip download --no-deps --python-version 3.11 --only-binary :all: tensorrt-cu12-bindings==10.3.0
    pip download --no-deps --python-version 3.11 --only-binary :all: tensorrt-cu12-bindings==10.13.0.35
    pip download --no-deps --python-version 3.11 --only-binary :all: tensorrt-cu13-bindings==11.4.0.106
    python tools/tensorrt_api.py *.whl
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / 'test' / 'runtime' / 'tensorrt_api.json'
# Entry points of the libraries that the bindings are linked to; what they return is never used.
ENTRY_POINTS = (
    'createInferBuilder_INTERNAL', 'createInferRefitter_INTERNAL', 'createInferRuntime_INTERNAL',
    'createNvOnnxParser_INTERNAL', 'createNvOnnxParserRefitter_INTERNAL', 'getBuilderPluginRegistry',
    'getNvOnnxParserVersion', 'getPluginRegistry', 'initLibNvInferPlugins', 'getLogger', 'getInferLibVersion',
    '_ZN11nvuffparser15createUffParserEv', '_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi',
    '_ZN14nvcaffeparser117createCaffeParserEv', '_ZN14nvcaffeparser123shutdownProtobufLibraryEv',
)  # fmt: skip
CLASSES = (
    'Builder', 'Dims', 'EngineInspector', 'IBuilderConfig', 'ICudaEngine', 'IExecutionContext', 'IHostMemory', 'ILayer',
    'ILogger', 'INetworkDefinition', 'IOptimizationProfile', 'IProgressMonitor', 'ITensor', 'ITimingCache', 'Logger',
    'OnnxParser', 'ParserError', 'Runtime',
)  # fmt: skip
ENUMS = (
    'BuilderFlag', 'DataType', 'LayerType', 'MemoryPoolType', 'NetworkDefinitionCreationFlag',
    'ProfilingVerbosity', 'TacticSource', 'TensorIOMode', 'TensorLocation',
)  # fmt: skip
SIGNATURE = re.compile(r'^(?:\d+\. )?(\w+)\((.*)\) -> (.+?)$')


def describe(module: Any) -> dict[str, Any]:
    """{classes: {name: {base, methods, properties}}, enums: {name: members}} of one version's bindings."""
    enums = {name: sorted(getattr(module, name).__members__) for name in ENUMS if hasattr(module, name)}
    classes = {name: describe_class(getattr(module, name)) for name in CLASSES if hasattr(module, name)}
    return {'classes': classes, 'enums': enums}


def describe_class(kind: Any) -> dict[str, Any]:
    """Every public method as a list of {arguments, result} (one each overload), and the names of the properties."""
    methods: dict[str, Any] = {}
    properties: list[str] = []
    for name, member in inspect.getmembers(kind):
        if isinstance(member, property):
            properties.append(name)
        elif inspect.isclass(member) or (kind.__name__ == 'INetworkDefinition' and name.startswith('add_')):
            continue  # the parser adds layers, nobody else
        elif (name == '__init__' or not name.startswith('_')) and callable(member):
            methods[name] = signatures(name, member.__doc__ or '')
    return {'bases': [base.__name__ for base in kind.__mro__[1:-2]], 'methods': methods, 'properties': properties}


def signatures(name: str, text: str) -> list[dict[str, Any]]:
    """Overloads in a docstring of pybind11: names of the arguments, those with a default marked by `=`, the result."""
    found = []
    for line in text.splitlines():
        match = SIGNATURE.match(line.strip())
        if match is None or match[1] != name:
            continue
        arguments = [argument.strip() for argument in split(match[2])]
        names = [re.split('[:=]', argument)[0].strip() + '=' * ('=' in argument) for argument in arguments]
        found.append({'arguments': names, 'result': match[3].split('.')[-1]})
    return found


def split(arguments: str) -> list[str]:
    """Arguments separated by commas outside brackets."""
    parts, depth = [''], 0
    for letter in arguments:
        depth += (letter in '[(<') - (letter in '])>')
        if letter == ',' and depth == 0:
            parts.append('')
        else:
            parts[-1] += letter
    return [part for part in parts if part.strip()]


def read_wheel(wheel: Path) -> dict[str, Any]:
    """Unpack a wheel, put stand-ins for its libraries beside it, and let another process describe it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        module = next(folder.glob('*/tensorrt.so'))
        version = re.search(r"__version__ = ['\"](.+?)['\"]", (module.parent / '__init__.py').read_text())
        needed = subprocess.run(['readelf', '-d', str(module)], capture_output=True, text=True, check=True).stdout
        source = folder / 'stand_in.c'
        source.write_text('\n'.join(f'void *{entry}(void) {{ return 0; }}' for entry in ENTRY_POINTS))
        for library in re.findall(r'\[(libnv\w+\.so\.\d+)\]', needed):
            subprocess.run([str(shutil.which('cc')), '-shared', '-o', str(folder / library), str(source)], check=True)
        # Imported by itself: the package around it would load the real libraries.
        variables = {**os.environ, 'LD_LIBRARY_PATH': str(folder), 'PYTHONPATH': str(module.parent)}
        command = [sys.executable, __file__, '--describe']
        described = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True).stdout
        return {'version': version[1] if version else wheel.name.split('-')[1], **json.loads(described)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('wheels', nargs='*', type=Path, help='wheels of tensorrt bindings for this Python')
    parser.add_argument('--describe', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.describe:
        sys.stdout.write(json.dumps(describe(importlib.import_module('tensorrt'))))
        return
    versions = [read_wheel(wheel) for wheel in arguments.wheels]
    versions.sort(key=lambda version: [int(part) for part in version['version'].split('.')])
    api = {version.pop('version'): version for version in versions}
    TARGET.write_text(json.dumps(api, indent=None, sort_keys=True, separators=(',', ':')) + '\n', encoding='utf-8')
    sys.stdout.write(f'{TARGET}: TensorRT {", ".join(api)}, {TARGET.stat().st_size / 1e3:.0f} kB\n')


if __name__ == '__main__':
    main()
