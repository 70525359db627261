# SPDX-License-Identifier: Apache-2.0
"""A module with the names, arguments and results of one version of TensorRT, as its bindings declare them.

From tensorrt_api.json, which tools/tensorrt_api.py reads from the real bindings. Whoever uses a name, an argument or an
enum member that this version lacks gets what the real bindings raise: AttributeError, TypeError, KeyError. What a
method answers beyond an empty object of the declared class is put into `answers` by the test.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

API = json.loads(Path(__file__).with_name('tensorrt_api.json').read_text(encoding='utf-8'))
VERSIONS = tuple(sorted(API, key=lambda version: [int(part) for part in version.split('.')]))


class Skeleton(ModuleType):
    """`calls`: every (class, method, arguments) and (class, property, value set), in order."""

    def __init__(self, version: str) -> None:
        super().__init__(f'tensorrt_{version}')
        self.__version__ = version
        self.calls: list[tuple[str, str, tuple[Any, ...]]] = []
        self.answers: dict[tuple[str, str], Callable[..., Any]] = {}
        described = API[version]
        for name, members in described['enums'].items():
            setattr(self, name, enum.IntEnum(name, members, start=0))
        for name, members in described['classes'].items():
            setattr(self, name, self._make(name, members))

    def _make(self, name: str, members: dict[str, Any]) -> type:
        methods = {method: self._method(name, method, forms) for method, forms in members['methods'].items()}
        allowed = frozenset(members['properties'])

        def read(thing: Any, attribute: str) -> Any:
            if attribute not in allowed:
                raise AttributeError(f'{name} of TensorRT {self.__version__} has no {attribute}')
            answer = self.answers.get((name, attribute))
            return answer(thing) if answer else thing.__dict__.get(f'_{attribute}')

        def write(thing: Any, attribute: str, value: Any) -> None:
            # Python classes derived from one of TensorRT's have attributes of their own.
            if type(thing).__module__ == __name__ and attribute not in allowed and not attribute.startswith('_'):
                raise AttributeError(f'{name} of TensorRT {self.__version__} has no {attribute} to be set')
            if attribute in allowed:
                self.calls.append((name, attribute, (value,)))
                thing.__dict__[f'_{attribute}'] = value
            else:
                thing.__dict__[attribute] = value

        body = {**methods, '__getattr__': read, '__setattr__': write, '__module__': __name__}
        return type(name, (), body)

    def _method(self, owner: str, name: str, forms: list[dict[str, Any]]) -> Callable[..., Any]:
        def call(thing: Any, *given: Any, **named: Any) -> Any:
            form = next((form for form in forms if fits(form['arguments'], given, named)), None)
            if form is None:
                expected = ' or '.join(str(form['arguments']) for form in forms)
                raise TypeError(f'{owner}.{name}{given}{named} of TensorRT {self.__version__}; expected {expected}')
            self.calls.append((owner, name, (*given, *named.values())))
            if answer := self.answers.get((owner, name)):
                return answer(thing, *given, **named)
            kind = form['result'].split('::')[-1]
            return {'bool': True, 'int': 0, 'str': ''}[kind] if kind in ('bool', 'int', 'str') else self._new(kind)

        return call

    def _new(self, kind: str) -> Any:
        made = getattr(self, kind, None)
        return made.__new__(made) if isinstance(made, type) and not issubclass(made, enum.Enum) else None

    def of(self, owner: str, name: str) -> list[tuple[Any, ...]]:
        """Arguments of every call of one method, or values set of one property."""
        return [arguments for kind, method, arguments in self.calls if (kind, method) == (owner, name)]


def fits(arguments: list[str], given: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether a call has the declared arguments (those with a default end in `=`)."""
    names = [argument.removesuffix('=') for argument in arguments[1:]]
    needed = {argument for argument in arguments[1:] if not argument.endswith('=')}
    passed = set(names[: len(given)]) | set(named)
    return len(given) <= len(names) and set(named) <= set(names[len(given) :]) and needed <= passed
