# SPDX-License-Identifier: Apache-2.0
"""Dataclasses from YAML files and back; what cannot be used is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

Settings = TypeVar('Settings')


class ConfigError(ValueError):
    """A training config that cannot be used; the message names file, entry and what was expected."""


def load_settings(kind: type[Settings], path: Path) -> Settings:
    """Read a dataclass from a YAML file. Raises ConfigError naming the file, the entry and what was expected."""
    try:
        values = yaml.safe_load(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ConfigError(f'{path}: no such file; expected a training config such as configs/small.yaml') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path}: not YAML: {error}') from error
    try:
        return settings_from(kind, values, '')
    except ConfigError as error:
        raise ConfigError(f'{path}: {error}') from error


def dump_settings(settings: Any, path: Path, comment: str) -> None:
    """Write all entries of a dataclass as YAML that `load_settings` reads back to an equal one."""
    text = yaml.safe_dump(plain(asdict(settings)), sort_keys=False, allow_unicode=True)
    path.write_text(f'# {comment}\n{text}', encoding='utf-8')


def plain(value: Any) -> Any:
    """Tuples as lists, throughout."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def settings_from(kind: type[Settings], values: Any, where: str) -> Settings:
    """A dataclass from a mapping, dataclasses and tuples inside it included. Raises ConfigError."""
    if not isinstance(values, Mapping):
        raise ConfigError(f'{where or "the file"} holds {values!r}, expected a mapping of {_names(kind)}')
    unknown = sorted(str(key) for key in values if key not in {f.name for f in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ConfigError(f'{where or "the file"} has unknown entries {", ".join(unknown)}; known: {_names(kind)}')
    hints = get_type_hints(kind)
    found = {key: _value(hints[key], value, f'{where}.{key}' if where else key) for key, value in values.items()}
    try:
        return kind(**found)
    except TypeError as error:  # an entry without a default is missing
        raise ConfigError(f'{where}: {error}; expected {_names(kind)}') from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return settings_from(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f'{where} is {value!r}, expected a mapping')
        return dict(value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f'{where} is {value!r}, expected a list')
        return tuple(_value(get_args(hint)[0], entry, f'{where}[{index}]') for index, entry in enumerate(value))
    number = hint in (int, float) and not isinstance(value, bool) and isinstance(value, (int, hint))
    if not number and not (hint in (str, bool) and isinstance(value, hint)):
        # YAML 1.1 takes 2e-3 for text: say how a number is written
        raise ConfigError(f'{where} is {value!r}, expected a {hint.__name__} (numbers as 0.002 or 2.0e-3)')
    return hint(value)


def _names(kind: Any) -> str:
    return ', '.join(f.name for f in fields(kind))
