# SPDX-License-Identifier: Apache-2.0
"""Moments of any source as training samples: rectified to the network's size, LiDAR as sparse depth."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from semi_smd_ros.datasets.sample import DataError, SurroundSample
from semi_smd_ros.datasets.source import SampleSequence, Source
from semi_smd_ros.evaluation.consistency import raw_pixels
from semi_smd_ros.evaluation.ego_motion import true_motion
from semi_smd_ros.network.config import IGNORE_CLASS
from semi_smd_ros.rig import Rig
from semi_smd_ros.runtime import InputError, SurroundFrame
from semi_smd_ros.runtime.preprocess import PreparedRig, decode_reduction, prepare_rig, rectify_images
from semi_smd_ros.training.samples import SEMANTIC_STRIDE, Sample
from semi_smd_ros.training.teachers.pseudo_labels import PseudoLabels

logger = logging.getLogger(__name__)

GOLDEN = (math.sqrt(5) - 1) / 2
CELL_CENTRES = (
    ...,
    slice(SEMANTIC_STRIDE // 2, None, SEMANTIC_STRIDE),
    slice(SEMANTIC_STRIDE // 2, None, SEMANTIC_STRIDE),
)


def substitute_step(count: int) -> int:
    """How far from a moment the one lies that stands in for it, of `count` in a circle; a whole circle of such steps
    meets every moment.

    About the golden section of the circle, of whose multiples no few lie close together (Sós, "On the distribution mod
    1 of the sequence n alpha", 1958): those that stand in for a long stop are spread over all the rest.
    """
    step = max(1, round(GOLDEN * count))
    while math.gcd(step, count) > 1:
        step += 1
    return step


@dataclass(frozen=True)
class Place:
    """One moment of a source."""

    sequence: SampleSequence
    index: int

    @property
    def name(self) -> str:
        return self.sequence.sample_name(self.index)


class SourceSamples:
    """The moments of a source that have one before them, as samples of two consecutive moments.

    Args:
        source: opened; it stays the caller's to close.
        height, width: of the rectified pictures, pixels.
        least_motion_m: moments whose vehicle is known to have moved less since the one before are passed over, for they
            teach nothing of depth; 0 keeps all.
        labels: the teachers' cached labels of this source; None for none.

    Raises:
        DataError: the source has no two consecutive moments.
    """

    def __init__(
        self,
        source: Source,
        height: int,
        width: int,
        least_motion_m: float = 0.0,
        labels: PseudoLabels | None = None,
    ) -> None:
        self.labels = labels
        self.address = source.address
        self.size = (height, width)
        self.least_motion_m = least_motion_m
        self.places = [Place(s, i) for s in source.sequences() for i in range(len(s))]
        self._step = substitute_step(len(self.places)) if self.places else 0
        self._unusable: set[int] = set()  # found so: reading them again would tell nothing else
        self._prepared: dict[str, PreparedRig] = {}
        self._read: SampleSequence | None = None
        if not any(place.index or place.sequence.read_previous(0) for place in self.places):
            raise DataError(f'{source.address}: no two consecutive moments in it; training needs pairs of them')

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[str, Sample]:
        """Name and sample of moment `index`; where that is unusable, of one that stands in for it, always the same:
        the first usable one after 1, 2, ... times `substitute_step`. Raises DataError when none is."""
        problem = ''
        for attempt in range(len(self.places)):
            tried = (index + attempt * self._step) % len(self.places)
            if tried in self._unusable:
                continue
            place = self.places[tried]
            try:
                sample = self._pair(place)
            except (DataError, InputError) as error:
                sample = None
                problem = f'; the last problem: {place.name}: {error}'
                logger.warning('passed over %s: %s', place.name, error)
            if sample is not None:
                return place.name, sample
            self._unusable.add(tried)
        raise DataError(f'{self.address}: none of its {len(self.places)} moments can be trained on{problem}')

    def _pair(self, place: Place) -> Sample | None:
        """The moment and the one before; None where there is none or the vehicle stood."""
        if self._read is not None and self._read is not place.sequence:
            self._read.let_go()  # a data set has hundreds of sequences, each with its masks
        self._read = place.sequence
        now = place.sequence[place.index]
        if now.previous is None or now.previous.rig.names != now.rig.names:
            return None
        motion = true_motion(now.previous, now)
        if motion is not None and np.linalg.norm(motion[:3, 3]) < self.least_motion_m:
            return None
        sample = pair_sample(now.previous, now, self.prepared(now.rig))
        if self.labels is None:
            return sample
        return sample.with_teacher(*teacher_of((now.previous, now), place.sequence.name, self.labels, self.size))

    def prepared(self, rig: Rig) -> PreparedRig:
        """The rig's maps to the network's size, computed once."""
        key = rig.fingerprint()
        if key not in self._prepared:
            self._prepared.clear()
            self._prepared[key] = prepare_rig(rig, self.size[1], self.size[0])
        return self._prepared[key]


def pair_sample(previous: SurroundSample, now: SurroundSample, prepared: PreparedRig) -> Sample:
    """Two consecutive moments of one rig. What the source does not know is NaN, or 255.

    Raises InputError for a picture that is broken or of another size than its calibration.
    """
    moments = (previous, now)
    motion = true_motion(previous, now)
    unknown = np.full((4, 4), np.nan)
    hidden = ~prepared.known_nhw
    depth = np.stack([depth_of(moment, prepared) for moment in moments])
    return Sample(
        images_tnhw3=np.stack([pictures_of(moment, prepared) for moment in moments]),
        depth_tnhw=np.where(hidden, np.nan, depth).astype(np.float16),
        semantics_tnhw=np.stack([labels_of(moment, prepared) for moment in moments]),
        intrinsics_n33=prepared.rectified.intrinsics_n33,
        base_T_cam_n44=prepared.rectified.base_T_cam_n44,
        prev_T_now_t44=np.stack([np.eye(4), unknown if motion is None else motion]),
        ground_plane_t4=np.stack(
            [np.full(4, np.nan) if m.ground_plane_base is None else m.ground_plane_base for m in moments]
        ),
        moving_tnhw=np.stack([moving_of(moment, prepared) for moment in moments]),
        ego_mask_nhw=hidden,
    )


def pictures_of(moment: SurroundSample, prepared: PreparedRig) -> np.ndarray:
    """(N,H,W,3) uint8, as the vehicle's pipeline would rectify them. Raises InputError."""
    models = [remap.model for remap in prepared.maps]
    images = tuple(
        image.camera_image(stamp, decode_reduction(camera.model, model.width, model.height))
        for image, stamp, camera, model in zip(moment.images, moment.stamps_ns, moment.rig.cameras, models, strict=True)
    )
    return rectify_images(SurroundFrame(moment.rig, images, moment.stamp_ns), prepared)


def teacher_of(
    moments: tuple[SurroundSample, ...], sequence: str, labels: PseudoLabels, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Disparity (T,N,H,W), all NaN without a depth teacher, and classes at stride 4, all 255 without a semantic one.

    Raises DataError where a moment has no labels.
    """
    shape = (len(moments), len(moments[0].rig), *size)
    disparity, classes = np.full(shape, np.nan, np.float32), np.full(shape, IGNORE_CLASS, np.uint8)
    for i, moment in enumerate(moments):
        names = (sequence, moment.stamps_ns, moment.rig.names, size)
        if labels.has_disparity:
            disparity[i] = labels.disparity_set(*names)
        if labels.has_classes:
            classes[i] = labels.classes_set(*names)
    return disparity, classes[CELL_CENTRES]


def depth_of(moment: SurroundSample, prepared: PreparedRig) -> np.ndarray:
    """(N,H,W) float32: dense truth where the source has it, else LiDAR at the pixels it falls on, the nearest; NaN."""
    if moment.depth_maps is not None:
        return rectified_maps(moment.depth_maps, moment, prepared)
    height, width = prepared.known_nhw.shape[1:]
    depth = np.full(prepared.known_nhw.shape, np.nan, np.float32)
    if moment.depth_points is None:
        return depth
    for i, (camera, measured) in enumerate(zip(prepared.rectified.cameras, moment.depth_points, strict=True)):
        points = measured.astype(np.float64)
        uv, inside = camera.model.project(points)
        points, uv = points[inside], uv[inside]
        order = np.argsort(-points[:, 2], kind='stable')  # the nearest is written last, and stays
        column, row = np.rint(uv[order]).astype(int).T.clip(0, [[width - 1], [height - 1]])
        depth[i, row, column] = points[order, 2]
    return depth


def labels_of(moment: SurroundSample, prepared: PreparedRig) -> np.ndarray:
    """(N,h,w) uint8 true classes at stride 4, 255 where the source does not know them or the vehicle is in view."""
    known = prepared.known_nhw[CELL_CENTRES]
    if moment.semantics is None:
        return np.full(known.shape, IGNORE_CLASS, np.uint8)
    labels = rectified_maps(moment.semantics, moment, prepared)[CELL_CENTRES]
    return np.where(known, labels, IGNORE_CLASS).astype(np.uint8)


def moving_of(moment: SurroundSample, prepared: PreparedRig) -> np.ndarray:
    """(N,h,w) bool at stride 4: what moves by itself; False where the source does not know."""
    if moment.moving is None:
        return np.zeros(prepared.known_nhw[CELL_CENTRES].shape, bool)
    return rectified_maps(moment.moving, moment, prepared)[CELL_CENTRES]


def rectified_maps(maps: tuple[np.ndarray, ...], moment: SurroundSample, prepared: PreparedRig) -> np.ndarray:
    """Maps of raw pictures at the nearest pixel to every rectified one, (N,H,W)."""
    pairs = zip(maps, moment.rig.cameras, prepared.rectified.cameras, strict=True)
    return np.stack([raw[tuple(raw_pixels(camera.model, rectified.model))] for raw, camera, rectified in pairs])
