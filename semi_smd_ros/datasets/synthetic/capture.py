# SPDX-License-Identifier: Apache-2.0
"""Taking pictures: where a rig's cameras are, how they move meanwhile, and all that happens to their light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .camera import CameraLook, camera_seed, expose, make_look
from .develop import develop, metered
from .lens import make_lens
from .motion import blurred, image_velocity
from .primitives import IGNORE
from .rasterise import Raster
from .resolve import linear_pictures
from .rigs import SyntheticRig
from .stage import Instants, ScenePlan, Stage
from .views import Viewpoint, Views, rotation_vector

# Velocities come from poses this long before and after, unless the shutter rolls for longer.
_STEP_S = 0.004


@dataclass(frozen=True)
class Studio:
    """A scene with a rig in it, ready to take pictures at any time."""

    stage: Stage
    rig: SyntheticRig
    looks: tuple[CameraLook, ...]
    covered_nhw: torch.Tensor  # bool, the own vehicle in view

    @staticmethod
    def of(plan: ScenePlan | int, rig: SyntheticRig, device: torch.device) -> Studio:
        """A scene, given by its plan or its seed, with this rig."""
        if not isinstance(plan, ScenePlan):
            plan = ScenePlan.draw(int(plan))
        looks = tuple(
            make_look(plan.seed, name, pose, rig.height, rig.width)
            for name, pose in zip(rig.names, rig.base_T_cam_n44, strict=True)
        )
        covered = torch.as_tensor(np.stack([look.body.mask_hw for look in looks]), device=device)
        return Studio(Stage(plan, device), rig, looks, covered)


def viewpoints(studio: Studio, seconds: float) -> list[Viewpoint]:
    """The rig's cameras at an instant: the pose at the stamp, and constant velocities through the readout."""
    stage, rig = studio.stage, studio.rig
    step = max(rig.readout_s / 2, _STEP_S)
    poses = [stage.motion.pose(stage.scene, seconds + dt)[0] @ rig.base_T_cam_n44 for dt in (-step, 0.0, step)]
    row_s = rig.readout_s / max(1, rig.height - 1)
    found = []
    for before, now, after, model in zip(*poses, rig.camera_models(), strict=True):
        spin = rotation_vector(before[:3, :3].T @ after[:3, :3]) / (2 * step)
        velocity = (after[:3, 3] - before[:3, 3]) / (2 * step)
        found.append(Viewpoint(make_lens(model), now, velocity, spin, row_s))
    return found


def world_t_base_rows(studio: Studio, seconds: float) -> np.ndarray:
    """Poses of the vehicle when the first and the last row are exposed, (2, 4, 4)."""
    motion, scene, half = studio.stage.motion, studio.stage.scene, studio.rig.readout_s / 2
    return np.stack([motion.pose(scene, seconds + side * half)[0] for side in (-1, 1)])


@dataclass(frozen=True)
class Shots:
    """Pictures and truth of V views, on the renderer's device. See `SyntheticFrame` for the meaning of each."""

    images_vhw3: torch.Tensor
    depth_vhw: torch.Tensor
    semantics_vhw: torch.Tensor
    ego_mask_vhw: torch.Tensor
    moving_vhw: torch.Tensor
    exposure_s_v: np.ndarray


def take(studios: Sequence[Studio], indices: Sequence[int], seconds: Sequence[float]) -> Shots:
    """Pictures of all studios' cameras at once, each studio at its own time, one studio after the other.

    A picture depends on its studio, its frame's index (which seeds noise and the exposure control's wobble) and its
    time, and on nothing else of the batch.
    """
    stages = [studio.stage for studio in studios]
    device = stages[0].device
    counts = [len(studio.looks) for studio in studios]
    instants = Instants.of(stages, seconds)
    points = [p for studio, when in zip(studios, seconds, strict=True) for p in viewpoints(studio, when)]
    spans = [span for span, count in zip(instants.spans, counts, strict=True) for _ in range(count)]
    raster = Raster(instants.prims, spans, Views.cameras(points, device))
    linear, buffer = linear_pictures(raster, instants.shaders, counts)
    covered = torch.cat([studio.covered_nhw for studio in studios])
    looks = [look for studio in studios for look in studio.looks]
    named = [(studio, name, index) for studio, index in zip(studios, indices, strict=True) for name in studio.rig.names]
    wobbles = [
        math.exp(float(np.random.default_rng(camera_seed(studio.stage.seed, name, f'meter{index}')).normal(0.0, 0.03)))
        for studio, name, index in named
    ]
    readings = metered(linear, covered).tolist()
    exposures = [expose(*one) for one in zip(looks, readings, wobbles, strict=True)]
    times = torch.tensor([e.seconds for e in exposures], device=device)
    linear = blurred(linear, image_velocity(raster, buffer), times)
    horizons = [studio.stage.scene.light.horizon for studio in studios for _ in studio.looks]
    seeds = [camera_seed(studio.stage.seed, name, f'noise{index}') for studio, name, index in named]
    nothing = torch.full((1,), -1, dtype=torch.long, device=device)
    prim = torch.cat([raster.found.prim, nothing])[buffer.candidate_vhw]
    depth = torch.where(prim < 0, torch.inf, buffer.depth_vhw)
    return Shots(
        images_vhw3=develop(linear, looks, exposures, horizons, seeds),
        depth_vhw=depth.masked_fill(covered, torch.nan),
        semantics_vhw=instants.semantic_p[prim].masked_fill(covered, IGNORE),
        ego_mask_vhw=covered,
        moving_vhw=instants.moving_p[prim] & ~covered,
        exposure_s_v=np.array([e.seconds for e in exposures]),
    )
