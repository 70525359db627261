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
from .photographs import Photographs
from .primitives import IGNORE
from .rasterise import Raster
from .resolve import linear_pictures
from .rigs import SyntheticRig
from .stage import Instant, Instants, ScenePlan, Stage
from .views import Viewpoint, Views, rotation_vector

# Velocities come from poses this long before and after, unless the shutter rolls for longer.
_STEP_S = 0.004


@dataclass(frozen=True, eq=False)
class Setup:
    """All that the host decides about one frame of N views: plain arrays, so another process can make and send it."""

    seconds: float
    instant: Instant
    viewpoints: tuple[Viewpoint, ...]
    looks: tuple[CameraLook, ...]
    covered_nhw: np.ndarray
    wobbles: tuple[float, ...]  # of the exposure control, factors
    noise_seeds: tuple[int, ...]
    world_T_base: np.ndarray
    ground_plane_base: np.ndarray
    world_T_base_rows: np.ndarray  # (2, 4, 4) when the first and the last row are exposed


@dataclass(frozen=True, eq=False)
class Studio:
    """A scene with a rig in it, ready to take pictures at any time."""

    stage: Stage
    rig: SyntheticRig
    looks: tuple[CameraLook, ...]
    covered_nhw: np.ndarray  # bool, the own vehicle in view

    @staticmethod
    def of(plan: ScenePlan | int, rig: SyntheticRig) -> Studio:
        """A scene, given by its plan or its seed, with this rig."""
        if not isinstance(plan, ScenePlan):
            plan = ScenePlan.draw(int(plan))
        looks = tuple(
            make_look(plan.seed, name, pose, rig.height, rig.width)
            for name, pose in zip(rig.names, rig.base_T_cam_n44, strict=True)
        )
        return Studio(Stage(plan), rig, looks, np.stack([look.body.mask_hw for look in looks]))

    def setup(self, index: int, seconds: float) -> Setup:
        """Frame `index` at a time; the index seeds noise and the exposure control's wobble."""
        seed, names = self.stage.seed, self.rig.names
        wobbles = [
            float(np.random.default_rng(camera_seed(seed, name, f'meter{index}')).normal(0.0, 0.03)) for name in names
        ]
        motion, scene, half = self.stage.motion, self.stage.scene, self.rig.readout_s / 2
        pose, plane = motion.pose(scene, seconds)
        return Setup(
            seconds=seconds,
            instant=self.stage.at(seconds),
            viewpoints=tuple(viewpoints(self, seconds)),
            looks=self.looks,
            covered_nhw=self.covered_nhw,
            wobbles=tuple(math.exp(wobble) for wobble in wobbles),
            noise_seeds=tuple(camera_seed(seed, name, f'noise{index}') for name in names),
            world_T_base=pose,
            ground_plane_base=plane,
            world_T_base_rows=np.stack([motion.pose(scene, seconds + side * half)[0] for side in (-1, 1)]),
        )


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


@dataclass(frozen=True)
class Shots:
    """Pictures and truth of V views, on the renderer's device. See `SyntheticFrame` for the meaning of each."""

    images_vhw3: torch.Tensor
    depth_vhw: torch.Tensor
    semantics_vhw: torch.Tensor
    ego_mask_vhw: torch.Tensor
    moving_vhw: torch.Tensor
    exposure_s_v: np.ndarray


def take(setups: Sequence[Setup], device: torch.device, photographs: Photographs | None = None) -> Shots:
    """Pictures of all setups' views at once, one setup after the other; with photographs on surfaces where given.

    A picture depends on its own setup and on nothing else of the batch.
    """
    instants = Instants.of([setup.instant for setup in setups], device, photographs)
    owners = [k for k, setup in enumerate(setups) for _ in setup.looks]
    views = Views.cameras([point for setup in setups for point in setup.viewpoints], device)
    raster = Raster(instants.prims, [instants.spans[k] for k in owners], views)
    linear, buffer = linear_pictures(raster, instants.shader, owners)
    covered = torch.as_tensor(np.concatenate([setup.covered_nhw for setup in setups]), device=device)
    looks = [look for setup in setups for look in setup.looks]
    wobbles = [wobble for setup in setups for wobble in setup.wobbles]
    readings = metered(linear, covered).tolist()
    exposures = [expose(*one) for one in zip(looks, readings, wobbles, strict=True)]
    times = torch.tensor([e.seconds for e in exposures], device=device)
    linear = blurred(linear, image_velocity(raster, buffer), times)
    horizons = [setups[k].instant.light.horizon for k in owners]
    seeds = [seed for setup in setups for seed in setup.noise_seeds]
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
