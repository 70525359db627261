# SPDX-License-Identifier: Apache-2.0
"""Sequences of surround frames from a seed: the synthetic world's front door."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from .camera import CameraLook, camera_seed, develop, ego_mask, make_look
from .layout import make_scene
from .primitives import IGNORE, SKY, TAPER
from .rasterise import Rays, WorldPrimitives, rasterise
from .rigs import SyntheticRig, camera_pose
from .scene import Scene
from .shading import Shader, ShadowMap

_START_NS = 1_000_000_000


@dataclass(frozen=True)
class SyntheticFrame:
    """One instant of a sequence, N cameras of H x W pixels.

    Attributes:
        stamp_ns: integer nanoseconds.
        images_nhw3: uint8 RGB after camera effects.
        depth_nhw: float32 depth along each optical axis, metres; +inf sky, NaN on the ego vehicle.
        semantics_nhw: uint8 Cityscapes train ids; 255 on the ego vehicle.
        ego_mask_nhw: bool, True where the ego vehicle covers the view.
        world_T_base: (4, 4) float64, metres.
        ground_plane_base: (4,) float64, (n, d) with n.x + d = 0: the road's plane under the vehicle, base coordinates.
        moving_nhw: bool, True on things that move by themselves.
    """

    stamp_ns: int
    images_nhw3: np.ndarray
    depth_nhw: np.ndarray
    semantics_nhw: np.ndarray
    ego_mask_nhw: np.ndarray
    world_T_base: np.ndarray
    ground_plane_base: np.ndarray
    moving_nhw: np.ndarray


@dataclass(frozen=True)
class _EgoMotion:
    """How the ego vehicle travels: along the road with a slow weave, tilted a little on its springs."""

    speed: float
    pitch: float
    roll: float
    lift: float
    weave: float
    phase: float

    @staticmethod
    def draw(rng: np.random.Generator, speed: float) -> _EgoMotion:
        pitch, roll = (float(np.clip(rng.normal(0, math.radians(1.3)), -0.06, 0.06)) for _ in range(2))
        weave = float(rng.normal(0, 0.12)) if speed > 0.5 else 0.0
        return _EgoMotion(speed, pitch, roll, float(rng.normal(0, 0.02)), weave, float(rng.uniform(0, 6.28)))

    def pose(self, scene: Scene, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """world_T_base and the ground plane in base coordinates."""
        s = self.speed * seconds
        rate = 0.35
        lat = scene.road.ego_lat + self.weave * (math.sin(rate * seconds + self.phase) - math.sin(self.phase))
        drift = self.weave * rate * math.cos(rate * seconds + self.phase) / max(self.speed, 1.0)
        plane = scene.road.plane(s, lat)
        road_pose = scene.road.pose(s, lat, math.atan(drift))
        jitter = 0.002 * self.speed / 10.0
        tilt = np.eye(4)
        rotation = camera_pose(
            (0.0, 0.0, 0.0),
            0.0,
            self.pitch + jitter * math.sin(7.0 * seconds + self.phase),
            self.roll + jitter * math.sin(5.3 * seconds + 2 * self.phase),
        )[:3, :3]
        tilt[:3, :3] = rotation @ camera_pose((0.0, 0.0, 0.0), 0.0)[:3, :3].T
        tilt[2, 3] = self.lift
        world_t_base = road_pose @ tilt
        return world_t_base, plane @ world_t_base


def _world_primitives(scene: Scene, seconds: float, device: torch.device) -> WorldPrimitives:
    """All primitives at an instant, in the world."""
    table = scene.table
    poses = scene.poses(seconds)[table.body]
    axes = poses[:, :3, :3] @ table.axes_p33
    centre = (poses[:, :3, :3] @ table.centre_p3[:, :, None])[:, :, 0] + poses[:, :3, 3]
    half = np.linalg.norm(table.axes_p33, axis=1)
    return WorldPrimitives(
        shape=torch.as_tensor(table.shape, device=device),
        centre_p3=torch.as_tensor(centre, device=device),
        axes_p33=torch.as_tensor(axes, device=device),
        inverse_p33=torch.as_tensor(np.linalg.inv(axes), device=device),
        half_p3=torch.as_tensor(half.astype(np.float32), device=device),
        cut_p4=torch.as_tensor(table.cut_p4, device=device),
        salt_p=torch.as_tensor(table.salt_p, device=device),
    )


def _shader(scene: Scene, prims: WorldPrimitives, centre: np.ndarray, device: torch.device) -> Shader:
    table = scene.table
    taper = np.where(table.shape[:, None] == TAPER, table.cut_p4[:, :2], 0.0)
    columns = [
        table.colour_p3,
        table.colour2_p3,
        table.param_p6,
        prims.half_p3.cpu().numpy(),
        table.salt_p[:, None],
        taper,
    ]
    fixed = np.concatenate([c.astype(np.float32) for c in columns], axis=1)
    inverse = prims.inverse_p33.reshape(-1, 9).float()
    attributes = torch.cat([inverse, torch.as_tensor(fixed, device=device)], dim=1).T.contiguous()
    light = scene.light
    sunny = max(light.sun_colour) > 0.0
    sun_map = ShadowMap.render(prims, np.array(light.sun), centre, 96.0, 640) if sunny else None
    sky_map = ShadowMap.render(prims, np.array([0.02, 0.01, 0.9997]), centre, 80.0, 256)
    return Shader(
        prims, attributes, torch.as_tensor(table.material, device=device), scene.road.marks, light, sun_map, sky_map
    )


def render_sequence(
    seed: int, rig: SyntheticRig, frames: int = 2, rate_hz: float = 10.0, device: str = 'cpu'
) -> list[SyntheticFrame]:
    """Render `frames` surround frames of scene `seed` with `rig`.

    Same seed and rig give the same bytes; another seed gives another scene, light, speed and vehicle tilt. The work is
    thousands of small tensor operations, so on a CPU several processes of one thread each (torch.set_num_threads(1))
    are much faster than one process of several threads, above all beside other work.

    Args:
        seed: any integer >= 0.
        rig: the cameras.
        frames: how many frames, at least 1.
        rate_hz: frames per second.
        device: where torch renders.

    Raises:
        ValueError: frames or rate out of range.
    """
    if frames < 1 or rate_hz <= 0.0:
        raise ValueError(f'got {frames} frames at {rate_hz} Hz, expected at least 1 frame and a positive rate')
    where = torch.device(device)
    rng = np.random.default_rng(seed)
    with torch.inference_mode():
        scene = make_scene(rng)
        motion = _EgoMotion.draw(rng, scene.speed)
        light = scene.light
        bright = sum(light.sky_colour) / 3 + sum(light.sun_colour) / 3 * max(0.15, light.sun[2]) * 0.8
        overall = math.exp(float(rng.normal(0.13, 0.28))) / bright
        looks = [make_look(seed, name, overall) for name in rig.names]
        return [_frame(seed, scene, motion, rig, looks, k, k / rate_hz, where) for k in range(frames)]


def _frame(
    seed: int,
    scene: Scene,
    motion: _EgoMotion,
    rig: SyntheticRig,
    looks: list[CameraLook],
    index: int,
    seconds: float,
    device: torch.device,
) -> SyntheticFrame:
    world_t_base, plane = motion.pose(scene, seconds)
    prims = _world_primitives(scene, seconds, device)
    shader = _shader(scene, prims, world_t_base[:3, 3] + world_t_base[:3, 0] * 6.0, device)
    moving_bodies = np.zeros(len(scene.body_poses), dtype=bool)
    moving_bodies[[m.body for m in scene.movers]] = True
    moving_table = np.append(moving_bodies[scene.table.body], False)
    semantic_table = np.append(scene.table.semantic, SKY).astype(np.uint8)
    images, depths, semantics, masks, moving = [], [], [], [], []
    for name, k, base_t_cam, look in zip(rig.names, rig.intrinsics_n33, rig.base_T_cam_n44, looks, strict=True):
        rays = Rays.pinhole(k, world_t_base @ base_t_cam, rig.width, rig.height)
        scale = 1.0 / float(k[1, 1])
        buffer = rasterise(prims, rays, scale)
        colour = shader.picture(rays, buffer, scale)
        mask = ego_mask(look, rig.height, rig.width)
        picture = develop(colour, look, mask, scene.light.horizon, camera_seed(seed, name, f'noise{index}'))
        hit = buffer.primitive_hw.cpu().numpy()
        depth = buffer.depth_hw.cpu().numpy().copy()
        depth[hit < 0] = np.inf
        depth[mask] = np.nan
        images.append(picture.cpu().numpy())
        depths.append(depth)
        semantics.append(np.where(mask, np.uint8(IGNORE), semantic_table[hit]))
        masks.append(mask)
        moving.append(moving_table[hit] & ~mask)
    return SyntheticFrame(
        stamp_ns=_START_NS + round(seconds * 1e9),
        images_nhw3=np.stack(images),
        depth_nhw=np.stack(depths),
        semantics_nhw=np.stack(semantics),
        ego_mask_nhw=np.stack(masks),
        world_T_base=world_t_base,
        ground_plane_base=plane,
        moving_nhw=np.stack(moving),
    )
