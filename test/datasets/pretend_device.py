# SPDX-License-Identifier: Apache-2.0
"""A device that behaves as a GPU does to the code that uses it, on any machine.

Its tensors live on the CPU but claim to be on the 'meta' device, which torch lets everyone create tensors on. As on a
GPU, an operation that mixes them with tensors of the CPU is refused, unless these hold one number, and so is reading
their memory without a copy. Counted are operations (what a GPU would launch, views of tensors aside) and what makes
the host wait for the device.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device('meta')
CPU = torch.device('cpu')
_WAITS = (
    'aten.item', 'aten._local_scalar_dense', 'aten.is_nonzero', 'aten.nonzero', 'aten.bincount',
    'aten.repeat_interleave.self_Tensor', 'aten.masked_select',
)  # fmt: skip
_COPIES = ('aten._to_copy', 'aten.copy_', 'aten.to.')
_FROM_DATA = (torch.tensor, torch.as_tensor)


class PretendTensor(torch.Tensor):
    """Wraps a tensor of the CPU and claims to be elsewhere."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> PretendTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=DEVICE
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f'PretendTensor({self.inner!r})'

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f'{func} is used outside `pretending`')

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class Pretending(TorchDispatchMode):
    """While it is active, tensors can be made on DEVICE; `operations` and `waits` count what happens there."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._data = _FromData()

    def __enter__(self) -> Pretending:
        super().__enter__()
        self._data.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._data.__exit__(*error)
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        there = any(isinstance(tensor, PretendTensor) for tensor in tensors)
        wanted = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
        if not there and wanted != DEVICE:
            return func(*args, **kwargs)
        name = str(func)
        self._check(name, tensors)
        self._count(func, name, tensors, back=there and wanted == CPU)
        args, kwargs = tree_map(_here, args), tree_map(_here, kwargs)
        out = func(*args, **kwargs)
        if func._schema.is_mutable:
            return tensors[0]
        return (
            out
            if wanted == CPU or name.startswith(('aten.item', 'aten._local_scalar_dense'))
            else tree_map(_there, out)
        )

    def _check(self, name: str, tensors: list[torch.Tensor]) -> None:
        strays = [t for t in tensors if not isinstance(t, PretendTensor) and t.dim() > 0]
        # As on a GPU, what is copied and indices may be the host's.
        if any(stray.device == DEVICE for stray in strays):
            raise RuntimeError(f'{name}: a list as an index is lost on this device, and on a GPU a wait; use a tensor')
        if strays and not name.startswith((*_COPIES, 'aten.index.', 'aten.index_put')):
            raise RuntimeError(f'{name} mixes tensors of the device and of the CPU, such as one of {strays[0].shape}')

    def _count(self, func: Any, name: str, tensors: list[torch.Tensor], back: bool) -> None:
        if back:
            self.waits['copy to the host'] += 1
        elif name.startswith(_WAITS) or (name.startswith('aten.index.') and tensors[-1].dtype == torch.bool):
            self.waits[name] += 1
        # Conversions may be views to torch: of nothing, where nothing is to be converted.
        if name.startswith(_COPIES) or not func.is_view:
            self.operations[name] += 1


class _FromData(TorchFunctionMode):
    """Makes tensors of numbers and arrays, which torch would not even read for this device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FROM_DATA and kwargs.get('device') == DEVICE and not isinstance(args[0], PretendTensor):
            return func(*args, **{**kwargs, 'device': CPU}).to(DEVICE)
        if func is torch.Tensor.tolist and isinstance(args[0], PretendTensor):
            return args[0].to(CPU).tolist()
        return func(*args, **kwargs)


def _here(value: Any) -> Any:
    """What the CPU works with instead."""
    return value.inner if isinstance(value, PretendTensor) else CPU if isinstance(value, torch.device) else value


def _there(value: Any) -> Any:
    return PretendTensor(value) if isinstance(value, torch.Tensor) else value
