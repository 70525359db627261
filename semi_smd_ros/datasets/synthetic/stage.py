# SPDX-License-Identifier: Apache-2.0
"""Scenes at instants: all primitives in the world, and what shading needs, for one or many scenes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from .cull import WorldPrimitives
from .ego import EgoMotion
from .lamps import LampMap
from .layout import make_scene
from .primitives import SKY, TAPER
from .rasterise import Raster
from .scene import Scene
from .shading import Shader, ShadowMap
from .views import Views

_SUN_SPAN_M, _SUN_TEXELS = 96.0, 640
_SKY_SPAN_M, _SKY_TEXELS = 80.0, 256
_LIGHT_BACK_M = 150.0
_STRAIGHT_UP = np.array([0.02, 0.01, 0.9997])
# Over this long positions are compared to tell velocities.
_VELOCITY_S = 0.01


@dataclass(frozen=True, eq=False)
class ScenePlan:
    """All that a seed decides about a scene; plain arrays, so another process can make it and hand it over.

    Everything random is drawn here, before the first frame: what a time shows depends on nothing else.
    """

    seed: int
    scene: Scene
    motion: EgoMotion

    @staticmethod
    def draw(seed: int) -> ScenePlan:
        """The plan of scene `seed`, any integer >= 0."""
        rng = np.random.default_rng(seed)
        scene = make_scene(rng)
        return ScenePlan(seed, scene, EgoMotion.draw(rng, scene))


class Stage:
    """One scene on the renderer's device, ready to be looked at at any time."""

    def __init__(self, plan: ScenePlan, device: torch.device) -> None:
        self.seed, self.scene, self.motion, self.device = plan.seed, plan.scene, plan.motion, device
        table = self.scene.table
        half = np.linalg.norm(table.axes_p33, axis=1).astype(np.float32)
        taper = np.where(table.shape[:, None] == TAPER, table.cut_p4[:, :2], 0.0)
        fixed = [table.colour_p3, table.colour2_p3, table.param_p6, half, table.salt_p[:, None], taper]
        moving = np.zeros(len(self.scene.body_poses), dtype=bool)
        moving[[mover.body for mover in self.scene.movers]] = True
        self.shape, self.material = self._tensor(table.shape), self._tensor(table.material)
        self.half, self.cut, self.salt = self._tensor(half), self._tensor(table.cut_p4), self._tensor(table.salt_p)
        self.fixed = self._tensor(np.concatenate([c.astype(np.float32) for c in fixed], axis=1))
        self.moving_p, self.semantic_p = self._tensor(moving[table.body]), self._tensor(table.semantic)
        self._body = self._tensor(table.body)
        self._centre, self._axes = self._tensor(table.centre_p3)[:, :, None], self._tensor(table.axes_p33)
        self._inverse = self._tensor(np.linalg.inv(table.axes_p33))

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, device=self.device)

    def primitives(self, seconds: float) -> WorldPrimitives:
        """All primitives at an instant, in the world."""
        poses = self.scene.poses(seconds)
        # Velocities from a moment later and a moment earlier.
        later, earlier = self.scene.poses(seconds + _VELOCITY_S), self.scene.poses(seconds - _VELOCITY_S)
        own = self._tensor(np.concatenate([poses, (later - earlier) / (2 * _VELOCITY_S)], axis=2))[self._body]
        turn, place = own[:, :3, :3], own[:, :3, 3]
        return WorldPrimitives(
            shape=self.shape,
            centre_p3=(turn @ self._centre)[:, :, 0] + place,
            axes_p33=turn @ self._axes,
            inverse_p33=self._inverse @ turn.transpose(1, 2),
            half_p3=self.half,
            cut_p4=self.cut,
            salt_p=self.salt,
            velocity_p3=(own[:, :3, 4:7] @ self._centre)[:, :, 0] + own[:, :3, 7],
        )

    def lamps(self, seconds: float) -> LampMap | None:
        """The light of lamps at an instant, None by day."""
        scene = self.scene
        if scene.light.night <= 0.0:
            return None
        pose, _ = self.motion.pose(scene, seconds)
        return LampMap.build(scene.lamps_l12, scene.poses(seconds), pose, scene.light.night, self.device)


@dataclass(frozen=True)
class Instants:
    """Several scenes at one time each, their primitives one after the other."""

    stages: tuple[Stage, ...]
    seconds: tuple[float, ...]
    prims: WorldPrimitives
    spans: tuple[tuple[int, int], ...]  # each instant's first primitive, and the one past its last
    shaders: tuple[Shader, ...]
    semantic_p: torch.Tensor  # uint8; one more for what is hit by nothing: sky
    moving_p: torch.Tensor  # bool; one more, False

    @staticmethod
    def of(stages: Sequence[Stage], seconds: Sequence[float]) -> Instants:
        """Gather primitives and render the shadow maps."""
        each = [stage.primitives(when) for stage, when in zip(stages, seconds, strict=True)]
        ends = np.cumsum([0, *(len(p.shape) for p in each)]).tolist()
        spans = tuple(pairwise(ends))
        fields = WorldPrimitives.__dataclass_fields__
        prims = each[0] if len(each) == 1 else WorldPrimitives(
            **{name: torch.cat([getattr(p, name) for p in each]) for name in fields}
        )  # fmt: skip
        device = stages[0].device
        centres = []
        for stage, when in zip(stages, seconds, strict=True):
            pose, _ = stage.motion.pose(stage.scene, when)
            centres.append(pose[:3, 3] + pose[:3, 0] * 6.0)
        sunny = [k for k, stage in enumerate(stages) if max(stage.scene.light.sun_colour) > 0.0]
        suns = np.array([stages[k].scene.light.sun for k in sunny])
        sun_maps = dict(
            zip(
                sunny,
                _shadow_maps(prims, [spans[k] for k in sunny], suns, [centres[k] for k in sunny], _SUN_SPAN_M,
                             _SUN_TEXELS, device),
                strict=True,
            )
        )  # fmt: skip
        ups = np.tile(_STRAIGHT_UP, (len(stages), 1))
        sky_maps = _shadow_maps(prims, list(spans), ups, centres, _SKY_SPAN_M, _SKY_TEXELS, device)
        fixed = torch.cat([stage.fixed for stage in stages])
        attributes = torch.cat([prims.inverse_p33.reshape(-1, 9).float(), fixed], dim=1).T.contiguous()
        material = torch.cat([stage.material for stage in stages])
        shaders = tuple(
            Shader(
                attributes_ap=attributes,
                shape=prims.shape,
                material=material,
                marks=stage.scene.road.marks,
                light=stage.scene.light,
                sun_map=sun_maps.get(k),
                sky_map=sky_maps[k],
                lamps=stage.lamps(seconds[k]),
            )
            for k, stage in enumerate(stages)
        )
        sky = torch.tensor([SKY], dtype=torch.uint8, device=device)
        never = torch.zeros(1, dtype=torch.bool, device=device)
        return Instants(
            stages=tuple(stages),
            seconds=tuple(seconds),
            prims=prims,
            spans=spans,
            shaders=shaders,
            semantic_p=torch.cat([*(stage.semantic_p for stage in stages), sky]),
            moving_p=torch.cat([*(stage.moving_p for stage in stages), never]),
        )


def _shadow_maps(
    prims: WorldPrimitives,
    spans: list[tuple[int, int]],
    towards_v3: np.ndarray,
    centres: list[np.ndarray],
    span_m: float,
    texels: int,
    device: torch.device,
) -> list[ShadowMap]:
    """What a light far away sees of each instant."""
    if not spans:
        return []
    views = Views.lights(towards_v3, np.stack(centres), span_m, texels, _LIGHT_BACK_M, device)
    depth = Raster(prims, spans, views).sample().depth_vhw
    pixel = span_m / texels
    scale = torch.tensor([1.0 / pixel, 1.0 / pixel, 1.0], dtype=torch.float64, device=device)
    rows = views.rotation_v33.transpose(1, 2) * scale[:, None]
    project = torch.cat([rows, -(rows @ views.origin_v3[:, :, None])], dim=2).float()
    return [ShadowMap(matrix, texels, plane.flatten()) for matrix, plane in zip(project, depth, strict=True)]
