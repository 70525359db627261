# SPDX-License-Identifier: Apache-2.0
"""One light cross-attention for space and time.

Every token of a camera attends, in a single softmax, to the pooled tokens of its neighbouring cameras and its own at t,
and to its own pooled tokens at t-1. Positions enter as rotary phases of azimuth and elevation (Su et al., "RoFormer",
2021, with angles of the rays in place of sequence positions), so a score depends on the angle between two rays and
not on which camera they belong to; camera origin and ground distance enter as an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.geometry import TOKEN_CHANNELS, split_cameras

MASKED = -1e4  # finite in FP16, and exp(MASKED) is exactly 0 in FP32


@dataclass(frozen=True)
class TokenPlaces:
    """Where the tokens of a grid look: embedding input and the angles that drive the rotary phases."""

    channels_bnchw: Tensor
    azimuth_bn2hw: Tensor
    elevation_bn2hw: Tensor


def harmonics(angle_bnl2: Tensor, count: int) -> Tensor:
    """exp(i k angle) for k = 1, 2, 4, ... from (cos, sin), by repeated squaring: (B,N,L,2) to (B,N,L,count,2)."""
    cos, sin = angle_bnl2.unbind(-1)
    phases = []
    for _ in range(count):
        phases.append(torch.stack((cos, sin), dim=-1))
        cos, sin = cos * cos - sin * sin, 2 * cos * sin
    return torch.stack(phases, dim=-2)


def rotate(vector: Tensor, phase: Tensor) -> Tensor:
    """Turn the first and second half of the last axis, as complex pairs, by `phase` (..., pairs, 2)."""
    real, imaginary = vector.chunk(2, dim=-1)
    cos, sin = phase.unbind(-1)
    return torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)


class SpaceTimeFusion(nn.Module):
    """Cross-attention over cameras and time, then a feed-forward block, both residual.

    Masked tokens get MASKED added to their scores and so a weight of exactly 0.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        feature_width, width = config.widths[2], config.attention_width
        self.heads = config.attention_heads
        self.norm_now = nn.LayerNorm(feature_width)
        self.norm_past = nn.LayerNorm(feature_width)
        self.place = nn.Linear(TOKEN_CHANNELS, feature_width)
        self.past_type = nn.Parameter(0.02 * torch.randn(feature_width))
        self.to_query = nn.Linear(feature_width, width)
        self.to_key_value = nn.Linear(feature_width, 2 * width)
        self.to_output = nn.Linear(width, feature_width)
        self.norm_feed_forward = nn.LayerNorm(feature_width)
        self.feed_forward = nn.Sequential(
            nn.Linear(feature_width, 2 * feature_width), nn.ReLU(), nn.Linear(2 * feature_width, feature_width)
        )

    def forward(
        self,
        feature_bnchw: Tensor,
        past_bnchw: Tensor,
        query_places: TokenPlaces,
        key_places: TokenPlaces,
        sees_bnn: Tensor,
        sees_past_bn: Tensor,
    ) -> Tensor:
        """Fused features, (B,N,C,h,w).

        `sees_bnn` is True where camera i may attend to camera j at t, `sees_past_bn` where to its own t-1.
        """
        batch, cameras, channels, height, width = feature_bnchw.shape
        now = tokens(feature_bnchw)
        query = self.to_query(self.norm_now(now) + self.place(tokens(query_places.channels_bnchw)))
        place = self.place(tokens(key_places.channels_bnchw))
        now_key, now_value = self.to_key_value(self.norm_now(tokens(pool(feature_bnchw))) + place).chunk(2, dim=-1)
        past_key, past_value = self.to_key_value(
            self.norm_past(tokens(pool(past_bnchw))) + place + self.past_type
        ).chunk(2, dim=-1)

        query, query_phase = self.split_heads(query), self.phases(query_places)
        key_phase = self.phases(key_places)
        now_key, past_key = rotate(self.split_heads(now_key), key_phase), rotate(self.split_heads(past_key), key_phase)
        key = union(now_key, past_key)
        value = union(self.split_heads(now_value), self.split_heads(past_value))

        keys_each = now_key.shape[3]
        allowed_bnm = torch.cat((sees_bnn, sees_past_bn[:, :, None]), dim=2)  # M = N cameras at t, own camera at t-1
        bias_bnm = (~allowed_bnm).to(torch.float32) * MASKED
        bias = bias_bnm[..., None].expand(-1, -1, -1, keys_each).flatten(2)[:, :, None, None]  # (B,N,1,1,M*L)
        scale = query.shape[-1] ** -0.5
        score = (rotate(query, query_phase) * scale) @ key.transpose(-1, -2)
        attended = torch.softmax(score.float() + bias, dim=-1).to(value.dtype) @ value  # (B,N,heads,L,d)

        now = now + self.to_output(attended.transpose(2, 3).flatten(3))
        now = now + self.feed_forward(self.norm_feed_forward(now))
        return now.transpose(2, 3).reshape(batch, cameras, channels, height, width)

    def split_heads(self, token_bnlc: Tensor) -> Tensor:
        return token_bnlc.reshape(*token_bnlc.shape[:3], self.heads, -1).transpose(2, 3)  # (B,N,heads,L,d)

    def phases(self, places: TokenPlaces) -> Tensor:
        """Rotary phases, half of the pairs for azimuth and half for elevation: (B,N,1,L,pairs,2)."""
        each = self.to_query.out_features // self.heads // 4
        azimuth = harmonics(tokens(places.azimuth_bn2hw), each)
        elevation = harmonics(tokens(places.elevation_bn2hw), each)
        return torch.cat((azimuth, elevation), dim=-2)[:, :, None]


def tokens(map_bnchw: Tensor) -> Tensor:
    """(B,N,C,h,w) to (B,N,h*w,C)."""
    return map_bnchw.flatten(3).transpose(2, 3)


def pool(map_bnchw: Tensor) -> Tensor:
    """Average over 2x2 cells."""
    return split_cameras(functional.avg_pool2d(map_bnchw.flatten(0, 1), 2), map_bnchw.shape[0])


def union(now: Tensor, past: Tensor) -> Tensor:
    """For each camera, all cameras' tokens at t followed by its own at t-1: (B,N,heads,(N+1)*L,d)."""
    batch, cameras, heads, _, width = now.shape
    everyone = now.transpose(1, 2).reshape(batch, 1, heads, -1, width).expand(-1, cameras, -1, -1, -1)
    return torch.cat((everyone, past), dim=3)
