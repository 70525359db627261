# SPDX-License-Identifier: Apache-2.0
"""A result whose arrays stay on the GPU until somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..frame import SurroundDepth


@dataclass(frozen=True, eq=False)
class DeviceSet:
    """What a result knows of its set on the GPU. `is_current`: whether it still lies there."""

    is_current: Callable[[], bool]
    preview: Callable[[], np.ndarray]
    has_depth: bool
    has_labels: bool


class _Fetched:
    """A field that may be given as a function: it is called when the field is first read, and its result kept."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, result: Any, value: np.ndarray | Callable[[], np.ndarray]) -> None:
        result.__dict__[self._name] = value

    def __get__(self, result: Any, owner: type) -> Any:
        value = result.__dict__[self._name]
        if callable(value):
            value = result.__dict__[self._name] = value()
        return value


class DeviceSurroundDepth(SurroundDepth):
    """SurroundDepth of a set that lies on the GPU. Reading an array brings it to the host, once.

    What has not been read when the next set begins is gone: reading it then raises RuntimeError.
    """

    depth_nhw = _Fetched()
    confidence_nhw = _Fetched()
    semantics_nhw = _Fetched()
    images_nhw3 = _Fetched()
    # None for a copy that was changed (dataclasses.replace): it lies on the host alone.
    on_device: DeviceSet | None = None

    @property
    def has_depth(self) -> bool:
        """See SurroundDepth; without bringing any depth to the host."""
        return super().has_depth if self.on_device is None else self.on_device.has_depth

    @property
    def preview_nhw3(self) -> np.ndarray:
        """See SurroundDepth; without bringing the images to the host."""
        return super().preview_nhw3 if self.on_device is None else self.on_device.preview()

    def on_host(self) -> SurroundDepth:
        """See SurroundDepth; brings every array to the host."""
        return SurroundDepth(**{field.name: getattr(self, field.name) for field in fields(SurroundDepth)})
