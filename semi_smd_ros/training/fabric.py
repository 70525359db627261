# SPDX-License-Identifier: Apache-2.0
"""Where and in which precision to train: one device or many, float32 or bfloat16."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from semi_smd_ros.training.config import TrainConfig
from semi_smd_ros.training.settings import ConfigError

logger = logging.getLogger(__name__)


class AutocastOnly(MixedPrecision):
    """Autocast that leaves what a module is given as it is: Fabric's own rounds every input to bfloat16, whose eight
    bits carry no intrinsics, extrinsics or depth."""

    def __init__(self, device: torch.device) -> None:
        super().__init__('bf16-mixed', device.type)

    def convert_input(self, data: Any) -> Any:
        return data


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast there. A CPU without its instructions emulates them, slower than float32."""
    if device.type == 'cpu':
        return bool(torch.cpu._is_avx512_bf16_supported())
    return device.type != 'cuda' or torch.cuda.is_bf16_supported(including_emulation=False)


def make_fabric(config: TrainConfig, accelerator: str = 'cpu', devices: int | str = 1, nodes: int = 1) -> Fabric:
    """One process a device; several share gradients (DDP). Raises ConfigError for devices that are not there."""
    several = nodes > 1 or devices not in (1, '1')
    strategy = 'ddp_find_unused_parameters_true' if several else 'auto'
    try:
        plain = Fabric(
            accelerator=accelerator, devices=devices, num_nodes=nodes, strategy=strategy, precision='32-true'
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f'accelerator {accelerator!r}, devices {devices}: {error}; expected auto, cpu, or gpu where there is one'
        ) from error
    if not config.bfloat16:
        return plain
    if not has_bfloat16(plain.device):
        logger.warning('%s has no bfloat16 instructions: training in float32, which is faster', plain.device)
        return plain
    rounding = AutocastOnly(plain.device)
    return Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, strategy=strategy, plugins=[rounding])
