# SPDX-License-Identifier: Apache-2.0
"""What a run begins with: random weights, a checkpoint's, or published ones of its encoder."""

from __future__ import annotations

import logging
from pathlib import Path

from semi_smd_ros.network.checkpoint import CheckpointError, load_checkpoint
from semi_smd_ros.network.config import EFFICIENTNETS, RESNET_BLOCKS, NetworkConfig
from semi_smd_ros.network.encoder import EfficientNetEncoder, ResNetEncoder
from semi_smd_ros.network.model import SemiSmdNetwork
from semi_smd_ros.training.config import TrainConfig
from semi_smd_ros.training.teachers.pseudo_labels import PseudoLabels

logger = logging.getLogger(__name__)

LATER_PARTS = {'sweep_width': 'sweep', 'edge_width': 'edges'}
"""Parts that checkpoints of before them lack, by the entry of the config that is 0 there."""


def begin_with_checkpoint(network: SemiSmdNetwork, checkpoint: Path) -> str:
    """Load all its weights; returns what the card says of it. Raises CheckpointError for those of another network.

    One without a part of LATER_PARTS may begin a network with it: that part begins untrained and adds nothing at first.
    """
    given, card = load_checkpoint(checkpoint)
    theirs, ours = given.config.to_dict(), network.config.to_dict()
    added = [(width, part) for width, part in LATER_PARTS.items() if ours[width] and not theirs[width]]
    theirs.update((width, ours[width]) for width, _ in added)
    if theirs != ours:
        differing = ', '.join(
            f'{name} {theirs[name]} (here {ours[name]})' for name in ours if theirs[name] != ours[name]
        )
        raise CheckpointError(f'{checkpoint}: of another network: {differing}; choose its config')
    prefixes = tuple(f'{part}.' for _, part in added)
    untrained = {name: value for name, value in network.state_dict().items() if name.startswith(prefixes)}
    network.load_state_dict({**untrained, **given.state_dict()})
    for width, part in added:
        logger.info('%s has no %s (%s 0); that part begins untrained', checkpoint.name, part, width)
    return f'begun with {checkpoint.name}, trained on: {card["trained_on"]}'


def check_published(config: NetworkConfig, weights: Path) -> None:
    """Raises CheckpointError for a network whose encoder has no published weights."""
    if config.encoder not in (*EFFICIENTNETS, *RESNET_BLOCKS):
        raise CheckpointError(
            f'{weights}: {config.name} has the encoder {config.encoder}; expected an EfficientNet-Lite, resnet18 or '
            'resnet34'
        )


def begin_with_imagenet(network: SemiSmdNetwork, weights: Path) -> str:
    """Load published weights of the encoder; returns what the card says of them.

    Raises CheckpointError when they are not this encoder's.
    """
    check_published(network.config, weights)
    encoder = network.encoder
    assert isinstance(encoder, (EfficientNetEncoder, ResNetEncoder))
    try:
        encoder.load_imagenet(weights)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    return f'encoder begun with {weights.name}, learned from the photographs of ImageNet'


def check_beginning(config: TrainConfig, began_with: str) -> None:
    """Raises CheckpointError where the encoder is to be kept as it begins, and that is at random ('')."""
    if config.encoder_rate < 1 and not began_with:
        raise CheckpointError(
            f'encoder_rate is {config.encoder_rate}, for an encoder with published weights, but its weights '
            'are random; give --imagenet or --weights, or set encoder_rate to 1'
        )


def warn_of_untaught_sky(config: TrainConfig) -> None:
    """Say so where nothing tells the network what sky is. Raises DataError for a folder without labels."""
    if config.supervision != 'semi' or config.synthetic:
        return
    if config.labels and config.teacher_semantics and PseudoLabels(Path(config.labels)).has_classes:
        return
    logger.warning(
        '%s is trained on without semantic labels: nothing teaches the sky head while the features that it reads '
        'change, and what it calls sky is published as infinitely far. Make labels with semi-smd label ... --semantics',
        config.data,
    )
