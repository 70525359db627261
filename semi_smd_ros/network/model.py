# SPDX-License-Identifier: Apache-2.0
"""The Semi-SMD network: encoder, ground, matching and motion, fusion, decoder, edges, heads; for rigs of any size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semi_smd_ros.network import geometry, plane_sweep
from semi_smd_ros.network.coarse import CoarseHeads, CoarseOutput
from semi_smd_ros.network.config import FEATURE_STRIDE, KEY_STRIDE, NetworkConfig
from semi_smd_ros.network.decoder import Decoder
from semi_smd_ros.network.edges import Edges
from semi_smd_ros.network.ego_motion import EgoMotionHead, Motion, seen_rays
from semi_smd_ros.network.encoder import CUE_STRIDE, make_encoder
from semi_smd_ros.network.fusion import Fusion
from semi_smd_ros.network.geometry import RayGrid, split_cameras
from semi_smd_ros.network.ground import GroundPlane
from semi_smd_ros.network.heads import DenseHeads
from semi_smd_ros.network.linear import identity
from semi_smd_ros.network.matching import Match, TemporalMatching
from semi_smd_ros.network.memory import Memory, recall, remember
from semi_smd_ros.network.plane_sweep import PlaneSweep, Sweep
from semi_smd_ros.network.triangulation import depth_cue, triangulate


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
    coarse_log_depth_bnhw: Tensor
    """At stride 16, from the encoder alone: what ground votes, matching and ego-motion work with."""
    coarse_semantic_logit_bnkhw: Tensor
    """At stride 16, from the encoder alone: what makes the semantic tokens."""
    ground_b3: Tensor
    """(a, b, c): the ground is z = a x + b y + c in `base`, metres."""
    match_logit_bnqk: Tensor | None
    """Similarity of every cell of stride 16 at t with every cell of stride 8 of the same camera at t-1, both row-major;
    means something only where `past_usable_bn`. None in a network without matching."""
    past_usable_bn: Tensor
    """Bool: the camera is valid now and was at t-1, and the memory is valid."""
    memory_bnchw: Tensor
    ego_motion_b44: Tensor
    """`prev_T_now` of the base."""
    sweep: Sweep | None = None
    """What motion stereo says; None in a network without it."""
    camera_motion_bn44: Tensor | None = None
    """With per-camera pose, what each camera by itself takes for `prev_T_now` of the base; else None."""


class SemiSmdNetwork(nn.Module):
    """Surround depth, sky, semantics and ego-motion from one set of images and the previous set's features."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config)
        self.coarse = CoarseHeads(config)
        if config.joint_ground:
            self.ground = GroundPlane()
        if config.match_width:
            self.matching = TemporalMatching(config)
            self.ego_motion = EgoMotionHead(config)
        if config.sweep_width:
            self.sweep = PlaneSweep(config)
        self.fusion = Fusion(config)
        self.decoder = Decoder(config)
        if config.edge_width:
            self.edges = Edges(config, self.encoder.width_at_2)
        self.heads = DenseHeads(config)

    def forward(self, inputs: NetworkInput) -> NetworkOutput:
        pose, batch = inputs.base_T_cam_bn44, inputs.images_bn3hw.shape[0]
        rays_4, rays_8, rays_16 = (self.rays(inputs, stride) for stride in (4, 8, FEATURE_STRIDE))
        valid_bn = inputs.camera_valid_bn > 0.5
        past = recall(
            inputs.memory_bnchw, inputs.memory_valid_b, valid_bn, pose, self.config.widths[2], self.config.match_width
        )

        at_2, pyramid = self.encode(inputs, valid_bn)
        feature_bnchw = split_cameras(pyramid[2], batch)
        coarse = self.coarse(feature_bnchw, rays_16.log_ground_depth())
        ground_b3 = self.ground_of(coarse, rays_16, valid_bn, past)
        match, keys_bnmhw, motion, cue_bn3hw = self.move(inputs, pyramid, coarse, rays_16, past)
        fused_bnchw = self.fusion(
            feature_bnchw,
            coarse.semantic_logit_bnkhw,
            past,
            rays_16,
            self.rays(inputs, KEY_STRIDE),
            sees_bnn=self.neighbours(inputs) & valid_bn[:, None, :],
        )
        log_ground_8 = rays_8.log_ground_depth(ground_b3)
        swept, lines_bnshw, sweep = self.sweep_depths(inputs, pyramid, coarse, motion, rays_4, log_ground_8, past)
        ground_8, ground_4 = (rays.ground_channels(ground_b3).flatten(0, 1) for rays in (rays_8, rays_4))
        decoded = self.decoder(fused_bnchw.flatten(0, 1), cue_bn3hw.flatten(0, 1), pyramid, ground_8, ground_4, swept)
        sharper = self.edges(decoded, at_2) if self.config.edge_width else None
        ground_weight, offset, sky_logit, log_error, semantic_logit = (
            split_cameras(prediction, batch) for prediction in self.heads(decoded, sharper)
        )
        return NetworkOutput(
            log_depth_bnhw=offset + ground_weight * self.rays(inputs, 1).log_ground_depth(ground_b3),
            sky_logit_bnhw=sky_logit,
            log_error_bnhw=log_error,
            semantic_logit_bnkhw=semantic_logit,
            coarse_log_depth_bnhw=coarse.log_depth_bnhw,
            coarse_semantic_logit_bnkhw=coarse.semantic_logit_bnkhw,
            ground_b3=ground_b3,
            match_logit_bnqk=None if match is None else match.logit_bnqk,
            past_usable_bn=past.usable_bn,
            memory_bnchw=remember(
                valid_bn, ground_b3, pose, coarse.log_depth_bnhw, fused_bnchw, keys_bnmhw, lines_bnshw
            ),
            ego_motion_b44=motion.ego_b44,
            sweep=sweep,
            camera_motion_bn44=motion.camera_bn44,
        )

    def rays(self, inputs: NetworkInput, stride: int) -> RayGrid:
        height, width = inputs.images_bn3hw.shape[-2:]
        rig = (inputs.intrinsics_bn33, inputs.base_T_cam_bn44)
        return geometry.ray_grid(*rig, height, width, stride, self.config.prior_far)

    def neighbours(self, inputs: NetworkInput) -> Tensor:
        """(B,N,N) bool: who sees nearly the same; every camera is its own neighbour."""
        width, margin = inputs.images_bn3hw.shape[-1], math.radians(self.config.neighbour_margin_deg)
        return geometry.neighbour_mask(inputs.intrinsics_bn33, inputs.base_T_cam_bn44, width, margin)

    def encode(self, inputs: NetworkInput, valid_bn: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features at stride 2, and those at strides 4, 8 and 16.

        A missing camera is a grey picture, whatever its buffer holds.
        """
        rays = self.rays(inputs, CUE_STRIDE)
        cues = geometry.pixel_channels(rays, inputs.intrinsics_bn33, inputs.base_T_cam_bn44).flatten(0, 1)
        if not self.config.sees_images:
            return self.encoder(None, cues)
        mean, std = (torch.tensor(v, device=cues.device).reshape(3, 1, 1) for v in self.encoder.normalisation)
        rgb = (inputs.images_bn3hw - mean) / std
        return self.encoder(
            torch.where(valid_bn[..., None, None, None], rgb, torch.zeros_like(rgb)).flatten(0, 1), cues
        )

    def ground_of(self, coarse: CoarseOutput, rays: RayGrid, valid_bn: Tensor, past: Memory) -> Tensor:
        """(a, b, c) of the ground z = a x + b y + c in `base`, (B,3)."""
        if not self.config.joint_ground:
            return torch.zeros_like(past.ground_b3)
        known_b = past.ground_known_b if self.config.temporal_depth else torch.zeros_like(past.ground_known_b)
        return self.ground(coarse.vote_bnvq, coarse.vote_logit_bnvq, rays, valid_bn, past.ground_b3, known_b)

    def move(
        self, inputs: NetworkInput, pyramid: list[Tensor], coarse: CoarseOutput, rays: RayGrid, past: Memory
    ) -> tuple[Match | None, Tensor, Motion, Tensor]:
        """Match with t-1, solve the joint ego-motion, triangulate with it.

        Returns the match, the keys to remember (B,N,4M,h,w), the motion and the decoder's cue (B,N,3,h,w).
        What triangulation sees is detached: near parallel rays its gradients have no bound.
        """
        batch, size = inputs.images_bn3hw.shape[0], coarse.log_depth_bnhw.shape[-2:]
        coarse_bnq = coarse.log_depth_bnhw.flatten(2)
        if not self.config.match_width:
            zero = torch.zeros_like(coarse_bnq)
            cue = depth_cue(coarse_bnq, zero, zero, past.usable_bn)
            still = identity(4, zero.device).expand(batch, 4, 4)
            return None, past.match_bnmhw, Motion(still), cue.reshape(batch, -1, 3, *size)
        query, keys = self.matching.features(pyramid, batch)
        match = self.matching(query, past.match_bnmhw, inputs.intrinsics_bn33)
        motion = self.ego_motion(coarse, match, rays, past.usable_bn)
        limits = self.config.depth_min, self.config.depth_max
        seen = seen_rays(match, inputs.base_T_cam_bn44)
        log_depth, confidence = triangulate(rays, seen.detach(), motion.of_cameras.detach(), limits)
        confidence = confidence * match.confidence_bnq.detach()
        usable_bn = past.usable_bn if self.config.temporal_depth else torch.zeros_like(past.usable_bn)
        cue = depth_cue(coarse_bnq, log_depth, confidence, usable_bn)
        return match, keys, motion, cue.reshape(batch, -1, 3, *size)

    def sweep_depths(
        self,
        inputs: NetworkInput,
        pyramid: list[Tensor],
        coarse: CoarseOutput,
        motion: Motion,
        rays_4: RayGrid,
        log_ground_8_bnhw: Tensor,
        past: Memory,
    ) -> tuple[Tensor | None, Tensor, Sweep | None]:
        """Motion stereo with t-1: what the decoder adds at stride 8, features to remember (B,N,16S,h,w), the sweep."""
        if not self.config.sweep_width:
            return None, past.sweep_bnshw, None
        features = self.sweep.features(pyramid)
        added, sweep = self.sweep(
            features,
            past.sweep_bnshw.flatten(0, 1),
            past.usable_bn,
            coarse.log_depth_bnhw,
            pyramid[1],
            rays_4,
            log_ground_8_bnhw,
            inputs.intrinsics_bn33,
            motion.of_cameras.detach(),
        )
        return added, split_cameras(plane_sweep.packed(features), inputs.images_bn3hw.shape[0]), sweep

    def empty_memory(self, batch: int, cameras: int, height: int, width: int) -> Tensor:
        """Zeros of the memory's shape for images of height x width, for the first instant."""
        size = (height // FEATURE_STRIDE, width // FEATURE_STRIDE)
        return torch.zeros(batch, cameras, self.config.memory_channels, *size)

    def publish(self, output: NetworkOutput, camera_valid_bn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth (B,N,1,H,W) in metres with +inf in the sky, confidence (B,N,1,H,W), class index (B,N,h,w) int32.

        Confidence is the geometric mean of min(d / true, true / d), exp(-expected |log error|); in the sky the
        probability of sky, and 0 for a missing camera.
        """
        limits = math.log(self.config.depth_min), math.log(self.config.depth_max)
        depth = output.log_depth_bnhw.clamp(*limits).exp()
        is_sky = output.sky_logit_bnhw > 0
        depth = torch.where(is_sky, torch.full_like(depth, math.inf), depth)
        confidence = torch.exp(-output.log_error_bnhw.exp())
        confidence = torch.where(is_sky, torch.sigmoid(output.sky_logit_bnhw), confidence)
        confidence = confidence * (camera_valid_bn > 0.5).to(confidence.dtype)[..., None, None]
        return depth[:, :, None], confidence[:, :, None], output.semantic_logit_bnkhw.argmax(2).to(torch.int32)
