# SPDX-License-Identifier: Apache-2.0
"""What defines one network: input size, widths, depth range and classes. Stored beside every checkpoint as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

CITYSCAPES_CLASSES: tuple[str, ...] = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
IGNORE_CLASS = 255
KEY_STRIDE = 32  # attention keys are pooled to this stride, so height and width must be multiples of it


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to rebuild a network. Sizes in pixels, distances in metres.

    Raises ValueError from the constructor when a size cannot work.
    """

    name: str = 'small'
    height: int = 192
    width: int = 320
    stem_width: int = 16
    widths: tuple[int, int, int] = (40, 80, 144)
    """Channels of the encoder at strides 4, 8 and 16."""
    blocks: tuple[int, int, int] = (1, 1, 2)
    """Residual blocks at strides 4, 8 and 16."""
    decoder_widths: tuple[int, int] = (64, 48)
    """Channels of the decoder at strides 8 and 4."""
    attention_width: int = 96
    attention_heads: int = 4
    neighbour_margin_deg: float = 10.0
    """Cameras are neighbours when their horizontal fields of view overlap or miss each other by less than this."""
    pose_width: int = 64
    depth_min: float = 0.3
    depth_max: float = 250.0
    prior_far: float = 60.0
    """Depth of the flat-ground prior where the ray meets no ground nearer than this."""
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

    @property
    def memory_channels(self) -> int:
        """Fused features plus one plane that says whether the camera was valid when they were made."""
        return self.widths[2] + 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Rebuild from `to_dict` (or its JSON). Raises ValueError naming missing and unknown keys."""
        known = {field.name for field in fields(cls)}
        missing, unknown = sorted(known - values.keys()), sorted(values.keys() - known)
        if missing or unknown:
            raise ValueError(f'network config: missing keys {missing}, unknown keys {unknown}')
        arguments: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**arguments)


CONFIGS: dict[str, NetworkConfig] = {
    'small': NetworkConfig(),
    # The same decoder; what a rig's geometry tells is smooth, so a narrow encoder holds it.
    'small_blind': NetworkConfig(
        name='small_blind',
        sees_images=False,
        stem_width=8,
        widths=(16, 32, 64),
        blocks=(0, 0, 1),
        attention_width=32,
        attention_heads=2,
        pose_width=16,
    ),
}
