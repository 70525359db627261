# SPDX-License-Identifier: Apache-2.0
"""Where, how precisely and how many at a time a teacher is run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from semi_smd_ros.runtime import ModelError

DTYPES = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}


@dataclass(frozen=True)
class Execution:
    """How a teacher is run. None of it changes the labels by more than rounding.

    `batch`: pictures at a time. `device`: of torch ('cpu', 'cuda', 'cuda:1'); empty for the GPU where there is one.
    `dtype`: of the weights and activations, one of DTYPES; what enters and leaves the model is float32.
    """

    batch: int = 8
    device: str = ''
    dtype: str = 'float32'

    def torch_device(self) -> torch.device:
        """Raises ModelError for a device that isn't there."""
        name = self.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ModelError(f'device {name!r} cannot be used: {error}; expected cpu, cuda or cuda:<number>') from error
        return device

    def torch_dtype(self) -> torch.dtype:
        """Raises ModelError for an unknown one."""
        if self.dtype not in DTYPES:
            raise ModelError(f'dtype is {self.dtype!r}; expected one of {", ".join(DTYPES)}')
        return DTYPES[self.dtype]
