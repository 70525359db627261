# SPDX-License-Identifier: Apache-2.0
"""What defines one network: input size, encoder, widths, fusion, depth range and classes. Stored as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

CITYSCAPES_CLASSES: tuple[str, ...] = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
IGNORE_CLASS = 255
FEATURE_STRIDE = 16
KEY_STRIDE = 32  # attention keys are pooled to this stride, so height and width must be multiples of it
RESNET_BLOCKS: dict[str, tuple[int, int, int]] = {'resnet18': (2, 2, 2), 'resnet34': (3, 4, 6)}
RESNET_WIDTHS = (64, 128, 256)
EFFICIENTNETS = ('efficientnet_lite0', 'efficientnet_lite1', 'efficientnet_lite2')
ENCODERS = ('residual', *RESNET_BLOCKS, *EFFICIENTNETS)
FUSIONS = ('unified', 'separate')
POSES = ('joint', 'per_camera')
SOURCES = ('neighbours', 'memory', 'semantics')
ADDED = {'temporal_depth': True, 'pose': 'joint', 'joint_ground': True, 'sweep_width': 0, 'edge_width': 0}
"""Entries that configs of earlier checkpoints lack, and what they mean there."""
MEMORY_HEADER = 5  # channels of the memory before the features: valid flag, ground plane (3), log depth


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to rebuild a network. Sizes in pixels, distances in metres.

    Raises ValueError from the constructor when a value cannot work.
    """

    name: str = 'small'
    height: int = 192
    width: int = 320
    encoder: str = 'efficientnet_lite0'
    """An EfficientNet-Lite, 'resnet18' or 'resnet34' (all three with published ImageNet weights), or 'residual' (this
    project's own, the only one that can be blind)."""
    stem_width: int = 16
    """Channels of the residual encoder's stem."""
    widths: tuple[int, int, int] = (32, 64, 128)
    """Channels of the encoder at strides 4, 8 and 16."""
    blocks: tuple[int, int, int] = (0, 0, 1)
    """Residual blocks at strides 4, 8 and 16; with an EfficientNet, those after it and the geometry have met."""
    decoder_widths: tuple[int, int] = (80, 48)
    """Channels of the decoder at strides 8 and 4."""
    coarse_width: int = 96
    """Hidden channels of the heads at stride 16."""
    fusion: str = 'unified'
    """'unified': one attention over the union of all sources; 'separate': one block a source, for comparison."""
    attends_to: tuple[str, ...] = SOURCES
    """What a camera attends to beside its own tokens; shortened for ablations."""
    attention_width: int = 96
    attention_heads: int = 4
    neighbour_margin_deg: float = 10.0
    """Cameras are neighbours when their horizontal fields of view overlap or miss each other by less than this."""
    match_width: int = 24
    """Channels of the features matched with t-1; 0 leaves out matching, ego-motion and triangulation."""
    sweep_width: int = 8
    """Channels of the features at stride 4 that motion stereo compares with t-1; 0 leaves it out."""
    edge_width: int = 12
    """Channels at stride 2 that sharpen the dense predictions; 0 leaves that out."""
    temporal_depth: bool = True
    """False, for ablations: depth and ground are told from one instant alone, and matching with t-1 serves ego-motion
    alone; `attends_to` must then be without memory."""
    pose: str = 'joint'
    """'joint': one motion of the vehicle from all cameras, by their extrinsics; 'per_camera', for ablations: each
    camera solves its own motion in its own frame, at the scale of its own depth; the vehicle's is their mean."""
    joint_ground: bool = True
    """False, for ablations: no camera votes for the ground; it is taken for the flat plane z = 0 of `base`."""
    depth_min: float = 0.3
    depth_max: float = 250.0
    prior_far: float = 60.0
    """Depth of the ground where the ray meets none nearer than this."""
    sees_images: bool = True
    """False makes a blind network: geometry channels alone, the baseline that tells what pictures add."""
    classes: tuple[str, ...] = CITYSCAPES_CLASSES

    def __post_init__(self) -> None:
        if self.height % KEY_STRIDE or self.width % KEY_STRIDE or min(self.height, self.width) < KEY_STRIDE:
            raise ValueError(
                f'input size {self.height}x{self.width}: height and width must be positive multiples of {KEY_STRIDE}'
            )
        if self.attention_width % (4 * self.attention_heads):
            raise ValueError(
                f'attention_width {self.attention_width} must be a multiple of 4 x attention_heads '
                f'({4 * self.attention_heads}): rotary pairs for azimuth and elevation in every head'
            )
        if not 0 < self.depth_min < self.prior_far < self.depth_max:
            raise ValueError(
                f'depths must satisfy 0 < depth_min < prior_far < depth_max, got {self.depth_min}, '
                f'{self.prior_far}, {self.depth_max}'
            )
        for name, value, known in (
            ('encoder', self.encoder, ENCODERS),
            ('fusion', self.fusion, FUSIONS),
            ('pose', self.pose, POSES),
        ):
            if value not in known:
                raise ValueError(f'{name} {value!r}: expected one of {", ".join(known)}')
        unknown = sorted(set(self.attends_to) - set(SOURCES))
        if unknown or len(set(self.attends_to)) != len(self.attends_to):
            raise ValueError(f'attends_to {list(self.attends_to)}: expected each of {", ".join(SOURCES)} at most once')
        if not self.temporal_depth and 'memory' in self.attends_to:
            raise ValueError(f'temporal_depth is off but attends_to is {list(self.attends_to)}; leave memory out of it')
        for name, number in (
            ('match_width', self.match_width),
            ('sweep_width', self.sweep_width),
            ('edge_width', self.edge_width),
        ):
            if number < 0:
                raise ValueError(f'{name} {number}: expected 0 (without) or more')
        if self.sweep_width and not (self.match_width and self.temporal_depth):
            raise ValueError(
                f'sweep_width {self.sweep_width}: motion stereo needs the ego-motion of matching (match_width '
                f'{self.match_width}) and temporal_depth ({self.temporal_depth}); set it to 0'
            )
        resnet = RESNET_BLOCKS.get(self.encoder)
        if resnet and (self.widths, self.blocks) != (RESNET_WIDTHS, resnet):
            raise ValueError(
                f'{self.encoder} has widths {RESNET_WIDTHS} and blocks {resnet}, got {self.widths} and {self.blocks}'
            )
        if self.encoder != 'residual' and not self.sees_images:
            raise ValueError(f'{self.encoder} begins with pictures; a blind network takes the residual encoder')

    @property
    def memory_channels(self) -> int:
        """Header, fused features, match features of 2x2 cells of stride 8 and sweep features of 4x4 of stride 4."""
        return MEMORY_HEADER + self.widths[2] + 4 * self.match_width + 16 * self.sweep_width

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Rebuild from `to_dict` (or its JSON). Raises ValueError naming missing and unknown keys."""
        known = {field.name for field in fields(cls)}
        values = {**ADDED, **values}
        missing, unknown = sorted(known - values.keys()), sorted(values.keys() - known)
        if missing or unknown:
            raise ValueError(f'network config: missing keys {missing}, unknown keys {unknown}')
        arguments: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**arguments)


def _base(name: str, height: int) -> NetworkConfig:
    return NetworkConfig(
        name=name,
        height=height,
        width=640,
        encoder='efficientnet_lite2',
        widths=(64, 128, 264),
        blocks=(0, 1, 2),
        decoder_widths=(128, 80),
        coarse_width=128,
        attention_width=128,
    )


CONFIGS: dict[str, NetworkConfig] = {
    'small': NetworkConfig(),
    'base': _base('base', 352),
    'base_384': _base('base_384', 384),
    # All of its own, nothing learned from real pictures: what the default's pretrained encoder is compared with.
    'small_residual': NetworkConfig(
        name='small_residual', encoder='residual', widths=(40, 80, 144), blocks=(1, 1, 2), decoder_widths=(64, 48)
    ),
    # With the encoder that published surround networks use and its ImageNet weights, for comparison; it costs more.
    'base_r34': NetworkConfig(
        name='base_r34',
        height=352,
        width=640,
        encoder='resnet34',
        widths=RESNET_WIDTHS,
        blocks=RESNET_BLOCKS['resnet34'],
        decoder_widths=(112, 80),
        coarse_width=128,
        attention_width=128,
    ),
    # For the ablation: one block for space, one for time and one for semantics, of the same width.
    'small_separate': NetworkConfig(name='small_separate', fusion='separate'),
    # What a rig's geometry tells is smooth, so a narrow encoder holds it.
    'small_blind': NetworkConfig(
        name='small_blind',
        encoder='residual',
        sees_images=False,
        stem_width=8,
        widths=(16, 32, 64),
        blocks=(0, 0, 1),
        decoder_widths=(64, 48),
        coarse_width=32,
        attention_width=32,
        attention_heads=2,
        match_width=0,
        sweep_width=0,
        edge_width=0,
    ),
}
