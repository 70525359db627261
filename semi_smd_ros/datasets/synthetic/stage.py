# SPDX-License-Identifier: Apache-2.0
"""Scenes at instants: what the host makes of each, and all of them gathered on the renderer's device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from .air import Airs, Light
from .cull import WorldPrimitives
from .ego import EgoMotion
from .lamps import LampMap, LampMaps
from .layout import make_scene
from .marks import Marks, RoadMarks
from .photographs import Photographs
from .primitives import SKY, TAPER
from .scene import Scene
from .shading import Shader
from .shadows import shadow_maps

_SUN_SPAN_M, _SUN_TEXELS = 96.0, 640
_SKY_SPAN_M, _SKY_TEXELS = 80.0, 256
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


@dataclass(frozen=True, eq=False)
class SceneArrays:
    """What of a scene's primitives (P rows) never changes, in the frames of their bodies; see `PrimitiveTable`."""

    shape: np.ndarray
    material: np.ndarray
    semantic: np.ndarray
    moving: np.ndarray  # bool, on a body that moves by itself
    body: np.ndarray
    centre_p31: np.ndarray
    axes_p33: np.ndarray
    inverse_p33: np.ndarray
    half_p3: np.ndarray  # float32, lengths of the half axes
    cut_p4: np.ndarray
    salt_p: np.ndarray
    look_pk: np.ndarray  # float32: colour, colour2, param (6), half, salt, taper (2)

    @staticmethod
    def of(scene: Scene) -> SceneArrays:
        """The arrays of a scene."""
        table = scene.table
        half = np.linalg.norm(table.axes_p33, axis=1).astype(np.float32)
        taper = np.where(table.shape[:, None] == TAPER, table.cut_p4[:, :2], 0.0)
        look = [table.colour_p3, table.colour2_p3, table.param_p6, half, table.salt_p[:, None], taper]
        moving = np.zeros(len(scene.body_poses), dtype=bool)
        moving[[mover.body for mover in scene.movers]] = True
        return SceneArrays(
            shape=table.shape,
            material=table.material,
            semantic=table.semantic,
            moving=moving[table.body],
            body=table.body,
            centre_p31=table.centre_p3[:, :, None],
            axes_p33=table.axes_p33,
            inverse_p33=np.linalg.inv(table.axes_p33),
            half_p3=half,
            cut_p4=table.cut_p4,
            salt_p=table.salt_p,
            look_pk=np.concatenate([c.astype(np.float32) for c in look], axis=1),
        )


@dataclass(frozen=True, eq=False)
class Instant:
    """One scene at one time, plain arrays: what the host makes and the device is given."""

    arrays: SceneArrays
    bodies_b48: np.ndarray  # poses of all bodies (4, 4), and how they change in a second
    middle: np.ndarray  # (3,) what is nearest to matter: a little ahead of the vehicle
    light: Light
    marks: RoadMarks
    lamps: LampMap | None


class Stage:
    """One scene, ready to be looked at at any time."""

    def __init__(self, plan: ScenePlan) -> None:
        self.seed, self.scene, self.motion = plan.seed, plan.scene, plan.motion
        self._arrays = SceneArrays.of(plan.scene)

    def at(self, seconds: float) -> Instant:
        """The scene at a time."""
        scene = self.scene
        poses = scene.poses(seconds)
        # Velocities from a moment later and a moment earlier.
        later, earlier = scene.poses(seconds + _VELOCITY_S), scene.poses(seconds - _VELOCITY_S)
        pose, _ = self.motion.pose(scene, seconds)
        return Instant(
            arrays=self._arrays,
            bodies_b48=np.concatenate([poses, (later - earlier) / (2 * _VELOCITY_S)], axis=2),
            middle=pose[:3, 3] + pose[:3, 0] * 6.0,
            light=scene.light,
            marks=scene.road.marks,
            lamps=LampMap.build(scene.lamps_l12, poses, pose, scene.light.night),
        )


@dataclass(frozen=True)
class Instants:
    """Several scenes at one time each, their primitives one after the other."""

    prims: WorldPrimitives
    spans: tuple[tuple[int, int], ...]  # each instant's first primitive, and the one past its last
    shader: Shader
    semantic_p: torch.Tensor  # uint8; one more for what is hit by nothing: sky
    moving_p: torch.Tensor  # bool; one more, False

    @staticmethod
    def of(instants: Sequence[Instant], device: torch.device, photographs: Photographs | None = None) -> Instants:
        """Gather primitives and render the shadow maps."""

        def gathered(arrays: Sequence[np.ndarray]) -> torch.Tensor:
            return torch.as_tensor(arrays[0] if len(arrays) == 1 else np.concatenate(arrays), device=device)

        every = [instant.arrays for instant in instants]
        spans = tuple(pairwise(np.cumsum([0, *(len(arrays.shape) for arrays in every)]).tolist()))
        prims = _primitives(instants, gathered)
        lights = [instant.light for instant in instants]
        suns = [np.array(light.sun) if light.sunny else None for light in lights]
        middles = [instant.middle for instant in instants]
        sky_maps = shadow_maps(prims, spans, [_STRAIGHT_UP] * len(instants), middles, _SKY_SPAN_M, _SKY_TEXELS)
        assert sky_maps is not None, 'the sky is above every scene'
        look = gathered([arrays.look_pk for arrays in every])
        shader = Shader(
            attributes_ap=torch.cat([prims.inverse_p33.reshape(-1, 9).float(), look], dim=1).T.contiguous(),
            shape=prims.shape,
            material=gathered([arrays.material for arrays in every]),
            marks=Marks([instant.marks for instant in instants], device),
            airs=Airs(lights, device),
            sun_maps=shadow_maps(prims, spans, suns, middles, _SUN_SPAN_M, _SUN_TEXELS),
            sky_maps=sky_maps,
            lamps=LampMaps([instant.lamps for instant in instants], device),
            photographs=None if photographs is None else photographs.to(device),
        )
        return Instants(
            prims=prims,
            spans=spans,
            shader=shader,
            semantic_p=gathered([*(arrays.semantic for arrays in every), np.array([SKY], dtype=np.uint8)]),
            moving_p=gathered([*(arrays.moving for arrays in every), np.array([False])]),
        )


def _primitives(
    instants: Sequence[Instant], gathered: Callable[[Sequence[np.ndarray]], torch.Tensor]
) -> WorldPrimitives:
    """All primitives of all instants in the world."""
    every = [instant.arrays for instant in instants]
    firsts = np.cumsum([0, *(len(instant.bodies_b48) for instant in instants)])
    body = gathered([arrays.body + first for arrays, first in zip(every, firsts[:-1], strict=True)])
    own = gathered([instant.bodies_b48 for instant in instants]).index_select(0, body)
    centre = gathered([arrays.centre_p31 for arrays in every])
    turn, place = own[:, :3, :3], own[:, :3, 3]
    return WorldPrimitives(
        shape=gathered([arrays.shape for arrays in every]),
        centre_p3=(turn @ centre)[:, :, 0] + place,
        axes_p33=turn @ gathered([arrays.axes_p33 for arrays in every]),
        inverse_p33=gathered([arrays.inverse_p33 for arrays in every]) @ turn.transpose(1, 2),
        half_p3=gathered([arrays.half_p3 for arrays in every]),
        cut_p4=gathered([arrays.cut_p4 for arrays in every]),
        salt_p=gathered([arrays.salt_p for arrays in every]),
        velocity_p3=(own[:, :3, 4:7] @ centre)[:, :, 0] + own[:, :3, 7],
    )
