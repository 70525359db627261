# SPDX-License-Identifier: Apache-2.0
"""Smoothness where neither picture nor meaning has an edge.

What is kept small is the second difference of inverse depth over its local sum: it vanishes on every plane, the road
included (see `curvature`), where first differences would flatten the road; and it knows no scale. It may break at edges
of the picture, with weight exp(-10 |gradient|) (Heise et al., ICCV 2013; Godard et al., CVPR 2017), and where the
semantic teacher sees another class; sky and ego vehicle take no part.
"""

from __future__ import annotations

from torch import Tensor

EDGE = 10.0


def triples(value: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three neighbours along an axis: before, middle, after."""
    length = value.shape[axis]
    before, middle, after = (value.narrow(axis, start, length - 2) for start in range(3))
    return before, middle, after


def smoothness_loss(
    inverse_depth_bnhw: Tensor, image_bn3hw: Tensor, usable_bnhw: Tensor, label_bnhw: Tensor | None
) -> Tensor:
    """Mean over all pixels and both axes; labels at full resolution, None where nobody told them."""
    total = inverse_depth_bnhw.new_zeros(())
    for axis in (-1, -2):
        before, middle, after = triples(inverse_depth_bnhw, axis)
        bend = (before + after - 2 * middle).abs() / (before + after + 2 * middle)
        first, second, third = triples(image_bn3hw, axis)
        contrast = ((first - second).abs() + (second - third).abs()).mean(2)
        usable = triples(usable_bnhw, axis)
        counts = usable[0] & usable[1] & usable[2]
        if label_bnhw is not None:
            one, two, three = triples(label_bnhw, axis)
            counts = counts & (one == two) & (two == three)
        weight = (-EDGE * contrast).exp() * counts
        total = total + (bend * weight).mean()
    return total / 2
