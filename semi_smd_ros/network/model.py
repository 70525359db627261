# SPDX-License-Identifier: Apache-2.0
"""The Semi-SMD network: encoder, space-time fusion, decoder and heads, for rigs of any number of cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semi_smd_ros.network import geometry
from semi_smd_ros.network.config import KEY_STRIDE, NetworkConfig
from semi_smd_ros.network.decoder import Decoder
from semi_smd_ros.network.ego_motion import EgoMotionHead
from semi_smd_ros.network.encoder import Encoder
from semi_smd_ros.network.fusion import SpaceTimeFusion, TokenPlaces
from semi_smd_ros.network.geometry import split_cameras
from semi_smd_ros.network.heads import DenseHeads

FEATURE_STRIDE = 16
IMAGE_MEAN = 0.45
IMAGE_STD = 0.225


@dataclass(frozen=True)
class NetworkInput:
    """One instant of B rigs with N cameras each; the engine contract with a batch axis in front."""

    images_bn3hw: Tensor
    """RGB, 0..1."""
    intrinsics_bn33: Tensor
    base_T_cam_bn44: Tensor
    camera_valid_bn: Tensor
    """1 where the image may be used, else 0."""
    memory_bnchw: Tensor
    """`memory_bnchw` of the previous instant's output. Any values where `memory_valid_b` is 0."""
    memory_valid_b: Tensor


@dataclass(frozen=True)
class NetworkOutput:
    """Raw predictions; `publish` makes the engine's outputs of them."""

    log_depth_bnhw: Tensor
    """Natural logarithm of Z depth in metres, also where there is sky (meaningless there)."""
    sky_logit_bnhw: Tensor
    log_error_bnhw: Tensor
    """Logarithm of the expected |log depth error|: the scale of a Laplace distribution."""
    semantic_logit_bnkhw: Tensor
    """At stride 4."""
    memory_bnchw: Tensor
    ego_motion_b44: Tensor
    """`prev_T_now` of the base."""


class SemiSmdNetwork(nn.Module):
    """Surround depth, sky, semantics and ego-motion from one set of images and the previous set's features."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.fusion = SpaceTimeFusion(config)
        self.decoder = Decoder(config)
        self.heads = DenseHeads(config)
        self.ego_motion = EgoMotionHead(config)

    def forward(self, inputs: NetworkInput) -> NetworkOutput:
        height, width = inputs.images_bn3hw.shape[-2:]
        pixel_rays = self.rays(inputs, height, width, stride=1)
        token_rays = self.rays(inputs, height, width, stride=FEATURE_STRIDE)
        key_rays = self.rays(inputs, height, width, stride=KEY_STRIDE)
        query_places, key_places = self.places(inputs, token_rays), self.places(inputs, key_rays)

        valid_bn = inputs.camera_valid_bn > 0.5
        past_bnchw, past_usable_bn = self.recall(inputs, valid_bn)
        rig = (inputs.intrinsics_bn33, inputs.base_T_cam_bn44)
        neighbours_bnn = geometry.neighbour_mask(*rig, width, math.radians(self.config.neighbour_margin_deg))

        pyramid = self.encoder(self.encoder_input(inputs, pixel_rays, valid_bn))
        batch = inputs.images_bn3hw.shape[0]
        fused_bnchw = self.fusion(
            split_cameras(pyramid[2], batch),
            past_bnchw,
            query_places,
            key_places,
            sees_bnn=neighbours_bnn & valid_bn[:, None, :],
            sees_past_bn=past_usable_bn,
        )
        ground_weight, offset, sky_logit, log_error, semantic_logit = self.heads(
            self.decoder(fused_bnchw.flatten(0, 1), pyramid)
        )
        log_ground_bnhw = pixel_rays.ground_depth_bnhw.log()
        return NetworkOutput(
            log_depth_bnhw=split_cameras(offset, batch) + split_cameras(ground_weight, batch) * log_ground_bnhw,
            sky_logit_bnhw=split_cameras(sky_logit, batch),
            log_error_bnhw=split_cameras(log_error, batch),
            semantic_logit_bnkhw=split_cameras(semantic_logit, batch),
            memory_bnchw=self.remember(fused_bnchw, valid_bn),
            ego_motion_b44=self.ego_motion(
                fused_bnchw, past_bnchw, query_places.channels_bnchw, inputs.base_T_cam_bn44, past_usable_bn
            ),
        )

    def rays(self, inputs: NetworkInput, height: int, width: int, stride: int) -> geometry.RayGrid:
        far = self.config.prior_far
        return geometry.ray_grid(inputs.intrinsics_bn33, inputs.base_T_cam_bn44, height, width, stride, far)

    def places(self, inputs: NetworkInput, rays: geometry.RayGrid) -> TokenPlaces:
        channels = geometry.token_channels(rays, inputs.base_T_cam_bn44)
        return TokenPlaces(channels, *geometry.ray_angles(rays, inputs.base_T_cam_bn44))

    def encoder_input(self, inputs: NetworkInput, rays: geometry.RayGrid, valid_bn: Tensor) -> Tensor:
        """Normalised RGB (zeros for a missing camera, whatever its buffer holds) and the geometry channels."""
        cues = geometry.pixel_channels(rays, inputs.intrinsics_bn33, inputs.base_T_cam_bn44)
        if not self.config.sees_images:
            return cues.flatten(0, 1)
        rgb = (inputs.images_bn3hw - IMAGE_MEAN) / IMAGE_STD
        rgb = torch.where(valid_bn[:, :, None, None, None], rgb, torch.zeros_like(rgb))
        return torch.cat((rgb, cues), dim=2).flatten(0, 1)

    def recall(self, inputs: NetworkInput, valid_bn: Tensor) -> tuple[Tensor, Tensor]:
        """Features at t-1 (zeros where unusable, whatever the buffer holds) and which cameras may use them."""
        has_memory = (inputs.memory_valid_b > 0.5)[:, None]
        was_valid_bn = inputs.memory_bnchw[:, :, 0, 0, 0] > 0.5
        usable_bn = has_memory & was_valid_bn & valid_bn
        past = inputs.memory_bnchw[:, :, 1:]
        return torch.where(usable_bn[:, :, None, None, None], past, torch.zeros_like(past)), usable_bn

    def remember(self, fused_bnchw: Tensor, valid_bn: Tensor) -> Tensor:
        """The memory: one plane that says which cameras were valid, then the fused features."""
        flag = valid_bn[:, :, None, None, None].to(torch.float32).expand_as(fused_bnchw[:, :, :1])
        return torch.cat((flag, fused_bnchw.float()), dim=2)

    def empty_memory(self, batch: int, cameras: int, height: int, width: int) -> Tensor:
        """Zeros of the memory's shape for images of height x width, for the first instant."""
        size = (height // FEATURE_STRIDE, width // FEATURE_STRIDE)
        return torch.zeros(batch, cameras, self.config.memory_channels, *size)

    def publish(self, output: NetworkOutput, camera_valid_bn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth (B,N,1,H,W) in metres with +inf in the sky, confidence (B,N,1,H,W), class index (B,N,h,w) int32.

        Confidence is the expected min(d / true, true / d) = exp(-expected |log error|), in the sky the probability of
        sky, and 0 for a missing camera.
        """
        limits = math.log(self.config.depth_min), math.log(self.config.depth_max)
        depth = output.log_depth_bnhw.clamp(*limits).exp()
        is_sky = output.sky_logit_bnhw > 0
        depth = torch.where(is_sky, torch.full_like(depth, math.inf), depth)
        confidence = torch.exp(-output.log_error_bnhw.exp())
        confidence = torch.where(is_sky, torch.sigmoid(output.sky_logit_bnhw), confidence)
        confidence = confidence * (camera_valid_bn > 0.5).to(confidence.dtype)[..., None, None]
        return depth[:, :, None], confidence[:, :, None], output.semantic_logit_bnkhw.argmax(2).to(torch.int32)
