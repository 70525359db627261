# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint's card says of where its weights come from."""

from __future__ import annotations

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.training.config import TrainConfig

VERSION = '0.9.0'
BLIND = 'geometry channels alone, blind to the pictures; its depth comes from '


def trained_on(config: TrainConfig, network_config: NetworkConfig) -> str:
    """The run's data and what was known of them."""
    if not config.synthetic:
        truth = ' and LiDAR' if config.semi_losses.lidar > 0 else ''
        return f'pictures{truth} of {config.data}, self-supervised' + (', with teacher labels' if config.labels else '')
    blind = '' if network_config.sees_images else BLIND
    truth = '' if config.supervision == 'supervised' else ', without their truth but for a teacher made of it'
    shown = ', half of them with photographs on surfaces' if config.photographs else ''
    return (
        f'{blind}synthetic pictures only: six-camera frame pairs of rendered streets '
        f'(semi_smd_ros.datasets.synthetic){shown}{truth}, random, DDAD-like and nuScenes-like rigs; no real street'
    )
