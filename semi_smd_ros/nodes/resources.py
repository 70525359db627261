# SPDX-License-Identifier: Apache-2.0
"""Where the package's own files are: in the source tree, or in `share/` once installed by colcon or pip."""

from __future__ import annotations

import sys
from pathlib import Path

from ..rig import RigError

PACKAGE = 'semi_smd_ros'
DEFAULT_MODEL = 'semi_smd_small.onnx'


def share_path(*parts: str) -> Path:
    """Path of a file of the package, such as `share_path('models', 'x.onnx')`. It need not exist."""
    return _share().joinpath(*parts)


def _share() -> Path:
    source = Path(__file__).resolve().parents[2]
    if (source / 'config' / 'rigs').is_dir():
        return source
    try:
        from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    except ImportError:
        return Path(sys.prefix) / 'share' / PACKAGE
    try:
        return Path(get_package_share_directory(PACKAGE))
    except (PackageNotFoundError, OSError):  # the latter where no ROS installation has been sourced
        return Path(sys.prefix) / 'share' / PACKAGE


def model_path(name: str) -> Path:
    """The model file that the parameter `model` means: a path, the name of a shipped file, or '' for the default."""
    if not name:
        return share_path('models', DEFAULT_MODEL)
    path = Path(name).expanduser()
    shipped = share_path('models', name)
    return shipped if path.name == name and not path.exists() and shipped.is_file() else path


def package_path(name: str) -> Path:
    """The file that `name` means: a path, or `package://<package>/<path>` below that package's share folder.

    Raises RigError when there is no such package, or the path leaves its folder.
    """
    if not name.startswith('package://'):
        return Path(name).expanduser()
    package, _, rest = name.removeprefix('package://').partition('/')
    root = _share() if package == PACKAGE else _share_of(package)
    path = root / rest
    if not rest or not path.resolve().is_relative_to(root.resolve()):
        raise RigError(f'{name!r} leaves the share folder of {package!r}; expected package://<package>/<path>')
    return path


def _share_of(package: str) -> Path:
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(package))
    except (ImportError, LookupError, ValueError, OSError) as error:
        raise RigError(f'package {package!r} is not found: {error}; source its workspace, or give a path') from error


def rig_path(name: str) -> Path:
    """The rig file that the parameter `rig` means: a path to a YAML file, or the name of a shipped one.

    Raises RigError that lists the shipped names.
    """
    if Path(name).suffix in {'.yaml', '.yml'}:
        return Path(name).expanduser()
    shipped = share_path('config', 'rigs', f'{name}.yaml')
    if not shipped.is_file():
        names = sorted(path.stem for path in share_path('config', 'rigs').glob('*.yaml'))
        raise RigError(f'rig is {name!r}; expected the path of a .yaml file or one of {", ".join(names)}')
    return shipped
