# SPDX-License-Identifier: Apache-2.0
"""One light cross-attention for space, time and meaning.

Every token of a camera attends, in a single softmax, to the union of the pooled tokens of its neighbouring cameras and
its own at t, its own pooled tokens at t-1, and semantic tokens: one per class and camera, the features averaged with
the network's own class probabilities. Positions enter as rotary phases of azimuth and elevation (Su et al., "RoFormer",
2021, with angles of the rays in place of sequence positions), so a score depends on the angle between two rays and
not on which camera they belong to; camera origin and ground distance enter as an embedding.

For comparison, `fusion='separate'` takes the same three sources one after another, each with a block of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from semi_smd_ros.network import geometry
from semi_smd_ros.network.config import NetworkConfig
from semi_smd_ros.network.geometry import TOKEN_CHANNELS, RayGrid, split_cameras
from semi_smd_ros.network.memory import Memory

MASKED = -1e4  # finite in FP16, and exp(MASKED) is exactly 0 in FP32
Phase = tuple[Tensor, Tensor]
"""(cos, sin) of the rotary phases, (B,N,1,L,pairs) each."""


@dataclass(frozen=True)
class KeySet:
    """One source of keys."""

    token_bnlc: Tensor
    phase: Phase
    allowed: Tensor
    """Bool, (B,N,N): camera i may see the tokens of camera j; or (B,N): a camera may see its own tokens."""


def tokens(map_bnchw: Tensor) -> Tensor:
    """(B,N,C,h,w) to (B,N,h*w,C)."""
    return map_bnchw.flatten(3).transpose(2, 3)


def pool(map_bnchw: Tensor) -> Tensor:
    """Average over 2x2 cells."""
    return split_cameras(functional.avg_pool2d(map_bnchw.flatten(0, 1), 2), map_bnchw.shape[0])


def harmonics(angle_bnl2: Tensor, count: int) -> Phase:
    """(cos, sin) of k angle for k = 1, 2, 4, ... from those of some angles, by repeated squaring.

    Cosines and sines of A angles (B,N,L,A,2) to cosines and sines (B,N,L,A*count).
    """
    cos, sin = angle_bnl2.unbind(-1)
    cosines, sines = [cos], [sin]
    for _ in range(count - 1):
        cos, sin = cos * cos - sin * sin, 2 * cos * sin
        cosines.append(cos)
        sines.append(sin)
    return torch.stack(cosines, dim=-1).flatten(-2), torch.stack(sines, dim=-1).flatten(-2)


def rotate(vector: Tensor, phase: Phase) -> Tensor:
    """Turn the first and second half of the last axis, as complex pairs, by `phase`."""
    real, imaginary = vector.chunk(2, dim=-1)
    cos, sin = phase
    return torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)


def everyone(own: Tensor) -> Tensor:
    """For each camera, all cameras' tokens one after another: (B,N,heads,L,d) to (B,N,heads,N*L,d)."""
    batch, cameras, heads, _, width = own.shape
    return own.transpose(1, 2).reshape(batch, 1, heads, -1, width).expand(-1, cameras, -1, -1, -1)


class CrossAttention(nn.Module):
    """One softmax over the union of some key sets, then a feed-forward block, both residual.

    Masked tokens get MASKED added to their scores and so a weight of exactly 0; a camera that may see none of its keys
    gets nothing from them.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        feature_width, width = config.widths[2], config.attention_width
        self.heads = config.attention_heads
        self.norm = nn.LayerNorm(feature_width)
        self.to_query = nn.Linear(feature_width, width)
        self.to_key_value = nn.Linear(feature_width, 2 * width)
        self.to_output = nn.Linear(width, feature_width)
        self.norm_feed_forward = nn.LayerNorm(feature_width)
        self.feed_forward = nn.Sequential(
            nn.Linear(feature_width, 2 * feature_width), nn.ReLU(), nn.Linear(2 * feature_width, feature_width)
        )

    def forward(self, now_bnlc: Tensor, place_bnlc: Tensor, phase: Phase, key_sets: list[KeySet]) -> Tensor:
        """Tokens (B,N,L,C) with their place embedding and rotary phases, to tokens of the same shape."""
        query = self.split_heads(self.to_query(self.norm(now_bnlc) + place_bnlc))
        keys, values, biases, any_allowed = [], [], [], torch.zeros_like(now_bnlc[:, :, 0, 0], dtype=torch.bool)
        for source in key_sets:
            key, value = self.to_key_value(source.token_bnlc).chunk(2, dim=-1)
            key, value = rotate(self.split_heads(key), source.phase), self.split_heads(value)
            allowed_bnm = source.allowed if source.allowed.dim() == 3 else source.allowed[:, :, None]
            bias_bnm = (~allowed_bnm).to(torch.float32) * MASKED
            biases.append(bias_bnm[..., None].expand(-1, -1, -1, source.token_bnlc.shape[2]).flatten(2))
            any_allowed = any_allowed | (allowed_bnm.to(torch.float32).sum(2) > 0)
            shared = source.allowed.dim() == 3
            keys.append(everyone(key) if shared else key)
            values.append(everyone(value) if shared else value)
        scale = query.shape[-1] ** -0.5
        score = (rotate(query, phase) * scale) @ torch.cat(keys, dim=3).transpose(-1, -2)
        weight = torch.softmax(score.float() + torch.cat(biases, dim=2)[:, :, None, None], dim=-1)
        value = torch.cat(values, dim=3)
        attended = (weight.to(value.dtype) @ value).transpose(2, 3).flatten(3)  # (B,N,L,width)
        output = self.to_output(attended) * any_allowed[..., None, None].to(attended.dtype)
        now = now_bnlc + output
        return now + self.feed_forward(self.norm_feed_forward(now))

    def split_heads(self, token_bnlc: Tensor) -> Tensor:
        return token_bnlc.reshape(*token_bnlc.shape[:3], self.heads, -1).transpose(2, 3)  # (B,N,heads,L,d)


class Fusion(nn.Module):
    """Features at stride 16 that know the other cameras, the past and the classes around them."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.widths[2]
        self.sources = ('neighbours', *(source for source in config.attends_to if source != 'neighbours'))
        self.sees_neighbours = 'neighbours' in config.attends_to
        self.unified = config.fusion == 'unified'
        self.phases_each = config.attention_width // config.attention_heads // 4
        self.place = nn.Linear(TOKEN_CHANNELS, width)
        self.norm_now = nn.LayerNorm(width)
        if 'memory' in self.sources:
            self.norm_past = nn.LayerNorm(width)
            self.past_depth = nn.Linear(1, width)  # its bias is the type of these tokens
        if 'semantics' in self.sources:
            self.norm_class = nn.LayerNorm(width)
            self.class_type = nn.Parameter(0.02 * torch.randn(len(config.classes), width))
        self.blocks = nn.ModuleList(CrossAttention(config) for _ in range(1 if self.unified else len(self.sources)))

    def forward(
        self,
        feature_bnchw: Tensor,
        semantic_logit_bnkhw: Tensor,
        past: Memory,
        query_rays: RayGrid,
        key_rays: RayGrid,
        sees_bnn: Tensor,
    ) -> Tensor:
        """Fused features, (B,N,C,h,w). `sees_bnn` is True where camera i may attend to camera j at t."""
        batch, cameras, channels, height, width = feature_bnchw.shape
        pose = query_rays.base_T_cam_bn44
        now = tokens(feature_bnchw)
        query_channels = tokens(geometry.token_channels(query_rays, pose))
        key_channels = tokens(geometry.token_channels(key_rays, pose))
        key_place, key_phase = self.place(key_channels), self.phases(key_channels[..., :3], pose)
        if not self.sees_neighbours:
            camera = torch.arange(cameras, device=sees_bnn.device)
            sees_bnn = sees_bnn & (camera[:, None] == camera)

        key_sets = [KeySet(self.norm_now(tokens(pool(feature_bnchw))) + key_place, key_phase, sees_bnn)]
        if 'memory' in self.sources:
            before = self.norm_past(tokens(pool(past.feature_bnchw)))
            before = before + self.past_depth(tokens(pool(past.log_depth_bn1hw))) + key_place
            key_sets.append(KeySet(before, key_phase, past.usable_bn))
        if 'semantics' in self.sources:
            share = class_shares(semantic_logit_bnkhw).to(now.dtype)
            channels_bnkc = share @ query_channels
            named = self.norm_class(share @ now) + self.class_type + self.place(channels_bnkc)
            direction = functional.normalize(channels_bnkc[..., :3].float(), dim=-1, eps=1e-4)
            key_sets.append(KeySet(named, self.phases(direction, pose), sees_bnn))

        place, phase = self.place(query_channels), self.phases(query_channels[..., :3], pose)
        for block, sources in zip(self.blocks, [key_sets] if self.unified else [[one] for one in key_sets]):
            now = block(now, place, phase, sources)
        return now.transpose(2, 3).reshape(batch, cameras, channels, height, width)

    def phases(self, direction_bnl3: Tensor, base_T_cam_bn44: Tensor) -> Phase:
        """Rotary phases, half of the pairs for azimuth and half for elevation."""
        angles = torch.stack(geometry.ray_angles(direction_bnl3, base_T_cam_bn44), dim=3)
        cos, sin = harmonics(angles, self.phases_each)
        return cos[:, :, None], sin[:, :, None]


def class_shares(logit_bnkhw: Tensor) -> Tensor:
    """Weights that average the cells of a class, (B,N,K,L); they fade to 0 for a class of less than one cell."""
    probability = torch.softmax(logit_bnkhw.flatten(3), dim=2)
    return probability / (probability.sum(-1, keepdim=True) + 1)
