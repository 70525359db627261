# SPDX-License-Identifier: Apache-2.0
"""Where a camera's cells were in its previous picture, told by the two pictures alone: block matching.

The matching of the network learns from it before depth and motion are good enough for photometric terms to teach it.
Blocks around the cells of stride 16 are compared with the earlier picture at every shift within reach, by the mean
absolute difference of their high-pass (so exposure does not count); the least one is refined by a parabola (Scharstein
and Szeliski, "A taxonomy and evaluation of dense two-frame stereo correspondence algorithms", 2002). Blocks whose
second best place is nearly as good (no texture, edges, repetition) say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from semi_smd_ros.network.config import FEATURE_STRIDE
from semi_smd_ros.network.model import NetworkOutput
from semi_smd_ros.training.batch import Batch
from semi_smd_ros.training.correspondence import KEY_STRIDE, cell_cross_entropy
from semi_smd_ros.training.scene import ego_mask

WORK_WIDTH = 80  # pixels: pictures are reduced to about this width
BLOCK = 12  # reduced pixels across
REACH = (6, 12)  # reduced pixels up and down, left and right
HIGH_PASS = 7  # reduced pixels over which the mean is taken off
DISTINCT = 0.7  # the best difference over the best one elsewhere, at most
LEAST_SEEN = 0.6  # of a block must lie inside the earlier picture, and off the ego vehicle


def block_matches(now_m3hw: Tensor, past_m3hw: Tensor, hidden_mhw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels (u, v) at t-1 of the centres of the cells of stride 16, row by row, and whether to trust them: (M,Q) each.

    `hidden_mhw` (bool) is what must not be compared: the ego vehicle, in both pictures alike.
    """
    height, width = now_m3hw.shape[-2:]
    reduction = max(2, width // WORK_WIDTH)
    while FEATURE_STRIDE % reduction:
        reduction -= 1
    stride = FEATURE_STRIDE // reduction
    now, past = (high_pass(functional.avg_pool2d(image, reduction)) for image in (now_m3hw, past_m3hw))
    open_m1hw = 1 - functional.max_pool2d(hidden_mhw[:, None].float(), reduction)
    down, right = REACH
    around = (right, right, down, down)
    past, past_open = functional.pad(past, around), functional.pad(open_m1hw, around)
    rows, columns = now.shape[-2:]
    costs = []
    for top in range(2 * down + 1):
        for left in range(2 * right + 1):
            window = (..., slice(top, top + rows), slice(left, left + columns))
            both = open_m1hw * past_open[window]
            difference = block_mean((now - past[window]).abs().mean(1, keepdim=True) * both, stride)
            seen = block_mean(both, stride)
            costs.append(torch.where(seen > LEAST_SEEN, difference / seen.clamp(min=1e-6), torch.inf))
    grid = torch.cat(costs, dim=1).flatten(2).movedim(1, 2)  # (M,Q,shifts)
    dx, dy, distinct = best_shift(grid.reshape(*grid.shape[:2], 2 * down + 1, 2 * right + 1))
    cells_y, cells_x = height // FEATURE_STRIDE, width // FEATURE_STRIDE
    offset = (FEATURE_STRIDE - 1) / 2
    u = torch.arange(cells_x, device=grid.device).repeat(cells_y) * FEATURE_STRIDE + offset
    v = torch.arange(cells_y, device=grid.device).repeat_interleave(cells_x) * FEATURE_STRIDE + offset
    return u + dx * reduction, v + dy * reduction, distinct


def high_pass(image_m3hw: Tensor) -> Tensor:
    mean = functional.avg_pool2d(image_m3hw, HIGH_PASS, 1, HIGH_PASS // 2, count_include_pad=False)
    return image_m3hw - mean


def block_mean(map_m1hw: Tensor, stride: int) -> Tensor:
    """Mean over the blocks around cells of `stride` reduced pixels; beyond the picture is zero."""
    block = BLOCK + (BLOCK - stride) % 2  # as far beyond a cell to the one side as to the other
    return functional.avg_pool2d(map_m1hw, block, stride, (block - stride) // 2)


def best_shift(cost_mqyx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shift (dx, dy) in steps of the least cost, refined, and whether it is distinct and not at the reach's edge."""
    rows, columns = cost_mqyx.shape[-2:]
    least, index = cost_mqyx.flatten(2).min(-1)
    y, x = index // columns, index % columns
    inner = (y > 0) & (y < rows - 1) & (x > 0) & (x < columns - 1) & torch.isfinite(least)
    at_y = torch.arange(rows, device=y.device)[:, None]
    at_x = torch.arange(columns, device=y.device)
    near = ((at_y - y[..., None, None]).abs() <= 2) & ((at_x - x[..., None, None]).abs() <= 2)
    elsewhere = cost_mqyx.masked_fill(near, torch.inf).flatten(2).min(-1).values
    y, x = y.clamp(1, rows - 2), x.clamp(1, columns - 2)

    def cost(row: Tensor, column: Tensor) -> Tensor:
        return cost_mqyx.flatten(2).gather(2, (row * columns + column)[..., None])[..., 0]

    def refined(before: Tensor, after: Tensor) -> Tensor:
        bend = before - 2 * cost(y, x) + after
        return (0.5 * (before - after) / bend.clamp(min=1e-9)).clamp(-0.5, 0.5).nan_to_num()

    dx = x - columns // 2 + refined(cost(y, x - 1), cost(y, x + 1))
    dy = y - rows // 2 + refined(cost(y - 1, x), cost(y + 1, x))
    return dx, dy, inner & (least < DISTINCT * elsewhere)


@dataclass(frozen=True)
class Places:
    """Where the cells of one instant were an instant earlier, in the order of `NetworkOutput.match_logit_bnqk`."""

    u_bnq: Tensor
    """Pixels of the earlier picture, centres at integers."""
    v_bnq: Tensor
    known_bnq: Tensor
    """Bool: distinct, and the camera is valid at both instants."""


@torch.no_grad()
def earlier_places(batch: Batch, past_usable: Sequence[Tensor]) -> list[Places]:
    """Of every instant but the first; `past_usable` are the instants' `NetworkOutput.past_usable_bn`."""
    hidden = ego_mask(batch).any(0).flatten(0, 1)
    images = batch.images_tbn3hw.float()
    found = []
    for now, past, usable_bn in zip(images[1:], images, past_usable[1:]):
        u, v, distinct = (
            part.reshape(*usable_bn.shape, -1) for part in block_matches(now.flatten(0, 1), past.flatten(0, 1), hidden)
        )
        found.append(Places(u, v, distinct & usable_bn[..., None]))
    return found


def block_matching_loss(outputs: Sequence[NetworkOutput], places: Sequence[Places], batch: Batch) -> Tensor:
    """Cross-entropy of the network's match against block matching, mean over the instants that have one before."""
    height, width = (length // KEY_STRIDE for length in batch.images_tbn3hw.shape[-2:])
    losses = []
    for output, place in zip(outputs[1:], places):
        if output.match_logit_bnqk is None:
            continue
        x, y = ((at - (KEY_STRIDE - 1) / 2) / KEY_STRIDE for at in (place.u_bnq, place.v_bnq))
        losses.append(cell_cross_entropy(output.match_logit_bnqk, x, y, place.known_bnq, height, width))
    return torch.stack(losses).mean() if losses else batch.images_tbn3hw.new_zeros(())
