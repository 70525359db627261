# SPDX-License-Identifier: Apache-2.0
"""Exact ray intersection with unit shapes, many (primitive, tile) pairs at a time.

A ray is origin + t * direction in the shape's own coordinates. A miss returns a t of at least 1e20. Comparisons and
selections are several times slower than arithmetic on a CPU, so a miss is a large number *added* to t.
"""

from __future__ import annotations

from collections.abc import Callable

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
    SUPER,
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


def _super(o: Vec3, d: Vec3) -> torch.Tensor:
    """First hit of the rounded box x^6 + y^6 + z^6 = 1.

    Along a ray the sum is convex, so Newton's steps from where the ray enters the cube go up to the first root and
    never beyond.
    """
    enter, leave = _box_interval(o, d)
    t = enter.clamp(-1e4, 1e4)
    for _ in range(6):
        x, y, z = _at(o, d, t)
        xx, yy, zz = x * x, y * y, z * z
        x4, y4, z4 = xx * xx, yy * yy, zz * zz
        value = x4 * xx + y4 * yy + z4 * zz - 1.0
        speed = -6.0 * (x4 * x * d[0] + y4 * y * d[1] + z4 * z * d[2])
        # Moving away from the solid: a miss, sent beyond the cube.
        t = t + (value / speed.clamp(min=1e-6)).clamp(0.0, 1e4)
    return t + _penalty(value.abs() - 0.02) + _penalty(t - leave) + _penalty(enter - leave) + _penalty(NEAREST - t)


def _at(o: Vec3, d: Vec3, t: torch.Tensor) -> Vec3:
    return o[0] + t * d[0], o[1] + t * d[1], o[2] + t * d[2]


def _leafy(
    o: Vec3,
    d: Vec3,
    spans: tuple[torch.Tensor, torch.Tensor],
    rim_at: Callable[[Vec3, torch.Tensor], torch.Tensor],
    cut: torch.Tensor,
    half: torch.Tensor,
    salt: torch.Tensor,
    blur: torch.Tensor,
) -> torch.Tensor:
    """Nearer of the front and back surface of a shape, each with holes; cut is threshold, rim strength, noise period.

    Only rays that meet the shape are looked at, a third of them, and the back only where the front has a hole.
    `rim_at` says how near the rim points (and the rays of these flat indices) are, 0..1.
    """
    enter, leave = spans
    best = enter.new_full(enter.shape, _MISS)
    where = (enter <= leave).flatten().nonzero()[:, 0]
    for t_all in (enter, leave):
        row = torch.div(where, enter.shape[1], rounding_mode='floor')
        t = t_all.flatten().index_select(0, where)
        x, y, z = (_rays_of(o[k], where, row) + t * _rays_of(d[k], where, row) for k in range(3))
        own_half, own_cut, own_salt = half.index_select(0, row), cut.index_select(0, row), salt.index_select(0, row)
        place = (x * own_half[:, 0] + own_salt, y * own_half[:, 1] + own_salt, z * own_half[:, 2] + own_salt)
        value = noise(place, own_cut[:, 2], blur.index_select(0, row) * 0.5)
        leaf = value - own_cut[:, 0] - own_cut[:, 1] * rim_at((x, y, z), where)
        there = ((leaf >= 0.0) & (t >= NEAREST)).nonzero()[:, 0]
        best.view(-1).index_copy_(0, where.index_select(0, there), t.index_select(0, there))
        where = where.index_select(0, ((leaf < 0.0) | (t < NEAREST)).nonzero()[:, 0])
    return best


def _rays_of(values: torch.Tensor, where: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Values (Q, 64), or (Q, 1) what all rays of a row share, at flat indices of (Q, 64)."""
    return values[:, 0].index_select(0, row) if values.shape[1] == 1 else values.flatten().index_select(0, where)


def _box_rim(p: Vec3, _: torch.Tensor) -> torch.Tensor:
    """Ragged near edges: there two coordinates are close to 1, and their middle-sized one tells."""
    x, y, z = (c.abs() for c in p)
    middle = torch.maximum(torch.minimum(x, y), torch.minimum(torch.maximum(x, y), z))
    return middle.clamp(max=1.0) ** 12


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
        rim = ((1.0 - inside).clamp(min=0.0) ** 2).flatten()
        # A miss is an interval that ends before it begins.
        ended = leave - _penalty(-inside)
        return _leafy(o, d, (enter, ended), lambda _, where: rim.index_select(0, where), cut, half, salt, blur)
    if shape == LEAF_BOX:
        return _leafy(o, d, _box_interval(o, d), _box_rim, cut, half, salt, blur)
    if shape == BARS_BOX:
        # cut holds the bars' period in metres, their share of it, and half the height of the two rails (0..1).
        enter, leave = _box_interval(o, d)
        x, _, z = _at(o, d, enter.clamp(-1e4, 1e4))
        cycle = x * half[:, 0:1] / cut[:, 0:1]
        bar = (cycle - cycle.floor() - 0.5).abs() * 2.0 - cut[:, 1:2]
        rail = (z.abs() - 0.8).abs() - cut[:, 2:3]
        return _finish(enter, leave) + _penalty(torch.minimum(bar, rail))
    if shape == SUPER:
        return _super(o, d)
    raise ValueError(f'shape {shape} is unknown; expected one of 0..{SUPER}, see primitives.py')
