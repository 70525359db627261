# SPDX-License-Identifier: Apache-2.0
"""What every source is: sequences of samples; what cannot be read is skipped, counted and told."""

from __future__ import annotations

import dataclasses
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..rig import RigError
from .sample import DataError, SurroundSample

_log = logging.getLogger(__name__)
OTHER_MAX_DEPTH_M = 200.0


class Skipped:
    """The samples that could not be read: one message each, however often it was tried. Logged as warnings."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._names: set[str] = set()

    def add(self, name: str, error: Exception) -> None:
        """Count the sample `name` as skipped because of `error`."""
        if name not in self._names:
            self._names.add(name)
            self.messages.append(f'{name}: {error}')
            _log.warning('skipped %s: %s', name, error)


class SampleSequence(ABC):
    """Samples of one drive, oldest first.

    Indexing gives a sample with `previous` set and raises DataError where it cannot be read; iteration skips such
    samples and counts them in `skipped`.
    """

    def __init__(self, name: str, skipped: Skipped | None = None) -> None:
        self.name = name
        self.skipped = Skipped() if skipped is None else skipped
        self._last: tuple[int, SurroundSample] | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> SurroundSample:
        """Sample `index` (0 or more) without its `previous`. Raises DataError."""

    def sample_name(self, index: int) -> str:
        """The `name` of sample `index`, known without reading it."""
        return f'{self.name}/{index:06d}'

    def previous_name(self, index: int) -> str:
        """What `read_previous` reads, for messages."""
        return self.sample_name(index - 1)

    def read_previous(self, index: int) -> SurroundSample | None:
        """What came before sample `index`; None where nothing did. Raises DataError."""
        return self._read_once(index - 1) if index > 0 else None

    def __getitem__(self, index: int) -> SurroundSample:
        if not -len(self) <= index < len(self):
            raise IndexError(f'sample {index} of {self.name}, which has {len(self)}')
        index %= len(self)
        try:
            # First the previous one: the last sample read is kept, and the next index will ask for this one.
            previous = self.read_previous(index)
        except DataError as error:
            self.skipped.add(self.previous_name(index), error)
            previous = None
        return dataclasses.replace(self._read_once(index), previous=previous)

    def __iter__(self) -> Iterator[SurroundSample]:
        try:
            for index in range(len(self)):
                try:
                    sample = self[index]
                except DataError as error:
                    self.skipped.add(self.sample_name(index), error)
                    continue
                yield sample
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Forget what is kept only to be quick: a data set has hundreds of sequences, and one is read at a time."""
        self._last = None

    def _read_once(self, index: int) -> SurroundSample:
        if self._last is None or self._last[0] != index:
            try:
                self._last = (index, dataclasses.replace(self.read(index), name=self.sample_name(index)))
            except RigError as error:
                raise DataError(f'{self.sample_name(index)}: {error}') from error
        return self._last[1]


class Source(ABC):
    """A data set, recording or generator. `address` is what it was opened by; `max_depth_m` its protocol's limit."""

    def __init__(self, address: str, max_depth_m: float = OTHER_MAX_DEPTH_M) -> None:
        self.address = address
        self.max_depth_m = max_depth_m
        self.skips = Skipped()

    @property
    def skipped(self) -> list[str]:
        """One message per sample or sequence that could not be read so far."""
        return self.skips.messages

    @abstractmethod
    def sequences(self) -> Sequence[SampleSequence]:
        """The sequences, in order. Raises DataError where none can be read."""

    def close(self) -> None:  # noqa: B027  (most sources hold nothing open)
        """Let go of open files. A source can also be used as a context manager."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return sum(len(sequence) for sequence in self.sequences())

    def __iter__(self) -> Iterator[SurroundSample]:
        for sequence in self.sequences():
            yield from sequence


class Options:
    """A source's options, from its address (text) or from code, each checked as it is taken."""

    def __init__(
        self, address: str, values: Mapping[str, Any], on_progress: Callable[[str, float], None] | None = None
    ) -> None:
        self._address = address
        self._on_progress = on_progress
        self._values = dict(values)
        self._known: list[str] = []

    def text(self, name: str, default: str = '', allowed: Sequence[str] = ()) -> str:
        """Option `name` as text; one of `allowed` where given. Raises DataError."""
        value = str(self._take(name, default))
        if allowed and value not in allowed and value != default:
            raise DataError(f'{self._address}: option {name} is {value!r}; expected one of {", ".join(allowed)}')
        return value

    def number(self, name: str, default: float, low: float, high: float = float('inf')) -> float:
        """Option `name` as a number within [low, high]. Raises DataError."""
        value = self._take(name, default)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float('nan')
        if not (low <= number <= high and math.isfinite(number)):
            raise DataError(f'{self._address}: option {name} is {value!r}; expected a number from {low:g} to {high:g}')
        return number

    def integer(self, name: str, default: int, low: int, high: int = 2**31) -> int:
        """Option `name` as a whole number within [low, high]. Raises DataError."""
        number = self.number(name, default, low, high)
        if number != int(number):
            raise DataError(f'{self._address}: option {name} is {number}; expected a whole number')
        return int(number)

    def finish(self) -> None:
        """Raise DataError for options that nobody has taken, so that a typing error is not overlooked."""
        unknown = sorted(set(self._values) - set(self._known))
        if unknown:
            raise DataError(
                f'{self._address}: unknown option {", ".join(unknown)}; expected {", ".join(self._known) or "none"}'
            )

    def tell(self, what: str, share: float) -> None:
        """Say how much of `what` is done, 0 to 1, to whoever asked for progress."""
        if self._on_progress is not None:
            self._on_progress(what, share)

    def _take(self, name: str, default: Any) -> Any:
        self._known.append(name)
        value = self._values.get(name)
        return default if value is None else value
