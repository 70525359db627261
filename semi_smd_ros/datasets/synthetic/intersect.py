# SPDX-License-Identifier: Apache-2.0
"""Exact ray intersection with unit shapes, many (primitive, tile) pairs at a time.

A ray is origin + t * direction in the shape's own coordinates. A miss returns a t of at least 1e20. Comparisons and
selections are several times slower than arithmetic on a CPU, so a miss is a large number *added* to t.
"""

from __future__ import annotations

import torch

from .noise import noise
from .primitives import (
    BARS_BOX,
    BOX,
    CYLINDER,
    ELLIPSOID,
    LEAF_BOX,
    LEAF_ELLIPSOID,
    QUAD,
    TAPER,
)
from .vectors import Vec3, dot

NEAREST = 0.05  # nearer hits do not count (metres along the ray parameter)
_MISS = 1e30


def _penalty(amount: torch.Tensor) -> torch.Tensor:
    """Zero where amount <= 0, huge where it is positive."""
    return amount.clamp(min=0.0) * _MISS


def _inverse(d: torch.Tensor) -> torch.Tensor:
    return d.reciprocal().clamp(-1e9, 1e9)


def _finish(enter: torch.Tensor, leave: torch.Tensor) -> torch.Tensor:
    """First hit of the interval [enter, leave], if it is in front."""
    return enter + _penalty(enter - leave) + _penalty(NEAREST - enter)


def _box_interval(o: Vec3, d: Vec3) -> tuple[torch.Tensor, torch.Tensor]:
    inverse = _inverse(d[0])
    middle, half = -o[0] * inverse, inverse.abs()
    enter, leave = middle - half, middle + half
    for axis in (1, 2):
        inverse = _inverse(d[axis])
        middle, half = -o[axis] * inverse, inverse.abs()
        enter, leave = torch.maximum(enter, middle - half), torch.minimum(leave, middle + half)
    return enter, leave


def _taper_interval(o: Vec3, d: Vec3, tx: torch.Tensor, ty: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A box whose top is smaller by tx, ty: |x| <= 1 - tx (z + 1) / 2, and so for y."""
    inverse = _inverse(d[2])
    middle, half = -o[2] * inverse, inverse.abs()
    enter, leave = middle - half, middle + half
    for axis, slope in ((0, tx), (1, ty)):
        lean_o, lean_d = 0.5 * slope * (o[2] + 1.0) - 1.0, 0.5 * slope * d[2]
        for sign in (-1.0, 1.0):
            # The half-space sign * x + slope (z + 1) / 2 - 1 <= 0: entered where its speed is negative.
            speed = sign * d[axis] + lean_d
            inverse = _inverse(speed)
            t = -(sign * o[axis] + lean_o) * inverse
            entering = speed.sign() * 1e20
            enter = torch.maximum(enter, torch.minimum(t, -entering))
            leave = torch.minimum(leave, torch.maximum(t, -entering))
    return enter, leave


def _sphere_interval(o: Vec3, d: Vec3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both hits, and 1 - (distance of the ray from the centre)^2, negative for a miss."""
    inverse = dot(d, d).reciprocal()
    nearest = -dot(o, d) * inverse
    p = (o[0] + nearest * d[0], o[1] + nearest * d[1], o[2] + nearest * d[2])
    inside = 1.0 - dot(p, p)
    reach = (inside.clamp(min=0.0) * inverse).sqrt()
    return nearest - reach, nearest + reach, inside


def _cylinder_interval(o: Vec3, d: Vec3) -> tuple[torch.Tensor, torch.Tensor]:
    inverse = (d[0] * d[0] + d[1] * d[1]).clamp(min=1e-12).reciprocal()
    nearest = -(o[0] * d[0] + o[1] * d[1]) * inverse
    px, py = o[0] + nearest * d[0], o[1] + nearest * d[1]
    inside = 1.0 - px * px - py * py
    reach = (inside.clamp(min=0.0) * inverse).sqrt()
    inverse_z = _inverse(d[2])
    middle, half = -o[2] * inverse_z, inverse_z.abs()
    enter = torch.maximum(nearest - reach, middle - half)
    leave = torch.minimum(nearest + reach, middle + half)
    return enter + _penalty(-inside), leave


def _at(o: Vec3, d: Vec3, t: torch.Tensor) -> Vec3:
    return o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]


def _leaf_density(
    p: Vec3, rim: torch.Tensor, cut: torch.Tensor, half: torch.Tensor, salt: torch.Tensor, blur: torch.Tensor
) -> torch.Tensor:
    """Positive where foliage is; cut holds threshold, rim strength and the noise period in metres."""
    m = tuple(p[k] * half[:, k : k + 1] + salt[:, None] for k in range(3))
    value = noise((m[0], m[1], m[2]), cut[:, 2:3], blur[:, None] * 0.5)
    return value - cut[:, 0:1] - cut[:, 1:2] * rim


def _leafy(
    o: Vec3,
    d: Vec3,
    enter: torch.Tensor,
    leave: torch.Tensor,
    miss: torch.Tensor,
    rims: list[torch.Tensor],
    *args: torch.Tensor,
) -> torch.Tensor:
    """Nearer of the front and back surface of a shape, each with holes."""
    best = enter.new_full(enter.shape, _MISS)
    for t, rim in zip((enter, leave), rims, strict=True):
        density = _leaf_density(_at(o, d, t.clamp(-1e4, 1e4)), rim, *args)
        best = torch.minimum(best, t + _penalty(-density) + miss + _penalty(NEAREST - t))
    return best


def intersect(
    shape: int, o: Vec3, d: Vec3, cut: torch.Tensor, half: torch.Tensor, salt: torch.Tensor, blur: torch.Tensor
) -> torch.Tensor:
    """First hit along each ray, (Q, 64); misses are >= 1e20.

    Args:
        shape: one of the shapes in primitives.py.
        o, d: origins and directions in shape coordinates, (Q, 64) or (Q, 1).
        cut: (Q, 4) shape parameters.
        half: (Q, 3) half sizes in metres.
        salt: (Q,) random offset of the primitive's holes.
        blur: (Q,) metres a pixel covers there, so that holes do not alias.
    """
    if shape == QUAD:
        inverse = _inverse(d[2])
        t = -o[2] * inverse
        x, y = o[0] + t * d[0], o[1] + t * d[1]
        return t + _penalty(torch.maximum(x.abs(), y.abs()) - 1.0) + _penalty(NEAREST - t)
    if shape == BOX:
        return _finish(*_box_interval(o, d))
    if shape == TAPER:
        return _finish(*_taper_interval(o, d, cut[:, 0:1], cut[:, 1:2]))
    if shape == CYLINDER:
        return _finish(*_cylinder_interval(o, d))
    if shape == ELLIPSOID:
        enter, leave, inside = _sphere_interval(o, d)
        return enter + _penalty(-inside) + _penalty(NEAREST - enter)
    if shape == LEAF_ELLIPSOID:
        enter, leave, inside = _sphere_interval(o, d)
        rim = (1.0 - inside).clamp(min=0.0)
        rim = rim * rim
        return _leafy(o, d, enter, leave, _penalty(-inside), [rim, rim], cut, half, salt, blur)
    if shape == LEAF_BOX:
        enter, leave = _box_interval(o, d)
        rims = []
        for t in (enter, leave):
            # Ragged near edges: there two coordinates are close to 1, and their middle-sized one tells.
            x, y, z = (c.abs() for c in _at(o, d, t.clamp(-1e4, 1e4)))
            middle = torch.maximum(torch.minimum(x, y), torch.minimum(torch.maximum(x, y), z))
            rims.append(middle.clamp(max=1.0) ** 12)
        return _leafy(o, d, enter, leave, _penalty(enter - leave), rims, cut, half, salt, blur)
    if shape == BARS_BOX:
        # cut holds the bars' period in metres, their share of it, and half the height of the two rails (0..1).
        enter, leave = _box_interval(o, d)
        x, _, z = _at(o, d, enter.clamp(-1e4, 1e4))
        cycle = x * half[:, 0:1] / cut[:, 0:1]
        bar = (cycle - cycle.floor() - 0.5).abs() * 2.0 - cut[:, 1:2]
        rail = (z.abs() - 0.8).abs() - cut[:, 2:3]
        return _finish(enter, leave) + _penalty(torch.minimum(bar, rail))
    raise ValueError(f'shape {shape} is unknown; expected one of 0..{BARS_BOX}, see primitives.py')
